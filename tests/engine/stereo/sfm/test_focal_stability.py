"""Whether the parts of a shot agree on its lens."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, camera_path
from recording_report import RecordingReport

from stereodiff_blender.engine.stereo.mapping import BundleState, Observations, bundle_adjust
from stereodiff_blender.engine.stereo.mapping.registration import CameraFit
from stereodiff_blender.engine.stereo.sfm.focal_stability import focal_jackknife_ratio
from stereodiff_blender.engine.stereo.sfm.warnings import warn_weak_focal


def seen_by(state: BundleState, camera: np.ndarray, point: np.ndarray, world: np.ndarray) -> Observations:
    """Observations of world (N,3), where each point is at its moment."""
    local = np.einsum("nij,nj->ni", state.rotations[camera], world) + state.translations[camera]
    return Observations(camera, point, state.focal * local[:, :2] / local[:, 2:])


def sideways(points: int, walk=(0.0, 0.0, 0.0)) -> tuple[BundleState, Observations]:
    """A short sideways move past points in a box; those at the right walk steadily by this vector meanwhile."""
    poses = camera_path(12, travel=0.7, turn_deg=2.0)
    rotations = np.swapaxes(poses[:, :3, :3], 1, 2)
    world = np.random.default_rng(0).uniform((-3, -2, 4), (3, 2, 12), (points, 3))
    state = BundleState(rotations, -np.einsum("nij,nj->ni", rotations, poses[:, :3, 3]), world, FOCAL_PX)
    camera, point = (index.ravel() for index in np.meshgrid(np.arange(12), np.arange(points), indexing="ij"))
    share = np.where(world[point, 0] / world[point, 2] > 0.15, camera / 11, 0.0)
    return state, seen_by(state, camera, point, world[point] + share[:, None] * np.asarray(walk))


def fitted(state: BundleState, observations: Observations) -> CameraFit:
    """What a solve makes of the observations, as solve_cameras hands it on."""
    state, _ = bundle_adjust(state, observations, loss_px=0.3, iterations=60, tolerance=1e-6)
    count = len(state.rotations)
    return CameraFit(state.rotations, state.translations, np.ones(count, bool), state.focal, 0.0, observations.camera,
                     observations.point, observations.pixels, state.residual_px(observations), state.points,
                     np.full(len(state.points), 5.0))


def with_noise(state: BundleState, observations: Observations) -> tuple[BundleState, Observations]:
    noise = np.random.default_rng(1).normal(0.0, 0.1, observations.pixels.shape)
    return state, Observations(observations.camera, observations.point, observations.pixels + noise)


def test_still_points_agree_on_the_lens():
    assert focal_jackknife_ratio(fitted(*with_noise(*sideways(500)))) < 1.03


@pytest.mark.slow
def test_a_crowd_that_walks_past_is_found_out():
    assert focal_jackknife_ratio(fitted(*with_noise(*sideways(500, walk=(0.2, 0.0, -0.5))))) > 1.08


def test_too_little_to_try_disagrees_with_nothing():
    assert focal_jackknife_ratio(fitted(*sideways(14))) == 1.0


@pytest.mark.parametrize(("found", "words", "contradicts"), [
    ({}, None, False),
    ({"focal_spread": 1.4}, "only roughly", False),
    ({"rel_std": 0.05}, "only roughly", False),
    ({"jackknife_ratio": 1.15}, "different focal lengths", False),
    ({"jackknife_ratio": 1.35}, "different focal lengths", True),
    ({"width_share": 3.3}, "119 mm", True),
    ({"width_share": 0.2}, "7 mm", True),
    ({"is_travel_doubtful": True}, None, False),
    ({"is_travel_doubtful": True, "rel_std": 0.05}, "only roughly", True),
])
def test_a_doubtful_lens_is_named_with_its_reason(found, words, contradicts):
    report = RecordingReport()
    sound = {"focal_spread": 1.02, "rel_std": 0.004, "jackknife_ratio": 1.01, "width_share": 0.8}
    assert warn_weak_focal(report, **(sound | found)) is contradicts
    assert (words is None and not report.warnings) or words in report.warnings["weak_focal"]
