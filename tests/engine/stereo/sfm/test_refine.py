"""Refine cameras: the jitter of registered pointmaps repaired on tracked points, and depth brought along."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast
from golden import golden_file, tensors
from pointmap_scenes import (
    followed_points,
    golden_maps,
    golden_reduction,
    neighbor_pairs,
    position_error,
    predictions,
    seen_from,
)
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import LensResult
from stereodiff_blender.engine.geometry import exp_so3, rebase, rotation_angle_deg
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import CameraSolution, StereoResult
from stereodiff_blender.engine.stereo.monst3r.registration import network_center, register_pointmaps
from stereodiff_blender.engine.stereo.monst3r.solve import solve_monst3r
from stereodiff_blender.engine.stereo.sfm.refine import Refinement, refine_cameras, refine_on_tracks
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks
from stereodiff_blender.engine.storage import RunContext

pytestmark = pytest.mark.slow

LONG = 100


@dataclass(frozen=True)
class Refined:
    """A shot, stage 1's result on it and what refining made of that."""

    shot: RayCastShot
    start: StereoResult
    refinement: Refinement

    def position_errors(self) -> tuple[float, float]:
        """Before and after, in the shot's units."""
        return tuple(position_error(one.cameras.camera_to_world, self.shot.camera_to_world)
                     for one in (self.start, self.refinement.stereo))

    def turn_errors_deg(self) -> tuple[float, float]:
        """Before and after, mean over the turns from frame to frame."""
        return tuple(_turn_error_deg(one.cameras.camera_to_world, self.shot.camera_to_world)
                     for one in (self.start, self.refinement.stereo))

    def depth_errors(self) -> tuple[float, float]:
        """Before and after, mean relative error under one scale for the clip."""
        return tuple(_depth_error(one.depth, self.shot.depth) for one in (self.start, self.refinement.stereo))


def _turn_error_deg(found: np.ndarray, truth: np.ndarray) -> float:
    steps, true = (np.swapaxes(p[:-1, :3, :3], 1, 2) @ p[1:, :3, :3] for p in (found, truth))
    return float(rotation_angle_deg(np.swapaxes(steps, 1, 2) @ true).mean())


def _depth_error(found: np.ndarray, truth: np.ndarray) -> float:
    ratio = found / truth
    return float(np.abs(ratio / np.median(ratio) - 1.0).mean())


def stage_1(shot: RayCastShot) -> StereoResult:
    pairs = neighbor_pairs(len(shot.depth))
    return solve_monst3r(predictions(shot, pairs), shot.frames, context=RunContext())


def refined(shot: RayCastShot, tracks: Tracks | None, start: StereoResult | None = None, **options) -> Refined:
    """On these tracks, or with None on features of the frames."""
    start = start or stage_1(shot)
    given = replace(start, depth=start.depth.copy())
    if tracks is None:
        return Refined(shot, start, refine_cameras(shot.frames, given, report=Report(), **options))
    return Refined(shot, start, refine_on_tracks(tracks, given, report=Report(), **options))


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(24, with_object=True)


@pytest.fixture(scope="module")
def start(shot) -> StereoResult:
    return stage_1(shot)


@pytest.fixture(scope="module")
def on_features(shot, start) -> Refined:
    return refined(shot, None, start)


@pytest.fixture(scope="module")
def long() -> Refined:
    shot = ray_cast(LONG)
    return refined(shot, followed_points(shot, noise_px=0.3, outliers=0.1))


# --- How much better ----------------------------------------------------------------------------------------------

