"""Which measurements of a frame are to be believed, and what the unbelievable ones may mean."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import find_regions
from .sources import DepthLimits
from .triangulation import Triangulation

MAX_RESIDUAL_PX = 1.0
MIN_AGREEING_SOURCES = 2
MIN_FAR_TEXTURE = 0.57
TOP_ROWS = 3


@dataclass(frozen=True)
class DepthFilter:
    """(H,W) bool each, disjoint.

    trusted: measured, agreeing and within the depth limits. sky: beyond the far limit and connected to the top
    border, where some of it surely is. floating: surely beyond it elsewhere, which the static world does not do.
    """

    trusted: np.ndarray
    sky: np.ndarray
    floating: np.ndarray


def filter_depth(measured: Triangulation, limits: DepthLimits, source_count: int, texture: np.ndarray) -> DepthFilter:
    """Judge one frame. source_count: its sources; with a single one, one agreeing match must do.

    texture: (H,W) as of texture_of.
    """
    lowest, highest = limits.disparity
    agreeing = (measured.agreeing >= min(MIN_AGREEING_SOURCES, source_count)) & (measured.residual < MAX_RESIDUAL_PX)
    trusted = agreeing & (measured.disparity > lowest) & (measured.disparity < highest)
    beyond = measured.disparity < lowest
    sure = beyond & (measured.agreeing >= MIN_AGREEING_SOURCES) & (measured.sigma < lowest)
    open_above, elsewhere = _split_by_top_border(sure)
    unsure = beyond & (measured.view_count >= 1) & (texture > MIN_FAR_TEXTURE) & ~elsewhere
    return DepthFilter(trusted, _reaching(open_above, unsure | open_above), elsewhere)


def texture_of(frame: np.ndarray) -> np.ndarray:
    """Root mean square gradient around each pixel of a frame.

    Parameters
    ----------
    frame : ndarray
        (H,W,3) uint8 RGB.

    Returns
    -------
    ndarray
        (H,W) float32 in gray levels per pixel.
    """
    gray = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.8)
    x = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    y = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    # Running sums round: where nothing changes, the mean can come out a little below zero.
    return np.sqrt(np.maximum(cv2.blur(x * x + y * y, (9, 9)), 0))


def _reaching(sure: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that hold something sure: a speck in a plain wall is no window to the sky."""
    regions = find_regions(possible)
    return regions.pixels_of(regions.counts(sure) > 0)


def _split_by_top_border(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mask's connected parts that reach the top border, and the others; specks are dropped."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    regions = find_regions(opened)
    top = regions.pixels_of(regions.tops <= TOP_ROWS)
    return top, (opened > 0) & ~top
