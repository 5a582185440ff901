"""Connected regions of a mask: told apart and measured, specks dropped, holes filled."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Regions:
    """The connected regions of a mask (H,W), by numbers from 1; number 0 is all the rest, and has its entry in each
    array of n.

    labels: (H,W) int32, every pixel's number. areas: (n,) pixels. boxes: (n,4) top, bottom, left, right, the second
    and the fourth excluded.
    """

    labels: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray

    @property
    def tops(self) -> np.ndarray:
        """(n,) uppermost row."""
        return self.boxes[:, 0]

    def counts(self, chosen: np.ndarray) -> np.ndarray:
        """(n,) how many of the chosen pixels, (H,W) bool, each region has."""
        return np.bincount(self.labels[chosen], minlength=len(self.areas))

    def at_border(self) -> np.ndarray:
        """(n,) bool: which of them reach the border of the picture."""
        found = np.zeros(len(self.areas), bool)
        for line in (self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1]):
            found[line] = True
        return found

    def pixels_of(self, chosen: np.ndarray) -> np.ndarray:
        """(H,W) bool: the chosen regions, (n,) bool; never the rest."""
        chosen = chosen.copy()
        chosen[0] = False
        return chosen[self.labels]


def find_regions(mask: np.ndarray, *, connectivity: int = 8) -> Regions:
    """The connected regions of a mask.

    Parameters
    ----------
    mask : ndarray
        (H,W) bool or uint8.
    connectivity : int
        4 or 8 neighbors belong together.

    Returns
    -------
    Regions
        Numbered from 1; number 0 is all the rest.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8, copy=False),
                                                                connectivity=connectivity)
    left, top, width, height, area = statistics.T
    return Regions(labels, area, np.stack([top, top + height, left, left + width], axis=1))


def without_specks(mask: np.ndarray, min_share: float) -> np.ndarray:
    """A mask's regions that are larger than this share of the picture.

    Parameters
    ----------
    mask : ndarray
        (H,W) bool or uint8; 8 neighbors belong together.
    min_share : float
        In 0..1, of the picture's area.

    Returns
    -------
    ndarray
        (H,W) bool.
    """
    regions = find_regions(mask)
    return regions.pixels_of(regions.areas > min_share * mask.size)


def without_holes(mask: np.ndarray, max_share: float) -> np.ndarray:
    """A mask with its gaps filled that are smaller than this share of the picture.

    Parameters
    ----------
    mask : ndarray
        (H,W) bool; 4 neighbors of a gap belong together.
    max_share : float
        In 0..1, of the picture's area.

    Returns
    -------
    ndarray
        (H,W) bool.
    """
    gaps = find_regions(~mask, connectivity=4)
    return mask | gaps.pixels_of(gaps.areas < max_share * mask.size)
