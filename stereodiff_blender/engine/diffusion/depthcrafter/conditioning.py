"""Pictures as DepthCrafter's image encoder takes them: blurred, resized to its square, and normalized."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d, interpolate, pad

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the channels of the pictures that the encoder was trained on, in 0..1."""
LEAST_BLUR, LEAST_TAPS = 1e-3, 3


def clip_pictures(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """What the image encoder is given.

    pictures: (n,3,H,W) in [-1,1]. size: side of the encoder's square in pixels. Returns (n,3,size,size) float32; the
    pictures' proportions are not kept.
    """
    unit = 0.5 * resized(pictures.float(), size) + 0.5
    mean, std = (unit.new_tensor(numbers)[:, None, None] for numbers in (CLIP_MEAN, CLIP_STD))
    return (unit - mean) / std


def resized(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """(n,C,H,W) to (n,C,size,size) float32: what the smaller raster cannot hold is blurred away first."""
    blurred = _blurred(_blurred(pictures, size, axis=3), size, axis=2)
    return interpolate(blurred, size=(size, size), mode="bicubic", align_corners=True)


def _blurred(pictures: torch.Tensor, size: int, axis: int) -> torch.Tensor:
    """Along one axis (2: down, 3: across), by a Gaussian as wide as this axis shrinks; mirrored at the borders."""
    kernel = _gaussian(pictures.shape[axis] / size).to(pictures.device)
    reach = len(kernel) // 2
    across = axis == 3
    widened = pad(pictures, (reach, reach, 0, 0) if across else (0, 0, reach, reach), mode="reflect")
    planes = widened.flatten(0, 1)[:, None]
    kernel = kernel[None, None, None, :] if across else kernel[None, None, :, None]
    return conv2d(planes, kernel).reshape(pictures.shape)


def _gaussian(shrinkage: float) -> torch.Tensor:
    """Odd number of taps, float32, that sum to 1. A picture that grows is left as it is."""
    sigma = max((shrinkage - 1.0) / 2.0, LEAST_BLUR)
    taps = int(max(4.0 * sigma, LEAST_TAPS)) // 2 * 2 + 1
    offsets = torch.arange(taps, dtype=torch.float32) - taps // 2
    weights = torch.exp(-offsets.square() / (2.0 * sigma**2))
    return weights / weights.sum()
