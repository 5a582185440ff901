"""The whole of stage 2 on tiny networks: against reference vectors, variant by variant, and by its own properties."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from recording_report import RecordingReport

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from golden import golden_file, golden_json, tensors  # noqa: E402
from tiny_depthcrafter import write_tiny_depthcrafter  # noqa: E402

from stereodiff_blender.engine.contract import DiffusionSettings, Settings, StereoDiffError  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.alignment import Alignment, align  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.checkpoint import load_depthcrafter, load_folders  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.encoding import NetworkInput, encode_clip  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.memory import MemoryPlan  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.noise import GivenNoise  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.normalization import find_range  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.options import Options, options_from  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.refine import (  # noqa: E402
    denoise_clip,
    depth_on_plate,
    refine_by_diffusion,
    sample_pairs,
    warn_if_apart,
)
from stereodiff_blender.engine.diffusion.depthcrafter.windows import plan_windows  # noqa: E402
from stereodiff_blender.engine.parallel import Cores  # noqa: E402
from stereodiff_blender.engine.report import Report  # noqa: E402
from stereodiff_blender.engine.solution import StereoResult  # noqa: E402
from stereodiff_blender.engine.storage import RunContext, Scratch  # noqa: E402

PART = "depthcrafter"
VARIANTS = ("paper_window_overlap", "x0_single_window", "no_overlap_shift", "no_overlap_short", "latent_sharing",
            "overlap_shift", "percentile_noconf", "sigma700", "sigma14p6")
LATENTS, DISPARITY, DEPTH = 2e-4, 5e-5, 2e-4


# --- Against reference vectors -----------------------------------------------------------------------------------

class GivenPlate(NetworkInput):
    """A plate whose pictures have the network's size already, as numbers in 0..1."""

    def picture(self, index: int) -> np.ndarray:
        return self.frames[index]


class KeptScratch(Scratch):
    """Keeps what was allocated, by name."""

    def __init__(self):
        self.arrays = {}

    def allocate(self, name, shape, dtype):
        self.arrays[name] = super().allocate(name, shape, dtype)
        return self.arrays[name]


@pytest.fixture(scope="module")
def inputs():
    return tensors(golden_file(PART, "inputs.safetensors"))


@pytest.fixture(scope="module")
def golden_networks():
    folder = golden_file(PART, "model/unet/config.json").parents[1]
    return load_folders(folder / "unet", folder / "vae", folder / "image_encoder", device=torch.device("cpu"),
                        precision=torch.float32)


def variant_options(name: str) -> tuple[Options, dict]:
    """What index.json says of a variant; what it leaves out is as the reference vectors' README has it."""
    index = golden_json(PART, "index.json")
    said = index["checks"][f"s2_{name}"]["params"]
    return Options(
        sigma=said["sigma"], sigma_end=said["sigma_end"], window=said["W"], overlap=said["O"],
        tail=said.get("tail", "short"), merge=said.get("merge", "crossfade"), share_latents=said.get("share", False),
        norm=said["norm"], quantiles=tuple(said.get("q", (0.0, 1.0))), fill=said.get("fill", 0.0),
        decode_chunk=said.get("chunk", 8), decode_halo=0, clamp=said.get("clamp", True),
        align=said.get("align", "lstsq_clip")), index


def given_plate(inputs, name: str) -> GivenPlate:
    depth = inputs["stage1_depth"]
    weight = np.ones_like(inputs["stage1_conf"]) if "noconf" in name else inputs["stage1_conf"]
    return GivenPlate(inputs["frames"], depth, weight, np.zeros(depth.shape, np.uint8), inputs["frames"].shape[2:])


