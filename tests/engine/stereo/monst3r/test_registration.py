"""Registration without optimization: against the original's start values, and on shots of known depth."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast
from golden import golden_file, metadata, tensors
from pointmap_scenes import (
    EXACT,
    Noise,
    golden_maps,
    golden_reduction,
    neighbor_pairs,
    position_error,
    predictions,
    seen_from,
)
from recording_report import RecordingReport

from stereodiff_blender.engine.contract.errors import StereoDiffError
from stereodiff_blender.engine.geometry import exp_so3, relative_pose, rotation_angle_deg
from stereodiff_blender.engine.imaging.flow import OpticalFlow
from stereodiff_blender.engine.imaging.warp import PlaneParallax, induced_flow
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import TRUSTED, StereoResult
from stereodiff_blender.engine.stereo.monst3r.focal import weiszfeld_focal
from stereodiff_blender.engine.stereo.monst3r.pointmaps import PairPointmaps
from stereodiff_blender.engine.stereo.monst3r.published_start import camera_by_perspective
from stereodiff_blender.engine.stereo.monst3r.reduction import PointmapReduction, ReducedPointmaps
from stereodiff_blender.engine.stereo.monst3r.registration import Registration, network_center, register_pointmaps
from stereodiff_blender.engine.stereo.monst3r.similarity import fit_similarity
from stereodiff_blender.engine.stereo.monst3r.solve import solve_monst3r
from stereodiff_blender.engine.storage import DiskScratch, RunContext, Scratch

FRAMES = 10
LOG_DEPTH, POSE = 2e-6, 2e-5
"""Tolerances for the original's float32: seen were 1e-6 and 1e-5."""


# --- The original's numbers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> tuple[dict, ReducedPointmaps, Registration]:
    maps = golden_maps()
    reduced = golden_reduction(maps)
    return maps, reduced, register_pointmaps(reduced, as_published=True, report=Report())


def start_values() -> dict[str, np.ndarray]:
    return tensors(golden_file("monst3r", "align_noflow_shared_focal.safetensors"))


def unit_of(registration: Registration, start: dict[str, np.ndarray]) -> float:
    """The original holds the mean scale of its pairs at one half; ours is the best pair's own."""
    return float(np.exp(np.median(start["init_log_depth"] - np.log(registration.depth))))


def test_golden_depth_at_start(published):
    _, _, registration = published
    start = start_values()
    np.testing.assert_allclose(np.log(registration.depth) + np.log(unit_of(registration, start)),
                               start["init_log_depth"], atol=LOG_DEPTH)


def test_golden_cameras_at_start(published):
    _, _, registration = published
    start = start_values()
    expected = start["init_cam2world"]
    np.testing.assert_allclose(registration.camera_to_world[:, :3, :3], expected[:, :3, :3], atol=POSE)
    np.testing.assert_allclose(registration.camera_to_world[:, :3, 3] * unit_of(registration, start),
                               expected[:, :3, 3], atol=POSE)


def test_golden_focal_lengths_at_start(published):
    _, _, registration = published
    alone = tensors(golden_file("monst3r", "align_noflow_perframe_focal.safetensors"))["init_focals_px"].ravel()
    np.testing.assert_allclose(registration.focal, alone, rtol=1e-6)
    np.testing.assert_allclose(registration.focal.mean(), start_values()["init_focals_px"].ravel(), rtol=1e-6)


def test_golden_confidence_at_start(published):
    _, reduced, _ = published
    np.testing.assert_array_equal(reduced.confidence, start_values()["init_conf"])


def test_golden_pair_poses_at_start(published):
    """Every pair's similarity to the world; the geometric mean of their scales is what sets the original's unit."""
    maps, reduced, registration = published
    expected = start_values()["init_pw_poses"].astype(np.float64)
    fits = [fit_similarity(points, registration.placements[frame].points(reduced), confidence) for frame, points,
            confidence in zip(maps["edge_i"], maps["pred1_pts3d"], maps["pred1_conf"], strict=True)]
    scales = np.log([fit.scale for fit in fits])
    np.testing.assert_allclose(0.5 / np.exp(scales.mean()), unit_of(registration, start_values()), rtol=1e-6)
    np.testing.assert_allclose(scales - scales.mean(), expected[:, 7] - expected[:, 7].mean(), atol=POSE)
    shifts = np.array([fit.translation / fit.scale for fit in fits])
    np.testing.assert_allclose(np.sign(shifts) * np.log1p(np.abs(shifts)), expected[:, 4:7], atol=POSE)
    turns = np.stack([rotation_of(quaternion) for quaternion in expected[:, :4]])
    np.testing.assert_allclose(np.stack([fit.rotation for fit in fits]), turns, atol=POSE)


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """(x, y, z, w), of any length, to (3,3)."""
    axis, w = quaternion[:3], quaternion[3]
    norm = np.linalg.norm(axis)
    return exp_so3(axis / max(norm, 1e-12) * 2.0 * np.arctan2(norm, w))


