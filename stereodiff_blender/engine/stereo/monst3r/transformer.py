"""Blocks of the two-view transformer: self attention, cross attention between two images, and a small perceptron.

The residual stream and all norms are float32 at any precision: only the large matrix products run in the network's
own type. So half precision can neither overflow in the stream nor wear it away over 36 blocks.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .config import NORM_EPSILON
from .rope import RotaryTable, rotate

KeysValues = tuple[torch.Tensor, torch.Tensor]


class Norm(nn.LayerNorm):
    """Layer norm, over channels."""

    def __init__(self, width: int):
        super().__init__(width, eps=NORM_EPSILON)


class SelfAttention(nn.Module):
    """Every token of an image looks at all of its tokens. (B,N,width) to the same."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, table: RotaryTable) -> torch.Tensor:
        packed = self.query_key_value(tokens.to(self.project.weight.dtype))
        query, key, value = (_split_heads(part, self.heads) for part in packed.chunk(3, dim=-1))
        attended = functional.scaled_dot_product_attention(rotate(query, table), rotate(key, table), value)
        return self.project(_join_heads(attended)).float()


class CrossAttention(nn.Module):
    """Tokens of one image look at the other's. Queries, and keys with values, depend on one image each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)

    def queries(self, tokens: torch.Tensor, table: RotaryTable) -> torch.Tensor:
        """(B,N,width) of the image that looks -> (B,heads,N,head size)."""
        return rotate(_split_heads(self.query(tokens.to(self.query.weight.dtype)), self.heads), table)

    def keys_values(self, tokens: torch.Tensor, table: RotaryTable) -> KeysValues:
        """(B,M,width) of the image that is looked at -> two of (B,heads,M,head size)."""
        tokens = tokens.to(self.key.weight.dtype)
        return (rotate(_split_heads(self.key(tokens), self.heads), table),
                _split_heads(self.value(tokens), self.heads))

    def forward(self, queries: torch.Tensor, keys_values: KeysValues) -> torch.Tensor:
        attended = functional.scaled_dot_product_attention(queries, *keys_values)
        return self.project(_join_heads(attended)).float()


def _split_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _join_heads(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.transpose(1, 2).flatten(2)


class Perceptron(nn.Module):
    """Each token by itself, through a hidden layer."""

    def __init__(self, width: int, ratio: int):
        super().__init__()
        self.expand = nn.Linear(width, ratio * width)
        self.shrink = nn.Linear(ratio * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(self.expand(tokens.to(self.expand.weight.dtype)))
        return self.shrink(hidden).float()


class EncoderBlock(nn.Module):
    """One image's tokens (B,N,width) float32 to the same."""

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.norm_self = Norm(width)
        self.self_attention = SelfAttention(width, heads)
        self.norm_mlp = Norm(width)
        self.mlp = Perceptron(width, ratio)

    def forward(self, tokens: torch.Tensor, table: RotaryTable) -> torch.Tensor:
        tokens = tokens + self.self_attention(self.norm_self(tokens), table)
        return tokens + self.mlp(self.norm_mlp(tokens))


class DecoderBlock(nn.Module):
    """One level of one decoder, in three steps of which the first two know a single image each.

    look_within: its own image -> tokens after self attention, and the queries it puts to the other image.
    keys_values: the other image -> the keys and values that are to answer them.
    forward:     both -> the tokens of the next level.
    """

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.norm_self = Norm(width)
        self.self_attention = SelfAttention(width, heads)
        self.norm_cross = Norm(width)
        self.norm_other = Norm(width)
        self.cross_attention = CrossAttention(width, heads)
        self.norm_mlp = Norm(width)
        self.mlp = Perceptron(width, ratio)

    def attend_within(self, tokens: torch.Tensor, table: RotaryTable) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = tokens + self.self_attention(self.norm_self(tokens), table)
        return tokens, self.cross_attention.queries(self.norm_cross(tokens), table)

    def keys_values(self, other: torch.Tensor, table: RotaryTable) -> KeysValues:
        return self.cross_attention.keys_values(self.norm_other(other), table)

    def forward(self, tokens: torch.Tensor, queries: torch.Tensor, answers: KeysValues) -> torch.Tensor:
        tokens = tokens + self.cross_attention(queries, answers)
        return tokens + self.mlp(self.norm_mlp(tokens))