def run_golden(networks, inputs, name: str, noise_names=("noise_latents_frames",), **changes):
    """Every array of a variant as the page of refine.py makes it."""
    options, _ = variant_options(name)
    options = replace(options, ensemble=len(noise_names), **changes)
    plate, count = given_plate(inputs, name), len(inputs["frames"])
    noises = [GivenNoise(inputs[key][0], inputs["noise_pixels"]) for key in noise_names]
    span = find_range(plate.disparity, count, options)
    windows = plan_windows(count, options.window, options.overlap, options.tail)
    plan = MemoryPlan(*plate.size, options.window, options.overlap, 8, options.decode_chunk, False, 0)
    scratch = KeptScratch()
    encoded = encode_clip(plate, span, networks, noises[0], plan, options, context=RunContext(scratch))
    relative = denoise_clip(encoded, windows, networks, noises, options, context=RunContext(scratch))
    alignment = align(sample_pairs(plate, relative), windows, count, options.align, (span.low, span.high))
    depth = np.stack([depth_on_plate(relative[k], alignment, span, k, plate.size, options) for k in range(count)])
    merged = next(array for key, array in scratch.arrays.items() if "merged" in key)
    return span, windows, encoded, merged, relative, alignment, depth


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_single_step_golden(golden_networks, inputs, name):
    expected = tensors(golden_file(PART, f"s2_{name}.safetensors"))
    span, windows, encoded, merged, relative, alignment, depth = run_golden(golden_networks, inputs, name)
    index = golden_json(PART, "index.json")["checks"][f"s2_{name}"]
    assert [list(window) for window in windows] == index["windows"]
    np.testing.assert_allclose([span.low, span.high], expected["lo_hi"], rtol=1e-6)
    if "z0" in expected:
        np.testing.assert_allclose(encoded.disparity_latents, expected["z0"][0], atol=3e-5)
        np.testing.assert_allclose(encoded.picture_latents, expected["cond_latents"][0], atol=3e-5)
        np.testing.assert_allclose(encoded.embeddings, expected["image_embeds"][0], atol=3e-5)
    np.testing.assert_allclose(merged, expected["latents"][0], atol=LATENTS)
    fitted = np.stack([alignment.scale, alignment.shift], axis=-1)
    np.testing.assert_allclose(fitted, expected["align_scale_shift"], rtol=1e-4)
    if "disp_stage2" in expected:
        np.testing.assert_allclose(relative, expected["disp_stage2"], atol=DISPARITY)
    if "depth_final" in expected:
        np.testing.assert_allclose(depth, expected["depth_final"], rtol=DEPTH)


def test_the_large_arrays_are_compared_at_all():
    """Not every variant's file has them."""
    held = [set(tensors(golden_file(PART, f"s2_{name}.safetensors"))) for name in VARIANTS]
    counts = [sum(key in keys for keys in held) for key in ("z0", "disp_stage2", "depth_final")]
    assert counts == [1, 5, 2]


@pytest.mark.slow
def test_two_draws_golden(golden_networks, inputs):
    expected = tensors(golden_file(PART, "s2_ensemble2.safetensors"))
    _, _, _, merged, _, _, _ = run_golden(golden_networks, inputs, "x0_single_window",
                                          ("noise_latents_frames", "noise_latents_frames_b"))
    np.testing.assert_allclose(merged, expected["latents"][0], atol=LATENTS)


@pytest.mark.slow
def test_flicker_falls_golden(golden_networks, inputs):
    """The reference network takes a quarter or more of stage 1's flicker away."""
    from stereodiff_blender.engine.quality.spectrum import flicker2
    depth = run_golden(golden_networks, inputs, "paper_window_overlap")[-1]
    checks = golden_json(PART, "index.json")["checks"]
    assert flicker2(depth) == pytest.approx(checks["s2_paper_window_overlap"]["flicker2"], rel=1e-3)
    assert flicker2(depth) < 0.75 * checks["stage1_input"]["flicker2"]


# --- Properties --------------------------------------------------------------------------------------------------

COUNT, HEIGHT, WIDTH = 9, 64, 128


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_tiny_depthcrafter(folder)
    return load_depthcrafter(folder, device=torch.device("cpu"))


@pytest.fixture
def clip():
    """frames, depth, confidence, motion mask of a ramp that wobbles."""
    generator = np.random.default_rng(5)
    frames = generator.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    ramp = np.linspace(1.0, 4.0, HEIGHT)[None, :, None] * generator.uniform(0.95, 1.05, (COUNT, 1, 1))
    depth = np.broadcast_to(ramp, (COUNT, HEIGHT, WIDTH)).astype(np.float32)
    return frames, depth, np.ones_like(depth), np.zeros(depth.shape, np.uint8)


def refine(clip, networks, options, report=None, first_frame=1, cores=1):
    frames, *maps = clip
    stereo = StereoResult(None, *maps)  # cameras take no part
    context = RunContext(report=report or Report(), first_frame=first_frame, cores=Cores(cores))
    return refine_by_diffusion(frames, stereo, networks, options, context=context)


SMALL = replace(options_from(Settings()), window=4, overlap=2, decode_chunk=3, decode_halo=1)


@pytest.mark.slow
def test_depth_is_whole_and_in_stage_1s_scale(clip, networks):
    result = refine(clip, networks, SMALL, first_frame=11)
    assert result.depth.shape == clip[1].shape and result.depth.dtype == np.float32
    assert np.isfinite(result.depth).all() and (result.depth > 0).all()
    assert clip[1].min() / 2 - 1e-6 <= result.depth.min() and result.depth.max() <= 2 * clip[1].max() + 1e-6
    assert result.refinement.seam_frames == (13, 15, 16) and result.refinement.window == 4
    assert result.alignment.residual >= 0