def test_golden_start_does_not_depend_on_the_order_of_pairs(published):
    maps, _, registration = published
    shuffled = np.random.default_rng(0).permutation(len(maps["edge_i"]))
    again = register_pointmaps(golden_reduction(maps, shuffled), as_published=True, report=Report())
    assert again.depth.tobytes() == registration.depth.tobytes()
    assert again.camera_to_world.tobytes() == registration.camera_to_world.tobytes()


def test_golden_inputs_by_procrustes_are_as_good_as_by_perspective(published):
    """The paper's own poses, on which depth and cameras rest unless the original's start is asked for."""
    maps, reduced, registration = published
    found = register_pointmaps(reduced, report=Report())
    truth = maps["gt_cam2world"]
    assert position_error(found.camera_to_world, truth) < 1.5 * position_error(registration.camera_to_world, truth)
    made_with = metadata(golden_file("monst3r", "align_inputs.safetensors"))
    assert found.focal.mean() == pytest.approx(made_with["f"], rel=0.01)
    ratio = found.depth / maps["gt_depth"]
    assert np.abs(ratio / np.median(ratio) - 1.0).mean() < made_with["noise"]


def geometry() -> dict[str, np.ndarray]:
    return tensors(golden_file("monst3r", "geometry.safetensors"))


def test_golden_weiszfeld_focal():
    pieces = geometry()
    points = pieces["focal_pts3d"]
    found = weiszfeld_focal(points, network_center(*points.shape[:2]))
    np.testing.assert_allclose(found, pieces["focal_weiszfeld"], rtol=1e-5)


def test_golden_weighted_similarity():
    pieces = geometry()
    found = fit_similarity(pieces["reg_src"], pieces["reg_dst"], pieces["reg_weights"])
    np.testing.assert_allclose(found.scale, pieces["reg_scale"], rtol=1e-5)
    np.testing.assert_allclose(found.rotation, pieces["reg_R"], atol=1e-5)
    np.testing.assert_allclose(found.translation, pieces["reg_T"], atol=1e-5)


def test_golden_camera_from_points():
    pieces = geometry()
    points, sure = pieces["pnp_pts3d"], np.where(pieces["pnp_mask"], 4.0, 1.0)
    found = camera_by_perspective(points, sure, float(pieces["pnp_focal"]), network_center(*points.shape[:2]))
    np.testing.assert_allclose(found, pieces["pnp_cam2world"], atol=1e-4)


def test_golden_camera_induced_flow():
    """Of the second view towards the first; where the first one's flow leads is not stored."""
    pieces = geometry()
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = pieces["ego_src_R"], pieces["ego_src_T"][:, :, 0]
    rotation, translation = relative_pose(poses[1], poses[0])
    # The original's pixel centers lie at whole numbers, ours half a pixel on.
    to, source = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]) @ pieces["ego_src_K"].astype(np.float64)
    warp = PlaneParallax(to @ rotation @ np.linalg.inv(source), to @ translation)
    found = induced_flow(pieces["ego_src_disp"][1, 0], warp)
    np.testing.assert_allclose(np.moveaxis(found, -1, 0), pieces["ego_flow"][1], atol=1e-4)


# --- Shots of known depth -----------------------------------------------------------------------------------------

def registered(shot: RayCastShot, noise: Noise = EXACT) -> Registration:
    reduction = PointmapReduction(*shot.depth.shape, Scratch())
    for i, j, maps in predictions(shot, neighbor_pairs(len(shot.depth)), noise):
        reduction.add(i, j, maps)
    return register_pointmaps(reduction.finish(), report=Report())


def solved(shot: RayCastShot, noise: Noise = EXACT, *, scratch: Scratch | None = None, report: Report | None = None,
           **options) -> StereoResult:
    pairs = neighbor_pairs(len(shot.depth))
    return solve_monst3r(predictions(shot, pairs, noise), shot.frames,
                         context=RunContext(scratch or Scratch(), report or Report()), **options)


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(FRAMES, with_object=True)


@pytest.fixture(scope="module")
def noisy(shot) -> StereoResult:
    return solved(shot, Noise())


def test_exact_maps_give_exact_depth_and_cameras(shot):
    found = registered(shot)
    ratio = found.depth / shot.depth
    np.testing.assert_allclose(ratio / ratio[0, 0, 0], 1.0, atol=1e-5)
    assert position_error(found.camera_to_world, shot.camera_to_world) < 1e-5
    true_steps = np.swapaxes(shot.camera_to_world[:-1, :3, :3], 1, 2) @ shot.camera_to_world[1:, :3, :3]
    steps = np.swapaxes(found.camera_to_world[:-1, :3, :3], 1, 2) @ found.camera_to_world[1:, :3, :3]
    assert rotation_angle_deg(np.swapaxes(true_steps, 1, 2) @ steps).max() < 1e-4


