"""Between the plate's raster and the network's."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_SIDE_PX = 64


def network_size(height: int, width: int, max_side_px: int, snap: int = LEAST_SIDE_PX) -> tuple[int, int]:
    """(H, W) that the network works at, multiples of snap: the published rule, which does not keep proportions exactly.

    The sides are rounded to the nearest multiple (halves to the even one), from the plate's own size or, if that comes
    out longer than max_side_px, from the plate shrunk to it.
    """
    size = _snapped(height, width, snap)
    if max(size) > max_side_px:
        factor = max_side_px / max(height, width)
        size = _snapped(height * factor, width * factor, snap)
    return size


def _snapped(height: float, width: float, snap: int) -> tuple[int, int]:
    return tuple(max(LEAST_SIDE_PX, round(side / snap) * snap) for side in (height, width))


def to_network(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h,w,3) uint8 to (3,H,W) float32 in 0..1; averaged where it shrinks, bicubic where it grows."""
    picture = frame.astype(np.float32) / np.float32(255.0)
    height, width = frame.shape[:2]
    if (height, width) != tuple(size):
        shrinks = size[0] <= height and size[1] <= width
        picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.clip(picture, 0.0, 1.0).transpose(2, 0, 1))


def nearest(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The last two axes (h,w) at size (H,W): pixel i takes what pixel floor(i h / H) has (paper, section 3.2)."""
    rows, cols = ((np.arange(new) * old) // new for new, old in zip(size, image.shape[-2:], strict=True))
    return image[..., rows[:, None], cols]


def disparity_to_plate(disparity: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H,W) disparity at shape (h,w), linear between pixels: a plane stays one."""
    if disparity.shape == tuple(shape):
        return disparity
    return cv2.resize(disparity, shape[::-1], interpolation=cv2.INTER_LINEAR)