@pytest.mark.slow
def test_without_confidence_anywhere_it_still_ends(clip, networks):
    frames, depth, confidence, motion = clip
    result = refine((frames, depth, 0 * confidence, motion), networks, SMALL)
    assert np.isfinite(result.depth).all() and result.refinement.alignment == "inverse"


@pytest.mark.slow
def test_same_bytes_twice(clip, networks):
    assert refine(clip, networks, SMALL).depth.tobytes() == refine(clip, networks, SMALL).depth.tobytes()


@pytest.mark.slow
def test_same_bytes_on_any_number_of_cores(clip, networks, monkeypatch):
    """Frames are prepared in threads of their own, which one core has none of."""
    threads, prepare = set(), NetworkInput.picture
    monkeypatch.setattr(NetworkInput, "picture", lambda self, index: (threads.add(threading.current_thread().name),
                                                                      prepare(self, index))[1])
    options = replace(SMALL, keep_static=0.5)
    alone = refine(clip, networks, options).depth.tobytes()
    assert threads == {"MainThread"}
    assert refine(clip, networks, options, cores=4).depth.tobytes() == alone
    assert len(threads) > 1


@pytest.mark.slow
def test_another_seed_is_another_result(clip, networks):
    other = refine(clip, networks, replace(SMALL, seed=1)).depth
    assert not np.array_equal(other, refine(clip, networks, SMALL).depth)


@pytest.mark.slow
def test_progress_reaches_its_total_and_never_falls(clip, networks):
    report = RecordingReport()
    refine(clip, networks, SMALL, report)
    assert [stage for stage, _ in report.stages] == ["encode", "refine"]
    for stage, total in report.stages:
        told = [done for name, done in report.steps if name == stage]
        assert told == sorted(told) and told[-1] == total
    assert "128" in report.notes[0] and "64" in report.notes[0]


@pytest.mark.slow
def test_depth_that_does_not_fit_the_solve_is_named(clip, networks):
    """Random weights answer with a range of their own."""
    far, near = RecordingReport(), RecordingReport()
    refine(clip, networks, replace(SMALL, align="denorm"), far)
    assert list(far.warnings) == ["refinement_apart"]
    warn_if_apart(Alignment(np.ones(3), np.zeros(3), "clip", residual=0.02), near)
    assert near.warnings == {}


def test_everything_equally_far_stays_as_it_is(clip, networks):
    frames, depth, confidence, motion = clip
    flat = np.full_like(depth, 3.0)
    result = refine((frames, flat, confidence, motion), networks, SMALL)
    np.testing.assert_array_equal(result.depth, flat)
    assert result.alignment is None and result.refinement is None


@pytest.mark.slow
def test_holes_are_filled_and_never_spread(clip, networks):
    frames, depth, confidence, motion = clip
    holed = depth.copy()
    holed[:, 10:20, 30:60], holed[2, 0, 0], holed[3, 5, 5] = 0.0, np.nan, np.inf
    result = refine((frames, holed, confidence, motion), networks, SMALL)
    assert np.isfinite(result.depth).all() and (result.depth > 0).all()


def test_a_plate_of_another_size_than_the_networks(networks):
    generator = np.random.default_rng(2)
    frames = generator.integers(0, 256, (5, 50, 90, 3), dtype=np.uint8)
    depth = generator.uniform(1, 3, (5, 50, 90)).astype(np.float32)
    result = refine((frames, depth, np.ones_like(depth), np.zeros(depth.shape, np.uint8)), networks, SMALL)
    assert result.depth.shape == (5, 50, 90) and (result.refinement.height, result.refinement.width) == (64, 64)


@pytest.mark.slow
def test_still_things_can_be_kept(clip, networks):
    frames, depth, confidence, motion = clip
    motion = motion.copy()
    motion[:, :, :40] = 1
    kept = refine((frames, depth, confidence, motion), networks, replace(SMALL, keep_static=1.0)).depth
    np.testing.assert_allclose(kept[:, :, 40:], depth[:, :, 40:], rtol=1e-5)
    assert not np.allclose(kept[:, :, :40], depth[:, :, :40], rtol=1e-3)


