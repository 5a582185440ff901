"""Run the network over all pairs of a clip. Each frame is encoded once, and let go when no later pair needs it.

Pairs come out one by one, in the order they were asked for, so that memory grows with neither pairs nor frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import numpy as np
import torch

from ...contract import StereoDiffError
from ...report import Report
from ...torch_support.memory import to_host, within_memory
from .config import PATCH_PX
from .network import FrameFeatures, TwoViewNetwork
from .pointmaps import PairPointmaps
from .raster import normalized

__all__ = ["default_precision"]

MAX_BATCH = 16
FREE_SHARE = 0.6
"""Part of the free memory of a GPU that a batch may count on; the rest is for what the estimate does not know."""

Pair = tuple[int, int]


def match_pairs(network: TwoViewNetwork, frames: Sequence[np.ndarray], pairs: Sequence[Pair], *, report: Report,
                batch_size: int | None = None, done: int = 0) -> Iterator[tuple[int, int, PairPointmaps]]:
    """Give (i, j, pointmaps of the pair) for every pair.

    frames: each (h,w,3) uint8 on the network's raster; sizes may differ. Fetched when first needed.
    pairs: (i, j), indices into frames. Sorted so that neighbors in time are neighbors here, few frames are held.
    batch_size: pairs that run at once; None: what the memory at hand allows. done: pairs that an earlier run has
    matched, for the report.
    Raises StereoDiffError "network_not_finite", or "out_of_memory" if not even one pair fits.
    """
    before = done
    report.stage("match", before + len(pairs))
    last_use = {frame: position for position, pair in enumerate(pairs) for frame in pair}
    features: dict[int, FrameFeatures] = {}
    done = 0
    while done < len(pairs):
        size = batch_size or _pairs_at_once(network, frames, pairs[done])
        batch = pairs[done:done + size]
        _encode_new(network, frames, sorted({frame for pair in batch for frame in pair} - features.keys()), features)
        for _, alike in groupby(batch, key=lambda pair: tuple(_size(features[frame]) for frame in pair)):
            chosen = list(alike)
            found = within_memory(partial(_match, network, features), chosen)
            yield from ((*pair, pointmaps) for pair, pointmaps in zip(chosen, found, strict=True))
        done += len(batch)
        features = {frame: kept for frame, kept in features.items() if last_use[frame] >= done}
        report.progress(before + done)


def default_precision(device: torch.device) -> torch.dtype:
    """What the transformer's products run in: bfloat16 on a GPU that has it, float16 on an older one, else float32.

    Parameters
    ----------
    device : torch.device
        That the network runs on.

    Returns
    -------
    torch.dtype
        As TwoViewNetwork.set_precision takes it.
    """
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def _size(features: FrameFeatures) -> tuple[int, int]:
    return features.rows, features.cols


def _encode_new(network: TwoViewNetwork, frames: Sequence[np.ndarray], indices: list[int],
                features: dict[int, FrameFeatures]) -> None:
    """Add the features of these frames."""
    pictures = [(index, normalized(frames[index])) for index in indices]
    for _, alike in groupby(pictures, key=lambda entry: entry[1].shape):
        numbers, alike_pictures = zip(*alike, strict=True)
        features.update(zip(numbers, within_memory(partial(_encode, network), alike_pictures), strict=True))


@torch.inference_mode()
def _encode(network: TwoViewNetwork, pictures: Sequence[np.ndarray]) -> list[FrameFeatures]:
    if network.device.type == "cpu":  # one by one: nothing is gained by batches, and digits would depend on them
        return [network.encode(torch.from_numpy(picture)[None])[0] for picture in pictures]
    return network.encode(torch.from_numpy(np.stack(pictures)).to(network.device))


@torch.inference_mode()
def _match(network: TwoViewNetwork, features: dict[int, FrameFeatures], pairs: Sequence[Pair]) -> list[PairPointmaps]:
    batch = network.match([features[i] for i, _ in pairs], [features[j] for _, j in pairs])
    arrays = (batch.points_i, batch.points_j, batch.confidence_i, batch.confidence_j)
    is_finite = torch.stack([array.isfinite().flatten(1).all(dim=1) for array in arrays]).all(dim=0)
    for pair, fine in zip(pairs, is_finite.tolist(), strict=True):
        if not fine:
            raise StereoDiffError("network_not_finite", f"Frames {pair[0] + 1} and {pair[1] + 1} of the range: the "
                                                        "network's answer is infinite or no number.")
    return [PairPointmaps(*maps) for maps in zip(*(array.numpy() for array in to_host(arrays)), strict=True)]


# --- Memory ------------------------------------------------------------------------------------------------------

def _pairs_at_once(network: TwoViewNetwork, frames: Sequence[np.ndarray], pair: Pair) -> int:
    """On a GPU as many as fit, elsewhere one: a CPU is full with one, and digits do not depend on free memory."""
    if network.device.type != "cuda":
        return 1
    free = torch.cuda.mem_get_info(network.device)[0]
    free += torch.cuda.memory_reserved(network.device) - torch.cuda.memory_allocated(network.device)
    return max(1, min(MAX_BATCH, int(FREE_SHARE * free / bytes_of_pair(network, frames[pair[0]].shape[:2]))))


def bytes_of_pair(network: TwoViewNetwork, shape: tuple[int, int]) -> int:
    """Estimate of what a pair of (height, width) takes while it runs: the widest planes of one head, and its frames.

    At full size a head holds its last planes, what they are made from and the convolution's workspace; at half size
    the fused ones. Either frame brings its finest planes, at a quarter of the size, for two roles.
    """
    config, pixels = network.config, shape[0] * shape[1]
    head = pixels * (4 * config.output_width + 3 * config.fusion_width // 4)
    frames = 2 * 2 * (pixels * config.fusion_width // 16 + pixels // PATCH_PX**2 * 4 * config.decoder_width)
    return 4 * (head + frames)