def test_focal_of_a_known_lens_is_found_however_wild_some_points_are():
    height, width, focal = 30, 44, 61.0
    generator = np.random.default_rng(0)
    center = network_center(height, width)
    depth = generator.uniform(2, 5, (height, width))
    x, y = np.arange(width) + 0.5 - center[0], np.arange(height)[:, None] + 0.5 - center[1]
    points = np.stack([x / focal * depth, y / focal * depth, depth], axis=-1)
    assert weiszfeld_focal(points, center) == pytest.approx(focal, rel=1e-9)
    wild = generator.random((height, width)) < 0.1
    points[wild, :2] *= generator.uniform(0.7, 1.5, (wild.sum(), 1))
    points[0, 0, 2] = 0.0
    assert weiszfeld_focal(points, center) == pytest.approx(focal, rel=0.01)


def test_similarity_undoes_itself_and_heeds_weights():
    generator = np.random.default_rng(3)
    source = generator.normal(size=(20, 30, 3)) + (0, 0, 50)
    rotation = exp_so3(np.array([0.3, -0.2, 0.9]))
    target = 2.5 * source @ rotation.T + (1, -2, 3)
    weights = np.ones((20, 30))
    target[0], weights[0] = 99.0, 0.0
    fit = fit_similarity(source, target, weights)
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose([fit.scale, *fit.translation], [2.5, 1, -2, 3], atol=1e-6)
    back = fit_similarity(target[1:], source[1:], weights[1:])
    np.testing.assert_allclose(back.after(fit).apply(source), source, atol=1e-6)


@pytest.mark.slow
def test_solve_gives_the_gauge_and_the_lens(shot):
    found = solved(shot)
    assert (found.cameras.camera_to_world[0] == np.eye(4)).all()
    assert np.median(found.depth[0]) == pytest.approx(1.0, rel=1e-6)
    unit = np.median(shot.depth[0])
    np.testing.assert_allclose(found.depth * unit, shot.depth, rtol=1e-4)
    np.testing.assert_allclose(found.cameras.camera_to_world[:, :3, 3] * unit, shot.camera_to_world[:, :3, 3],
                               atol=1e-4)
    np.testing.assert_allclose(found.cameras.intrinsics, shot.intrinsics, rtol=2e-3)
    assert found.cameras.solved.all()


@pytest.mark.slow
def test_solve_keeps_a_lens_that_is_known(shot):
    assert (solved(shot, focal_px=123.0).cameras.intrinsics[:, :2] == 123.0).all()
    with pytest.raises(StereoDiffError) as caught:
        solved(shot, focal_px=-1.0)
    assert caught.value.code == "settings_invalid"


@pytest.mark.slow
def test_solve_finds_what_moves_in_spite_of_noise(shot, noisy):
    found, true = noisy.motion_mask > 0, shot.motion_mask > 0
    assert (found & true).sum() > 0.9 * true.sum()
    assert (found & ~true).mean() < 0.01
    still = solved(ray_cast(FRAMES), Noise())
    assert (still.motion_mask > 0).mean() < 0.005


@pytest.mark.slow
def test_solve_trusts_what_agrees_and_nothing_that_moves(shot, noisy):
    trusted = noisy.confidence > TRUSTED
    assert ((noisy.confidence >= 0) & (noisy.confidence <= 1)).all()
    assert not trusted[noisy.motion_mask > 0].any()
    assert trusted.mean() > 0.7
    error = np.abs(np.log(noisy.depth * np.median(shot.depth / noisy.depth) / shot.depth))
    static = shot.motion_mask == 0
    assert error[trusted & static].mean() < 0.8 * error[~trusted & static].mean()


@pytest.mark.slow
def test_confidence_falls_where_a_frames_depth_is_alone_in_what_it_says(shot):
    """One frame's maps have a bump that no other frame knows of."""
    def with_bump():
        for i, j, maps in predictions(shot, neighbor_pairs(FRAMES), EXACT):
            points = {i: maps.points_i.copy(), j: maps.points_j.copy()}
            if 5 in points:
                points[5][20:40, 100:130] *= 1.3
            yield i, j, PairPointmaps(points[i], points[j], maps.confidence_i, maps.confidence_j)

    found = solve_monst3r(with_bump(), shot.frames, context=RunContext())
    assert (found.confidence[5, 24:36, 105:125] > TRUSTED).mean() < 0.1
    assert (found.confidence[2, 24:36, 105:125] > TRUSTED).mean() > 0.9


