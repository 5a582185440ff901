"""One measurement of a learned stage on a card, in a process of its own, so that its peak of memory is its alone.

python bench_cuda_stages.py OUT.json STAGE --raster W H --precision P --frames N [--way WAY] [--device D] [--tiny]
                            [--budget-gib G]

STAGE and WAY: monst3r "once" (each frame encoded once) or "per_pair" (both of every pair anew, one pair at a time);
depthcrafter "one_step" or "five_steps". The networks have the published measures (tiny: a part of them) and random
weights, the frames are noise. What is timed ran once before, and the card has finished when the clock is read.

--budget-gib takes the rest of the card's memory away first, so that it is as free as a card of that size.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import bench_depthcrafter
import numpy as np
import torch
from bench_monst3r import match_afresh, measured, random_network
from tiny_monst3r import TINY

from stereodiff_blender.engine.contract import Settings
from stereodiff_blender.engine.diffusion.depthcrafter import refine
from stereodiff_blender.engine.diffusion.depthcrafter.networks import DepthCrafterNetworks
from stereodiff_blender.engine.diffusion.depthcrafter.options import options_from
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig
from stereodiff_blender.engine.stereo.monst3r.matching import match_pairs
from stereodiff_blender.engine.stereo.monst3r.network import TwoViewNetwork
from stereodiff_blender.engine.stereo.monst3r.pairs import window_pairs
from stereodiff_blender.engine.stereo.monst3r.raster import normalized

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
WARM_PAIRS = 36
"""Two batches and a rest, so that every size of batch has been seen."""
GIB = 2**30


def ballast(budget_gib: float, device: torch.device) -> torch.Tensor:
    """What leaves a card as much memory as one of that size has, what CUDA itself takes included."""
    total = torch.cuda.mem_get_info(device)[1]
    return torch.empty(max(int(total - budget_gib * GIB), 0), dtype=torch.uint8, device=device)


# --- MonST3R -----------------------------------------------------------------------------------------------------

def matcher(options: argparse.Namespace) -> TwoViewNetwork:
    return random_network(TINY if options.tiny else NetworkConfig(), options.device, PRECISIONS[options.precision])


def match(network: TwoViewNetwork, options: argparse.Namespace) -> dict:
    """Seconds and memory of matching all pairs of a clip."""
    device = options.device
    # The original lets the card round what it multiplies in float32 to 10 bits.
    torch.backends.cuda.matmul.allow_tf32 = options.way == "per_pair"
    frames = np.random.default_rng(0).integers(0, 256, (options.frames, *options.raster[::-1], 3), np.uint8)
    pairs = window_pairs(len(frames))

    def once(some_pairs: list) -> None:
        for _ in match_pairs(network, frames, some_pairs, report=Report()):
            pass

    def per_pair(some_pairs: list) -> None:
        pictures = torch.from_numpy(np.stack([normalized(frame) for frame in frames])).to(device)
        for _ in match_afresh(network, pictures, some_pairs):
            pass

    way = {"once": once, "per_pair": per_pair}[options.way]
    began = time.perf_counter()
    way(pairs[:WARM_PAIRS])
    warm_s, began = time.perf_counter() - began, time.perf_counter()
    cost = measured(lambda: way(pairs), device)
    return {"seconds_a_frame": (time.perf_counter() - began) / len(frames), "pairs": len(pairs),
            "first_run_s": warm_s, "peak_mb": cost.peak_mb}


# --- DepthCrafter ------------------------------------------------------------------------------------------------

def refiner(options: argparse.Namespace) -> DepthCrafterNetworks:
    """A budget cannot hide how large the card is, by which the precision of encoding is chosen."""
    precision = PRECISIONS[options.precision]
    encode_precision = torch.bfloat16 if options.budget_gib else None
    return bench_depthcrafter.random_networks(options.device, precision, not options.tiny, encode_precision)


def refine_clip(networks: DepthCrafterNetworks, options: argparse.Namespace) -> dict:
    """Seconds and memory of the whole of stage 2, with the networks' way to the card and back."""
    raster = tuple(options.raster[::-1])
    choices = replace(options_from(Settings()), max_side_px=max(raster))
    began = time.perf_counter()
    bench_depthcrafter.run(networks, raster, options.frames, choices, options.device)
    warm_s = time.perf_counter() - began
    if options.way == "five_steps":
        refine.refine_window = bench_depthcrafter.five_steps
    found = bench_depthcrafter.run(networks, raster, options.frames, choices, options.device)
    others_s = options.frames * found["seconds_a_frame"] - sum(found["stages_s"].values())
    return {**found, "others_s": others_s, "first_run_s": warm_s, "retries": networks.retries}


# --- One measurement ---------------------------------------------------------------------------------------------

STAGES = {"monst3r": (matcher, match), "depthcrafter": (refiner, refine_clip)}


def main(options: argparse.Namespace) -> None:
    make, measure = STAGES[options.stage]
    networks = make(options)
    if options.budget_gib:
        torch.cuda.empty_cache()
        held = ballast(options.budget_gib, options.device)
        found = measure(networks, options) | {"budget_gib": options.budget_gib}
        found["peak_mb"] -= held.nbytes / 1e6
    else:
        found = measure(networks, options)
    options.out.write_text(json.dumps({"stage": options.stage, "way": options.way, "raster": options.raster,
                                       "precision": options.precision, "frames": options.frames, **found}),
                           encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--way", choices=("once", "per_pair", "one_step", "five_steps"), required=True)
    parser.add_argument("--raster", type=int, nargs=2, metavar=("W", "H"), required=True)
    parser.add_argument("--precision", choices=PRECISIONS, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--budget-gib", type=float)
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments())
