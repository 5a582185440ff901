"""A clip as the network takes it in: latents of its pictures and of its disparity, and an embedding of each picture.

Every frame passes each encoder once. What comes out is small, and lies in scratch arrays on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import cv2
import numpy as np
import torch

from ...storage import ProgressJournal, RunContext
from ...torch_support.memory import within_memory
from .memory import MemoryPlan
from .networks import DepthCrafterNetworks
from .noise import Noise
from .normalization import DisparityRange, disparity_of
from .options import Options
from .raster import nearest, to_network

MOST_AHEAD = 8
"""Cores that prepare frames, and so frames that are held before their turn: of 14 MB each at 1024x576."""
Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class NetworkInput:
    """Stage 1's result of T frames on the plate's raster, as seen from the network's raster `size` (H,W).

    frames: (T,h,w,3) uint8. depth, confidence, motion_mask: (T,h,w). bilinear: depth is looked up between pixels, in
    disparity, instead of at the nearest one.
    """

    frames: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    motion_mask: np.ndarray
    size: tuple[int, int]
    bilinear: bool = False

    def picture(self, index: int) -> np.ndarray:
        """(3,H,W) float32 in 0..1."""
        return to_network(self.frames[index], self.size)

    def disparity(self, index: int) -> np.ndarray:
        """(H,W) float64, 0 where there is none."""
        if self.bilinear:
            return _between(disparity_of(self.depth[index]), self.size)
        return disparity_of(nearest(self.depth[index], self.size))

    def weight(self, index: int) -> np.ndarray:
        """(H,W): how much a pixel counts when the result is fitted to stage 1; what moves does not count at all."""
        confidence = nearest(self.confidence[index], self.size)
        return np.where(nearest(self.motion_mask[index], self.size) > 0, 0.0, confidence)


def _between(disparity: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Linear between pixels; where any pixel that takes part has no disparity, the nearest one's."""
    width_height = size[::-1]
    linear = cv2.resize(disparity, width_height, interpolation=cv2.INTER_LINEAR)
    has_hole = cv2.resize((disparity == 0).astype(np.float64), width_height, interpolation=cv2.INTER_LINEAR) > 0
    return np.where(has_hole, nearest(disparity, size), linear)


@dataclass(frozen=True)
class EncodedClip:
    """disparity_latents, picture_latents: (T,4,h,w) float32, the first scaled as the VAE's latents are, the second not
    (specification of the published model). embeddings: (T,C) float32."""

    disparity_latents: np.ndarray
    picture_latents: np.ndarray
    embeddings: np.ndarray


def encode_clip(network_input: NetworkInput, span: DisparityRange, networks: DepthCrafterNetworks, noise: Noise,
                plan: MemoryPlan,
                options: Options, *, context: RunContext) -> EncodedClip:
    """span: the disparities that become 0 and 1. noise: of the pictures. Raises StereoDiffError "out_of_memory" or
    "network_not_finite"."""
    scratch, report = context.scratch, context.report
    count = len(network_input.frames)
    height, width = network_input.size
    grid = (height // networks.spatial_factor, width // networks.spatial_factor)
    latents = [scratch.open_array(f"diffusion_{name}_{width}", (count, 4, *grid), np.float32)
               for name in ("disparity_latents", "picture_latents")]
    encoded = EncodedClip(*latents, scratch.open_array(f"diffusion_embeddings_{width}",
                                                       (count, networks.embedding_width), np.float32))
    report.stage("encode", 2 * count)
    seen = scratch.journal(f"diffusion_embeddings_{width}", lambda index: [encoded.embeddings[index]])
    for part, pictures in _prepared(partial(_signed_picture, network_input), seen.done, count, plan, context):
        found = within_memory(_stacked(networks.embed, networks.device), pictures)
        encoded.embeddings[part.start:part.stop] = torch.stack(found).numpy()
        _note(seen, part)
        report.progress(part.stop)

    # Both of a frame together, so that the disparity of a frame is looked at while its picture is at hand.
    def picture_and_disparity(index: int) -> tuple[np.ndarray, np.ndarray]:
        noised = _signed_picture(network_input, index) + options.noise_aug_strength * noise.pixels(index).numpy()
        return noised, 2.0 * span.normalized(network_input.disparity(index), options.fill) - 1.0

    taken = scratch.journal(f"diffusion_latents_{width}", lambda index: [array[index] for array in latents])
    for part, prepared in _prepared(picture_and_disparity, taken.done, count, plan, context):
        batch = [image for kind in zip(*prepared, strict=True) for image in kind]
        modes = torch.stack(within_memory(_stacked(networks.encode, networks.device), batch)).numpy()
        encoded.picture_latents[part.start:part.stop] = modes[:len(part)]
        encoded.disparity_latents[part.start:part.stop] = networks.scaling_factor * modes[len(part):]
        _note(taken, part)
        report.progress(count + part.stop)
    return encoded


def _signed_picture(network_input: NetworkInput, index: int) -> np.ndarray:
    return 2.0 * network_input.picture(index) - 1.0


def _prepared(prepare: Callable[[int], Prepared], start: int, count: int, plan: MemoryPlan,
              context: RunContext) -> Iterator[tuple[range, list[Prepared]]]:
    """Chunks of frames, and what prepare gives for each of them; the next are prepared on other cores while the device
    is at work. In NumPy alone: PyTorch would use all cores for each."""
    with closing(context.cores.fewer(MOST_AHEAD).map(prepare, range(start, count))) as frames:
        for first in range(start, count, plan.encode_chunk):
            part = range(first, min(first + plan.encode_chunk, count))
            yield part, list(islice(frames, len(part)))


def _note(journal: ProgressJournal, part: range) -> None:
    for index in part:
        journal.note(index)


def _stacked(network: Callable[[torch.Tensor], torch.Tensor],
             device: torch.device) -> Callable[[Sequence[np.ndarray]], list[torch.Tensor]]:
    """A network over a list of pictures, (3,H,W) or gray (H,W), so that a list that is too long can be cut. They are
    put together on the device, where that costs no time."""
    def run(pictures: Sequence[np.ndarray]) -> list[torch.Tensor]:
        there = [torch.from_numpy(picture).to(device).expand(3, -1, -1) for picture in pictures]
        return list(network(torch.stack(there)))
    return run
