"""The published MonST3R files: what they call each parameter, and what else they may hold.

Published are a safetensors file with a config.json (Hugging Face), and a PyTorch checkpoint (.pth): a dict of "model",
the tensors, and "args", an argparse.Namespace whose text "model" tells how the network was built.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from ...contract import StereoDiffError
from ...torch_support.checkpoint_files import (
    Shape,
    check_shapes,
    check_tensors,
    load_strictly,
    open_weights,
    read_checkpoint,
    refuse_if_any,
    write_safetensors,
)
from .config import NetworkConfig
from .network import TwoViewNetwork

__all__ = ["load_network"]

SAFETENSORS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
CHECKPOINT_NAME = "MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt.pth"
ALLOWED_CLASSES = (argparse.Namespace,)
HEAD_SIZE = 64
"""Channels of an attention head in every published network; what a file without configuration is taken to have."""

_PUBLISHED = tuple((re.compile(ours), theirs) for ours, theirs in (
    (r"^patches\.", "patch_embed.proj."),
    (r"^(encoder\.\d+)\.norm_mlp\.", r"\1.norm2."),
    (r"^encoder\.", "enc_blocks."),
    (r"^encoder_norm\.", "enc_norm."),
    (r"^embed\.", "decoder_embed."),
    (r"^decoders\.0\.", "dec_blocks."),
    (r"^decoders\.1\.", "dec_blocks2."),
    (r"^decoder_norm\.", "dec_norm."),
    (r"\.norm_self\.", ".norm1."),
    (r"\.norm_cross\.", ".norm2."),
    (r"\.norm_mlp\.", ".norm3."),
    (r"\.norm_other\.", ".norm_y."),
    (r"\.self_attention\.query_key_value\.", ".attn.qkv."),
    (r"\.self_attention\.project\.", ".attn.proj."),
    (r"\.cross_attention\.query\.", ".cross_attn.projq."),
    (r"\.cross_attention\.key\.", ".cross_attn.projk."),
    (r"\.cross_attention\.value\.", ".cross_attn.projv."),
    (r"\.cross_attention\.project\.", ".cross_attn.proj."),
    (r"\.mlp\.expand\.", ".mlp.fc1."),
    (r"\.mlp\.shrink\.", ".mlp.fc2."),
    (r"^heads\.0\.", "downstream_head1.dpt."),
    (r"^heads\.1\.", "downstream_head2.dpt."),
    (r"\.reassemble\.", ".act_postprocess."),
    (r"\.adapt\.(\d)\.", lambda found: f".scratch.layer{int(found[1]) + 1}_rn."),
    (r"\.fusions\.(\d)\.", lambda found: f".scratch.refinenet{int(found[1]) + 1}."),
    (r"\.refine_own\.", ".resConfUnit1."),
    (r"\.refine_sum\.", ".resConfUnit2."),
    (r"\.(resConfUnit\d)\.first\.", r".\1.conv1."),
    (r"\.(resConfUnit\d)\.second\.", r".\1.conv2."),
    (r"\.project\.", ".out_conv."),
    (r"\.reduce\.", ".head.0."),
    (r"\.smooth\.", ".head.2."),
    (r"\.predict\.", ".head.4."),
))
_ALIAS = re.compile(r"\.scratch\.layer_rn\.(\d)\.")
_UNUSED = re.compile(
    r"mask_token$"  # of the pre-training
    r"|downstream_head[12]\.dpt\.scratch\.refinenet4\.resConfUnit1\."  # the coarsest level has nothing to join
    r"|prediction_head\.|enc_pos_embed$|dec_pos_embed$")  # of older pre-trained files
_STATED = ("enc_num_heads", "dec_num_heads", "pos_embed")


# --- Names -----------------------------------------------------------------------------------------------------

def published_name(parameter: str) -> str:
    """What the published files call a parameter of TwoViewNetwork."""
    for pattern, replacement in _PUBLISHED:
        parameter = pattern.sub(replacement, parameter)
    return parameter


def first_name(name: str) -> str:
    """Some tensors stand in a checkpoint under two names; this is the one that both file formats have."""
    return _ALIAS.sub(lambda found: f".scratch.layer{int(found[1]) + 1}_rn.", name)


def by_first_name(names: Iterable[str], tensor: Callable[[str], torch.Tensor]) -> dict[str, str]:
    """First name of every tensor -> a name that it has here.

    Raises StereoDiffError "weights_wrong_model" where two names that should mean one tensor have two.
    """
    found: dict[str, str] = {}
    for name in names:
        known = found.setdefault(first_name(name), name)
        if known != name and not torch.equal(tensor(known), tensor(name)):
            raise StereoDiffError("weights_wrong_model", f"The weights {known} and {name} should be the same.")
    return found


def is_unused(name: str) -> bool:
    """Whether a published tensor has no part in matching."""
    return _UNUSED.match(name) is not None


def sources_of(parameters: Iterable[str], present: Iterable[str], path: Path) -> dict[str, str]:
    """Where each parameter of a TwoViewNetwork stands in a file that has these first names.

    Whatever is in the file must have a use, or be known to have none. A file without a second decoder starts it as a
    copy of the first. Raises StereoDiffError "weights_wrong_model" for a name that nobody knows.
    """
    wanted = {parameter: published_name(parameter) for parameter in parameters}
    if not any(name.startswith("dec_blocks2.") for name in present):
        wanted = {parameter: name.replace("dec_blocks2.", "dec_blocks.") for parameter, name in wanted.items()}
    known = set(wanted.values())
    refuse_if_any(path, "has, unlike MonST3R,", sorted(n for n in present if n not in known and not is_unused(n)))
    return wanted


# --- Configuration ---------------------------------------------------------------------------------------------

def config_of(shapes: Mapping[str, Shape], stated: Mapping[str, object], path: Path) -> NetworkConfig:
    """The network's measures, from the shapes of its tensors; what no shape tells, from what is stated.

    shapes: by first name. stated: "enc_num_heads", "dec_num_heads" and "pos_embed", as config.json has them, or none.
    Raises StereoDiffError "weights_wrong_model" if a tensor that every MonST3R file has is not there.
    """
    head = "downstream_head1.dpt."
    keys = ["patch_embed.proj.weight", "decoder_embed.weight", "enc_blocks.0.mlp.fc1.weight",
            f"{head}scratch.refinenet1.out_conv.weight", f"{head}head.0.weight",
            *(f"{head}act_postprocess.{level}.0.weight" for level in range(4))]
    refuse_if_any(path, "is not MonST3R: it lacks", [key for key in keys if not shapes.get(key)])
    encoder_width, decoder_width, hidden, fusion_width, output_width, *level_widths = (shapes[key][0] for key in keys)
    return NetworkConfig(
        encoder_width=encoder_width, encoder_depth=_depth(shapes, "enc_blocks"),
        encoder_heads=_heads(stated, "enc_num_heads", encoder_width),
        decoder_width=decoder_width, decoder_depth=_depth(shapes, "dec_blocks"),
        decoder_heads=_heads(stated, "dec_num_heads", decoder_width),
        mlp_ratio=hidden // max(encoder_width, 1), rope_base=_rope_base(stated), level_widths=tuple(level_widths),
        fusion_width=fusion_width, output_width=output_width)


def _depth(shapes: Mapping[str, Shape], blocks: str) -> int:
    """How many blocks of a kind there are. Their numbers are not believed: one of a million would be built."""
    return len({name.split(".")[1] for name in shapes if name.startswith(blocks + ".")})


def _heads(stated: Mapping[str, object], name: str, width: int) -> int:
    heads = stated.get(name)
    if heads is None and width % HEAD_SIZE == 0:
        return width // HEAD_SIZE
    if not isinstance(heads, int) or isinstance(heads, bool):
        raise StereoDiffError("weights_wrong_model", f"The weights' {CONFIG_NAME} does not tell {name}.")
    return heads


def _rope_base(stated: Mapping[str, object]) -> float:
    text = stated.get("pos_embed", "RoPE100")
    found = re.fullmatch(r"RoPE(\d{1,9}(?:\.\d{1,9})?)", text) if isinstance(text, str) else None
    if not found:
        raise StereoDiffError("weights_wrong_model", f"The weights' {CONFIG_NAME} has the unknown position code "
                                                     f"{text!r}.")
    return float(found[1])


def read_stated(path: Path) -> dict[str, object]:
    """What a config.json says, checked for what this network cannot do. No file: nothing stated.

    Its notes on how images are embedded are passed over: portrait pictures need no path of their own.
    Raises StereoDiffError "weights_damaged" or "weights_wrong_model".
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as error:
        raise StereoDiffError("weights_damaged", f"{path} cannot be read: {error}.") from error
    stated = _parsed(text, path)
    expected = {"head_type": "dpt", "output_mode": "pts3d", "depth_mode": ["exp", -math.inf, math.inf],
                "conf_mode": ["exp", 1, math.inf]}
    for name, value in expected.items():
        if name in stated and not _says(stated[name], value):
            raise StereoDiffError("weights_wrong_model", f"{path} has {name} {stated[name]!r} instead of {value!r}.")
    return stated


