"""From latents back to pictures, in chunks. The decoder looks at neighboring frames, so a chunk's ends lack context:
frames beyond either end are decoded with it and dropped, and no seam appears between chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ...contract import StereoDiffError
from .networks import DepthCrafterNetworks


def decode_span(networks: DepthCrafterNetworks, latents: np.ndarray, start: int, stop: int, count: int, chunk: int,
                halo: int) -> Iterator[tuple[int, np.ndarray]]:
    """Give (frame, picture (3,H,W) float32, about -1..1) for the frames start <= frame < stop.

    latents: (T,4,h,w), scaled by networks.scaling_factor; may be memory-mapped. count: frames of the clip. chunk:
    frames decoded at once, besides up to `halo` more on either side. Chunks begin at multiples of `chunk`, whatever
    the span, so latents must be final up to the end of the chunk that holds stop - 1, and halo frames beyond it.
    Raises StereoDiffError "network_not_finite".
    """
    for first in range(start // chunk * chunk, stop, chunk):
        end = min(first + chunk, count)
        begin = max(first - halo, 0)
        pictures = _decoded(networks, latents, begin, min(end + halo, count))
        for frame in range(max(first, start), min(end, stop)):
            yield frame, pictures[frame - begin]


def _decoded(networks: DepthCrafterNetworks, latents: np.ndarray, begin: int, end: int) -> np.ndarray:
    part = torch.from_numpy(np.array(latents[begin:end], np.float32)) / networks.scaling_factor
    try:
        return networks.decode(part).numpy()
    except StereoDiffError as error:
        named = f"Frames {begin + 1} to {end} of the range"
        raise StereoDiffError(error.code, f"{named}: {error.message}") from error