@pytest.mark.slow
def test_chunks_of_decoding_do_not_depend_on_windows(clip, networks):
    """A frame decoded early, because no later window changes it, is what it would be at the end."""
    by_window = replace(SMALL, overlap=0, merge="cut", noise_mode="zero", sigma=1e-7, sigma_end=0.0,
                        align="denorm")
    whole = replace(by_window, window=COUNT)
    np.testing.assert_allclose(refine(clip, networks, by_window).depth, refine(clip, networks, whole).depth, rtol=1e-4)


# --- Memory ------------------------------------------------------------------------------------------------------

class Cramped:
    """The networks on a device with room for so many frames at once, which it counts as real ones run out."""

    def __init__(self, networks, *, predict=10**6, decode=10**6, encode=10**6):
        self._networks, self._most = networks, {"predict": predict, "decode": decode, "encode": encode}
        self.refused = []

    def __getattr__(self, name):
        value = getattr(self._networks, name)
        if name not in self._most:
            return value

        def call(frames, *more, **options):
            if len(frames) > self._most[name]:
                self.refused.append((name, len(frames)))
                raise torch.OutOfMemoryError("no room")
            return value(frames, *more, **options)
        return call


@pytest.mark.slow
def test_a_chunk_too_large_is_decoded_in_smaller_ones(clip, networks):
    cramped = Cramped(networks, decode=4)
    result = refine(clip, cramped, replace(SMALL, decode_chunk=8, decode_halo=1))
    assert np.isfinite(result.depth).all() and ("decode", 9) in cramped.refused
    np.testing.assert_array_equal(result.depth, refine(clip, networks, replace(SMALL, decode_chunk=2,
                                                                               decode_halo=1)).depth)


@pytest.mark.slow
def test_a_batch_too_large_is_encoded_in_parts(clip, networks):
    np.testing.assert_allclose(refine(clip, Cramped(networks, encode=1), SMALL).depth,
                               refine(clip, networks, SMALL).depth, rtol=1e-4)


@pytest.mark.slow
def test_a_window_too_large_runs_in_halves(networks, monkeypatch):
    from stereodiff_blender.engine.diffusion.depthcrafter import denoising
    monkeypatch.setattr(denoising, "LEAST_WINDOW", 4)
    generator = np.random.default_rng(2)
    depth = generator.uniform(1, 3, (16, 64, 64)).astype(np.float32)
    frames = generator.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    cramped = Cramped(networks, predict=12)
    options = replace(SMALL, window=16, overlap=4)
    result = refine((frames, depth, np.ones_like(depth), np.zeros(depth.shape, np.uint8)), cramped, options)
    assert cramped.refused == [("predict", 16)] and np.isfinite(result.depth).all()


@pytest.mark.slow
def test_a_smaller_raster_is_the_last_resort(networks):
    generator = np.random.default_rng(2)
    depth = generator.uniform(1, 3, (4, 128, 256)).astype(np.float32)
    frames = generator.integers(0, 256, (4, 128, 256, 3), dtype=np.uint8)

    class Small(Cramped):
        def __getattr__(self, name):
            value = getattr(self._networks, name)
            if name != "predict":
                return value

            def predict(sample, *more, **options):
                if sample.shape[-1] > 16:
                    raise torch.OutOfMemoryError("no room")
                return value(sample, *more, **options)
            return predict

    report = RecordingReport()
    result = refine((frames, depth, np.ones_like(depth), np.zeros(depth.shape, np.uint8)), Small(networks), SMALL,
                    report)
    assert result.refinement.width <= 128 and result.depth.shape == depth.shape and len(report.notes) >= 2


def test_no_room_at_all(clip, networks):
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "out_of_memory"):
        refine(clip, Cramped(networks, predict=0), SMALL)


# --- Presets -----------------------------------------------------------------------------------------------------

def test_the_paper_preset():
    paper = options_from(Settings(diffusion=DiffusionSettings("paper")))
    assert (paper.sigma, paper.sigma_end) == (pytest.approx(2.26912, abs=1e-5), pytest.approx(0.002))
    assert (paper.window, paper.overlap, paper.share_latents, paper.norm) == (110, 25, False, "minmax")


def test_schedules():
    def sigma(**diffusion) -> tuple[float, float]:
        options = options_from(Settings(diffusion=DiffusionSettings(**diffusion)))
        return options.sigma, options.sigma_end
    assert sigma(schedule="trailing") == (pytest.approx(1.613, abs=1e-3), 0.0)
    assert sigma(schedule="free", noise_level=0.7) == (0.7, 0.0)


def test_the_fast_preset_shares_no_frames():
    fast = options_from(Settings(diffusion=DiffusionSettings("fast")))
    assert (fast.overlap, fast.max_side_px) == (0, 640)
