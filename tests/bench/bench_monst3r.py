"""What sharing work between pairs saves: operations, time and memory, each frame encoded once against once per pair.

The network has the released measures (or a part of its depth) and random weights; the frames are noise. Operations are
counted without running anything, 2 to a multiplication with addition, in matrix products and convolutions.

    python tests/bench/bench_monst3r.py                          count operations
    python tests/bench/bench_monst3r.py --run                    also run it on this processor
    python tests/bench/bench_monst3r.py --run --device cuda      on a GPU: bfloat16 once per frame, float32 per pair

The repository has to be on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig
from stereodiff_blender.engine.stereo.monst3r.matching import default_precision, match_pairs
from stereodiff_blender.engine.stereo.monst3r.network import FIRST, SECOND, FrameFeatures, TwoViewNetwork
from stereodiff_blender.engine.stereo.monst3r.pairs import window_pairs
from stereodiff_blender.engine.stereo.monst3r.raster import normalized

ORIGINAL_GFLOP = {(288, 512): 1354.5, (384, 512): 1856.8}
"""Of one ordered pair, counted in the original code by the same counter."""


@dataclass(frozen=True)
class Cost:
    """Of the whole run. On a CPU, seconds are the processor's, which other programs disturb less, and there is no peak:
    the process's never falls."""

    seconds: float
    peak_mb: float | None


# --- The two ways ------------------------------------------------------------------------------------------------

@torch.inference_mode()
def match_afresh(network: TwoViewNetwork, frames: torch.Tensor, pairs: list[tuple[int, int]]) -> Iterator[None]:
    """Encode both frames of every pair, each for the one role that it has there; no more than that is needed."""
    for pair in pairs:
        encoded = [[encoded_for(network, frames[index:index + 1], role)]
                   for role, index in zip((FIRST, SECOND), pair, strict=True)]
        found = network.match(*encoded)
        yield found.points_i.cpu(), found.points_j.cpu(), found.confidence_i.cpu(), found.confidence_j.cpu()


def encoded_for(network: TwoViewNetwork, frame: torch.Tensor, role: int) -> FrameFeatures:
    planes, embedded = network.encode_tokens(frame)
    features = network.in_role(role, planes, embedded)
    return FrameFeatures(*planes.shape[-2:], (features, features))


# --- Counting ----------------------------------------------------------------------------------------------------

