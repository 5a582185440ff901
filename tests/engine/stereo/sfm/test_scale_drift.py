"""Whether a shot's scale is carried from beginning to end, and how few points are told of where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, turned
from recording_report import RecordingReport

from stereodiff_blender.engine.stereo.mapping import BundleState, Observations, bundle_adjust
from stereodiff_blender.engine.stereo.mapping.anchors import MOST_TOGETHER
from stereodiff_blender.engine.stereo.mapping.registration import CameraFit
from stereodiff_blender.engine.stereo.sfm.scale_drift import count_links, measure_scale_drift
from stereodiff_blender.engine.stereo.sfm.warnings import warn_scale_drift

WALK, TURN, TURN_DEG = 14, 6, 24.0
STEP, LINKED = 0.07, 2
FRAMES = 2 * WALK + TURN


def walk_turn_walk(linking: int, seed: int = 0, noise_px: float = 0.25) -> tuple[BundleState, Observations]:
    """Sideways past points, a turn on the spot, and on sideways past others. Only `linking` points are seen in both
    walks, in a few frames of each."""
    generator = np.random.default_rng(seed)
    share = np.clip((np.arange(FRAMES) - WALK) / TURN, 0.0, 1.0)
    poses = turned(np.outer(share * TURN_DEG, [0.0, 1.0, 0.0]))
    rotations = np.swapaxes(poses, 1, 2)
    centers = np.zeros((FRAMES, 3))
    centers[:, 0] = STEP * (np.minimum(np.arange(FRAMES), WALK) + np.maximum(np.arange(FRAMES) - WALK - TURN, 0))
    counts = (300, 300, linking)
    spans = ((0, WALK + 2), (WALK + TURN - 2, FRAMES), (WALK - LINKED, WALK + TURN + LINKED))
    world = generator.uniform((-2, -2, 4), (4, 2, 12), (sum(counts), 3))
    camera, point = np.meshgrid(np.arange(FRAMES), np.arange(len(world)), indexing="ij")
    first, last = (np.repeat([span[k] for span in spans], counts) for k in (0, 1))
    visible = (camera >= first[point]) & (camera < last[point])
    camera, point = camera[visible], point[visible]
    state = BundleState(rotations, -np.einsum("nij,nj->ni", rotations, centers), world, FOCAL_PX)
    local = state.in_camera(Observations(camera, point, np.zeros((len(camera), 2))))
    pixels = FOCAL_PX * local[:, :2] / local[:, 2:] + generator.normal(0.0, noise_px, (len(camera), 2))
    return state, Observations(camera, point, pixels)


def fitted(state: BundleState, observations: Observations) -> CameraFit:
    return as_fit(bundle_adjust(state, observations, loss_px=0.3, iterations=60, tolerance=1e-7)[0], observations)


def as_fit(state: BundleState, observations: Observations) -> CameraFit:
    solved, parallax_deg = np.ones(len(state.rotations), bool), np.full(len(state.points), 5.0)
    return CameraFit(state.rotations, state.translations, solved, state.focal, 0.0, observations.camera,
                     observations.point, observations.pixels, state.residual_px(observations), state.points,
                     parallax_deg)


def size_ratio(fit: CameraFit) -> float:
    """Length of the second walk over that of the first; 1 in truth."""
    centers = -np.einsum("nji,nj->ni", fit.rotations, fit.translations)
    length = [np.linalg.norm(centers[stop] - centers[start])
              for start, stop in ((0, WALK), (FRAMES - WALK, FRAMES - 1))]
    return length[1] / length[0] * WALK / (WALK - 1)


@pytest.mark.slow
def test_a_turn_on_the_spot_with_few_links_is_told():
    fit = fitted(*walk_turn_walk(linking=4))
    drift = measure_scale_drift(fit, free_focal=True)
    assert drift is not None and drift.share > 0.1
    assert WALK - 6 <= drift.first < drift.last <= WALK + TURN + 6 and 1 <= drift.links <= 4
    assert np.median(fit.residual_px) < 0.5, "reprojection says nothing of it"
    report = RecordingReport()
    warn_scale_drift(report, drift, 101)
    assert f"between frames {drift.first + 101} and {drift.last + 101}" in report.warnings["scale_drift"]


@pytest.mark.slow
@pytest.mark.parametrize("linking", [150, 300])
def test_a_turn_with_many_links_is_firm(linking):
    fit = fitted(*walk_turn_walk(linking))
    drift = measure_scale_drift(fit, free_focal=True)
    assert drift is not None and drift.share < 0.08 and abs(size_ratio(fit) - 1) < drift.share
    report = RecordingReport()
    warn_scale_drift(report, drift, 1)
    assert not report.warnings


@pytest.mark.slow
def test_what_is_told_covers_what_happens():
    found = [(np.log(size_ratio(fit)), measure_scale_drift(fit, free_focal=True))
             for fit in (fitted(*walk_turn_walk(6, seed)) for seed in range(8))]
    off = np.array([ratio for ratio, _ in found])
    told = np.array([drift.share for _, drift in found])
    assert (np.abs(off) < told).mean() > 0.8 and np.median(told) < 10 * np.median(np.abs(off))


def test_links_are_points_with_parallax_on_both_sides():
    state, observations = walk_turn_walk(linking=9, noise_px=0.0)
    links = count_links(state, observations)
    assert links[WALK + 2:WALK + TURN - 3].max() <= 9 and links[WALK // 2] > 200
    assert links[0] == links[-1] == 0


def test_a_long_shot_is_asked_on_its_anchors():
    count, points = MOST_TOGETHER + 40, 400
    generator = np.random.default_rng(2)
    world = generator.uniform((-2, -2, 4), (14, 2, 12), (points, 3))
    first = np.clip(count * (world[:, 0] + 2) / 16 - 25, 0, count - 30).astype(int)
    camera, point = np.meshgrid(np.arange(count), np.arange(points), indexing="ij")
    visible = (camera >= first[point]) & (camera < first[point] + 30)
    camera, point = camera[visible], point[visible]
    centers = np.zeros((count, 3))
    centers[:, 0] = 12 * np.arange(count) / count
    state = BundleState(np.tile(np.eye(3), (count, 1, 1)), -centers, world, FOCAL_PX)
    local = state.in_camera(Observations(camera, point, np.zeros((len(camera), 2))))
    pixels = FOCAL_PX * local[:, :2] / local[:, 2:] + generator.normal(0.0, 0.1, (len(camera), 2))
    drift = measure_scale_drift(as_fit(state, Observations(camera, point, pixels)), free_focal=True)
    assert drift is not None and 0.0 < drift.share < 1.0 and 0 < drift.first < drift.last < count and drift.links > 9


def test_a_short_shot_is_not_asked():
    state, observations = walk_turn_walk(linking=9)
    few = observations.select(observations.camera < 10)
    assert measure_scale_drift(as_fit(state, few), free_focal=True) is None
    report = RecordingReport()
    warn_scale_drift(report, None, 1)
    assert not report.warnings
