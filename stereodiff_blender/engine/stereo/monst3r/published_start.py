"""Two habits of MonST3R's published start values that the paper's method does not have: to compare figures with it."""

from __future__ import annotations

import cv2
import numpy as np

from ...geometry import camera_matrix, invert_rigid
from .focal import weiszfeld_focal
from .reduction import ReducedPointmaps
from .spanning_tree import Step

MIN_CONFIDENCE = 3.0
MIN_PIXELS = 4
RANSAC_ROUNDS, RANSAC_PX = 10, 5.0


def published_focals(reduced: ReducedPointmaps, steps: list[Step], principal_point: tuple[float, float]) -> np.ndarray:
    """(T,) focal lengths: a frame that begins a tree edge has that of the map registered last when its best such edge
    is first tried, any other that of its own map."""
    focal = np.full(len(reduced.own_points), np.nan)
    placed_at_once = {step.edge for step in steps if step.turn == 0}
    before = reduced.tree[0]
    for edge in reduced.tree:
        if np.isnan(focal[edge.i]):
            focal[edge.i] = weiszfeld_focal(reduced.pair_points[before.slot, 0], principal_point)
        if edge in placed_at_once:
            before = edge
    for index in np.flatnonzero(np.isnan(focal)):
        focal[index] = weiszfeld_focal(reduced.own_points[index], principal_point)
    return focal


def camera_by_perspective(points: np.ndarray, confidence: np.ndarray, focal: float,
                          principal_point: tuple[float, float]) -> np.ndarray:
    """Camera-to-world (4,4) under which world points (H,W,3) project to their own pixels.

    confidence: (H,W) of the network, > 1; pixels surer than SURE count. SQPnP in a few rounds of RANSAC; identity if
    too few pixels count or none fits.
    """
    rows, columns = np.nonzero(confidence > MIN_CONFIDENCE)
    if len(rows) < MIN_PIXELS:
        return np.eye(4)
    pixels = np.stack([columns, rows], axis=1) + 0.5
    found, turn, shift, _ = cv2.solvePnPRansac(
        points[rows, columns].astype(np.float32), pixels.astype(np.float32),
        camera_matrix((focal, focal, *principal_point)).astype(np.float32), None, iterationsCount=RANSAC_ROUNDS,
        reprojectionError=RANSAC_PX, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        return np.eye(4)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    return invert_rigid(world_to_camera)
