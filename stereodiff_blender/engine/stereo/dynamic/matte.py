"""The artist's matte inside the dense half: no match starts on it, and no guess of motion leaks over its outline."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...imaging import sample

MIN_MATCHES = 2
BRIDGED_PX = 4
"""Parts this far apart twice over hang together; a matte that was found is fatter than the thing by as much."""
DRAWN_ALONG_PX = 4
"""Half the matcher's window of 8 pixels."""
LEAK_SHARE = 1.0 / 48
"""Reach of the leaks, as a share of the picture's width: flow straddles an outline by about half its matcher's window,
and evidence is smoothed on top of that."""


def without_matte(usable: Sequence[np.ndarray], fields: Sequence[np.ndarray], own: np.ndarray,
                  others: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Matches of a frame in its S sources, without those that start or end on the matte.

    Where fewer than MIN_MATCHES would be left, those that end on the matte stay: too few to be judged look like motion.

    Parameters
    ----------
    usable : Sequence of ndarray
        S times (H,W) bool, matches to be used.
    fields : Sequence of ndarray
        S times (H,W,2), flow to the sources in pixels.
    own : ndarray
        (H,W) matte of the frame, not 0 where something moves.
    others : Sequence of ndarray
        S times (H,W), mattes of the sources.

    Returns
    -------
    list of ndarray
        S times (H,W) bool.
    """
    still = np.asarray(own) == 0
    clear = [matches & (sample((np.asarray(other) > 0).astype(np.uint8), field, nearest=True) == 0)
             for matches, field, other in zip(usable, fields, others, strict=True)]
    is_enough = np.sum(clear, axis=0) >= MIN_MATCHES
    return [np.where(is_enough, best, any_) & still for best, any_ in zip(clear, usable, strict=True)]


def motion_beyond(found: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """What was found to move besides the matte, without the halo around the matte itself.

    The artist's outline is the better one. Found regions that go on beyond the reach of leaks (a cast shadow, another
    moving object) are kept, up to the matte.

    Parameters
    ----------
    found : ndarray
        (H,W) bool, what was found to move.
    matte : ndarray
        (H,W), not 0 where the artist says that something moves.

    Returns
    -------
    ndarray
        (H,W) bool; found itself where the matte is empty.
    """
    marked = np.asarray(matte) > 0
    if not marked.any():
        return found
    window = _window(max(3, round(LEAK_SHARE * found.shape[1])))
    far = found & (cv2.dilate(marked.astype(np.uint8), window) == 0)
    return found & ~marked & (cv2.dilate(far.astype(np.uint8), window) > 0)


def doubtful_beside(found: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Pixels whose matches the marked thing has drawn along, so that they say nothing of what is behind.

    Those are the ones close to the outline, and those that were found to move with it.

    Parameters
    ----------
    found : ndarray
        (H,W) bool, what was found to move.
    matte : ndarray
        (H,W), not 0 where the artist says that something moves.

    Returns
    -------
    ndarray
        (H,W) bool; all false where the matte is empty.
    """
    marked = np.asarray(matte) > 0
    if not marked.any():
        return marked
    close = cv2.dilate(marked.astype(np.uint8), _window(DRAWN_ALONG_PX)) > 0
    return close | (found & ~motion_beyond(found, matte))


def with_gaps_bridged(mask: np.ndarray) -> np.ndarray:
    """(H,W) bool grown so far that parts of one thing, which an artist outlines one by one, hang together: a head that
    stood alone would have no feet."""
    return cv2.dilate(mask.astype(np.uint8), _window(BRIDGED_PX)) > 0


def _window(radius_px: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
