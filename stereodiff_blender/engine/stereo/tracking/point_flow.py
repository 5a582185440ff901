"""Where points of one picture are in another: Lucas-Kanade on a pyramid, there and back, however far they went.

Few pyramid levels are the surest where little moves: high up, near things vanish in what is behind them. So more are
taken only where the picture is found to move far; and points that are lost then are looked for once more, where the
motion of the others, or of features that look alike, puts them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

WINDOW_PX = 15
LEVELS, MOST_LEVELS, GUIDED_LEVELS = 3, 5, 1
ROUND_TRIP_PX = 0.6
FAST_PX = 12.0
"""Typical motion from which a picture moves far: what the window reaches on the second level."""
LEAST_FOUND = 0.5
"""Share of points below which the motion of those found tells nothing of the others'."""
EXPOSURE_JUMP = 0.08
MIN_CONTRAST = 2.0
GUIDE_PX = 5.0
LEAST_GUIDES = 12
MOST_FEATURES = 800
DISTINCT = 0.75
"""Of the distance to the next best feature, below which the best one is told from it (Lowe 2004, 7.1: 0.8)."""

PointFlow = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


def flow_of_points(gray_i: np.ndarray, gray_j: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) in j, and (n,) whether the way back ends where it began; gray (H,W) uint8, of any exposure."""
    alike = exposed_like(gray_j, gray_i)
    there, returns = _there_and_back(gray_i, alike, pixels, LEVELS)
    if not _is_far(there - pixels, returns):
        return there, returns
    higher, returns_higher = _there_and_back(gray_i, alike, pixels, MOST_LEVELS)
    if returns_higher.sum() > returns.sum():
        there, returns = higher, returns_higher
    guide = _homography(pixels[returns], there[returns])
    return (there, returns) if guide is None else _guided(gray_i, alike, pixels, there, returns, guide)


def flow_by_features(gray_i: np.ndarray, gray_j: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for pictures with others between them: features that look alike say where to look. None returns where
    there are too few of them."""
    guide = _homography(*_alike_features(gray_i, gray_j))
    nowhere = np.zeros(len(pixels), bool)
    if guide is None:
        return pixels, nowhere
    return _guided(gray_i, exposed_like(gray_j, gray_i), pixels, pixels, nowhere, guide)


def _is_far(moved: np.ndarray, returns: np.ndarray) -> bool:
    found = np.linalg.norm(moved[returns], axis=1)
    return len(found) < LEAST_FOUND * len(moved) or float(np.median(found)) > FAST_PX


def _guided(gray_i, gray_j, pixels: np.ndarray, there: np.ndarray, returns: np.ndarray,
            guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """there and returns, with the points that did not return looked for where the homography puts them."""
    lost = np.flatnonzero(~returns)
    if not len(lost):
        return there, returns
    guess = cv2.perspectiveTransform(pixels[lost].astype(np.float64).reshape(-1, 1, 2), guide).reshape(-1, 2)
    inside = np.all((guess > 0) & (guess < gray_j.shape[::-1]), axis=1)
    lost, guess = lost[inside], guess[inside]
    there, returns = there.copy(), returns.copy()
    if len(lost):
        there[lost], returns[lost] = _there_and_back(gray_i, gray_j, pixels[lost], GUIDED_LEVELS, guess)
    return there, returns


def _homography(pixels_i: np.ndarray, pixels_j: np.ndarray) -> np.ndarray | None:
    """The one that most of the points follow roughly; None if they are too few."""
    if len(pixels_i) < LEAST_GUIDES:
        return None
    cv2.setRNGSeed(0)
    found, inliers = cv2.findHomography(pixels_i, pixels_j, cv2.USAC_MAGSAC, GUIDE_PX)
    return found if found is not None and np.count_nonzero(inliers) >= LEAST_GUIDES else None


def _alike_features(gray_i: np.ndarray, gray_j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) in each of features that are each other's likeness and nothing else's."""
    nothing = np.zeros((0, 2), np.float32)
    sift = cv2.SIFT.create(MOST_FEATURES)
    (places_i, looks_i), (places_j, looks_j) = (sift.detectAndCompute(gray, None) for gray in (gray_i, gray_j))
    if looks_i is None or looks_j is None or min(len(places_i), len(places_j)) < LEAST_GUIDES:
        return nothing, nothing
    nearest = cv2.BFMatcher().knnMatch(looks_i, looks_j, k=2)
    pairs = [(best.queryIdx, best.trainIdx) for best, second in nearest if best.distance < DISTINCT * second.distance]
    return (np.array([places_i[i].pt for i, _ in pairs], np.float32).reshape(-1, 2),
            np.array([places_j[j].pt for _, j in pairs], np.float32).reshape(-1, 2))


def _there_and_back(gray_i, gray_j, pixels: np.ndarray, levels: int,
                    guess: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    start = np.ascontiguousarray(pixels, np.float32).reshape(-1, 1, 2)
    there, found = _flow(gray_i, gray_j, start, levels, guess)
    back, found_back = _flow(gray_j, gray_i, there, levels, None if guess is None else start)
    miss = np.abs(back - start).max(axis=(1, 2))
    returns = (found.ravel() == 1) & (found_back.ravel() == 1) & (miss < ROUND_TRIP_PX)
    return there.reshape(-1, 2), returns & np.isfinite(there).all(axis=(1, 2))


def _flow(gray_i, gray_j, start: np.ndarray, levels: int, guess: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,1,2) in j, and (n,1) 1 where they were found; start: (n,1,2) float32."""
    # OpenCV writes its answer over the guess.
    begin = None if guess is None else np.array(guess, np.float32).reshape(-1, 1, 2)
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        # OpenCV's stub has no None, by which the function itself means: without a guess.
        gray_i, gray_j, start, begin,  # pyright: ignore[reportArgumentType, reportCallIssue]
        winSize=(WINDOW_PX, WINDOW_PX), maxLevel=levels, criteria=_STOP, minEigThreshold=1e-4,
        flags=0 if guess is None else cv2.OPTFLOW_USE_INITIAL_FLOW)
    return there, found


def exposed_like(gray: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The frame with the reference's mean and contrast, if light or exposure jumped between them: flow compares
    brightness itself."""
    mean, contrast = (float(value[0, 0]) for value in cv2.meanStdDev(gray))
    wanted_mean, wanted_contrast = (float(value[0, 0]) for value in cv2.meanStdDev(reference))
    if abs(mean - wanted_mean) < EXPOSURE_JUMP * wanted_mean or contrast < MIN_CONTRAST:
        return gray
    gain = wanted_contrast / contrast
    alike = gray.astype(np.float32) * gain + (wanted_mean - gain * mean)
    # OpenCV's stub has no numbers, though the function takes one for the second array.
    return cv2.convertScaleAbs(cv2.max(alike, 0.0))  # pyright: ignore[reportArgumentType, reportCallIssue]
