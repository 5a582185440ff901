"""Learned weights: opening their files, and loading them strictly.

Only safetensors files are ever run from. They hold numbers and nothing else. A PyTorch checkpoint (.pth) is a pickle,
which can hold a program: it is read by PyTorch's weights-only loader, which runs none, with the exceptions that its
model's rules name; converted once; and refused if it holds anything else.

A model's own module says which names its published files use; here is what all models share.
"""

from __future__ import annotations

import contextlib
import pickle
import shutil
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..contract import StereoDiffError
from ..contract.whole_files import replacing

__all__ = [
    "Shape", "WeightsFile", "check_shapes", "check_tensors", "load_strictly", "open_weights", "read_checkpoint",
    "refuse_if_any", "write_safetensors",
]

NAMED_AT_MOST = 3
Shape = tuple[int, ...]
UNREADABLE = (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
              AssertionError, struct.error, zipfile.BadZipFile)
"""What zipfile and PyTorch's loader raise for a file with wrong bytes in it."""
ZIP_MAGIC, PICKLE_MAGIC = b"PK", b"\x80"


# --- Reading ---------------------------------------------------------------------------------------------------

class WeightsFile:
    """An open safetensors file. shapes: of every tensor by its name. metadata: the file's own words."""

    def __init__(self, path: Path, content):
        self.path = path
        self._content = content
        self.metadata: dict[str, str] = dict(content.metadata() or {})
        self.shapes = {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118

    def tensor(self, name: str) -> torch.Tensor:
        return self._content.get_tensor(name)


@contextlib.contextmanager
def open_weights(path: Path, device: torch.device) -> Iterator[WeightsFile]:
    """Open a safetensors file; its tensors come onto the device as they are asked for.

    Parameters
    ----------
    path : Path
        The file.
    device : torch.device
        Where the tensors go.

    Yields
    ------
    WeightsFile
        Open until the context ends.

    Raises
    ------
    StereoDiffError
        "weights_missing" or, for a file that is cut short or no safetensors file, "weights_damaged".
    """
    if not path.is_file():
        raise StereoDiffError("weights_missing", f"There is no {path}.")
    try:
        with safe_open(path, framework="pt", device=str(device)) as content:
            yield WeightsFile(path, content)
    except SafetensorError as error:
        raise StereoDiffError("weights_damaged", f"{path} is no whole file: {_first_line(error)}.") from error
    except OSError as error:
        raise StereoDiffError("weights_missing", f"{path} cannot be opened: {error.strerror or error}.") from error


def check_shapes(module: nn.Module, sources: Mapping[str, str], shapes: Mapping[str, Shape], path: Path) -> None:
    """That a file has every parameter of a module (which may be on "meta"), each in its very shape.

    Parameters
    ----------
    module : nn.Module
        Only its parameters' shapes are looked at.
    sources : Mapping of str to str
        Name of parameter -> name in the file.
    shapes : Mapping of str to tuple of int
        Of the file's tensors, by name in the file.
    path : Path
        The file, for the message.

    Raises
    ------
    StereoDiffError
        "weights_wrong_model".
    """
    wanted = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    refuse_if_any(path, "lacks", [source for source in sources.values() if source not in shapes])
    refuse_if_any(path, "has other shapes:", [f"{source} {shapes[source]} instead of {wanted[name]}"
                                              for name, source in sources.items() if shapes[source] != wanted[name]])


def load_strictly(module: nn.Module, weights: WeightsFile, sources: Mapping[str, str],
                  dtype: torch.dtype = torch.float32) -> None:
    """Give every parameter of a module its tensor, as dtype, in place of what it has (which may be on "meta").

    Gradients are turned off.

    Parameters
    ----------
    module : nn.Module
        Is changed.
    weights : WeightsFile
        The open file.
    sources : Mapping of str to str
        Name of every parameter -> name in the file.
    dtype : torch.dtype
        Of the parameters afterwards.

    Raises
    ------
    StereoDiffError
        "weights_wrong_model", as check_shapes, or for a tensor of whole numbers.
    """
    check_shapes(module, sources, weights.shapes, weights.path)
    tensors = {name: _as_dtype(weights, source, dtype) for name, source in sources.items()}
    module.load_state_dict(tensors, strict=True, assign=True)
    module.requires_grad_(False)


def _as_dtype(weights: WeightsFile, name: str, dtype: torch.dtype) -> torch.Tensor:
    tensor = weights.tensor(name)
    if not tensor.is_floating_point():
        refuse_if_any(weights.path, "has whole numbers in", [name])
    return tensor.to(dtype)


def refuse_if_any(path: Path, fault: str, names: list[str]) -> None:
    """Raise an error that tells the first few names with this fault, and how many; nothing if there is no name.

    Parameters
    ----------
    path : Path
        The file, for the message.
    fault : str
        The verb of the message: what the file does, such as "lacks".
    names : list of str
        What it does that with.

    Raises
    ------
    StereoDiffError
        "weights_wrong_model" if there is any name.
    """
    if names:
        others = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        raise StereoDiffError("weights_wrong_model", f"{path} {fault} {', '.join(names[:NAMED_AT_MOST])}{others}.")


# --- Converting ------------------------------------------------------------------------------------------------

def read_checkpoint(path: Path, allowed: tuple[type, ...]) -> object:
    """What a .pth file holds, without running anything in it.

    Parameters
    ----------
    path : Path
        The file.
    allowed : tuple of type
        Classes it may hold besides tensors and Python's plain types; none of them may do anything when made.

    Returns
    -------
    object
        Tensors in it are on the CPU.

    Raises
    ------
    StereoDiffError
        "weights_missing", "weights_damaged" or, for a file that holds anything else, "weights_refused".
    """
    try:
        is_zip = _is_whole_zip(path)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if not is_zip and not _starts_with(path, PICKLE_MAGIC):  # a web page, for example
            raise StereoDiffError("weights_damaged", f"{path} is no PyTorch file.") from error
        raise StereoDiffError("weights_refused", f"{path} holds more than weights.") from error
    except UNREADABLE as error:
        raise StereoDiffError("weights_damaged", f"{path} cannot be read: {_first_line(error)}.") from error
    except OSError as error:
        raise StereoDiffError("weights_missing", f"{path} cannot be opened: {error.strerror or error}.") from error


def _is_whole_zip(path: Path) -> bool:
    """False for the older format. Raises StereoDiffError for an archive that is cut short or packed."""
    if not _starts_with(path, ZIP_MAGIC):
        return False
    if not zipfile.is_zipfile(path):
        raise StereoDiffError("weights_damaged", f"{path} is cut short.")
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise StereoDiffError("weights_refused", f"{path} is packed, which PyTorch's own files are not.")
    return True


def _starts_with(path: Path, magic: bytes) -> bool:
    with open(path, "rb") as stream:
        return stream.read(len(magic)) == magic


def check_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Before anything is done with the tensors of a checkpoint: that each is plain, and no larger than its file.

    A tensor can claim to be larger than its numbers, by counting one of them often.

    Parameters
    ----------
    tensors : dict of str to torch.Tensor
        By name, as read.
    path : Path
        The file that they are from.

    Raises
    ------
    StereoDiffError
        "weights_refused".
    """
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.nbytes > size:
            raise StereoDiffError("weights_refused", f"{path} holds {name!r}, which is more or other than its numbers.")


def write_safetensors(tensors: dict[str, torch.Tensor], target: Path, metadata: dict[str, str]) -> None:
    """Write a file that appears whole or not at all.

    Parameters
    ----------
    tensors : dict of str to torch.Tensor
        By name; no two share numbers.
    target : Path
        The file, in a folder that exists.
    metadata : dict of str to str
        The file's own words.

    Raises
    ------
    StereoDiffError
        "weights_not_writable", "disk_full", or "weights_wrong_model" if tensors share numbers.
    """
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > shutil.disk_usage(target.parent).free:
        raise StereoDiffError("disk_full", f"{target} needs {size / 1e9:.1f} GB.")
    try:
        with replacing(target) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise StereoDiffError("weights_not_writable", f"{target} cannot be written: {_first_line(error)}.") from error
    except RuntimeError as error:
        raise StereoDiffError("weights_wrong_model", f"{target} cannot be made: tensors share numbers.") from error


def _first_line(error: Exception) -> str:
    """The loaders' messages go on with advice to programmers."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
