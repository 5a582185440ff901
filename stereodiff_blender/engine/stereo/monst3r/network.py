"""The two-view network: encode each frame once, then match pairs of frames.

A pair is ordered. Frame i has the first role, frame j the second; each role has its own decoder and its own dense
head, and both give points in camera i's axes. Whatever depends on one frame only is done by encode, for either role:
the encoder, the decoders' first level up to the point where the images meet, and the heads' finest branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .config import PATCH_PX, NetworkConfig
from .dpt_head import DenseHead, decode_points
from .pointmaps import PairPointmaps
from .rope import RotaryTable, grid_positions, rotary_table
from .transformer import DecoderBlock, EncoderBlock, Norm

__all__ = ["TwoViewNetwork"]

FIRST, SECOND = ROLES = (0, 1)


@dataclass(frozen=True)
class RoleFeatures:
    """Frames in one of the two roles.

    tokens: (B,N,decoder width) after the first level's self attention. queries: (B,heads,N,head size), to put to the
    other frame. keys, values: the same shape, to answer the other frame's. finest: (B,C,H/4,W/4), of this role's head.
    """

    tokens: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    finest: torch.Tensor

    def frame(self, index: int) -> RoleFeatures:
        """One of the frames, without holding on to the memory of the others."""
        return RoleFeatures(*(tensor[index:index + 1].clone() for tensor in self.tensors()))

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.tokens, self.queries, self.keys, self.values, self.finest


@dataclass(frozen=True)
class FrameFeatures:
    """All that the network knows of one frame by itself. rows, cols: of its tokens. roles: as frame i, as frame j."""

    rows: int
    cols: int
    roles: tuple[RoleFeatures, RoleFeatures]


def _stack(features: Sequence[FrameFeatures], role: int) -> RoleFeatures:
    chosen = [feature.roles[role] for feature in features]
    if len(chosen) == 1:
        return chosen[0]
    return RoleFeatures(*(torch.cat(parts) for parts in zip(*(role.tensors() for role in chosen), strict=True)))


class TwoViewNetwork(nn.Module):
    """A network of any configuration. Runs where its parameters are; float32 until set_precision says otherwise."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, config.encoder_width, PATCH_PX, stride=PATCH_PX)
        self.encoder = nn.ModuleList(EncoderBlock(config.encoder_width, config.encoder_heads, config.mlp_ratio)
                                     for _ in range(config.encoder_depth))
        self.encoder_norm = Norm(config.encoder_width)
        self.embed = nn.Linear(config.encoder_width, config.decoder_width)
        self.decoders = nn.ModuleList(
            nn.ModuleList(DecoderBlock(config.decoder_width, config.decoder_heads, config.mlp_ratio)
                          for _ in range(config.decoder_depth)) for _ in ROLES)
        self.decoder_norm = Norm(config.decoder_width)
        self.heads = nn.ModuleList(DenseHead(config) for _ in ROLES)

    @property
    def device(self) -> torch.device:
        return self.patches.weight.device

    def set_precision(self, dtype: torch.dtype) -> None:
        """Type of the transformer's matrix products: float32, bfloat16 or float16.

        What makes tokens of pixels, and pixels of tokens, remains float32: so do patches, norms and heads.
        """
        for part in (self.encoder, self.embed, self.decoders):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    module.to(dtype)

    # --- One frame -------------------------------------------------------------------------------------------

    def encode(self, frames: torch.Tensor) -> list[FrameFeatures]:
        """frames: (B,3,H,W) float32 in [-1,1], H and W multiples of 16. One FrameFeatures for each."""
        planes, embedded = self.encode_tokens(frames)
        roles = [self.in_role(role, planes, embedded) for role in ROLES]
        return [FrameFeatures(*planes.shape[-2:], tuple(role.frame(index) for role in roles))
                for index in range(len(frames))]

    def encode_tokens(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoder's tokens for the heads, (B,encoder width,H/16,W/16), and for the decoders, (B,N,their width)."""
        patches = self.patches(frames)
        rows, cols = patches.shape[-2:]
        tokens = patches.flatten(2).transpose(1, 2).float()  # (B,N,width)
        table = self._table(rows, cols, self.config.encoder_width // self.config.encoder_heads)
        for block in self.encoder:
            tokens = block(tokens, table)
        tokens = self.encoder_norm(tokens)
        return _planes(tokens, rows, cols), self.embed(tokens.to(self.embed.weight.dtype)).float()

    def in_role(self, role: int, planes: torch.Tensor, embedded: torch.Tensor) -> RoleFeatures:
        """planes, embedded: as encode_tokens gives them."""
        table = self._decoder_table(*planes.shape[-2:])
        tokens, queries = self.decoders[role][0].attend_within(embedded, table)
        keys, values = self.decoders[1 - role][0].keys_values(embedded, table)
        return RoleFeatures(tokens, queries, keys, values, self.heads[role].encoder_branch(planes))

    # --- Two frames ------------------------------------------------------------------------------------------

    def match(self, features_i: Sequence[FrameFeatures], features_j: Sequence[FrameFeatures]) -> PairPointmaps:
        """A batch of pairs: equally many frames i, all of one size, and frames j, all of one size. Torch tensors."""
        sizes = [(features[0].rows, features[0].cols) for features in (features_i, features_j)]
        roles = (_stack(features_i, FIRST), _stack(features_j, SECOND))
        levels = self._decode(roles, [self._decoder_table(*size) for size in sizes])
        points, confidence = [], []
        for role, (rows, cols) in zip(ROLES, sizes, strict=True):
            planes = [_planes(levels[hook][role], rows, cols) for hook in self.config.hooks[1:]]
            raw = self.heads[role](roles[role].finest, planes)  # (B,4,H,W)
            for found, product in zip((points, confidence), decode_points(raw), strict=True):
                found.append(product)
        return PairPointmaps(*points, *confidence)

    def _decode(self, roles: tuple[RoleFeatures, RoleFeatures], tables: list[RotaryTable]
                ) -> dict[int, list[torch.Tensor]]:
        """Tokens (B,N,decoder width) of both roles after each level that the heads look at, by its number from 1."""
        tokens, queries = [role.tokens for role in roles], [role.queries for role in roles]
        answers = [(role.keys, role.values) for role in reversed(roles)]  # to each role, by the other
        kept = {}
        for level in range(1, self.config.decoder_depth + 1):
            blocks = [decoder[level - 1] for decoder in self.decoders]
            if level > 1:
                answers = [blocks[role].keys_values(tokens[1 - role], tables[1 - role]) for role in ROLES]
                tokens, queries = zip(*(blocks[role].attend_within(tokens[role], tables[role]) for role in ROLES),
                                      strict=True)
            tokens = [blocks[role](tokens[role], queries[role], answers[role]) for role in ROLES]
            if level in self.config.hooks:
                kept[level] = tokens
        kept[self.config.decoder_depth] = [self.decoder_norm(last) for last in tokens]
        return kept

    def _decoder_table(self, rows: int, cols: int) -> RotaryTable:
        return self._table(rows, cols, self.config.decoder_width // self.config.decoder_heads)

    def _table(self, rows: int, cols: int, head_size: int) -> RotaryTable:
        return rotary_table(grid_positions(rows, cols, self.device), head_size, self.config.rope_base)


def _planes(tokens: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """(B,N,C) -> (B,C,rows,cols)."""
    return tokens.transpose(1, 2).unflatten(2, (rows, cols))
