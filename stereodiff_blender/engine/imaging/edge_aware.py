"""Spreading known values over a picture: blindly, and along its surfaces but not across its edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

MIN_LINK_WEIGHT = 1e-4
"""Weight of a link across the strongest edge: everything stays connected, so that every pixel gets a value."""
MIN_CONFIDENCE = np.float32(1e-7)


def pull_push(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Fill values where their weights are small from a pyramid of weighted means.

    Parameters
    ----------
    values : ndarray
        (H,W) float32.
    weights : ndarray
        (H,W) float32 in [0,1].

    Returns
    -------
    ndarray
        (H,W) float32; zero everywhere if all weights are zero.

    References
    ----------
    Grossman and Dally 1998, "Point sample rendering": pull-push interpolation.
    """
    levels = [_Level(values * weights, weights)]
    while max(levels[-1].weight.shape) > 2:
        levels.append(levels[-1].halved())
    filled = levels[-1].mean()
    for level in reversed(levels[:-1]):
        height, width = level.weight.shape
        coarse = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
        trust = np.minimum(1.0, 2.0 * level.weight)
        filled = trust * level.mean() + (1.0 - trust) * coarse
    return filled


class _Level:
    """One level of the pyramid: weighted sums and their weights."""

    def __init__(self, total: np.ndarray, weight: np.ndarray):
        self.total, self.weight = total.astype(np.float32), weight.astype(np.float32)

    def halved(self) -> _Level:
        total, weight = cv2.pyrDown(self.total), cv2.pyrDown(self.weight)
        # Lone samples must gain trust on the way down, or they would never outweigh what lies far away.
        gain = np.minimum(4.0 * weight, 1.0) / np.maximum(weight, 1e-12)
        return _Level(total * gain, weight * gain)

    def mean(self) -> np.ndarray:
        return self.total / np.maximum(self.weight, np.float32(1e-12))


def fast_global_smoother(guide: np.ndarray, values: np.ndarray, confidence: np.ndarray, *, strength: float,
                         edge_levels: float, rounds: int,
                         least_link: float = MIN_LINK_WEIGHT) -> tuple[np.ndarray, np.ndarray]:
    """Confidence-weighted smoothing that stops at the guide's edges, by separable weighted least squares.

    Alternating tridiagonal solves along rows and columns, each round four times weaker than the one before.

    Parameters
    ----------
    guide : ndarray
        (H,W,3) uint8, the picture whose edges count.
    values : ndarray
        (H,W) float32.
    confidence : ndarray
        (H,W) float32, >= 0.
    strength : float
        Smoothness against data.
    edge_levels : float
        Color difference, in gray levels, that cuts a link to 1/e.
    rounds : int
        Of a solve along rows and one along columns.
    least_link : float
        Weight of a link across the strongest edge.

    Returns
    -------
    values : ndarray
        (H,W) float32, smoothed.
    confidence : ndarray
        (H,W) float32, smoothed: how much evidence reached each pixel.

    References
    ----------
    Min et al. 2014, "Fast global image smoothing based on weighted least squares".
    """
    # A floor far below any real confidence: pixels no evidence reaches still get their neighbors' value.
    confidence = np.maximum(confidence, MIN_CONFIDENCE)
    total, confidence = smoothed([values * confidence, confidence], guide, strength=strength, edge_levels=edge_levels,
                                 rounds=rounds, least_link=least_link)
    return total / np.maximum(confidence, np.float32(1e-12)), confidence


def smoothed(channels: Sequence[np.ndarray], guide: np.ndarray, *, strength: float, edge_levels: float,
             rounds: int, least_link: float) -> list[np.ndarray]:
    """Several (H,W) float32 smoothed alike, without confidence; the rest as of fast_global_smoother."""
    links_x, links_y = (_links(guide, axis, edge_levels, least_link) for axis in (1, 0))
    sums = np.stack(channels, axis=1).astype(np.float32)                               # (H,k,W)
    for k in range(rounds):
        weight = strength * 1.5 * 4.0 ** (rounds - 1 - k) / (4.0**rounds - 1.0)
        across = np.ascontiguousarray(sums.transpose(2, 1, 0))                         # (W,k,H)
        _solve_lines(links_x, across, weight)
        sums = np.ascontiguousarray(across.transpose(2, 1, 0))
        _solve_lines(links_y, sums, weight)
    return [np.ascontiguousarray(sums[:, k]) for k in range(len(channels))]


def _links(guide: np.ndarray, axis: int, edge_levels: float, least_link: float) -> np.ndarray:
    """Link weights between neighbors along an axis; that axis first: (L-1, n) float32."""
    color = guide.astype(np.float32)
    difference = np.diff(color, axis=axis)
    distance = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))
    weight = np.exp(distance * np.float32(-1.0 / edge_levels)) + np.float32(least_link)
    return np.ascontiguousarray(weight.T if axis == 1 else weight)


def _solve_lines(links: np.ndarray, sums: np.ndarray, weight: float) -> None:
    """Solve (1 + weight * Laplacian) x = sums along the first axis for all lines at once; in place.

    links: (L-1,n). sums: (L,k,n). The system is symmetric and tridiagonal: factor, substitute forward and back.
    """
    coupling = links * np.float32(weight)
    pivot = np.ones((len(sums), sums.shape[2]), np.float32)
    pivot[:-1] += coupling
    pivot[1:] += coupling
    ratio = np.empty_like(coupling)
    carried = np.empty_like(sums[0])
    for i in range(len(coupling)):
        np.divide(coupling[i], pivot[i], out=ratio[i])
        pivot[i + 1] -= coupling[i] * ratio[i]
        np.multiply(sums[i], ratio[i], out=carried)
        sums[i + 1] += carried
    sums /= pivot[:, None]
    for i in range(len(coupling) - 1, -1, -1):
        np.multiply(sums[i + 1], ratio[i], out=carried)
        sums[i] += carried


def boundary_confidence(disparity: np.ndarray, known: np.ndarray, *, radius: int, tolerance: float) -> np.ndarray:
    """Confidence that is low where known disparity changes quickly nearby.

    A matched patch that straddles a depth edge carries one side's motion over to the other; near such an edge the
    measurement is not to be believed.

    Parameters
    ----------
    disparity : ndarray
        (H,W) float32.
    known : ndarray
        (H,W) bool, where disparity holds something.
    radius : int
        Pixels from a pixel to the border of its square window.
    tolerance : float
        Relative change within the window that is still a slope.

    Returns
    -------
    ndarray
        (H,W) float32 in [0,1]; 0 where nothing is known in the window.
    """
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    highest = cv2.dilate(np.where(known, disparity, np.float32(0)), window)
    lowest = cv2.erode(np.where(known, disparity, np.float32(1e9)), window)
    change = (highest - lowest) / np.maximum(highest, np.float32(1e-9))
    excess = np.maximum(change - np.float32(tolerance), 0)
    return np.where(highest > 0, np.exp(excess * np.float32(-1.0 / tolerance)), np.float32(0))
