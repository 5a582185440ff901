"""Error and flicker by frequency: against reference vectors, and on errors whose spectrum is known."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.quality import spectrum, static_spectrum

TOLERANCE = {"rel": 1e-6, "abs": 1e-12}
METHODS = ("a", "b")


# --- Reference vectors -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def analysis() -> dict[str, np.ndarray]:
    return tensors(golden_file("depthcrafter", "analysis.safetensors"))


@pytest.mark.parametrize("method", METHODS)
def test_golden_error_sequences(analysis, method):
    depth, truth, mask = analysis[f"pred_{method}"], analysis["gt_depth"], analysis["mask"]
    assert spectrum.absrel_per_frame(depth, truth, mask) == pytest.approx(analysis[f"{method}/err_absrel"], **TOLERANCE)
    outliers = spectrum.outliers_per_frame(depth, truth, mask, ratio=1.05)
    assert outliers == pytest.approx(analysis[f"{method}/err_1m_delta_1p05"], **TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
def test_golden_magnitude_spectrum(analysis, method):
    magnitudes = spectrum.magnitude_spectrum(analysis[f"{method}/err_absrel"])
    assert magnitudes == pytest.approx(analysis[f"{method}/mag_absrel"], **TOLERANCE)


def test_golden_amplitude_ratio(analysis):
    ratio = spectrum.amplitude_ratio(*(analysis[f"{method}/err_absrel"] for method in METHODS))
    assert ratio == pytest.approx(analysis["amp_ratio_a_over_b"], **TOLERANCE)


def test_golden_band_layout():
    layout = golden_json("depthcrafter", "index.json")["checks"]["analysis_bands"]
    edges = spectrum.band_edges(layout["T"])
    assert [list(range(start, stop)) for start, stop in zip(edges, edges[1:], strict=False)] == layout["bands"]


@pytest.mark.parametrize("method", METHODS)
def test_golden_bands_and_energies(analysis, method):
    error = analysis[f"{method}/err_absrel"]
    assert spectrum.band_means(error) == pytest.approx(analysis[f"{method}/bands_absrel"], **TOLERANCE)
    found = spectrum.energies(error)
    assert [*found, found.high_share] == pytest.approx(analysis[f"{method}/lf_hf_frac_absrel"].tolist(), **TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
def test_golden_flicker(analysis, method):
    depth, mask = analysis[f"pred_{method}"], analysis["mask"]
    for key, found in (("flicker2_flicker1", (spectrum.flicker2(depth), spectrum.flicker1(depth))),
                       ("flicker2_flicker1_masked", (spectrum.flicker2(depth, mask), spectrum.flicker1(depth, mask)))):
        assert found == pytest.approx(tuple(analysis[f"{method}/{key}"]), **TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
def test_golden_scale_flicker(analysis, method):
    depth = analysis[f"pred_{method}"]
    assert spectrum.scale_ratios(depth) == pytest.approx(analysis[f"{method}/scale_log_ratio"], **TOLERANCE)
    assert spectrum.scale_flicker(depth) == pytest.approx(float(analysis[f"{method}/scale_flicker"][0]), **TOLERANCE)


# --- Error of each frame ---------------------------------------------------------------------------------------

def test_errors_of_a_frame_by_hand():
    truth = np.full((2, 2, 2), 4.0)
    depth = truth.copy()
    depth[0] = [[5.0, 4.0], [2.0, 4.0]]
    assert spectrum.absrel_per_frame(depth, truth) == pytest.approx([(0.25 + 0.5) / 4, 0.0])
    assert spectrum.rmse_per_frame(depth, truth) == pytest.approx([np.sqrt((1 + 4) / 4), 0.0])
    assert spectrum.outliers_per_frame(depth, truth) == pytest.approx([0.5, 0.0])
    assert spectrum.outliers_per_frame(depth, truth, ratio=1.25**2) == pytest.approx([0.25, 0.0])


def test_only_valid_pixels_count_and_a_frame_without_any_is_not_known():
    truth = np.array([[[2.0, 0.0, 2.0]], [[np.inf, np.nan, 2.0]]])
    depth = np.array([[[2.2, 9.0, 0.0]], [[9.0, 9.0, 4.0]]])
    counts = np.array([[[1, 1, 1]], [[1, 1, 0]]])
    assert spectrum.absrel_per_frame(depth, truth, counts) == pytest.approx([0.1, np.nan], nan_ok=True)


def test_depth_and_truth_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="must both be"):
        spectrum.absrel_per_frame(np.ones((2, 3, 4)), np.ones((2, 4, 3)))


# --- Bands -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 47, 48, 110, 438, 999, 1998, 4000])
def test_every_frequency_lies_in_exactly_one_band(count):
    edges = spectrum.band_edges(count)
    assert len(edges) == 12 and (edges[0], edges[1], edges[-1]) == (0, 1, count // 2 + 1)
    assert (np.diff(edges) >= 0).all()


def test_bands_find_a_wave_in_its_band():
    """200 frames: edges 0, 1, 1, 2, 3, 6, 10, 15, 25, 40, 63, 101."""
    time = np.arange(200)
    for cycles, band in ((1, 2), (4, 4), (12, 6), (50, 9), (97, 10)):
        means = spectrum.band_means(np.sin(2 * np.pi * cycles * time / 200 + 0.3))
        assert means.argmax() == band
        assert means[band] == pytest.approx(2 / np.pi, rel=0.05), "the mean magnitude of a sine"
        assert np.delete(means, band).max() < 1e-9


def test_the_first_band_is_the_mean():
    means = spectrum.band_means(0.25 + 0.1 * np.random.default_rng(1).standard_normal(60))
    only = spectrum.band_means(np.full(60, 0.25))
    assert means[0] == pytest.approx(0.25, abs=0.05) and means[1:].max() > 0.01
    assert only[0] == pytest.approx(0.25) and only[1:].max() < 1e-12


@pytest.mark.parametrize("count", [40, 41])
def test_energies_add_up_to_the_variance(count):
    error = np.random.default_rng(count).standard_normal(count)
    assert sum(spectrum.energies(error)) == pytest.approx(error.var())


def test_a_wave_at_the_cutoff_is_slow():
    time = np.arange(100)
    slow, fast = (spectrum.energies(np.sin(2 * np.pi * cycles * time / 100)) for cycles in (10, 11))
    assert slow.high_share < 1e-9 and fast.high_share > 1 - 1e-9
    assert np.isnan(spectrum.energies(np.zeros(8)).high_share)


@pytest.mark.parametrize("error", [np.array([]), np.array([0.1, np.nan]), np.ones((3, 3))])
def test_what_is_no_error_sequence_is_refused(error):
    with pytest.raises(ValueError, match="error sequence"):
        spectrum.magnitude_spectrum(error)


# --- Flicker at fixed pixels -----------------------------------------------------------------------------------

def test_flicker_of_steady_growth_and_of_alternation():
    """ln depth grows by 0.02 a frame; or it goes to and fro by 0.02."""
    grows = np.exp(0.02 * np.arange(6))[:, None, None] * np.ones((1, 2, 3))
    alternates = np.exp(0.02 * (np.arange(6) % 2))[:, None, None] * np.ones((1, 2, 3))
    found = [[measure(depth) for measure in (spectrum.flicker1, spectrum.flicker2, spectrum.scale_flicker)]
             for depth in (grows, alternates)]
    assert found[0] == pytest.approx([0.02, 0.0, 0.0], abs=1e-12)
    assert found[1] == pytest.approx([0.02, 0.04, 0.04])


def test_a_hole_takes_only_its_own_samples():
    depth = np.exp(0.02 * np.arange(6))[:, None, None] * np.ones((1, 2, 3))
    depth[2, 0, 0], depth[3, 1, 1], depth[4, 0, 2] = 0.0, np.nan, np.inf
    assert spectrum.flicker1(depth) == pytest.approx(0.02)


@pytest.mark.parametrize("measure", [spectrum.flicker1, spectrum.flicker2, spectrum.scale_flicker])
def test_flicker_of_nothing_cannot_be_told(measure):
    assert measure(np.ones((1, 4, 4))) is None
    assert measure(np.ones((5, 4, 4)), np.zeros((5, 4, 4))) is None


# --- Mean disparity --------------------------------------------------------------------------------------------

def test_mean_disparities_share_one_scale():
    stereo = np.array([[[1.0, 2.0]], [[4.0, 0.0]]])
    refined = np.array([[[1.0, 1.0]], [[2.0, np.nan]]])
    before, after = spectrum.mean_disparities(stereo, refined)
    assert before == pytest.approx([(0.75 - 0.25) / 0.75, 0.0])
    assert after == pytest.approx([1.0, (0.5 - 0.25) / 0.75])


def test_mean_disparity_of_a_flat_or_empty_clip():
    assert spectrum.mean_disparities(np.ones((3, 2, 2)), np.ones((3, 2, 2)))[1].tolist() == [0.0, 0.0, 0.0]
    assert spectrum.disparity_range(np.zeros((3, 2, 2))) == (0.0, 0.0)


# --- The still scene -------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def moving() -> RayCastShot:
    return ray_cast(48)


@pytest.fixture(scope="module")
def still(moving) -> RayCastShot:
    return repeated(moving, 160)


def repeated(shot: RayCastShot, count: int) -> RayCastShot:
    """The first frame over and over, from one place."""
    return RayCastShot(*(np.repeat(getattr(shot, name)[:1], count, axis=0)
                         for name in ("frames", "depth", "motion_mask", "camera_to_world", "intrinsics")))


def measured(shot: RayCastShot, before: np.ndarray, after: np.ndarray | None = None, **changed):
    scene = {"confidence": shot.confidence, "motion_mask": shot.motion_mask,
             "camera_to_world": shot.camera_to_world, "intrinsics": shot.intrinsics} | changed
    return static_spectrum.static_spectrum(before, after, **scene)


def shaken(shot: RayCastShot, log_factors: np.ndarray) -> np.ndarray:
    """Depth whose whole frames are off by these factors, (T,) logarithms."""
    return (shot.depth * np.exp(log_factors)[:, None, None]).astype(np.float32)


def white(count: int, sigma: float = 0.01) -> np.ndarray:
    return np.random.default_rng(7).normal(0, sigma, count)


def total(bands: np.ndarray) -> float:
    return float(np.sqrt((bands**2).sum()))


def test_white_noise_is_flat_at_its_level(still):
    noise = np.random.default_rng(3).normal(0, 0.01, still.depth.shape)
    found = measured(still, (still.depth * np.exp(noise)).astype(np.float32))
    assert found.block == 64 and found.frequency == pytest.approx(np.arange(1, 33) / 64)
    # A Hann window widens a line to one and a half frequencies, hence the level of noise of this many frames.
    level = 2 * 0.01 * np.sqrt(1.5 / 64)
    assert found.before[1:-1] == pytest.approx(np.full(30, level), rel=0.05)
    assert total(found.bands_before) == pytest.approx(0.01, rel=0.03)
    assert found.after is found.bands_after is found.low_kept is found.high_kept is None


def test_a_wave_peaks_at_its_frequency_with_its_height(still):
    wave = 0.01 * np.sin(2 * np.pi * 5 / 64 * np.arange(160) + 0.4)
    found = measured(still, shaken(still, wave))
    assert found.frequency[found.before.argmax()] == pytest.approx(5 / 64)
    assert found.before.max() == pytest.approx(0.01, rel=0.02)
    assert found.before[10:].max() < 1e-4
    assert total(found.bands_before) == pytest.approx(0.01 / np.sqrt(2), rel=0.02)


def test_exact_depth_of_a_moving_camera_has_no_error(moving):
    """But for the crease between wall and floor, where depth is interpolated across it."""
    found = measured(moving, moving.depth)
    assert found.points > 500 and found.before.max() < 3e-4


def test_shaken_depth_of_a_moving_camera_shows_its_noise(moving):
    found = measured(moving, shaken(moving, white(48)))
    assert total(found.bands_before) == pytest.approx(0.01, rel=0.25)


def test_steady_drift_is_no_error(still):
    found = measured(still, shaken(still, 0.001 * np.arange(160)))
    assert found.before.max() < 1e-5


def test_what_a_low_pass_took_is_missing_above_and_not_below(still):
    time = np.arange(160)
    slow, noise = 0.02 * np.sin(2 * np.pi * 2 / 64 * time), white(160)
    found = measured(still, shaken(still, slow + noise), shaken(still, slow + 0.2 * noise))
    fast = found.frequency > spectrum.CUTOFF
    assert found.after[fast] == pytest.approx(0.2 * found.before[fast], rel=0.05)
    assert found.after[1] == pytest.approx(found.before[1], rel=0.1)
    assert found.high_kept == pytest.approx(0.2, rel=0.05) and found.low_kept == pytest.approx(1.0, abs=0.1)
    assert found.bands_after[-1] == pytest.approx(0.2 * found.bands_before[-1], rel=0.05)


@pytest.mark.slow
def test_both_stages_are_measured_on_the_same_points(still):
    """The left half shakes ten times as much; there stage 2 breaks apart, so it counts for neither stage."""
    noise = white(160, 0.002)
    depth = shaken(still, noise)
    depth[:, :, :80] = shaken(still, 10 * noise)[:, :, :80]
    broken = still.depth.copy()
    broken[::2, :, :80] *= 2.0
    alone, together = measured(still, depth), measured(still, depth, broken)
    assert together.points < 0.6 * alone.points
    assert total(together.bands_before) == pytest.approx(total(measured(still, shaken(still, noise)).bands_before),
                                                         rel=0.02)


def test_a_gap_is_bridged(still):
    """A thing passes in front for 4 of 64 frames: the points behind it still count, and their error stays 0."""
    depth, mask = still.depth[:64].copy(), still.motion_mask[:64].copy()
    depth[20:24, 30:60, 40:90], mask[20:24, 30:60, 40:90] = 1.0, 1
    short = repeated(still, 64)
    found = measured(short, depth, motion_mask=mask)
    assert found.points == measured(short, short.depth).points
    assert found.before.max() < 1e-6


@pytest.mark.slow
def test_what_moves_and_what_is_not_trusted_does_not_count(still):
    noisy = still.depth.copy()
    noisy[:, :, :80] = shaken(still, white(160))[:, :, :80]
    mask, confidence = still.motion_mask.copy(), still.confidence.copy()
    # One pixel wider than what shakes: depth beside it is interpolated from both sides.
    mask[:, :, :81], confidence[:, :, :81] = 1, 0.2
    assert measured(still, noisy).before.max() > 1e-4
    assert measured(still, noisy, motion_mask=mask).before.max() < 1e-6
    assert measured(still, noisy, confidence=confidence).before.max() < 1e-6


@pytest.mark.parametrize("first", [0, 40, 124])
def test_every_part_of_the_clip_counts(still, first):
    shakes = np.zeros(160)
    shakes[first:first + 36] = 0.01 * (-1.0) ** np.arange(36)
    assert measured(still, shaken(still, shakes)).before[-2] > 5e-4


@pytest.mark.slow
def test_a_fast_camera_is_followed_for_a_shorter_time():
    poses = np.tile(np.eye(4), (80, 1, 1))
    poses[:, 0, 3] = 0.17 * np.arange(80)
    fast = ray_cast(80, poses=poses)
    found = measured(fast, shaken(fast, white(80)))
    assert found.block == 32
    assert total(found.bands_before) == pytest.approx(0.01, rel=0.25)


def test_a_clip_too_short_or_without_points_cannot_be_told(still, moving):
    nothing = np.zeros_like(moving.confidence)
    assert measured(moving, moving.depth, confidence=nothing) is None
    assert measured(repeated(still, 15), still.depth[:15]) is None
    assert measured(repeated(still, 16), still.depth[:16]).block == 16


def test_scale_and_memory_maps_change_nothing(moving, tmp_path):
    depth = shaken(moving, white(48))
    found = measured(moving, depth)
    poses = moving.camera_to_world.copy()
    poses[:, :3, 3] *= 8
    np.save(tmp_path / "depth.npy", 8 * depth)
    scaled = measured(moving, np.load(tmp_path / "depth.npy", mmap_mode="r"), camera_to_world=poses)
    assert scaled.before == pytest.approx(found.before, rel=1e-6) and scaled.points == found.points


@pytest.mark.slow
def test_memory_does_not_grow_with_the_clip(moving):
    def peak(count: int) -> int:
        long = repeated(moving, count)
        scene = (long.depth, long.depth, long.confidence, long.motion_mask, long.camera_to_world, long.intrinsics)
        tracemalloc.start()
        static_spectrum.static_spectrum(*scene)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(320) < 1.1 * peak(80)


def test_a_spectrum_is_the_same_every_time(moving):
    depth = shaken(moving, white(48))
    first, second = (measured(moving, depth, moving.depth) for _ in range(2))
    assert first.before.tobytes() == second.before.tobytes()
    assert first.bands_before.tobytes() == second.bands_before.tobytes()
