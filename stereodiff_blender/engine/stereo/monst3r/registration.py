"""Pointmaps of a clip -> depth, camera and focal length of every frame, without optimization.

Along the maximum spanning tree every pair is laid onto what is placed already, by the similarity between the two maps
of the frame they share; a frame's points come from the pair that reached it first. Its camera is the rotation and
translation between the points in its own axes and in the world (Procrustes; paper, section 3.2).

Similarities are fitted map to map and then chained, 13 numbers each, so that no frame's points are ever held in the
world: one pass over the kept maps, each read at most three times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...geometry import invert_rigid
from ...report import Report
from .focal import weiszfeld_focal
from .published_start import camera_by_perspective, published_focals
from .reduction import ReducedPointmaps
from .similarity import IDENTITY, Similarity, fit_similarity
from .spanning_tree import Edge, Step, growing_order


@dataclass(frozen=True)
class Placement:
    """Where a frame's points come from: a map of an edge (role 0: the first frame's, 1: the second's) and what takes
    it to the world."""

    edge: Edge
    role: int
    to_world: Similarity

    def points(self, reduced: ReducedPointmaps) -> np.ndarray:
        """(H,W,3) float64, world axes."""
        return self.to_world.apply(reduced.pair_points[self.edge.slot, self.role])


@dataclass(frozen=True)
class Registration:
    """depth: (T,H,W) float32 z-depth, in the world's unit; 0 or less where a point came to lie behind its camera.

    camera_to_world: (T,4,4) float64, identity at the first frame of the best pair. focal: (T,) pixels, of each frame
    by itself. placements: of each frame. The unit of length is that of the best pair.
    """

    depth: np.ndarray
    camera_to_world: np.ndarray
    focal: np.ndarray
    placements: list[Placement]


def network_center(height: int, width: int) -> tuple[float, float]:
    """Principal point (cx, cy) that the network's pointmaps are about, pixel centers at +0.5.

    It was trained on pictures whose pixel centers lie at whole numbers and whose axis goes through (W/2, H/2): half a
    pixel off the raster's center.
    """
    return 0.5 * width + 0.5, 0.5 * height + 0.5


def register_pointmaps(reduced: ReducedPointmaps, *, as_published: bool = False, report: Report) -> Registration:
    """Register all frames along the tree. Stage "solve", one unit a frame.

    as_published: as MonST3R's own start values have it to the last digit, for comparing with its published figures:
    cameras of frames that begin no tree edge by perspective from points, and the focal length of a frame that begins
    one from a map registered before its own.
    """
    count, height, width = reduced.shape
    center = network_center(height, width)
    steps = growing_order(reduced.tree)
    placements, poses = _place(reduced, steps)
    focal = published_focals(reduced, steps, center) if as_published else np.empty(count)
    depth = reduced.scratch.allocate("stereo_depth", (count, height, width), np.float32)
    report.stage("solve", count)
    camera_to_world = np.empty((count, 4, 4))
    for index, placement in enumerate(placements):
        if not as_published:
            focal[index] = weiszfeld_focal(reduced.own_points[index], center)
        if index in poses:
            camera_to_world[index] = poses[index]
        elif as_published:
            points = placement.points(reduced)
            camera_to_world[index] = camera_by_perspective(points, reduced.confidence[index], focal[index], center)
        else:
            camera_to_world[index] = _procrustes(reduced, index, placement)
        depth[index] = _depth(reduced, placement, camera_to_world[index])
        report.progress(index + 1)
    return Registration(depth, camera_to_world, focal, placements)


def _place(reduced: ReducedPointmaps, steps: list[Step]) -> tuple[list[Placement], dict[int, np.ndarray]]:
    """Every frame's placement, and the cameras of the frames that begin a tree edge: the first such edge, laid onto
    the world, tells."""
    root = steps[0].edge
    placements = {root.i: Placement(root, 0, IDENTITY), root.j: Placement(root, 1, IDENTITY)}
    poses = {root.i: np.eye(4)}
    for step in steps[1:]:
        edge = step.edge
        known, new = (edge.i, edge.j) if step.knows_i else (edge.j, edge.i)
        role = 0 if step.knows_i else 1
        to_world = _onto(reduced, placements[known], reduced.pair_points[edge.slot, role],
                         reduced.pair_confidence[edge.slot, role])
        placements[new] = Placement(edge, 1 - role, to_world)
        poses.setdefault(edge.i, to_world.camera_to_world())
    return [placements[index] for index in range(len(placements))], poses


def _map_of(reduced: ReducedPointmaps, placement: Placement) -> np.ndarray:
    return reduced.pair_points[placement.edge.slot, placement.role]


def _onto(reduced: ReducedPointmaps, placement: Placement, points: np.ndarray, confidence: np.ndarray) -> Similarity:
    """What takes another map (H,W,3) of a placed frame to the world."""
    return placement.to_world.after(fit_similarity(points, _map_of(reduced, placement), confidence))


def _procrustes(reduced: ReducedPointmaps, index: int, placement: Placement) -> np.ndarray:
    """Camera (4,4) of a frame by its points in its own axes and in the world."""
    to_world = _onto(reduced, placement, reduced.own_points[index], reduced.own_confidence[index])
    return to_world.camera_to_world()


def _depth(reduced: ReducedPointmaps, placement: Placement, camera_to_world: np.ndarray) -> np.ndarray:
    """Z-depth (H,W) of a frame's placed points in its camera."""
    to_camera = invert_rigid(camera_to_world)
    towards = placement.to_world.scale * to_camera[2, :3] @ placement.to_world.rotation
    shift = to_camera[2, :3] @ placement.to_world.translation + to_camera[2, 3]
    return _map_of(reduced, placement) @ towards.astype(np.float32) + np.float32(shift)
