"""A result's pictures looked at before Blender loads them: it asks for as much memory as a header says. No bpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .. import JobFolder, Result, StereoDiffError
from ..guarded_files import GuardedFolder
from ..numbered_files import file_of_number
from ..picture_size import stated_size_of
from .picture_headers import MAX_PIXELS, PictureHeader, read_header
from .turns import taking_turns

__all__ = ["CHANNELS", "MAX_SHOWN_BYTES", "PRODUCTS", "check_lens_maps", "check_plate", "check_product", "check_shown",
           "read_checked", "size_of_product"]

MAX_SHOWN_PIXELS, MAX_SHOWN_BYTES = 40_000_000, 100_000_000
"""Of a preview or a plot; the largest preview of ours, two pictures of 4096 x 4096 pixels, has 34 million."""

PRODUCTS = ("depth", "confidence", "motion_mask", "plate_depth", "edge", "mesh_depth")
CHANNELS = {"mesh_depth": 3}
"""Of a product's pictures, where they are not one."""
_READ_BYTES = 1024


def read_checked(folder: JobFolder) -> Result:
    """A result that can be imported: valid, and every frame's pictures are what Blender may load.

    Looks into every file, so it is nothing for Blender's own thread.

    Parameters
    ----------
    folder : JobFolder
        Of a finished job.

    Returns
    -------
    Result
        As JobFolder.read_result gives it.

    Raises
    ------
    StereoDiffError
        "result_invalid": of the result or of a picture. "job_missing", "job_invalid", "settings_invalid",
        "frame_range_invalid" or "clip_too_short": of job.json.
    """
    result = folder.read_result()
    by_folder: dict[tuple[str, str], list[str]] = {}
    for product, (parent, _, name) in ((product, name.rpartition("/")) for product, name in _loaded(folder.files,
                                                                                                     result)):
        by_folder.setdefault((parent, product), []).append(name)
    for (parent, product), files in by_folder.items():
        _check_products(folder.files.inside(parent) if parent else folder.files, files,
                        size_of_product(result, product), CHANNELS.get(product, 1))
    check_lens_maps(folder.files, result)
    return result


def size_of_product(result: Result, product: str) -> tuple[int, int]:
    """Width and height that a product's pictures have to have.

    Parameters
    ----------
    result : Result
        Whose raster it is.
    product : str
        Of PRODUCTS.

    Returns
    -------
    tuple of int
        In pixels.
    """
    raster = result.width, result.height
    return result.plate_size or raster if product in ("plate_depth", "edge") else raster


def _loaded(folder: GuardedFolder, result: Result) -> Iterator[tuple[str, str]]:
    """What Blender loads of a result, by product: its pictures, and what it plays where a frame has none."""
    for product in PRODUCTS:
        own = [name for f in result.frames if (name := getattr(f, product)) is not None]
        played = _played_besides(folder, own, result) if own else ()
        yield from ((product, name) for name in (*own, *played))


def _played_besides(folder: GuardedFolder, own: list[str], result: Result) -> Iterator[str]:
    """A sequence is played by its first name and the files' numbers, from one before them on, whatever the result
    says of a frame."""
    names, first, begins = set(own), PurePosixPath(own[0]), result.first_file_number
    for number in range(max(begins - 1, 0), begins + len(result.frames)):
        played = file_of_number(first, number)
        if played is not None and str(played) not in names and folder.stat(str(played)) is not None:
            yield str(played)


def _check_products(folder: GuardedFolder, names: list[str], size: tuple[int, int], channels: int) -> None:
    """All files of one run have the same header, so it is understood once and compared from then on."""
    known = b"none"
    try:
        for name, data in zip(names, taking_turns(folder.beginnings(names, _READ_BYTES)), strict=True):
            if data.startswith(known):
                continue
            header = check_product(folder, name, size, channels)
            known = data[:header.length] if header.length <= len(data) else b"none"
    except OSError as error:
        raise StereoDiffError("result_invalid", f"{folder.path} was not read: {error}") from error


