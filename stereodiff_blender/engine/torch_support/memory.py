"""A graphics device's memory: a network on as many items as it holds, and the way back to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ..contract import StereoDiffError

__all__ = ["to_host", "within_memory"]

Item = TypeVar("Item")
Product = TypeVar("Product")


def within_memory(run: Callable[[Sequence[Item]], list[Product]], items: Sequence[Item]) -> list[Product]:
    """run(items), in smaller parts if the device's memory is not enough for all at once.

    Parameters
    ----------
    run : Callable
        Gives one product for each item of a sequence.
    items : Sequence
        Is halved as often as it takes.

    Returns
    -------
    list
        The products, in the order of items.

    Raises
    ------
    StereoDiffError
        "out_of_memory" if one item alone is too much.
    """
    try:
        return run(items)
    except torch.OutOfMemoryError as error:
        if len(items) == 1:
            raise StereoDiffError("out_of_memory", f"The graphics device has too little memory: {error}.") from error
    torch.cuda.empty_cache()
    middle = len(items) // 2
    return within_memory(run, items[:middle]) + within_memory(run, items[middle:])


def to_host(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same tensors on the host.

    From CUDA they go through memory that the system does not page, several times as fast as to fresh memory; PyTorch
    keeps it for the next ones once these are let go.

    Parameters
    ----------
    tensors : Sequence of torch.Tensor
        All of one device, one at the least.

    Returns
    -------
    list of torch.Tensor
        Whole when they are returned; those that are on the host already, as they are.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return [tensor.cpu() for tensor in tensors]
    copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
              for tensor in tensors]
    torch.cuda.synchronize(device)
    return copies
