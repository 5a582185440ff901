"""Adjusting more frames than fit into one system: as exact as if they did, and linear in frames."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, camera_path

from stereodiff_blender.engine.geometry import align_similarity, exp_so3, rotation_angle_deg
from stereodiff_blender.engine.stereo.mapping.anchors import (
    MAX_GAP,
    MOST_ANCHORS,
    MOST_TOGETHER,
    adjust_on_anchors,
    choose_anchors,
)
from stereodiff_blender.engine.stereo.mapping.bundle_adjustment import (
    BundleOptions,
    BundleState,
    Observations,
    Shutter,
)
from stereodiff_blender.engine.stereo.mapping.reconstruction import Reconstruction
from stereodiff_blender.engine.stereo.mapping.registration import _lens_std
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks

NOISE_PX = 0.2
FRAMES = MOST_TOGETHER + 40
RULE = {"loss_px": 1.0, "iterations": 20, "tolerance": 1e-4}


def tracks_of(cameras: int, points: int, length: int) -> tuple[Observations, np.ndarray]:
    """Which of `cameras` see which points: each `length` in a row, or fewer at the end. Observations without pixels,
    and where each point's run starts."""
    first = np.sort(np.random.default_rng(0).integers(-length + 2, cameras - 1, points))
    camera, point = np.meshgrid(np.arange(cameras), np.arange(points), indexing="ij")
    observations = (camera >= first) & (camera < first + length)
    camera, point = camera[observations], point[observations]
    return Observations(camera, point, np.zeros((len(camera), 2))), first


def long_shot(cameras: int, *, k1: float = 0.0, zoom: np.ndarray | None = None) -> tuple[BundleState, Observations]:
    """A long sideways move past points that stay in view for some 40 frames; pixels with noise."""
    observations, first = tracks_of(cameras, points=5 * cameras, length=40)
    poses = camera_path(cameras, travel=0.1 * cameras)
    rotations = np.swapaxes(poses[:, :3, :3], 1, 2)
    generator = np.random.default_rng(1)
    middle = poses[np.clip(first + 20, 0, cameras - 1)]
    offset = generator.uniform((-2, -2, 4), (2, 2, 12), (len(first), 3))
    points = np.einsum("nij,nj->ni", middle[:, :3, :3], offset) + middle[:, :3, 3]
    state = BundleState(rotations, -np.einsum("nij,nj->ni", rotations, poses[:, :3, 3]), points, FOCAL_PX, k1=k1,
                        zoom=zoom)
    in_camera = state.in_camera(observations)
    pixels = state.projected(in_camera[:, :2] / in_camera[:, 2:], observations.camera)
    pixels += generator.normal(0, NOISE_PX, (len(in_camera), 2))
    return state, Observations(observations.camera, observations.point, pixels)


def disturbed(state: BundleState, observations: Observations) -> Reconstruction:
    tracks = Tracks(len(state.rotations), (640, 480), len(state.points), observations.camera, observations.point,
                    observations.pixels)
    reconstruction = Reconstruction(tracks, 1.03 * FOCAL_PX, free_focal=True, seed=0)
    generator = np.random.default_rng(2)
    turns, shifts = generator.normal(0, 0.003, (2, len(state.rotations), 3))
    turns[0] = shifts[0] = 0.0
    reconstruction.rotations[:] = exp_so3(turns) @ state.rotations
    reconstruction.translations[:] = state.translations + 5.0 * shifts
    reconstruction.points[:] = state.points + generator.normal(0, 0.05, state.points.shape)
    reconstruction.registered[:] = True
    return reconstruction