def check_product(folder: GuardedFolder, name: str, size: tuple[int, int], channels: int = 1) -> PictureHeader:
    """Depth, confidence or motion of a frame, as the engine writes it.

    Parameters
    ----------
    folder : GuardedFolder
        The job's.
    name : str
        Relative to it, as the result names the file.
    size : tuple of int
        Width and height in pixels that the file has to have, as of size_of_product.
    channels : int
        As of CHANNELS.

    Returns
    -------
    PictureHeader
        Of an EXR with as many channels.

    Raises
    ------
    StereoDiffError
        "result_invalid": the file cannot be read, or is no such picture.
    """
    header = _header(folder, name)
    wanted = ("exr", channels, *size)
    if header is None or (header.kind, header.channels, header.width, header.height) != wanted:
        raise StereoDiffError("result_invalid", f"{name} in {folder.path.name} is no picture of {size[0]} x {size[1]} "
                                                "pixels.")
    return header


def check_lens_maps(folder: GuardedFolder, result: Result) -> None:
    """The ST maps of a result and those of its first frame, as the engine writes them; nothing if it has none.

    Parameters
    ----------
    folder : GuardedFolder
        The job's.
    result : Result
        Its clip's size and its lens's overscan, in pixels, say how large the maps have to be.

    Raises
    ------
    StereoDiffError
        "result_invalid": a file cannot be read, or is no such picture, or has more than MAX_PIXELS pixels.
    """
    left, right, top, bottom = result.lens.overscan
    width, height = result.clip_width, result.clip_height
    wide, first = (width + left + right, height + top + bottom), result.frames[0]
    sizes = ((result.lens.undistort, wide), (result.lens.redistort, (width, height)),
             (first.undistort, wide), (first.redistort, (width, height)))
    for name, size in sizes:
        header = _header(folder, name) if name is not None else None
        found = None if header is None else (header.kind, header.channels, header.width, header.height)
        if name is not None and (found != ("exr", 3, *size) or size[0] * size[1] > MAX_PIXELS):
            raise StereoDiffError("result_invalid", f"{name} is no ST map of {size[0]} x {size[1]} pixels.")


def check_plate(path: Path) -> None:
    """Footage that a result names, refused if it claims more than MAX_PIXELS.

    Of a movie nothing is told here.

    Parameters
    ----------
    path : Path
        Of the movie or of a still.

    Raises
    ------
    StereoDiffError
        "clip_unreadable": the file cannot be opened, its header is damaged, or the picture is too large.
    """
    try:
        with open(path, "rb") as stream:
            header = read_header(stream)
        width, height = (header.width, header.height) if header is not None else stated_size_of(path) or (0, 0)
    except (OSError, ValueError) as error:
        raise StereoDiffError("clip_unreadable", f"{path} was not read: {error}") from error
    if width * height > MAX_PIXELS:
        raise StereoDiffError("clip_unreadable", f"{path} claims {width} x {height} pixels.")


def check_shown(folder: GuardedFolder, name: str) -> PictureHeader:
    """A preview or a plot that may be shown.

    Parameters
    ----------
    folder : GuardedFolder
        The job's.
    name : str
        Relative to it, as the result names the file.

    Returns
    -------
    PictureHeader
        Of a PNG of at most MAX_SHOWN_PIXELS pixels and MAX_SHOWN_BYTES bytes.

    Raises
    ------
    StereoDiffError
        "result_invalid": the file cannot be read, or is no such picture.
    """
    header = _header(folder, name, MAX_SHOWN_BYTES)
    if header is None or header.kind != "png" or header.width * header.height > MAX_SHOWN_PIXELS:
        raise StereoDiffError("result_invalid", f"{name} is no picture that could be shown.")
    return header


def _header(folder: GuardedFolder, name: str, max_bytes: int | None = None) -> PictureHeader | None:
    try:
        with folder.open_for_reading(name, max_bytes) as stream:
            return read_header(stream)
    except (OSError, ValueError) as error:
        raise StereoDiffError("result_invalid", f"{name} was not read: {error}") from error
