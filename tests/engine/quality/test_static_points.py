"""Points of a still scene carried from frame to frame, on a plate that a lens has bent."""

from __future__ import annotations

import numpy as np

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.quality.static_points import log_error, world_points
from stereodiff_blender.engine.quality.static_spectrum import static_spectrum

LENS = Distortion(-0.2, 0.02)
HEIGHT, WIDTH, FOCAL_PX, COUNT = 90, 160, 110.0, 20
INTRINSICS = np.array([FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2])
NORMAL, OFFSET = np.array([0.5, 0.2, 1.0]), 4.0
"""Of a slanted wall, NORMAL . X = OFFSET."""


def pose_at(index: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = 0.03 * index, -0.01 * index, 0.01 * index
    return pose


def wall_depth(pose: np.ndarray) -> np.ndarray:
    """(H,W) exact z-depth of the wall behind each of the distorted plate's pixels."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    rays = np.concatenate([undistorted(np.stack([x, y], axis=-1) / FOCAL_PX, LENS), np.ones((HEIGHT, WIDTH, 1))], -1)
    return (OFFSET - NORMAL @ pose[:3, 3]) / (rays @ NORMAL)


def test_points_of_a_distorted_plate_lie_on_the_wall_and_are_found_again():
    rows, cols = (axis.ravel() for axis in np.mgrid[4:HEIGHT - 4:6, 4:WIDTH - 4:6])
    nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
    points = world_points(wall_depth(pose_at(0)), rows, cols, pose_at(0), INTRINSICS, LENS)
    np.testing.assert_allclose(points @ NORMAL, OFFSET, rtol=1e-9)
    error = log_error(wall_depth(pose_at(5)), nothing, points, pose_at(5), INTRINSICS, LENS)
    assert np.isfinite(error).mean() > 0.8 and np.abs(error[np.isfinite(error)]).max() < 1e-3


def test_exact_depth_on_a_distorted_plate_has_no_spectrum():
    poses = np.stack([pose_at(index) for index in range(COUNT)])
    depth = np.stack([wall_depth(pose) for pose in poses]).astype(np.float32)
    sure, still = np.ones_like(depth), np.zeros(depth.shape, np.uint8)
    scene = (depth, None, sure, still, poses, np.tile(INTRINSICS, (COUNT, 1)))
    with_lens, as_pinhole = (static_spectrum(*scene, lens).before.max() for lens in (LENS, None))
    assert with_lens < 1e-4 and with_lens < 0.1 * as_pinhole
