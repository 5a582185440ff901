"""Stage 2 "guided": what flickers goes, what is slow stays, and nothing is smeared over an edge."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast, rolling_cast
from recording_report import RecordingReport

from stereodiff_blender.engine.diffusion.guided import refine_guided, slow_part
from stereodiff_blender.engine.imaging.flow import OpticalFlow
from stereodiff_blender.engine.quality import assess as quality
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import StereoResult
from stereodiff_blender.engine.storage import DiskScratch, RunContext, Scratch


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(16, with_object=True)


def refine(shot: RayCastShot, depth: np.ndarray, *, confidence=None, scratch=None, report=None) -> np.ndarray:
    confidence = shot.confidence if confidence is None else confidence
    return refine_guided(shot.frames, StereoResult(shot.cameras, depth, confidence, shot.motion_mask),
                         flow=OpticalFlow(shot.frames, capacity=40),
                         context=RunContext(scratch or Scratch(), report or Report()))


def first(shot: RayCastShot, count: int) -> RayCastShot:
    return RayCastShot(*(getattr(shot, name)[:count] for name in shot.__dataclass_fields__))


def blotches(shape: tuple[int, int, int], sigma: float) -> np.ndarray:
    """Factors around 1 that are smooth over 8 pixels and drawn anew for every frame, as stage 1's errors are."""
    count, height, width = shape
    coarse = np.random.default_rng(6).normal(0, sigma, (count, height // 8, width // 8))
    return np.exp(coarse.repeat(8, axis=1).repeat(8, axis=2)).astype(np.float32)


def flicker(shot: RayCastShot, depth: np.ndarray) -> float:
    return quality.flicker(depth, shot.confidence, shot.motion_mask, shot.camera_to_world, shot.intrinsics)


def relative_error(shot: RayCastShot, depth: np.ndarray) -> np.ndarray:
    return np.abs(depth / shot.depth - 1)


def test_rows_that_are_read_one_after_the_other_are_averaged_where_each_was_seen():
    """Exact depth stays exact; taken for that of the middle rows, it is averaged with what lies beside."""
    shot = rolling_cast(7, 0.8)
    off = {}
    for name, cameras in (("rows", shot.cameras), ("middle", replace(shot.cameras, shutter=None))):
        stereo = StereoResult(cameras, shot.depth, shot.confidence, shot.motion_mask)
        refined = refine_guided(shot.frames, stereo, flow=OpticalFlow(shot.frames, capacity=40),
                                context=RunContext(Scratch(), Report()))
        off[name] = relative_error(shot, refined).mean()
    assert off["rows"] < 0.7 * off["middle"]


@pytest.mark.slow
def test_flicker_falls_and_depth_comes_nearer_to_the_truth(shot):
    measured = shot.depth * blotches(shot.depth.shape, 0.03)
    refined = refine(shot, measured)
    assert flicker(shot, refined) < 0.3 * flicker(shot, measured)
    static = shot.motion_mask == 0
    assert relative_error(shot, refined)[static].mean() < 0.7 * relative_error(shot, measured)[static].mean()


@pytest.mark.slow
def test_exact_depth_stays_as_it_is_up_to_its_edges(shot):
    error = relative_error(shot, refine(shot, shot.depth))
    assert np.median(error) < 5e-4
    assert np.percentile(error, 90) < 3e-3
    assert error.max() < 0.2, "the board stands at half the wall's distance; no pixel may be a mix of the two"


@pytest.mark.slow
def test_what_moves_calms_down_and_keeps_its_own_depth(shot):
    factors = np.exp(np.random.default_rng(8).normal(0, 0.03, len(shot.depth)))[:, None, None].astype(np.float32)
    moving = shot.motion_mask > 0
    measured = np.where(moving, shot.depth * factors, shot.depth)

    def jitter(depth: np.ndarray) -> float:
        ratio = [np.log(d[m] / t[m]).mean() for d, t, m in zip(depth, shot.depth, moving, strict=True)]
        return float(np.abs(np.diff(ratio, 2)).mean())

    refined = refine(shot, measured)
    assert jitter(refined) < 0.6 * jitter(measured)
    assert np.percentile(relative_error(shot, refined)[moving], 95) < 0.08


@pytest.mark.slow
def test_unmeasured_pixels_follow_the_measured_ones(shot):
    """Every other frame is wrong and says so; it takes its neighbors' word."""
    wrong = np.where(np.arange(len(shot.depth)) % 2 == 1, 1.06, 1.0).astype(np.float32)[:, None, None]
    trusting = refine(shot, shot.depth * wrong)
    confidence = np.broadcast_to(np.where(wrong > 1, 0.0, 1.0).astype(np.float32), shot.depth.shape)
    knowing = refine(shot, shot.depth * wrong, confidence=confidence)
    assert flicker(shot, knowing) < 0.5 * flicker(shot, shot.depth * wrong)
    static = shot.motion_mask == 0

    def swing(depth: np.ndarray) -> float:
        return float(np.abs(np.diff([d[s].mean() for d, s in zip(np.log(depth / shot.depth), static, strict=True)],
                                    2)).mean())

    assert swing(knowing) <= swing(trusting) * 1.05


@pytest.mark.slow
def test_slow_changes_stay_within_two_percent():
    """An error wave of 0.05 cycles a frame is stage 1's own, and no flicker."""
    shot = ray_cast(40)
    wave = 0.05 * np.sin(2 * np.pi * 0.05 * np.arange(40))
    refined = refine(shot, shot.depth * np.exp(wave).astype(np.float32)[:, None, None])
    kept = np.log(refined / shot.depth).mean(axis=(1, 2))
    bands_before, bands_after = np.abs(np.fft.rfft(wave)), np.abs(np.fft.rfft(kept))
    assert bands_after[2] == pytest.approx(bands_before[2], rel=0.02)


def test_low_pass_keeps_slow_and_stops_fast_waves():
    time = np.arange(200)
    middle = slice(30, -30)
    for cycles, gain, tolerance in ((0.0, 1, 1e-5), (0.05, 1, 0.02), (0.1, 1, 0.02), (0.25, 0, 0.02), (0.5, 0, 0.02)):
        wave = np.cos(2 * np.pi * cycles * time).astype(np.float32)
        slow = np.array([slow_part(wave, index, len(wave)) for index in range(len(wave))])
        assert np.abs(slow - gain * wave)[middle].max() < tolerance, cycles


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_low_pass_of_the_shortest_signals_keeps_their_mean(count):
    ramp = np.arange(count, dtype=np.float32)[:, None] + [[0.0, 5.0]]
    slow = np.stack([slow_part(ramp, index, count) for index in range(count)])
    assert np.allclose(slow.mean(axis=0), ramp.mean(axis=0), atol=0.05)
    assert np.allclose(slow[:, 1] - slow[:, 0], 5.0, atol=1e-4)


def test_two_frames_are_enough(shot):
    pair = first(shot, 2)
    refined = refine(pair, pair.depth)
    assert refined.shape == pair.depth.shape and (refined > 0).all()
    assert np.median(relative_error(pair, refined)) < 1e-3


def test_a_static_camera_gives_no_division_by_zero(shot):
    still = RayCastShot(shot.frames[:3], shot.depth[:3], shot.motion_mask[:3], np.tile(np.eye(4), (3, 1, 1)),
                        shot.intrinsics[:3])
    assert np.isfinite(refine(still, still.depth)).all()


def test_arrays_on_disk_give_the_same_bytes_as_in_memory(shot, tmp_path):
    part = first(shot, 6)
    measured = part.depth * blotches(part.depth.shape, 0.03)
    disk = DiskScratch(tmp_path)
    on_disk = disk.allocate("depth", measured.shape, np.float32)
    on_disk[:] = measured
    refined = refine(part, on_disk, scratch=disk)
    assert isinstance(refined, np.memmap)
    assert np.array_equal(refined, refine(part, measured))
    assert np.array_equal(on_disk, measured), "stage 1's depth must survive"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip(shot, tmp_path):
    """To and fro through the same shot, once and twice; past the filter's window, nothing more is held."""
    def peak_bytes(turns: int) -> int:
        order = np.concatenate([np.arange(16), np.arange(15, -1, -1)] * turns)
        long = RayCastShot(*(getattr(shot, name)[order] for name in shot.__dataclass_fields__))
        stereo = StereoResult(long.cameras, long.depth, long.confidence, long.motion_mask)
        flow = OpticalFlow(long.frames, capacity=8)
        tracemalloc.start()
        refine_guided(long.frames, stereo, flow=flow, context=RunContext(DiskScratch(tmp_path / str(turns))))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    frame_bytes = shot.depth[0].nbytes
    assert peak_bytes(2) < peak_bytes(1) + 2 * frame_bytes, "32 frames more"


def test_progress_ends_at_the_announced_total(shot):
    report = RecordingReport()
    refine(first(shot, 4), shot.depth[:4], report=report)
    (stage, total), = report.stages
    assert stage == "refine" and report.done == total


def test_shapes_that_do_not_fit_are_refused(shot):
    with pytest.raises(ValueError, match="agree"):
        refine(shot, shot.depth[:3])
