"""A whole job through the engine: the geometric one, or both learned stages with random weights of the published size.

python bench_cuda_job.py OUT.json {geometric,learned} --clip FILE --scratch DIR [--device D] [--tiny]

The weights are written into the scratch folder in the published layout, and loaded from there as an artist's are. What
they make of the clip means nothing; how long each stage takes does.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import bench
import bench_depthcrafter
import torch
from tiny_depthcrafter import write_network, write_tiny_depthcrafter
from tiny_monst3r import TINY, write_tiny_monst3r

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig

NETWORK_STAGES = ("match", "encode", "refine")
TINY_OPTIONS = ["--frames", "1-4", "--max-side", "128"]
LENS = ["--focal-mm", "30", "--sensor-mm", "36"]
"""Given, because random pointmaps fit none."""


def write_weights(models: Path, device: torch.device, tiny: bool) -> None:
    """Both models' folders as they are published, of 7 GB at full size."""
    write_tiny_monst3r(models / "monst3r", config=TINY if tiny else NetworkConfig())
    if tiny:
        write_tiny_depthcrafter(models)
        return
    modules = bench_depthcrafter.random_modules(device, torch.float16, True)
    own, other = models / "depthcrafter", models / "stable-video-diffusion-img2vid-xt"
    places = ((own, "diffusion_pytorch_model.safetensors", bench_depthcrafter.UNET),
              (other / "vae", "diffusion_pytorch_model.fp16.safetensors", bench_depthcrafter.VAE),
              (other / "image_encoder", "model.fp16.safetensors", bench_depthcrafter.CLIP))
    for module, (folder, name, stated) in zip(modules, places, strict=True):
        write_network(folder, name, {key: value.contiguous() for key, value in module.named_parameters()}, stated)


def learned(options: argparse.Namespace) -> dict:
    """Both stages on the device. networks_s: of the stages in which they run; others_s: everything else of the job."""
    models = options.scratch / "models"
    write_weights(models, options.device, options.tiny)
    if options.device.type == "cuda":
        torch.cuda.empty_cache()
    chosen = ["--stereo", "monst3r", "--refine", "depthcrafter", "--models", str(models), "--accept-licence",
              "--device", str(options.device), *LENS]
    found = measured_job(options, chosen)
    refinement = JobFolder(options.scratch / "job").read_result().refinement
    networks_s = sum(found["stages_s"].get(stage, 0.0) for stage in NETWORK_STAGES)
    return {**found, "networks_s": networks_s, "others_s": found["wall_s"] - networks_s,
            "peak_mb": refinement.peak_device_mb if refinement else None}


def geometric(options: argparse.Namespace) -> dict:
    """The engine that needs no network, on this machine's cores."""
    return measured_job(options, [])


def measured_job(options: argparse.Namespace, chosen: list[str]) -> dict:
    found = bench.measure(options.clip, options.scratch / "job", chosen + (TINY_OPTIONS if options.tiny else []))
    return {**found, "seconds_a_frame": found["wall_s"] / found["frames"]}


def main(options: argparse.Namespace) -> None:
    # Whom the licenses of random weights are accepted for is nobody.
    os.environ.update(dict.fromkeys(("HOME", "XDG_DATA_HOME", "LOCALAPPDATA"), str(options.scratch / "user")))
    found = {"learned": learned, "geometric": geometric}[options.kind](options)
    options.out.write_text(json.dumps({key: value for key, value in found.items() if key != "options"}),
                           encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("kind", choices=("geometric", "learned"))
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments())