def golden_tracks(maps: dict[str, np.ndarray]) -> Tracks:
    """Static pixels followed along the stored flow from each frame to the next, as long as the way back agrees."""
    count, height, width = maps["gt_depth"].shape
    edges = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(maps["edge_i"], maps["edge_j"], strict=True))}
    flows = {edge: np.ascontiguousarray(np.moveaxis(maps["flow_ij"][k], 0, -1)) for edge, k in edges.items()}
    rows, columns = np.mgrid[1:height - 1:2, 1:width - 1:2].reshape(2, -1)
    parts, born = [], 0
    for first in range(count - 1):
        static = ~maps["gt_dynamic"][first][rows, columns]
        pixels, names = np.stack([columns, rows], axis=1)[static].astype(np.float64), born + np.arange(static.sum())
        born += len(names)
        parts.append((np.full(len(names), first), names, pixels))
        for index in range(first, count - 1):
            step = _looked_up(flows[index, index + 1], pixels)
            back = _looked_up(flows[index + 1, index], pixels + step)
            pixels = pixels + step
            inside = (pixels >= 0).all(1) & (pixels <= (width - 1, height - 1)).all(1)
            keep = inside & (np.linalg.norm(step + back, axis=1) < 0.05)
            pixels, names = pixels[keep], names[keep]
            parts.append((np.full(len(names), index + 1), names, pixels))
    frame, point, pixels = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((point, frame))
    return Tracks(count, (width, height), born, frame[order], point[order], pixels[order] + 0.5)


