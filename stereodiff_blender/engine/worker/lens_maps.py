"""ST maps: where to look up each pixel of the undistorted plate, and of the distorted CG.

In Nuke's convention: red is u, from the left edge 0 to the right one 1, green is v, from the bottom edge 0 to the top
one 1, and the center of the first pixel is at half a pixel. Blender's Map UV takes blue for alpha, so it is 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..contract import Distortion, JobFolder, LensResult
from ..lens import distorted, undistorted
from ..media import exr
from ..storage import translated_errors

__all__ = ["bytes_of_lens_maps", "write_lens_maps"]

NOWHERE = -1.0
"""u and v of what no place of the plate shows."""
ROWS_AT_ONCE = 64
MOST_OVERSCAN = 1.0
"""Of the plate's side. Fisheyes of more than about 150 degrees would have more; the outermost corners are left out."""
BYTES_PER_PIXEL = 8
"""Of a map in its file: two floats that compress little. Measured, 6.6 to 6.8."""
USUAL_OVERSCAN = 2.0
"""Undistorted plate over the plate where the lens is yet to be found: wide barrels have less, fisheyes up to 9."""
_ROUNDING_PX = 1e-6
_MEANINGS = {
    "undistort": "ST map: for the ideal camera with overscan, where in the plate it is shown",
    "redistort": "ST map: for the plate, where the ideal camera with overscan sees it",
}
_CONVENTION = "u from the left in R, v from the bottom in G, pixel centers at half pixels, B is 1"


def write_lens_maps(folder: JobFolder, lens: LensResult, intrinsics: np.ndarray, size: tuple[int, int],
                    attributes: dict[str, str]) -> LensResult:
    """Write lens/undistort.exr and lens/redistort.exr, if the lens has distortion.

    intrinsics: (4,) fx, fy, cx, cy in pixels of the plate. size: its width and height. attributes: further texts for
    the headers. Returns the lens with the files and their overscan. Raises StereoDiffError "disk_full" or
    "output_not_writable".
    """
    if lens.distortion is None:
        return lens
    files = {"undistort": folder.undistort_file, "redistort": folder.redistort_file}
    overscan = overscan_of(lens.distortion, intrinsics, size)
    maps = {"undistort": undistort_map(lens.distortion, intrinsics, size, overscan),
            "redistort": redistort_map(lens.distortion, intrinsics, size, overscan)}
    with translated_errors(folder.undistort_file.parent):
        folder.files.make_folder(folder.undistort_file.parent.name)
    for name, (u, v) in maps.items():
        exr.write_exr(folder.file(files[name]), {"R": u, "G": v, "B": np.ones_like(u)},
                      {"comments": f"{_MEANINGS[name]}; {_CONVENTION}", **attributes})
    return replace(lens, overscan=overscan, **{name: folder.relative(path) for name, path in files.items()})


def bytes_of_lens_maps(size: tuple[int, int], distortion: Distortion | None, intrinsics: np.ndarray | None) -> int:
    """What both maps take on a disk, before they are made.

    size, intrinsics: of the plate, as of write_lens_maps. distortion: None where it is yet to be found.
    """
    width, height = size
    undistorted_pixels = USUAL_OVERSCAN * width * height
    if distortion is not None and intrinsics is not None:
        left, right, top, bottom = overscan_of(distortion, intrinsics, size)
        undistorted_pixels = (width + left + right) * (height + top + bottom)
    return int(BYTES_PER_PIXEL * (width * height + undistorted_pixels))


def overscan_of(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels at the left, right, top and bottom that the plate's outline needs beside the plate, once undistorted.

    At each side MOST_OVERSCAN of the plate's at most.
    As many more at the right and at the bottom as make both sums even: programs that lay pictures center on center then
    lay the larger one on whole pixels.
    """
    width, height = size
    across, down = (np.linspace(0.0, side, 2 * side + 1) for side in size)
    outline = np.concatenate([[(x, y) for x in across for y in (0.0, height)],
                              [(x, y) for y in down for x in (0.0, width)]])
    ideal = undistorted((outline - intrinsics[2:]) / intrinsics[:2], distortion) * intrinsics[:2] + intrinsics[2:]
    beyond = np.concatenate([-ideal.min(axis=0), ideal.max(axis=0) - size])[[0, 2, 1, 3]]
    most = MOST_OVERSCAN * np.repeat(size, 2)
    left, right, top, bottom = np.ceil(np.clip(beyond - _ROUNDING_PX, 0.0, most)).astype(int).tolist()
    return left, right + (left + right) % 2, top, bottom + (top + bottom) % 2


def undistort_map(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int],
                  overscan: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """u and v, (H,W) float32 of the overscan's size: where the plate shows what the ideal camera sees."""
    left, right, top, bottom = overscan
    fold = distortion.ideal_fold_radius()

    def look_up(places: np.ndarray) -> np.ndarray:
        is_shown = np.hypot(places[..., 0], places[..., 1]) <= fold
        return np.where(is_shown[..., None], distorted(places, distortion), np.nan)

    return _map(look_up, intrinsics, (size[0] + left + right, size[1] + top + bottom), (left, top), size, (0, 0))


def redistort_map(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int],
                  overscan: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """u and v, (H,W) float32 of the plate's size: where the ideal camera with overscan sees what the plate shows."""
    left, right, top, bottom = overscan
    return _map(lambda places: undistorted(places, distortion), intrinsics, size, (0, 0),
                (size[0] + left + right, size[1] + top + bottom), (left, top))


def _map(look_up, intrinsics: np.ndarray, size: tuple[int, int], corner: tuple[int, int], read_size: tuple[int, int],
         read_corner: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """size: of the map. corner: the plate's upper left one in it. read_size, read_corner: likewise of what is read."""
    width, height = size
    u, v = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    columns = np.arange(width) + 0.5 - corner[0]
    for first in range(0, height, ROWS_AT_ONCE):
        rows = np.arange(first, min(first + ROWS_AT_ONCE, height)) + 0.5 - corner[1]
        places = np.stack(np.meshgrid(columns, rows), axis=-1)
        found = look_up((places - intrinsics[2:]) / intrinsics[:2]) * intrinsics[:2] + intrinsics[2:]
        found = (found + read_corner) / read_size
        part = slice(first, first + len(rows))
        u[part], v[part] = (np.where(np.isnan(axis), NOWHERE, axis) for axis in (found[..., 0], 1.0 - found[..., 1]))
    return u, v
