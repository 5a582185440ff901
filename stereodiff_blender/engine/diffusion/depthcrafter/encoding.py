"""A clip as the network takes it in: latents of its pictures and of its disparity, and an embedding of each picture.

Every frame passes each encoder once. What comes out is small, and lies in scratch arrays on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
    for part in _parts(seen.done, count, plan.encode_chunk):
        found = within_memory(_stacked(networks.embed), [_signed_picture(network_input, index) for index in part])
        encoded.embeddings[part.start:part.stop] = torch.stack(found).numpy()
        _note(seen, part)
        report.progress(part.stop)

    def noised_picture(index: int) -> torch.Tensor:
        return _signed_picture(network_input, index) + options.noise_aug_strength * noise.pixels(index)

    def disparity(index: int) -> torch.Tensor:
        normalized = torch.from_numpy(span.normalized(network_input.disparity(index), options.fill))
        return (2.0 * normalized - 1.0).expand(3, -1, -1)

    # Both of a frame together, so that the disparity of a frame is looked at while its picture is at hand.
    taken = scratch.journal(f"diffusion_latents_{width}", lambda index: [array[index] for array in latents])
    for part in _parts(taken.done, count, plan.encode_chunk):
        batch = [noised_picture(index) for index in part] + [disparity(index) for index in part]
        modes = torch.stack(within_memory(_stacked(networks.encode), batch)).numpy()
        encoded.picture_latents[part.start:part.stop] = modes[:len(part)]
        encoded.disparity_latents[part.start:part.stop] = networks.scaling_factor * modes[len(part):]
        _note(taken, part)
        report.progress(count + part.stop)
    return encoded


def _signed_picture(network_input: NetworkInput, index: int) -> torch.Tensor:
    return 2.0 * torch.from_numpy(network_input.picture(index)) - 1.0


def _parts(start: int, count: int, chunk: int) -> Iterator[range]:
    return (range(first, min(first + chunk, count)) for first in range(start, count, chunk))


def _note(journal: ProgressJournal, part: range) -> None:
    for index in part:
        journal.note(index)


def _stacked(network: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
    """A network over a list of frames, so that a list that is too long can be cut."""
    return lambda items: list(network(torch.stack(list(items))))
