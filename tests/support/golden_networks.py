"""Networks with the numbers that reference vectors were made with: those of MonST3R in tests/data/golden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from golden import first_of_aliases, formula_tensor, golden_file, metadata, tensors

from stereodiff_blender.engine.stereo.monst3r.checkpoint import published_name
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig
from stereodiff_blender.engine.stereo.monst3r.network import TwoViewNetwork


def config_from(file: Path) -> NetworkConfig:
    """The network a reference file was made with; what it gives as None or empty is the released one's."""
    names = {"enc_dim": "encoder_width", "enc_depth": "encoder_depth", "enc_heads": "encoder_heads",
             "dec_dim": "decoder_width", "dec_depth": "decoder_depth", "dec_heads": "decoder_heads",
             "feature_dim": "fusion_width", "last_dim": "output_width", "layer_dims": "level_widths"}
    stated = {names[name]: value for name, value in metadata(file).items() if name in names and value}
    return NetworkConfig(**{name: tuple(value) if isinstance(value, list) else value
                            for name, value in stated.items()})


def filled(config: NetworkConfig, tensor_of) -> TwoViewNetwork:
    """tensor_of: published name and shape -> numbers."""
    with torch.device("meta"):
        network = TwoViewNetwork(config)
    state = {name: torch.from_numpy(np.ascontiguousarray(tensor_of(published_name(name), tuple(parameter.shape))))
             for name, parameter in network.named_parameters()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def tiny_network() -> TwoViewNetwork:
    file = golden_file("monst3r", "tiny_weights_fp16.safetensors")
    stored = tensors(file)
    return filled(config_from(file), lambda name, shape: stored[name].astype(np.float32))


def formula_network(file: Path) -> TwoViewNetwork:
    rule = metadata(file)
    return filled(config_from(file), lambda name, shape: formula_tensor(first_of_aliases(name), shape, rule))
