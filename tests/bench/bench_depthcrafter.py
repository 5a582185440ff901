"""What one step costs against five: operations, time and memory of stage 2, window by window with overlap.

The networks have the published measures (or a part of them) and random weights; the frames are noise. Both ways run
through the same code: encoders, windows, merging and decoding are the same, only the number of the network's passes
differs. Operations are counted without running anything, 2 to a multiplication with addition.

    python tests/bench/bench_depthcrafter.py                          count operations
    python tests/bench/bench_depthcrafter.py --run                    also run tiny networks on this processor
    python tests/bench/bench_depthcrafter.py --run --device cuda      full size on a GPU: 1024x576, 110 frames, float16

The repository has to be on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from stereodiff_blender.engine.contract import Settings
from stereodiff_blender.engine.diffusion.depthcrafter import denoising, refine
from stereodiff_blender.engine.diffusion.depthcrafter.denoising import Condition, sample_steps
from stereodiff_blender.engine.diffusion.depthcrafter.networks import DepthCrafterNetworks
from stereodiff_blender.engine.diffusion.depthcrafter.options import options_from
from stereodiff_blender.engine.diffusion.depthcrafter.schedule import karras_sigmas
from stereodiff_blender.engine.diffusion.depthcrafter.windows import plan_windows
from stereodiff_blender.engine.parallel import Cores
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import StereoResult
from stereodiff_blender.engine.storage import RunContext

UNET = {"in_channels": 8, "out_channels": 4, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2,
        "cross_attention_dim": 1024, "num_attention_heads": (5, 10, 20, 20), "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 768}
VAE = {"latent_channels": 4, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
       "down_block_types": ("DownEncoderBlock2D",) * 4, "scaling_factor": 0.18215, "force_upcast": True}
CLIP = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
        "patch_size": 14, "image_size": 224, "projection_dim": 1024, "hidden_act": "gelu"}
TINY_UNET = UNET | {"block_out_channels": (32, 64), "cross_attention_dim": 32, "num_attention_heads": (2, 4),
                    "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
                    "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
                    "layers_per_block": 1, "addition_time_embed_dim": 16, "projection_class_embeddings_input_dim": 48}
TINY_VAE = VAE | {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
TINY_CLIP = CLIP | {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                    "projection_dim": 32}
STEPS = 5


# --- Counting ----------------------------------------------------------------------------------------------------

def counted(shape: tuple[int, int], window: int, chunk: int) -> dict[str, float]:
    """TFLOP of one frame's passage through each network, at (height, width)."""
    rows, cols = shape[0] // 8, shape[1] // 8
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        # "to", because the blending weights of these classes pass by the device they are made on.
        unet = UNetSpatioTemporalConditionModel(**UNET).to("meta")
        vae = AutoencoderKLTemporalDecoder(**VAE).to("meta")
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP))
        clip.vision_model.embeddings.position_ids = torch.arange(257)[None]
        sample = torch.empty(1, window, 8, rows, cols)
        runs = {"unet": (lambda: unet(sample, torch.tensor(0.2), torch.empty(1, 1, 1024), torch.empty(1, 3)), window),
                "encode": (lambda: vae.encode(torch.empty(1, 3, *shape)), 1),
                "decode": (lambda: vae.decode(torch.empty(chunk, 4, rows, cols), num_frames=chunk), chunk),
                "clip": (lambda: clip(torch.empty(1, 3, 224, 224)), 1)}
        return {name: flop(run) / frames / 1e12 for name, (run, frames) in runs.items()}


def flop(run) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()


def of_clip(counts: dict[str, float], frames: int, window: int, overlap: int) -> dict[str, float]:
    """TFLOP a frame by either way. One step starts from stage 1's depth, and so encodes twice."""
    passes = sum(w.end - w.start for w in plan_windows(frames, window, overlap, "shift")) / frames
    shared = counts["clip"] + counts["encode"] + counts["decode"]
    one, five = shared + counts["encode"] + passes * counts["unet"], shared + STEPS * passes * counts["unet"]
    return {"passes": passes, "one_step": one, "five_steps": five, "times_less": five / one}


# --- Running -----------------------------------------------------------------------------------------------------

def random_networks(device: torch.device, precision: torch.dtype, is_full_size: bool,
                    encode_precision: torch.dtype | None = None) -> DepthCrafterNetworks:
    return DepthCrafterNetworks(*random_modules(device, precision, is_full_size), device=device, precision=precision,
                                encode_precision=encode_precision)


