"""Which device the parts in PyTorch run on."""

from __future__ import annotations

import torch

from ..contract import StereoDiffError

__all__ = ["torch_device"]


def torch_device(name: str) -> torch.device:
    """The device of this name; "auto" is CUDA where there is one, else the CPU.

    Parameters
    ----------
    name : str
        As in contract.Settings: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Returns
    -------
    torch.device
        One that PyTorch sees.

    Raises
    ------
    StereoDiffError
        "device_unavailable".
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda" and not (torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count()):
        raise StereoDiffError("device_unavailable", f"{name} was asked for, but PyTorch does not see it here.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise StereoDiffError("device_unavailable", "The device mps was asked for, but PyTorch does not see it here.")
    return torch.device(name)
