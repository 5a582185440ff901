"""Running a network on as many items as a graphics device's memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ..contract import StereoDiffError

__all__ = ["within_memory"]

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
