"""What the network says about one ordered pair of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairPointmaps:
    """Pointmaps of frames i and j, both in camera i's axes (OpenCV), each at its own frame's instant.

    points_i: (H_i,W_i,3) and points_j: (H_j,W_j,3), x right, y down, z forward. The unit of length is arbitrary and
    another one in every pair. confidence_i: (H_i,W_i) and confidence_j: (H_j,W_j), in (1, inf).
    All float32. Where a batch of pairs is meant, every array is a torch tensor with one axis more in front.
    """

    points_i: np.ndarray
    points_j: np.ndarray
    confidence_i: np.ndarray
    confidence_j: np.ndarray