@pytest.mark.slow
def test_solve_reports_how_far_the_cameras_are_off(shot, noisy):
    exact = solved(shot).cameras.reprojection_px
    assert np.isfinite(exact).all() and exact.mean() < 0.3
    assert noisy.cameras.reprojection_px.mean() > 2.0 * exact.mean()


def test_points_project_to_the_pixels_they_are_seen_at(noisy):
    cameras = noisy.cameras
    assert len(cameras.points) == len(cameras.point_parallax_deg) > 50
    for index, (which, pixels) in enumerate(cameras.observations):
        seen = seen_from(cameras.camera_to_world[index], cameras.intrinsics[index], cameras.points[which])
        np.testing.assert_allclose(seen, pixels, atol=1e-3)


@pytest.mark.slow
def test_points_behind_the_camera_are_filled_from_around(shot):
    def with_holes():
        for i, j, maps in predictions(shot, neighbor_pairs(FRAMES), EXACT):
            points = [maps.points_i.copy(), maps.points_j.copy()]
            for one in points:
                one[50:54, 60:64] *= -1.0
            yield i, j, PairPointmaps(*points, maps.confidence_i, maps.confidence_j)

    found = solve_monst3r(with_holes(), shot.frames, context=RunContext())
    assert (found.depth > 0).all()
    np.testing.assert_allclose(found.depth[:, 50:54, 60:64], np.median(found.depth[:, 48:56, 58:66], axis=(1, 2),
                                                                       keepdims=True).repeat(4, 1).repeat(4, 2),
                               rtol=0.3)


@pytest.mark.slow
def test_matte_is_added_to_what_moves(shot):
    masks = np.zeros(shot.depth.shape, bool)
    masks[:, 5:25, 5:25] = True
    found = solved(shot, masks=masks)
    assert (found.motion_mask[masks] > 0).all() and (found.confidence[masks] < TRUSTED).all()


@pytest.mark.slow
def test_frame_without_a_pair_of_use_is_interpolated_and_named(shot):
    def with_one_bad_frame():
        for i, j, maps in predictions(shot, neighbor_pairs(FRAMES), EXACT):
            low = np.float32(1.01) if 4 in (i, j) else None
            sure = [maps.confidence_i, maps.confidence_j] if low is None else [np.full_like(maps.confidence_i, low)] * 2
            yield i, j, PairPointmaps(maps.points_i, maps.points_j, *sure)

    report = RecordingReport()
    found = solve_monst3r(with_one_bad_frame(), shot.frames, context=RunContext(report=report))
    assert found.cameras.solved.tolist() == [index != 4 for index in range(FRAMES)]
    assert "1 of 10" in report.warnings["frames_unsolved"]
    assert not (found.confidence[4] > TRUSTED).any() and np.isnan(found.cameras.reprojection_px[4])


@pytest.mark.slow
def test_stages_are_told(shot):
    report = RecordingReport()
    solved(shot, report=report)
    assert report.stages == [("solve", FRAMES), ("motion", FRAMES)]
    assert report.done == FRAMES


@pytest.mark.slow
def test_same_input_gives_the_same_bytes_on_disk_as_in_memory(shot, noisy, tmp_path):
    again = solved(shot, Noise(), scratch=DiskScratch(tmp_path))
    assert np.array(again.depth).tobytes() == noisy.depth.tobytes()
    assert np.array(again.confidence).tobytes() == noisy.confidence.tobytes()
    assert np.array(again.motion_mask).tobytes() == noisy.motion_mask.tobytes()
    assert again.cameras.camera_to_world.tobytes() == noisy.cameras.camera_to_world.tobytes()


@pytest.mark.slow
def test_solve_takes_flow_that_is_there_already(shot, noisy):
    flow = OpticalFlow(shot.frames, capacity=100)
    assert (solved(shot, Noise(), flow=flow).motion_mask == noisy.motion_mask).all()


@pytest.mark.parametrize("change", [{"frames": lambda f: f[..., 0]}, {"frames": lambda f: f.astype(float)},
                                    {"frames": lambda f: f[:1]}])
def test_wrong_frames_are_refused(shot, change):
    with pytest.raises(ValueError, match="frames must be"):
        solve_monst3r([], change["frames"](shot.frames), context=RunContext())


def test_points_that_fit_no_lens_are_refused(shot):
    """Turned by half a turn about the axis, they would need a negative focal length."""
    def turned():
        half_turn = np.float32([-1, -1, 1])
        for i, j, maps in predictions(shot, neighbor_pairs(FRAMES), EXACT):
            yield i, j, PairPointmaps(maps.points_i * half_turn, maps.points_j * half_turn, maps.confidence_i,
                                      maps.confidence_j)

    with pytest.raises(StereoDiffError, match="no lens", check=lambda error: error.code == "pointmaps_unsure"):
        solve_monst3r(turned(), shot.frames, context=RunContext())