def gflop(run) -> float:
    """Attention is counted as the matrix products that it is."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        run()
    return counter.get_total_flops() / 1e9


def counted(config: NetworkConfig, shape: tuple[int, int]) -> dict[str, float]:
    """GFLOP of a frame once, and of a pair by either way, at (height, width)."""
    with torch.device("meta"):
        network = TwoViewNetwork(config)
        frame = torch.empty((1, 3, *shape))
        features = network.encode(frame)
        return {"frame": gflop(lambda: network.encode(frame)),
                "encoder": gflop(lambda: network.encode_tokens(frame)),
                "pair": gflop(lambda: network.match(features, features)),
                "pair_afresh": gflop(lambda: network.match(*([encoded_for(network, frame, role)]
                                                             for role in (FIRST, SECOND))))}


def of_clip(counts: dict[str, float], frames: int, reach: int) -> dict[str, float]:
    """TFLOP of a whole clip by either way, and how many times less it is."""
    pairs = len(window_pairs(frames, reach))
    once = frames * counts["frame"] + pairs * counts["pair"]
    afresh = pairs * counts["pair_afresh"]
    return {"pairs": pairs, "once_tflop": once / 1e3, "afresh_tflop": afresh / 1e3, "times_less": afresh / once}


# --- Running -----------------------------------------------------------------------------------------------------

def random_network(config: NetworkConfig, device: torch.device, precision: torch.dtype) -> TwoViewNetwork:
    torch.manual_seed(0)
    with device:
        network = TwoViewNetwork(config).eval().requires_grad_(False)
    network.set_precision(precision)
    return network


def measured(run, device: torch.device) -> Cost:
    if device.type != "cuda":
        began = time.process_time()
        run()
        return Cost(time.process_time() - began, None)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return Cost(time.perf_counter() - began, torch.cuda.max_memory_allocated(device) / 1e6)


def run_both(config: NetworkConfig, shape: tuple[int, int], count: int, reach: int, device: torch.device
             ) -> dict[str, Cost]:
    frames = np.random.default_rng(0).integers(0, 256, (count, *shape, 3), np.uint8)
    pairs = window_pairs(count, reach)
    precision = default_precision(device)

    def once(network: TwoViewNetwork, some_pairs: list) -> None:
        for _ in match_pairs(network, frames, some_pairs, report=Report()):
            pass

    def afresh(network: TwoViewNetwork, some_pairs: list) -> None:
        pictures = torch.from_numpy(np.stack([normalized(frame) for frame in frames])).to(device)
        for _ in match_afresh(network, pictures, some_pairs):
            pass

    costs = {}
    for name, run, kind in (("once", once, precision), ("afresh", afresh, torch.float32)):
        network = random_network(config, device, kind)
        run(network, pairs[:4] if device.type == "cpu" else pairs)  # warm: libraries, kernels, memory
        costs[name] = measured(lambda run=run, network=network: run(network, pairs), device)
        del network
    return costs


# --- In words ----------------------------------------------------------------------------------------------------

def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def counted_text(counts: dict[str, float], shape: tuple[int, int], frames: int, reach: int) -> str:
    clip = of_clip(counts, frames, reach)
    original = ORIGINAL_GFLOP.get(shape)
    lines = [f"Operations at {shape[1]}x{shape[0]}, {frames} frames each with the next {reach}: {clip['pairs']} pairs",
             f"  a frame, once           {counts['frame']:9.1f} GFLOP (encoder {counts['encoder']:.1f})",
             f"  a pair of such frames   {counts['pair']:9.1f} GFLOP",
             f"  a pair, encoded afresh  {counts['pair_afresh']:9.1f} GFLOP",
             f"  the clip                {clip['once_tflop']:9.1f} TFLOP instead of {clip['afresh_tflop']:.1f}: "
             f"{clip['times_less']:.2f} times less"]
    if original:
        times = original * clip["pairs"] / 1e3 / clip["once_tflop"]
        lines.append(f"  against the original's {original:.1f} GFLOP a pair: {times:.2f} times less")
    return "\n".join(lines)


def measured_text(costs: dict[str, Cost], frames: int, device: torch.device) -> str:
    kinds = {"once": f"each frame once, {str(default_precision(device)).removeprefix('torch.')}",
             "afresh": "encoded per pair, float32"}
    lines = [f"Time on {machine(device)}, {frames} frames"]
    for name, cost in costs.items():
        peak = "" if cost.peak_mb is None else f", peak {cost.peak_mb:.0f} MB"
        lines.append(f"  {kinds[name]:26} {cost.seconds / frames:8.3f} s a frame{peak}")
    return "\n".join([*lines, f"  {costs['afresh'].seconds / costs['once'].seconds:.2f} times faster"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--frames", type=int, default=50, help="of the clip that operations are counted for")
    parser.add_argument("--reach", type=int, default=2, help="the paper's n")
    parser.add_argument("--run", type=int, nargs="?", const=6, default=0, metavar="N", help="also run N frames (6)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--depth", type=int, nargs=2, default=(24, 12), metavar=("ENCODER", "DECODER"))
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    config = replace(NetworkConfig(), encoder_depth=options.depth[0], decoder_depth=options.depth[1])
    shape = (options.height, options.width)
    counts = counted(config, shape)
    print(counted_text(counts, shape, options.frames, options.reach), flush=True)
    figures = {"counts_gflop": counts, "clip": of_clip(counts, options.frames, options.reach)}
    if options.run:
        costs = run_both(config, shape, options.run, options.reach, options.device)
        print(measured_text(costs, options.run, options.device))
        figures |= {"machine": machine(options.device), "run_frames": options.run,
                    "costs": {name: vars(cost) for name, cost in costs.items()}}
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(arguments())
