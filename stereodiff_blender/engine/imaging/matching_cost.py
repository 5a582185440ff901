"""Does a pixel look like what is found elsewhere? The evidence behind borders and outlines."""

from __future__ import annotations

import cv2
import numpy as np

from .frame_window import FrameWindow
from .warp import sample_at

COLOR_SHARE, GRADIENT_SHARE = 0.29, 0.35
MAX_DIFFERENCE_LEVELS = 16.5
"""Gray levels of summed difference that count as entirely unlike."""
ROW_LENGTH = 256
"""Pixels are laid out in rows of this length: OpenCV looks up no longer ones than 32766."""
KEPT_FRAMES = 12

Features = tuple[np.ndarray, np.ndarray]
"""As of cost_features."""


def cost_features(frame: np.ndarray) -> Features:
    """Color and gradient of a frame, weighted, as photometric_cost compares them.

    Parameters
    ----------
    frame : ndarray
        (H,W,3) uint8 RGB.

    Returns
    -------
    color : ndarray
        (H,W,3) float32, in gray levels.
    gradient : ndarray
        (H,W,2) float32, along x and y, in gray levels.
    """
    color = np.asarray(frame, np.float32)
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    gradient = cv2.merge([cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=1)])
    return color * np.float32(COLOR_SHARE), gradient * np.float32(GRADIENT_SHARE)


class CostFeatures:
    """cost_features of frames (T,H,W,3), the most recently used kept. size: (H,W) of each."""

    def __init__(self, frames: np.ndarray, softening_px: float = 0.0, gain: float = 1.0):
        """softening_px: standard deviation that frames are blurred by before; 0: not at all. gain: that they are
        brightened by, where costs are to mean the same in a dark clip."""
        self._frames, self._softening_px, self._gain = frames, softening_px, gain
        self._kept: FrameWindow[int, Features] = FrameWindow(KEPT_FRAMES)
        self.size: tuple[int, int] = frames.shape[1:3]

    def __getitem__(self, index: int) -> Features:
        return self._kept.get(index, lambda: self._features(index))

    def _features(self, index: int) -> Features:
        frame = np.ascontiguousarray(self._frames[index])
        frame = cv2.convertScaleAbs(frame, alpha=self._gain) if self._gain != 1.0 else frame
        return cost_features(cv2.GaussianBlur(frame, (0, 0), self._softening_px) if self._softening_px else frame)


def photometric_cost(own: list[np.ndarray], features: Features, column: np.ndarray,
                     row: np.ndarray) -> np.ndarray:
    """Truncated difference between the pixels' own features and those found at (column, row).

    Parameters
    ----------
    own : list of ndarray
        (n,3) color and (n,2) gradient of the pixels, float32, as of cost_features.
    features : tuple of ndarray
        cost_features of the other frame.
    column, row : ndarray
        (n,) float32 places in the other frame, counted from the center of its first pixel.

    Returns
    -------
    ndarray
        (n,) float32 in [0,1]; 1 is entirely unlike.
    """
    count, shape = len(column), (-(-len(column) // ROW_LENGTH), ROW_LENGTH)
    column, row = np.resize(column, shape), np.resize(row, shape)
    difference = sum(np.abs(sample_at(there, column, row).reshape(-1, there.shape[-1])[:count] - here).sum(axis=-1)
                     for here, there in zip(own, features, strict=True))
    return np.minimum(difference / np.float32(MAX_DIFFERENCE_LEVELS), np.float32(1.0))


def mean_of_better_half(costs: list[np.ndarray]) -> np.ndarray:
    """Mean of the lower half of the sources' costs: a pixel is hidden in some of them.

    Parameters
    ----------
    costs : list of ndarray
        (n,) of each source; one source or more.

    Returns
    -------
    ndarray
        (n,) float32.
    """
    return np.sort(np.array(costs, np.float32), axis=0)[:(len(costs) + 1) // 2].mean(axis=0)