def _parsed(text: str, path: Path) -> dict[str, object]:
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StereoDiffError("weights_damaged", f"{path} cannot be read: {error}.") from error
    if not isinstance(stated, dict):
        raise StereoDiffError("weights_damaged", f"{path} states no configuration.")
    return stated


def _says(stated: object, expected: object) -> bool:
    """Infinity may be a number or a word."""
    if isinstance(expected, list):
        return (isinstance(stated, list) and len(stated) == len(expected)
                and all(_says(one, other) for one, other in zip(stated, expected, strict=True)))
    if isinstance(expected, float) and isinstance(stated, str):
        return stated.lower().replace("infinity", "inf") == str(expected)
    return stated == expected


# --- Files -----------------------------------------------------------------------------------------------------

def load_network(folder: Path, *, device: torch.device, precision: torch.dtype) -> TwoViewNetwork:
    """The network in a model folder, ready to run.

    Parameters
    ----------
    folder : Path
        With the published .safetensors, or a .pth that is converted beside itself the first time.
    device : torch.device
        Where the network is put.
    precision : torch.dtype
        As TwoViewNetwork.set_precision.

    Returns
    -------
    TwoViewNetwork
        In evaluation mode.

    Raises
    ------
    StereoDiffError
        "weights_missing", "weights_damaged", "weights_refused", "weights_wrong_model" or, when a .pth has to be
        converted first, "weights_not_writable" or "disk_full".
    """
    path = find_weights(folder)
    stated = read_stated(folder / CONFIG_NAME)
    with open_weights(path, device) as weights:
        present = by_first_name(weights.shapes, weights.tensor)
        shapes = {first: weights.shapes[name] for first, name in present.items()}
        network, sources = _planned(shapes, _parsed(weights.metadata.get("network", "{}"), path) | stated, path)
        load_strictly(network, weights, {parameter: present[first] for parameter, first in sources.items()})
    network.set_precision(precision)
    return network.eval()


