"""How far a device's answers lie from the reference vectors and from the processor's, in every precision.

python bench_cuda_golden.py OUT.json [--device D] [--tiny]

The tiny networks of tests/data/golden, on the processor in float32 and on the device in float32 (with and without the
rounding to 10 bits that its matrix units may do), float16 and bfloat16. A difference is told as a share of a tensor's
largest number. tiny: one pair and one step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from golden import golden_file, tensors
from golden_networks import tiny_network

from stereodiff_blender.engine.diffusion.depthcrafter.checkpoint import load_folders

CPU = torch.device("cpu")
PAIRS = ("landscape", "portrait", "mixed")
STEPS = ("upstream_1step", "upstream_5step")

Answers = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Kind:
    """A way to compute. rounds: float32 to 10 bits. most: largest difference, as a share, at which it still agrees; on
    a processor it is 0.013 in float16 and 0.062 in bfloat16."""

    name: str
    precision: torch.dtype
    rounds: bool
    most: float


KINDS = (Kind("fp32, whole", torch.float32, False, 3e-4), Kind("fp32", torch.float32, True, 3e-2),
         Kind("fp16", torch.float16, True, 3e-2), Kind("bf16", torch.bfloat16, True, 1.5e-1))


# --- Answers -----------------------------------------------------------------------------------------------------

@torch.no_grad()
def monst3r(device: torch.device, precision: torch.dtype, tiny: bool) -> tuple[Answers, Answers]:
    """What the network gives for the pairs of the reference, and what the reference gives."""
    network = tiny_network().to(device)
    network.set_precision(precision)
    found, expected = {}, {}
    for name in PAIRS[:1] if tiny else PAIRS:
        given = tensors(golden_file("monst3r", f"tiny_{name}.safetensors"))
        frames = [network.encode(torch.from_numpy(given[image]).to(device))[0] for image in ("img1", "img2")]
        maps = network.match(frames[:1], frames[1:])
        answers = {"pts3d_1": maps.points_i, "pts3d_2_in_view1": maps.points_j, "conf_1": maps.confidence_i,
                   "conf_2": maps.confidence_j}
        found |= {f"{name}/{key}": value.float().cpu() for key, value in answers.items()}
        expected |= {f"{name}/{key}": torch.from_numpy(given[key]) for key in answers}
    return found, expected


def depthcrafter(device: torch.device, precision: torch.dtype, tiny: bool) -> tuple[Answers, Answers]:
    """The same of image encoder, VAE and U-Net, and of the pictures that the clean latents are decoded to."""
    folder = golden_file("depthcrafter", "model/unet/config.json").parents[1]
    networks = load_folders(folder / "unet", folder / "vae", folder / "image_encoder", device=device,
                            precision=precision)
    clip = {name: torch.from_numpy(array)
            for name, array in tensors(golden_file("depthcrafter", "inputs.safetensors")).items()}
    found, expected = {}, {}
    for name in STEPS[:1] if tiny else STEPS:
        given = {key: torch.from_numpy(array)
                 for key, array in tensors(golden_file("depthcrafter", f"{name}.safetensors")).items()}
        expected[f"{name}/embeddings"], expected[f"{name}/latents"] = given["image_embeds"][0], given["cond_latents"][0]
        count = len(given["image_embeds"][0])
        ids = given["added_time_ids"][0].tolist()
        pictures = 2 * clip["frames"][:count] - 1
        found[f"{name}/embeddings"] = networks.embed(pictures)
        found[f"{name}/latents"] = networks.encode(pictures + ids[2] * clip["noise_pixels"][:count])
        for key in [key for key in given if key.startswith("win0/") and key.endswith("unet_out")]:
            noisy = given[f"{key.removesuffix('unet_out')}unet_in_noisy4"][0]
            time = float(given["timesteps"][int(key.split("/")[1].removeprefix("step"))])
            sample = torch.cat([noisy, given["cond_latents"][0, :len(noisy)]], dim=1)
            expected[f"{name}/{key}"] = given[key][0]
            found[f"{name}/{key}"] = networks.predict(sample, time, given["image_embeds"][0, :len(noisy)],
                                                      ids=tuple(ids))
    return found, expected


# --- Differences -------------------------------------------------------------------------------------------------

def worst(found: Answers, expected: Answers) -> float:
    """The largest difference of any tensor, as a share of that tensor's largest number."""
    return max(float((found[name] - value).abs().max() / value.abs().max()) for name, value in expected.items())


def compared(answers: Callable, device: torch.device, tiny: bool) -> dict:
    """By kind, the largest difference from the reference and from the processor in float32."""
    on_processor, reference = answers(CPU, torch.float32, tiny)
    rows = {"processor": {"from_reference": worst(on_processor, reference)}}
    for kind in KINDS:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind.rounds
        found, _ = answers(device, kind.precision, tiny)
        share = worst(found, on_processor)
        rows[kind.name] = {"from_reference": worst(found, reference), "from_processor": share,
                           "agrees": share <= kind.most, "at_most": kind.most}
    return rows


def main(options: argparse.Namespace) -> None:
    stages = {"monst3r": monst3r, "depthcrafter": depthcrafter}
    found = {name: compared(answers, options.device, options.tiny) for name, answers in stages.items()}
    found["agrees"] = all(row.get("agrees", True) for rows in list(found.values()) for row in rows.values())
    options.out.write_text(json.dumps(found), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments())
