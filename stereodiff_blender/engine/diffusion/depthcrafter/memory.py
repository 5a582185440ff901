"""What fits on the device: chosen before the run, from measured sizes of the networks and what they hold meanwhile.

The figures are per pixel and frame, counted on the published networks (activations that live at once, memory-efficient
attention, half precision); real use is larger, for workspaces and fragments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...contract import StereoDiffError
from .raster import LEAST_SIDE_PX, network_size

KIB, GIB = 1024, 1024**3
USABLE_SHARE = 0.9
REAL_OVER_COUNTED = 1.5
"""What is really taken for one counted byte of activations, from figures published for two sizes of picture."""
UNET_BYTES = 16.9 * KIB
"""Of a latent pixel of one frame in the window."""
DECODE_BYTES, ENCODE_BYTES = 2.0 * KIB, 2.5 * KIB
"""Of a picture's pixel of one frame in the chunk; encoding runs in float32."""
CLIP_BYTES = 64 * KIB * KIB
"""Of one picture, whatever its size."""
LEAST_WINDOW = 32
WINDOWS = (96, 80, 64, 48, 40, LEAST_WINDOW)
"""Tried in turn where what is asked for does not fit."""
ENCODE_CHUNK = 8
LATENT_PX = 8
DECODE_HALO = 2


@dataclass(frozen=True)
class MemoryPlan:
    """height, width: the network's raster. window, overlap: frames. encode_chunk, decode_chunk: frames at once.

    offload: only the network that is at work lies on the device. needed_bytes: estimate of the most that is in use.
    """

    height: int
    width: int
    window: int
    overlap: int
    encode_chunk: int
    decode_chunk: int
    offload: bool
    needed_bytes: int

    def sentence(self) -> str:
        """For the artist."""
        needed = f", about {self.needed_bytes / GIB:.1f} GB of graphics memory" if self.needed_bytes else ""
        turns = ", networks taking turns" if self.offload else ""
        return f"DepthCrafter: {self.width} x {self.height} pixels, {self.window} frames at once{needed}{turns}."


def plan_memory(free_bytes: int | None, *, plate: tuple[int, int], frames: int, max_side_px: int, window: int,
                overlap: int, decode_chunk: int, weights_bytes: Mapping[str, int]) -> MemoryPlan:
    """The best that fits: everything as asked for, else networks that take turns, then smaller chunks, then shorter
    windows, and only then a smaller raster.

    free_bytes: of the device; None where memory is the computer's own, and nothing is reduced. plate: (h, w).
    weights_bytes: of "unet", "vae" and "image_encoder". Raises StereoDiffError "out_of_memory".
    """
    wanted = MemoryPlan(*network_size(*plate, max_side_px), *_window(window, overlap, frames), ENCODE_CHUNK,
                        decode_chunk, False, 0)
    if free_bytes is None:
        return wanted
    for plan in _plans(wanted):
        needed = needed_bytes(plan, weights_bytes)
        if needed <= USABLE_SHARE * free_bytes:
            return replace(plan, needed_bytes=needed)
    raise StereoDiffError("out_of_memory", f"DepthCrafter needs {needed / USABLE_SHARE / GIB:.1f} GB of free graphics "
                                           f"memory at the least; there are {free_bytes / GIB:.1f} GB.")


def needed_bytes(plan: MemoryPlan, weights_bytes: Mapping[str, int]) -> int:
    """Estimate of the most memory in use at any time."""
    pixels = plan.height * plan.width
    activations = {"unet": UNET_BYTES * plan.window * pixels / LATENT_PX**2,
                   "vae": max(DECODE_BYTES * (plan.decode_chunk + 2 * DECODE_HALO),
                              ENCODE_BYTES * plan.encode_chunk) * pixels,
                   "image_encoder": CLIP_BYTES * plan.encode_chunk}
    if plan.offload:
        return int(max(weights_bytes[name] + REAL_OVER_COUNTED * busy for name, busy in activations.items()))
    return int(sum(weights_bytes.values()) + REAL_OVER_COUNTED * max(activations.values()))


def smaller_raster(plan: MemoryPlan) -> MemoryPlan | None:
    """The same at the next smaller raster, with networks taking turns; None if there is none."""
    for side in range(max(plan.height, plan.width) - LEAST_SIDE_PX, 0, -LEAST_SIDE_PX):
        size = network_size(plan.height, plan.width, side)
        if size[0] * size[1] < plan.height * plan.width:
            return replace(plan, height=size[0], width=size[1], offload=True, needed_bytes=0)
    return None


def _window(window: int, overlap: int, frames: int) -> tuple[int, int]:
    """A window no longer than the clip, and an overlap that fits it."""
    if frames <= window:
        return frames, min(overlap, frames - 1)
    return window, overlap


def _plans(wanted: MemoryPlan) -> Iterator[MemoryPlan]:
    """Best first. Networks that take turns cost a moment once; a smaller chunk decodes more halo for every frame."""
    raster: MemoryPlan | None = wanted
    while raster is not None:
        for window in (wanted.window, *(size for size in WINDOWS if size < wanted.window)):
            overlap = min(wanted.overlap, window // 4) if window < wanted.window else wanted.overlap
            for chunk in _halves(max(wanted.decode_chunk, wanted.encode_chunk)):
                plan = replace(raster, window=window, overlap=overlap, decode_chunk=min(wanted.decode_chunk, chunk),
                               encode_chunk=min(wanted.encode_chunk, chunk))
                yield from (replace(plan, offload=offload) for offload in (False, True))
        raster = smaller_raster(raster)


def _halves(chunk: int) -> Iterator[int]:
    while chunk >= 1:
        yield chunk
        chunk //= 2