def _planned(shapes: Mapping[str, Shape], stated: Mapping[str, object], path: Path
             ) -> tuple[TwoViewNetwork, dict[str, str]]:
    """The network that a file's tensors make, still without numbers, and the first name of every parameter's."""
    with torch.device("meta"):
        network = TwoViewNetwork(config_of(shapes, stated, path))
    sources = sources_of((name for name, _ in network.named_parameters()), shapes, path)
    check_shapes(network, sources, shapes, path)
    return network, sources


def find_weights(folder: Path) -> Path:
    """The safetensors file of a model folder; made from its .pth file at the first time, if it has only that."""
    published = folder / SAFETENSORS_NAME
    if published.is_file():
        return published
    checkpoints = [path for path in sorted(folder.glob("*.pth")) if path.is_file()]
    official = [path for path in checkpoints if path.name == CHECKPOINT_NAME]
    if len(official or checkpoints) != 1:
        converted = folder / Path(CHECKPOINT_NAME).with_suffix(".safetensors")
        if converted.is_file() and not checkpoints:
            return converted
        raise StereoDiffError("weights_missing", f"{folder} holds neither {SAFETENSORS_NAME} nor {CHECKPOINT_NAME}.")
    checkpoint = (official or checkpoints)[0]
    converted = checkpoint.with_suffix(".safetensors")
    if not converted.is_file():
        _convert(checkpoint, converted)
    return converted


def _convert(checkpoint: Path, target: Path) -> None:
    """Keep the tensors that matching uses, each under its first name, and what "args" states about the network.

    Another model's file is refused before anything is written, so that nothing of it is left when it is replaced.
    """
    content = read_checkpoint(checkpoint, ALLOWED_CLASSES)
    tensors = content.get("model") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not tensors or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items()):
        raise StereoDiffError("weights_wrong_model", f"{checkpoint} has no tensors under \"model\".")
    check_tensors(tensors, checkpoint)
    names = by_first_name(tensors, tensors.__getitem__)
    kept = {first: tensors[name] for first, name in names.items() if not is_unused(first)}
    built = getattr(content.get("args"), "model", "")
    stated = _stated_in(built if isinstance(built, str) else "")
    shapes = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    _planned(shapes, stated | read_stated(checkpoint.with_name(CONFIG_NAME)), checkpoint)
    write_safetensors(kept, target, {"network": json.dumps(stated)})


def _stated_in(text: str) -> dict[str, object]:
    """What the text that built a network says of its heads and positions."""
    found = dict(re.findall(rf"\b({'|'.join(_STATED)})\s*=\s*['\"]?([\w.]+)", text))
    return {name: int(value) if value.isdecimal() else value for name, value in found.items()}