def centers(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    return -np.einsum("nji,nj->ni", rotations, translations)


def center_error(found: Reconstruction, state: BundleState) -> float:
    """RMS distance of the camera centers after a similarity alignment, as a share of the path."""
    true = centers(state.rotations, state.translations)
    scale, rotation, shift = align_similarity(centers(found.rotations, found.translations), true)
    off = scale * centers(found.rotations, found.translations) @ rotation.T + shift - true
    return np.sqrt((off**2).sum(1).mean()) / np.linalg.norm(np.diff(true, axis=0), axis=1).sum()


def rotation_error_deg(found: Reconstruction, state: BundleState) -> float:
    """Mean over the turns from frame to frame."""
    steps, true = (np.swapaxes(r[:-1], 1, 2) @ r[1:] for r in (found.rotations, state.rotations))
    return rotation_angle_deg(np.swapaxes(steps, 1, 2) @ true).mean()


def adjusted(cameras: int) -> tuple[Reconstruction, BundleState, Observations]:
    state, observations = long_shot(cameras)
    reconstruction = disturbed(state, observations)
    adjust_on_anchors(reconstruction, np.arange(cameras), observations, **RULE)
    return reconstruction, state, observations


@pytest.fixture(scope="module")
def solved() -> tuple[Reconstruction, BundleState, Observations]:
    return adjusted(FRAMES)


@pytest.fixture(scope="module")
def together(solved) -> Reconstruction:
    """The same shot with all its frames in one system."""
    _, state, observations = solved
    reconstruction = disturbed(state, observations)
    reconstruction.bundle_adjust(np.arange(FRAMES), observations, free=BundleOptions(), **RULE)
    return reconstruction


@pytest.mark.slow
def test_cameras_are_as_exact_as_from_one_system(solved, together):
    found, state, _ = solved
    assert center_error(found, state) < min(1.1 * center_error(together, state), 5e-4)
    assert rotation_error_deg(found, state) < min(1.1 * rotation_error_deg(together, state), 0.03)
    assert found.focal == pytest.approx(together.focal, rel=5e-3)


@pytest.mark.slow
def test_every_frame_fits_nearly_as_well_as_in_one_system(solved, together):
    found, _, observations = solved
    anchors = choose_anchors(observations, FRAMES)
    assert 0.1 < anchors.mean() < 0.5
    best = np.median(together.state(np.arange(FRAMES)).residual_px(observations))
    between = ~anchors[observations.camera]
    assert np.median(found.state(np.arange(FRAMES)).residual_px(observations)[between]) < 1.2 * best


@pytest.mark.slow
def test_points_that_anchors_miss_are_found_again(solved):
    found, _, observations = solved
    anchors = choose_anchors(observations, FRAMES)
    missed = np.bincount(observations.point, anchors[observations.camera]) < 2
    views = np.bincount(observations.point)
    assert missed.any(), "the shot must have points that this is about"
    assert np.isfinite(found.points[views >= 2]).all()
    residual = found.state(np.arange(len(anchors))).residual_px(observations)
    assert np.median(residual[missed[observations.point]]) < 2.0 * NOISE_PX


@pytest.mark.slow
def test_memory_grows_with_frames_and_not_with_their_square():
    def peak_bytes(cameras: int) -> int:
        tracemalloc.start()
        adjusted(cameras)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(2 * FRAMES) < 2.4 * peak_bytes(FRAMES)


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(solved):
    found, _, _ = solved
    again, _, _ = adjusted(FRAMES)
    assert again.translations.tobytes() == found.translations.tobytes()
    assert again.points.tobytes() == found.points.tobytes()


def test_anchors_stand_closer_where_tracks_are_short():
    def gaps(length: int, cameras: int = 300) -> np.ndarray:
        return np.diff(np.flatnonzero(choose_anchors(tracks_of(cameras, 10 * cameras, length)[0], cameras)))

    assert gaps(200).max() == MAX_GAP
    assert np.median(gaps(12)) < np.median(gaps(200))
    assert gaps(3).max() <= 2


def test_anchors_begin_and_end_the_shot_and_are_not_too_many():
    cameras = 3 * MOST_ANCHORS
    anchors = choose_anchors(tracks_of(cameras, 2000, 3)[0], cameras)
    assert anchors[0] and anchors[-1] and anchors.sum() <= MOST_ANCHORS + 1


def test_tracks_too_short_to_reach_from_anchor_to_anchor_are_no_crash():
    """So many frames that anchors stand three apart, and tracks of three frames: no point is seen by two anchors."""
    cameras = 2 * MOST_ANCHORS + 50
    state, _ = long_shot(12)
    first = np.arange(cameras - 2)
    camera, point = (first[:, None] + np.arange(3)).ravel(), np.repeat(first, 3)
    order = np.argsort(camera, kind="stable")
    observations = Observations(camera[order], point[order], np.zeros((len(camera), 2)))
    many = BundleState(np.tile(state.rotations[:1], (cameras, 1, 1)), np.zeros((cameras, 3)),
                       np.tile((0.0, 0.0, 5.0), (len(first), 1)), FOCAL_PX)
    reconstruction = disturbed(many, observations)
    before = reconstruction.rotations.copy()
    adjust_on_anchors(reconstruction, np.arange(cameras), observations, **RULE)
    assert np.array_equal(reconstruction.rotations, before)
    assert np.isfinite(reconstruction.points).all()


# --- A lens that does more than a pinhole --------------------------------------------------------------------------

@pytest.fixture(scope="module")
def zoomed() -> tuple[Reconstruction, BundleState, Observations]:
    zoom = np.log(1.2) * np.linspace(0.0, 1.0, FRAMES)
    state, observations = long_shot(FRAMES, k1=-0.1, zoom=zoom)
    found = disturbed(state, observations)
    found.zooms, found.radial, found.zoom = True, 1, 0.9 * zoom
    adjust_on_anchors(found, np.arange(FRAMES), observations, **RULE)
    return found, state, observations


@pytest.mark.slow
def test_zoom_and_distortion_of_a_long_clip_are_found_on_anchors(zoomed):
    found, state, _ = zoomed
    assert found.k1 == pytest.approx(-0.1, abs=5e-3)
    focal = found.focal * np.exp(found.zoom)
    np.testing.assert_allclose(focal / focal[0], np.exp(state.zoom), rtol=5e-3)
    steps = np.diff(found.zoom)
    assert np.abs(np.diff(steps)).max() < 2e-3, "no frame beside an anchor has another's zoom"


@pytest.mark.slow
def test_deviations_of_a_long_clip_that_zooms_are_those_of_one_that_does_not(zoomed):
    """They come from the anchors, each with its own zoom."""
    _, state, observations = zoomed
    free = BundleOptions(radial=1)
    zooming = _lens_std(state, observations, free)
    still, observed = long_shot(FRAMES, k1=-0.1)
    np.testing.assert_allclose(zooming[:2], _lens_std(still, observed, free)[:2], rtol=0.5)


@pytest.mark.slow
def test_anchors_keep_their_own_shutter():
    state, observations = long_shot(FRAMES)
    matrices = np.concatenate([state.rotations, state.translations[:, :, None]], axis=2)
    velocity = np.gradient(matrices, axis=0)
    rolling = replace(state, shutter=Shutter(0.4, 480.0, velocity, np.zeros_like(velocity)))
    for _ in range(8):
        in_camera = rolling.in_camera(observations)
        observations = replace(observations, pixels=FOCAL_PX * in_camera[:, :2] / in_camera[:, 2:])
    anchors = choose_anchors(observations, FRAMES)
    part = observations.select(anchors[observations.camera])
    used, point = np.unique(part.point, return_inverse=True)
    alone = replace(rolling, rotations=state.rotations[anchors], translations=state.translations[anchors],
                    points=state.points[used], shutter=rolling.shutter.select(anchors))
    observed = Observations((np.cumsum(anchors) - 1)[part.camera], point, part.pixels)
    assert alone.residual_px(observed).max() < 1e-3