def _looked_up(flow: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return cv2.remap(flow, pixels.astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]


def golden_stage_1(maps: dict[str, np.ndarray]) -> StereoResult:
    found = register_pointmaps(golden_reduction(maps), report=Report())
    count, height, width = found.depth.shape
    focal = found.focal.mean()
    lens = np.tile([focal, focal, *network_center(height, width)], (count, 1))
    cameras = CameraSolution("moving", rebase(found.camera_to_world), lens, np.ones(count, bool),
                             np.full(count, np.nan), np.zeros((0, 3)), np.zeros(0))
    return StereoResult(cameras, found.depth, np.ones_like(found.depth), maps["gt_dynamic"].astype(np.uint8))


def test_golden_pairwise_predictions_become_three_times_as_exact():
    maps = golden_maps()
    start = golden_stage_1(maps)
    before = position_error(start.cameras.camera_to_world, maps["gt_cam2world"])
    depth_before = _depth_error(start.depth, maps["gt_depth"])
    found = refine_on_tracks(golden_tracks(maps), start, report=Report())
    after = position_error(found.stereo.cameras.camera_to_world, maps["gt_cam2world"])
    assert found.is_refined and after < before / 3.0
    assert found.reprojection_after_px < found.reprojection_before_px / 3.0
    assert _depth_error(found.stereo.depth, maps["gt_depth"]) < depth_before
    assert found.focal_after_px == pytest.approx(maps["gt_K"][0, 0], rel=0.01)


def test_golden_refinement_beats_the_original_optimization():
    """300 iterations of it, on the same maps and with the same exact flow."""
    maps = golden_maps()
    found = refine_on_tracks(golden_tracks(maps), golden_stage_1(maps), report=Report())
    final = tensors(golden_file("monst3r", "align_noflow_shared_focal.safetensors"))["final_cam2world"]
    assert (position_error(found.stereo.cameras.camera_to_world, maps["gt_cam2world"])
            < position_error(final, maps["gt_cam2world"]) / 3.0)


def test_hundred_frames_with_noise_and_outliers(long):
    before, after = long.position_errors()
    assert long.refinement.is_refined and after < before / 10.0
    turn_before, turn_after = long.turn_errors_deg()
    assert turn_after < turn_before / 10.0
    assert long.refinement.stereo.cameras.solved.all()
    assert long.refinement.focal_after_px == pytest.approx(long.shot.intrinsics[0, 1], rel=0.02)


def test_features_of_the_frames_themselves(on_features):
    before, after = on_features.position_errors()
    assert after < before / 10.0
    turn_before, turn_after = on_features.turn_errors_deg()
    assert turn_after < turn_before / 10.0


def test_depth_comes_along(long, on_features):
    for one in (long, on_features):
        before, after = one.depth_errors()
        assert after < 0.6 * before
        assert one.refinement.depth_misfit_after < 0.6 * one.refinement.depth_misfit_before


def test_depth_and_cameras_are_of_one_gauge(long):
    """What a frame's depth says of a point is what its neighbor's says: only through the cameras between them."""
    stereo, shot = long.refinement.stereo, long.shot
    ratio = np.median(stereo.depth / shot.depth, axis=(1, 2))
    assert np.abs(ratio / np.median(ratio) - 1.0).mean() < 0.01
    path, true = (np.linalg.norm(np.diff(p[::10, :3, 3], axis=0), axis=1)
                  for p in (stereo.cameras.camera_to_world, shot.camera_to_world))
    np.testing.assert_allclose(path / true / np.median(ratio), 1.0, atol=0.05)


def test_reprojection_error_is_that_of_the_noise(long):
    # Of a noise of 0.3 px to either side, the mean distance is 0.3 * sqrt(pi / 2).
    assert long.refinement.reprojection_after_px == pytest.approx(0.3 * np.sqrt(np.pi / 2), rel=0.1)
    assert long.refinement.reprojection_before_px > 4.0 * long.refinement.reprojection_after_px
    per_frame = long.refinement.stereo.cameras.reprojection_px
    assert per_frame.shape == (LONG,) and np.nanmean(per_frame) == pytest.approx(
        long.refinement.reprojection_after_px, rel=0.05)


def test_first_camera_stays_the_origin_and_its_depth_as_it_was(on_features):
    assert (on_features.refinement.stereo.cameras.camera_to_world[0] == np.eye(4)).all()
    np.testing.assert_array_equal(on_features.refinement.stereo.depth[0], on_features.start.depth[0])


def test_points_project_to_where_they_were_tracked(on_features):
    cameras = on_features.refinement.stereo.cameras
    for index, (which, pixels) in enumerate(cameras.observations):
        found = seen_from(cameras.camera_to_world[index], cameras.intrinsics[index], cameras.points[which])
        assert np.median(np.linalg.norm(found - pixels, axis=1)) < 0.3


# --- What it must not do ------------------------------------------------------------------------------------------

def shaking_path(count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = 0.05 * generator.normal(size=(count, 3))
    poses[:, 0, 3] += 0.05 * np.arange(count)
    poses[:, :3, :3] = exp_so3(0.01 * generator.normal(size=(count, 3)))
    return rebase(poses)


def test_a_shaking_camera_keeps_its_shake():
    shot = ray_cast(20, poses=shaking_path(20))
    one = refined(shot, followed_points(shot, noise_px=0.1, outliers=0.0))
    before, after = one.position_errors()
    assert after < before / 10.0
    shake = np.linalg.norm(np.diff(shot.camera_to_world[:, :3, 3], 2, axis=0), axis=1).mean()
    assert after < 0.05 * shake


@pytest.mark.parametrize("turn", [0.0, 0.01])
def test_a_tripod_holds_still(turn):
    """Nothing can be triangulated, so the points stay where depth has them; the place of the camera comes to rest."""
    count = 16
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = exp_so3(np.outer(turn * np.arange(count), (0, 1, 0)))
    shot = ray_cast(count, poses=poses)
    one = refined(shot, followed_points(shot, noise_px=0.1, outliers=0.05))
    wandering = [one.cameras.camera_to_world[:, :3, 3].std(0).max() for one in (one.start, one.refinement.stereo)]
    assert one.refinement.is_refined and wandering[1] < wandering[0] / 5.0
    assert one.turn_errors_deg()[1] < one.turn_errors_deg()[0] / 5.0
    assert one.refinement.focal_after_px == one.refinement.focal_before_px


def test_a_lens_that_is_known_is_held(shot, start):
    one = refined(shot, followed_points(shot), start, is_focal_known=True)
    assert (one.refinement.stereo.cameras.intrinsics == start.cameras.intrinsics).all()
    before, after = one.position_errors()
    assert after < before / 3.0


def test_pixels_need_not_be_square(shot, start):
    """The same shot on a raster of half the width."""
    lens = start.cameras.intrinsics * (0.5, 1, 0.5, 1)
    squeezed = replace(start, cameras=replace(start.cameras, intrinsics=lens), depth=start.depth[:, :, ::2].copy(),
                       motion_mask=start.motion_mask[:, :, ::2])
    tracks = followed_points(shot)
    width, height = tracks.size
    tracks = replace(tracks, pixels=tracks.pixels * (0.5, 1), size=(width // 2, height))
    found = refine_on_tracks(tracks, squeezed, report=Report()).stereo.cameras
    before = position_error(start.cameras.camera_to_world, shot.camera_to_world)
    assert position_error(found.camera_to_world, shot.camera_to_world) < before / 10.0
    np.testing.assert_allclose(found.intrinsics[:, 1] / found.intrinsics[:, 0], 2.0, rtol=1e-9)


def test_a_zoom_is_kept_frame_by_frame(shot, start):
    """The same shot while the lens becomes wider by a tenth."""
    zoom = np.linspace(1.0, 0.9, len(start.depth))
    center = start.cameras.intrinsics[0, 2:]
    lens = start.cameras.intrinsics * np.stack([zoom, zoom, np.ones_like(zoom), np.ones_like(zoom)], axis=1)
    cameras = replace(start.cameras, intrinsics=lens, lens=LensResult(zooms=True))
    x, y = np.meshgrid(np.arange(start.depth.shape[2]) + 0.5, np.arange(start.depth.shape[1]) + 0.5)
    wider = [((np.stack([x, y], axis=-1) - center) / one + center - 0.5).astype(np.float32) for one in zoom]
    depth, moves = (np.stack([cv2.remap(one, place, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
                              for one, place in zip(array, wider, strict=True)])
                    for array in (start.depth, start.motion_mask))
    tracks = followed_points(shot)
    tracks = replace(tracks, pixels=(tracks.pixels - center) * zoom[tracks.frame][:, None] + center)
    given = replace(start, cameras=cameras, depth=depth, motion_mask=moves)
    found = refine_on_tracks(tracks, given, is_focal_known=True, report=Report())
    assert found.is_refined
    np.testing.assert_allclose(found.stereo.cameras.intrinsics, lens, rtol=1e-9)
    before = position_error(start.cameras.camera_to_world, shot.camera_to_world)
    assert position_error(found.stereo.cameras.camera_to_world, shot.camera_to_world) < before / 3.0


def test_tracks_on_what_moves_are_left_out(shot, start):
    """Here everything is said to move."""
    everything = replace(start, motion_mask=np.ones_like(start.motion_mask))
    report = RecordingReport()
    found = refine_on_tracks(followed_points(shot), everything, report=report)
    assert not found.is_refined and found.stereo is everything
    assert "low_texture" in report.warnings


def test_frames_without_tracks_keep_their_step(shot, start):
    tracks = followed_points(shot)
    tracks = tracks.select((tracks.frame < 10) | (tracks.frame > 12))
    one = refined(shot, tracks, start)
    cameras = one.refinement.stereo.cameras
    assert cameras.solved.tolist() == [not 10 <= index <= 12 for index in range(len(shot.depth))]
    before, after = one.position_errors()
    assert after < before / 2.0


def test_too_few_tracks_change_nothing(shot, start):
    tracks = followed_points(shot)
    report = RecordingReport()
    depth = start.depth.copy()
    found = refine_on_tracks(tracks.select(tracks.point < 5), start, report=report)
    assert not found.is_refined and found.stereo is start and (start.depth == depth).all()
    assert list(report.warnings) == ["low_texture"]


def test_tracks_that_fit_no_camera_change_nothing(shot, start):
    tracks = followed_points(shot)
    noise = np.random.default_rng(0).uniform((0, 0), tracks.size, tracks.pixels.shape)
    report = RecordingReport()
    found = refine_on_tracks(replace(tracks, pixels=noise), start, report=report)
    assert not found.is_refined and found.stereo is start and "low_texture" in report.warnings


def test_stages_are_told(shot, start):
    report = RecordingReport()
    refine_cameras(shot.frames, replace(start, depth=start.depth.copy()), report=report)
    assert report.stages == [("track", 24), ("solve", 24)] and report.done == 24


def test_same_input_gives_the_same_bytes(shot, start, on_features):
    again = refined(shot, None, start).refinement
    for one, other in ((again.stereo.depth, on_features.refinement.stereo.depth),
                       (again.stereo.cameras.camera_to_world, on_features.refinement.stereo.cameras.camera_to_world)):
        assert one.tobytes() == other.tobytes()


def test_wrong_input_is_refused(shot, start):
    with pytest.raises(ValueError, match="different rasters"):
        refine_cameras(shot.frames[:, ::2], start, report=Report())
    still = replace(start, cameras=replace(start.cameras, kind="static"))
    with pytest.raises(ValueError, match="moving camera"):
        refine_on_tracks(followed_points(shot), still, report=Report())
    with pytest.raises(ValueError, match="do not fit"):
        refine_on_tracks(replace(followed_points(shot), frame_count=3), start, report=Report())
