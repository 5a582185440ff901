"""The three published networks: of which stock class each is, and what its config.json has to say about it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ...contract import StereoDiffError

CONFIG_NAME = "config.json"
LATENT_CHANNELS, PICTURE_CHANNELS = 4, 3
MAX_LEVELS = 8
REFUSALS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError)
"""What the stock classes raise for a configuration that they cannot be built from."""


@dataclass(frozen=True)
class Architecture:
    """A network as it is published.

    label: in messages. class_name: the stock class; a class made from it has this in its name. build: from the
    checked configuration. mark: a tensor that only this one of the three has. most: whole numbers of the
    configuration, and the largest that is believed. words: texts. reals: positive numbers. levels: those of them that
    may be lists, one for each level of the network. fixed: what must be so if it is stated. unused: tensors that a
    file may have for nothing. Whatever else a configuration holds is passed over.
    """

    label: str
    class_name: str
    build: Callable[..., nn.Module]
    mark: str
    most: Mapping[str, int]
    fixed: Mapping[str, int]
    words: tuple[str, ...] = ()
    reals: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    unused: frozenset[str] = field(default_factory=frozenset)

    def planned(self, path: Path) -> nn.Module:
        """The network that a config.json describes, still without numbers.

        Raises StereoDiffError "weights_missing", "weights_damaged" or "weights_wrong_model".
        """
        stated = _read(path)
        self._refuse_other_class(stated, path)
        chosen = self._checked(stated, path)
        try:
            with torch.device("meta"):
                return self.build(**chosen)
        except REFUSALS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
            raise StereoDiffError("weights_wrong_model", f"{path} describes no {self.label}: {reason}.") from error

    def _refuse_other_class(self, stated: Mapping[str, object], path: Path) -> None:
        names = stated.get("_class_name", stated.get("architectures", self.class_name))
        names = names if isinstance(names, list) else [names]
        if not any(isinstance(name, str) and self.class_name in name for name in names):
            told = ", ".join(map(str, names))[:80]
            raise StereoDiffError("weights_wrong_model", f"{path} is of {told}, where the {self.label} belongs, a "
                                                         f"{self.class_name}.")

    def _checked(self, stated: Mapping[str, object], path: Path) -> dict[str, object]:
        """What of a configuration is used. Nothing is built from numbers that no such network has."""
        known = {*self.most, *self.words, *self.reals}
        chosen = {key: value for key, value in stated.items() if key in known and value is not None}
        for key, value in chosen.items():
            if not self._is_believable(key, value):
                raise StereoDiffError("weights_wrong_model", f"{path} has {key} {json.dumps(value)[:80]}, as no "
                                                             f"{self.label} has.")
        for key, value in self.fixed.items():
            if chosen.get(key, value) != value:
                raise StereoDiffError("weights_wrong_model", f"{path} has {key} {chosen[key]} instead of {value}.")
        return {key: float(value) if key in self.reals else value for key, value in chosen.items()}

    def _is_believable(self, key: str, value: object) -> bool:
        if key in self.reals:
            return _is_number(value) and math.isfinite(value) and value > 0
        values = value if isinstance(value, list) and key in self.levels else [value]
        if not 0 < len(values) <= MAX_LEVELS:
            return False
        if key in self.words:
            return all(isinstance(one, str) for one in values)
        return all(isinstance(one, int) and _is_number(one) and 0 < one <= self.most[key] for one in values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read(path: Path) -> dict[str, object]:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StereoDiffError("weights_missing", f"There is no {path}.") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StereoDiffError("weights_damaged", f"{path} cannot be read: {reason}.") from error
    if not isinstance(stated, dict):
        raise StereoDiffError("weights_damaged", f"{path} states no configuration.")
    return stated


def _image_encoder(hidden_size: int = 768, num_attention_heads: int = 12, **more) -> CLIPVisionModelWithProjection:
    """What is not stated is as the stock class has it."""
    if hidden_size % num_attention_heads:
        raise ValueError(f"{num_attention_heads} heads cannot share {hidden_size} channels")
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(hidden_size=hidden_size, num_attention_heads=num_attention_heads, **more))


UNET = Architecture(
    "U-Net", "UNetSpatioTemporalConditionModel", UNetSpatioTemporalConditionModel,
    mark="add_embedding.linear_1.weight",
    most={"in_channels": 64, "out_channels": 64, "block_out_channels": 8192, "layers_per_block": 16,
          "transformer_layers_per_block": 16, "cross_attention_dim": 8192, "num_attention_heads": 256,
          "addition_time_embed_dim": 4096, "projection_class_embeddings_input_dim": 16384},
    fixed={"in_channels": 2 * LATENT_CHANNELS, "out_channels": LATENT_CHANNELS},
    words=("down_block_types", "up_block_types"),
    levels=("block_out_channels", "layers_per_block", "transformer_layers_per_block", "cross_attention_dim",
            "num_attention_heads", "down_block_types", "up_block_types"))
VAE = Architecture(
    "VAE", "AutoencoderKLTemporalDecoder", AutoencoderKLTemporalDecoder,
    mark="decoder.time_conv_out.weight",
    most={"in_channels": 64, "out_channels": 64, "latent_channels": 64, "block_out_channels": 8192,
          "layers_per_block": 16},
    fixed={"in_channels": PICTURE_CHANNELS, "out_channels": PICTURE_CHANNELS, "latent_channels": LATENT_CHANNELS},
    words=("down_block_types",), reals=("scaling_factor",), levels=("block_out_channels", "down_block_types"))
IMAGE_ENCODER = Architecture(
    "image encoder", "CLIPVisionModelWithProjection", _image_encoder,
    mark="visual_projection.weight",
    most={"hidden_size": 16384, "intermediate_size": 65536, "projection_dim": 8192, "num_hidden_layers": 256,
          "num_attention_heads": 256, "num_channels": 64, "image_size": 4096, "patch_size": 1024},
    fixed={"num_channels": PICTURE_CHANNELS}, words=("hidden_act",), reals=("layer_norm_eps",),
    unused=frozenset({"vision_model.embeddings.position_ids"}))  # files of older programs count the positions
ARCHITECTURES = (UNET, VAE, IMAGE_ENCODER)
