"""Rotary position code in two dimensions (RoFormer, arXiv 2104.09864; one half of a head per image axis).

Queries and keys are turned by angles that grow with their token's row and column, so that their product depends on
where the tokens lie relative to each other. It has no parameters and knows no largest image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RotaryTable:
    """cosine, sine: (...,N,2,D) float32: per token, image axis (row, column) and frequency; D = head size / 4."""

    cosine: torch.Tensor
    sine: torch.Tensor


def grid_positions(rows: int, cols: int, device: torch.device | None = None) -> torch.Tensor:
    """(rows * cols, 2) integer (row, column) of tokens in row-major order."""
    return torch.cartesian_prod(torch.arange(rows, device=device), torch.arange(cols, device=device)).view(-1, 2)


def rotary_table(positions: torch.Tensor, head_size: int, base: float) -> RotaryTable:
    """positions: (...,N,2) integer (row, column). head_size: a multiple of 4."""
    count = head_size // 4
    exponents = torch.arange(count, device=positions.device, dtype=torch.float32) / count
    angles = positions[..., None].float() * base ** -exponents  # (...,N,2,D)
    return RotaryTable(angles.cos(), angles.sin())


def rotate(tokens: torch.Tensor, table: RotaryTable) -> torch.Tensor:
    """Turn queries or keys (B,heads,N,head size). A table of (B,N,2,D) has other positions for every item of a batch.

    Computed in float32 whatever the tokens are, as half precision would blur where they lie.
    """
    cosine, sine = (t.unsqueeze(-4) if t.dim() > 3 else t for t in (table.cosine, table.sine))
    first, second = tokens.unflatten(-1, (2, 2, -1)).unbind(-2)  # (B,heads,N,2,D) each: axis, frequency
    turned = torch.stack([first * cosine - second * sine, second * cosine + first * sine], dim=-2)
    return turned.flatten(-3).to(tokens.dtype)