def random_modules(device: torch.device, precision: torch.dtype, is_full_size: bool) -> list[torch.nn.Module]:
    """U-Net, VAE and image encoder, on the host as loaded ones are. Two billion random numbers are made by the device,
    which is quicker."""
    torch.manual_seed(0)
    unet, vae, clip = (UNET, VAE, CLIP) if is_full_size else (TINY_UNET, TINY_VAE, TINY_CLIP)
    makers = (lambda: UNetSpatioTemporalConditionModel(**unet), lambda: AutoencoderKLTemporalDecoder(**vae),
              lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**clip)))
    modules = []
    for make in makers:
        with device:
            module = make()
        torch.nn.Module.to(module, "cpu", precision)
        modules.append(module.eval().requires_grad_(False))
    return modules


def five_steps(networks, latents, draws, condition: Condition, options) -> torch.Tensor:
    """A window from pure noise, in place of the one step from stage 1."""
    levels = karras_sigmas(STEPS)
    return sample_steps(networks, draws[0] * float(np.sqrt(levels[0] ** 2 + 1)), condition, levels, options)


def run(networks: DepthCrafterNetworks, shape: tuple[int, int], frames: int, options, device: torch.device) -> dict:
    """Seconds and peak memory of the whole of stage 2, which ends with the networks on the host."""
    generator = np.random.default_rng(0)
    depth = generator.uniform(1.0, 4.0, (frames, *shape)).astype(np.float32)
    pictures = generator.integers(0, 256, (frames, *shape, 3), np.uint8)
    stereo = StereoResult(None, depth, np.ones_like(depth), np.zeros(depth.shape, np.uint8))  # cameras take no part
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    began, stages = time.perf_counter(), Stages()
    context = RunContext(report=stages, cores=Cores.asked(0))
    result = refine.refine_by_diffusion(pictures, stereo, networks, options, context=context)
    stages.close()
    used = result.refinement
    return {"seconds_a_frame": (time.perf_counter() - began) / frames, "stages_s": stages.seconds,
            "window": used.window, "raster_used": [used.width, used.height], "note": stages.said,
            "peak_mb": used.peak_device_mb}


class Stages(Report):
    """Seconds of each stage."""

    def __init__(self):
        self.seconds, self.said, self._current, self._began = {}, "", None, time.perf_counter()

    def stage(self, stage, total):
        self.close()
        self._current, self._began = stage, time.perf_counter()

    def close(self) -> None:
        if self._current:
            self.seconds[self._current] = time.perf_counter() - self._began

    def note(self, message):
        self.said = message


def run_both(options: argparse.Namespace) -> dict[str, dict]:
    device = options.device
    is_full_size = device.type == "cuda"
    precision = torch.float16 if is_full_size else torch.float32
    networks = random_networks(device, precision, is_full_size)
    shape = (options.height, options.width) if is_full_size else (64, 128)
    choices = replace(options_from(Settings()), max_side_px=max(shape), window=options.window, overlap=options.overlap)
    run(networks, shape, min(options.frames, 8), choices, device)  # warm: libraries, kernels, memory
    found = {"one step": run(networks, shape, options.frames, choices, device)}
    one_step, refine.refine_window = refine.refine_window, five_steps
    try:
        found["five steps"] = run(networks, shape, options.frames, choices, device)
    finally:
        refine.refine_window = one_step
    assert refine.refine_window is denoising.refine_window
    return found


# --- In words ----------------------------------------------------------------------------------------------------

def counted_text(counts: dict[str, float], clip: dict[str, float], options: argparse.Namespace) -> str:
    lines = [f"Operations at {options.width}x{options.height}, windows of {options.window}, {options.overlap} shared"]
    lines += [f"  {name:8} {value:7.3f} TFLOP a frame" for name, value in counts.items()]
    return "\n".join([*lines, f"  one step {clip['one_step']:.2f} TFLOP a frame, five steps {clip['five_steps']:.2f}: "
                              f"{clip['times_less']:.2f} times less"])


def measured_text(found: dict[str, dict], device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "this processor, tiny networks"
    lines = [f"Time on {name}: {found['one step']['note']}"]
    for way, cost in found.items():
        peak = "" if cost["peak_mb"] is None else f", peak {cost['peak_mb']:.0f} MB"
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in cost["stages_s"].items())
        lines.append(f"  {way:11} {cost['seconds_a_frame']:.3f} s a frame ({stages}){peak}")
    one, five = (found[way]["seconds_a_frame"] for way in ("one step", "five steps"))
    return "\n".join([*lines, f"  {five / one:.2f} times faster"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--height", type=int, default=576)
    parser.add_argument("--frames", type=int, default=110)
    parser.add_argument("--window", type=int, default=110)
    parser.add_argument("--overlap", type=int, default=25)
    parser.add_argument("--run", action="store_true", help="also run; the full size only on a GPU")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    counts = counted((options.height, options.width), options.window, 8)
    clip = of_clip(counts, options.frames, options.window, options.overlap)
    print(counted_text(counts, clip, options), flush=True)
    figures = {"counts_tflop": counts, "clip": clip}
    if options.run:
        figures["run"] = run_both(options)
        print(measured_text(figures["run"], options.device))
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(arguments())
