"""Dense prediction from tokens (DPT, arXiv 2103.13413): four layers of a transformer become one picture.

Always float32: it ends in an exponential, which half precision would make coarse.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .config import POINT_CHANNELS, NetworkConfig


class ResidualUnit(nn.Module):
    """(B,C,h,w) to the same: what two convolutions of it add to it."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return planes + self.second(functional.relu(self.first(functional.relu(planes))))


class Fusion(nn.Module):
    """Joins what came from the coarser levels with a level's own planes, and doubles the size.

    forward: (B,C,h,w) of both -> (B,C,2h,2w). The level's own planes have been through refine_own before. The
    coarsest level has nothing to join, and no refine_own.
    """

    def __init__(self, width: int, *, joins: bool):
        super().__init__()
        self.refine_own = ResidualUnit(width) if joins else None
        self.refine_sum = ResidualUnit(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, planes: torch.Tensor, own: torch.Tensor | None = None) -> torch.Tensor:
        planes = self.refine_sum(planes if own is None else planes + own)
        # Each pixel's channels are mixed before the enlargement instead of after it: the two commute, as the weights
        # of the interpolation sum to 1, and the smaller picture costs a quarter.
        return _doubled(self.project(planes))


def _doubled(planes: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=True)


class DenseHead(nn.Module):
    """Tokens of one image at four layers -> (B,4,H,W): a point and a confidence per pixel, not yet decoded.

    The finest level comes from the encoder, so its branch knows one image only: encoder_branch is run once per image,
    forward once per pair.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        finest, fine, coarse, coarsest = config.level_widths
        width = config.fusion_width
        self.reassemble = nn.ModuleList([
            nn.Sequential(nn.Conv2d(config.encoder_width, finest, 1), nn.ConvTranspose2d(finest, finest, 4, stride=4)),
            nn.Sequential(nn.Conv2d(config.decoder_width, fine, 1), nn.ConvTranspose2d(fine, fine, 2, stride=2)),
            nn.Sequential(nn.Conv2d(config.decoder_width, coarse, 1)),
            nn.Sequential(nn.Conv2d(config.decoder_width, coarsest, 1),
                          nn.Conv2d(coarsest, coarsest, 3, stride=2, padding=1)),
        ])
        self.adapt = nn.ModuleList(nn.Conv2d(level, width, 3, padding=1, bias=False) for level in config.level_widths)
        self.fusions = nn.ModuleList(Fusion(width, joins=level < 3) for level in range(4))
        self.reduce = nn.Conv2d(width, config.output_width, 3, padding=1)
        self.smooth = nn.Conv2d(config.output_width, config.output_width, 3, padding=1)
        self.predict = nn.Conv2d(config.output_width, POINT_CHANNELS, 1)

    def encoder_branch(self, planes: torch.Tensor) -> torch.Tensor:
        """(B,encoder width,H/16,W/16) -> (B,fusion width,H/4,W/4)."""
        return self._own_planes(0, planes)

    def _own_planes(self, level: int, planes: torch.Tensor) -> torch.Tensor:
        return self.fusions[level].refine_own(self.adapt[level](self.reassemble[level](planes)))

    def forward(self, finest: torch.Tensor, levels: list[torch.Tensor]) -> torch.Tensor:
        """finest: from encoder_branch. levels: three of (B,decoder width,H/16,W/16), finer first."""
        path = self.fusions[3](self.adapt[3](self.reassemble[3](levels[2])))
        rows, cols = levels[1].shape[-2:]
        path = path[..., :rows, :cols]  # an odd number of tokens was halved upwards
        path = self.fusions[2](path, self._own_planes(2, levels[1]))  # (B,C,H/8,W/8)
        path = self.fusions[1](path, self._own_planes(1, levels[0]))  # (B,C,H/4,W/4)
        path = self.fusions[0](path, finest)  # (B,C,H/2,W/2)
        path = self.smooth(_doubled(self.reduce(path)))  # (B,output width,H,W)
        return self.predict(functional.relu(path, inplace=True))


def decode_points(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a head's channels (B,4,H,W) mean: points (B,H,W,3), and their confidence (B,H,W) in (1, inf).

    The first three give a direction and, by their length d, a distance e^d - 1; the last the logarithm of what the
    confidence is more than 1.
    """
    vectors, logarithm = raw[:, :3].permute(0, 2, 3, 1), raw[:, 3]
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.clamp_min(1e-8) * torch.expm1(length), 1.0 + logarithm.exp()
