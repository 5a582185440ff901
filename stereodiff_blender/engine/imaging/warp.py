"""From one frame's pixels to another's, by depth.

With both cameras known, a pixel x of frame i with disparity q (1 / z-depth) is seen in frame j at
x' ~ homography @ x + q * parallax, in homogeneous pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import camera_matrix, relative_pose
from ..solution import CameraSolution


@dataclass(frozen=True)
class Transfer:
    """Where pixels of one frame lie in another, up to scale: homography (3,3) @ x + disparity * parallax (3,)."""

    homography: np.ndarray
    parallax: np.ndarray


def transfer_between(cameras: CameraSolution, i: int, j: int) -> Transfer:
    """Transfer of pixels from frame i to frame j; float64."""
    rotation, translation = relative_pose(cameras.camera_to_world[i], cameras.camera_to_world[j])
    matrix_i, matrix_j = camera_matrix(cameras.intrinsics[i]), camera_matrix(cameras.intrinsics[j])
    return Transfer(matrix_j @ rotation @ np.linalg.inv(matrix_i), matrix_j @ translation)
