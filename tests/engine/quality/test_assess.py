"""The trust report: each figure on a case whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast

from stereodiff_blender.engine.quality import assess as quality
from stereodiff_blender.engine.solution import CameraSolution, StereoResult


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(10, with_object=True)


def noisy(shot: RayCastShot, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, sigma, shot.depth.shape)
    return (shot.depth * np.exp(noise)).astype(np.float32)


def flicker(shot: RayCastShot, depth: np.ndarray) -> float:
    return quality.flicker(depth, shot.confidence, shot.motion_mask, shot.camera_to_world, shot.intrinsics)


def test_exact_depth_of_a_moving_camera_does_not_flicker(shot):
    assert flicker(shot, shot.depth) < 0.1


def test_flicker_is_the_noise_between_frames_in_percent(shot):
    """Flicker of whole frames: all pixels of one frame are wrong by one factor, drawn anew for every frame."""
    factors = np.exp(np.random.default_rng(5).normal(0, 0.01, 200))
    long = RayCastShot(*(np.repeat(getattr(shot, name)[:1], 200, axis=0)
                         for name in ("frames", "depth", "motion_mask", "camera_to_world", "intrinsics")))
    assert flicker(long, long.depth * factors[:, None, None].astype(np.float32)) == pytest.approx(1.0, rel=0.15)


def test_flicker_grows_with_the_noise(shot):
    levels = [flicker(shot, noisy(shot, sigma)) for sigma in (0.002, 0.005, 0.02)]
    assert levels[1] == pytest.approx(2.5 * levels[0], rel=0.2)
    assert levels[2] > 3 * levels[1]


def test_flicker_knows_no_scale(shot):
    depth = noisy(shot, 0.01)
    scaled = RayCastShot(shot.frames, shot.depth, shot.motion_mask, shot.camera_to_world.copy(), shot.intrinsics)
    scaled.camera_to_world[:, :3, 3] *= 40
    assert flicker(scaled, 40 * depth) == pytest.approx(flicker(shot, depth), rel=1e-4)


def test_flicker_is_blind_to_slow_drift(shot):
    drift = np.exp(0.01 * np.arange(len(shot.depth), dtype=np.float32))[:, None, None]
    assert flicker(shot, shot.depth * drift) < 0.1, "one percent a frame, but steady"


def test_what_moves_does_not_count_as_flicker(shot):
    """The mover's depth jumps; only the mask says that it is no flicker of the still scene."""
    jumps = np.where(np.arange(len(shot.depth)) % 2, 1.05, 1.0).astype(np.float32)[:, None, None]
    depth = np.where(shot.motion_mask > 0, shot.depth * jumps, shot.depth)
    unmasked = quality.flicker(depth, shot.confidence, np.zeros_like(shot.motion_mask), shot.camera_to_world,
                               shot.intrinsics)
    assert flicker(shot, depth) < 0.1 < unmasked


def test_flicker_of_untrusted_or_two_frame_depth_cannot_be_told(shot):
    nothing = np.zeros_like(shot.depth)
    assert quality.flicker(shot.depth, nothing, shot.motion_mask, shot.camera_to_world, shot.intrinsics) is None
    assert flicker(RayCastShot(*(getattr(shot, name)[:2] for name in shot.__dataclass_fields__)),
                   shot.depth[:2]) is None


def test_coverage_and_moving_share_count_pixels():
    confidence = np.zeros((2, 4, 5), np.float32)
    confidence[0, :2], confidence[1, 0] = 0.9, 0.4
    assert quality.coverage(confidence) == pytest.approx(10 / 40)
    mask = np.zeros((2, 4, 5), np.uint8)
    mask[1, 0, :4] = 1
    assert quality.moving_share(mask) == pytest.approx(4 / 40)


def stereo_of(shot: RayCastShot, depth: np.ndarray) -> StereoResult:
    return StereoResult(shot.cameras, depth, shot.confidence, shot.motion_mask)


def test_assess_fills_every_field_of_a_moving_shot(shot):
    cameras = CameraSolution("moving", shot.camera_to_world, shot.intrinsics, np.arange(10) % 5 != 3,
                             np.array([0.2, 0.4, 0.9, np.nan, 0.3, 0.3, 0.3, 0.3, np.nan, 0.5]),
                             np.zeros((3, 3)), np.array([1.0, 7.0, 3.0]))
    report = quality.assess(cameras, 101, stereo_of(shot, noisy(shot, 0.02)), shot.depth, 0.004)
    assert report.solved_share == pytest.approx(0.8)
    assert report.unsolved_frames == (104, 109)
    assert report.reprojection_mean_px == pytest.approx(0.4)
    assert report.reprojection_worst_px == pytest.approx(0.9)
    assert report.parallax_deg == pytest.approx(3.0)
    assert report.coverage == pytest.approx(0.8), "nothing is trusted where the camera was not found"
    assert report.moving_share == pytest.approx(shot.motion_mask.mean())
    assert report.flicker_after < 0.1 < 0.5 < report.flicker_before
    assert report.gauge_residual == 0.004


@pytest.mark.parametrize("kind", ["rotation", "static"])
def test_assess_of_a_shot_without_depth_says_only_what_applies(kind):
    cameras = CameraSolution(kind, np.tile(np.eye(4), (3, 1, 1)), np.ones((3, 4)), np.ones(3, bool),
                             np.full(3, np.nan), np.zeros((0, 3)), np.zeros(0))
    report = quality.assess(cameras, 1)
    assert report.solved_share == 1.0 and report.unsolved_frames == ()
    silent = ("reprojection_mean_px", "reprojection_worst_px", "parallax_deg", "coverage", "moving_share",
              "flicker_before", "flicker_after", "gauge_residual")
    assert [getattr(report, name) for name in silent] == [None] * len(silent)


def test_nothing_is_trusted_through_a_contradicted_lens(shot):
    cameras = replace(shot.cameras, is_focal_unreliable=True)
    report = quality.assess(cameras, 1, stereo_of(shot, shot.depth))
    assert report.coverage == 0.0


def test_assess_without_stage_2_has_flicker_before_only(shot):
    report = quality.assess(shot.cameras, 1, stereo_of(shot, shot.depth))
    assert report.flicker_before is not None and report.flicker_after is None
