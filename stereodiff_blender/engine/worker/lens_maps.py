"""ST maps: where to look up each pixel of the undistorted plate, and of the distorted CG.

One pair serves the whole clip, unless the lens zooms so much that the frames' pairs differ: then each frame has one.

In Nuke's convention: red is u, from the left edge 0 to the right one 1, green is v, from the bottom edge 0 to the top
one 1, and the center of the first pixel is at half a pixel. Blender's Map UV takes blue for alpha, so it is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..contract import Distortion, JobFolder, LensResult
from ..lens import distorted, undistorted
from ..media import exr
from ..storage import translated_errors

__all__ = ["bytes_of_frame_maps", "bytes_of_lens_maps", "common_overscan", "maps_differ", "write_frame_maps",
           "write_lens_maps"]

Bend = Callable[[np.ndarray, Distortion], np.ndarray]
NOWHERE = -1.0
"""u and v of what no place of the plate shows."""
ROWS_AT_ONCE = 64
MOST_OVERSCAN = 1.0
"""Of the plate's side. Fisheyes of more than about 150 degrees would have more; the outermost corners are left out."""
BYTES_PER_PIXEL = 8
"""Of a map in its file: two floats that compress little. Measured, 6.6 to 6.8."""
USUAL_OVERSCAN = 2.0
"""Undistorted plate over the plate where the lens is yet to be found: wide barrels have less, fisheyes up to 9."""
MOST_DIFFERENCE_PX = 0.05
"""Of a frame's maps from the middle frame's, in pixels of the clip, up to which those serve all frames."""
COMPARED = 33
"""Places along each side of the plate at which they are compared; distortion is smooth."""
BYTES_PER_PIXEL_OF_FRAMES, STEPS_PER_PX = 4.0, 256
"""Of the maps of frames, which are many and therefore rounded to a 256th of a pixel or less. Measured, 2.9 to 3.9."""
TABLE = 8192
"""Radii for which a radial lens is looked up: between them it is straight to 1e-5 pixels."""
_ROUNDING_PX = 1e-6
_MEANINGS = {
    "undistort": "ST map: for the ideal camera with overscan, where in the plate it is shown",
    "redistort": "ST map: for the plate, where the ideal camera with overscan sees it",
}
_CONVENTION = "u from the left in R, v from the bottom in G, pixel centers at half pixels, B is 1"


def write_lens_maps(folder: JobFolder, lens: LensResult, intrinsics: np.ndarray, size: tuple[int, int],
                    attributes: dict[str, str], overscan: tuple[int, int, int, int] | None = None) -> LensResult:
    """Write lens/undistort.exr and lens/redistort.exr, if the lens has distortion.

    intrinsics: (4,) fx, fy, cx, cy in pixels of the plate. size: its width and height. attributes: further texts for
    the headers. overscan: None: as much as these intrinsics need. Returns the lens with the files and their overscan.
    Raises StereoDiffError "disk_full" or "output_not_writable".
    """
    if lens.distortion is None:
        return lens
    files = {"undistort": folder.undistort_file, "redistort": folder.redistort_file}
    overscan = overscan_of(lens.distortion, intrinsics, size) if overscan is None else overscan
    maps = {"undistort": undistort_map(lens.distortion, intrinsics, size, overscan),
            "redistort": redistort_map(lens.distortion, intrinsics, size, overscan)}
    with translated_errors(folder.undistort_file.parent):
        folder.files.make_folder(folder.undistort_file.parent.name)
    for name, (u, v) in maps.items():
        _write(folder, files[name], name, u, v, attributes)
    return replace(lens, overscan=overscan, **{name: folder.relative(path) for name, path in files.items()})


def maps_differ(distortion: Distortion | None, intrinsics: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether the frames of a zoom need maps of their own.

    intrinsics: (T,4) of all frames, in pixels of the plate. size: its width and height.
    """
    if distortion is None:
        return False
    middle = intrinsics[len(intrinsics) // 2]
    places = np.stack(np.meshgrid(*(np.linspace(0.0, side, COMPARED) for side in size)), axis=-1)
    expected = _ideal(distortion, middle, places)
    return any(np.abs(_ideal(distortion, extreme, places) - expected).max() > MOST_DIFFERENCE_PX
               for extreme in _extremes(intrinsics))


def common_overscan(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int]
                    ) -> tuple[int, int, int, int]:
    """The least that holds the undistorted plate of every frame, as of overscan_of. intrinsics: (T,4)."""
    left, right, top, bottom = np.max([overscan_of(distortion, extreme, size) for extreme in _extremes(intrinsics)],
                                      axis=0).tolist()
    return left, right + (left + right) % 2, top, bottom + (top + bottom) % 2


def write_frame_maps(folder: JobFolder, lens: LensResult, intrinsics: np.ndarray, size: tuple[int, int],
                     numbers: Sequence[int], attributes: dict[str, str]) -> list[dict[str, str]]:
    """Write lens/undistort/####.exr and lens/redistort/####.exr of every frame.

    lens: with the overscan of all of them. intrinsics: (T,4) in pixels of the plate. numbers: of the frames' files.
    Returns each frame's relative paths. Raises StereoDiffError "disk_full" or "output_not_writable".
    """
    distortion, overscan = lens.distortion, lens.overscan
    assert distortion is not None
    for name in _MEANINGS:
        with translated_errors(folder.undistort_file.parent):
            folder.files.make_folder(folder.relative(folder.frame_map_file(name, 1).parent))
    written = []
    for number, own in zip(numbers, intrinsics, strict=True):
        maps = {"undistort": undistort_map(distortion, own, size, overscan, is_quick=True),
                "redistort": redistort_map(distortion, own, size, overscan, is_quick=True)}
        for name, (u, v) in maps.items():
            _write(folder, folder.frame_map_file(name, number), name, _rounded(u), _rounded(v), attributes)
        written.append({name: folder.relative(folder.frame_map_file(name, number)) for name in maps})
    return written


def _write(folder: JobFolder, path: Path, name: str, u: np.ndarray, v: np.ndarray, attributes: dict[str, str]) -> None:
    exr.write_exr(folder.file(path), {"R": u, "G": v, "B": np.ones_like(u)},
                  {"comments": f"{_MEANINGS[name]}; {_CONVENTION}", **attributes})


def _rounded(places: np.ndarray) -> np.ndarray:
    """To a power of two, which leaves the last bits of every number 0: half as much to write."""
    step = 2.0 ** -np.ceil(np.log2(STEPS_PER_PX * max(places.shape)))
    return (np.round(places / step) * step).astype(np.float32)


def _extremes(intrinsics: np.ndarray) -> np.ndarray:
    """(2,4): of the frames with the shortest and the longest focal length."""
    return intrinsics[[intrinsics[:, 0].argmin(), intrinsics[:, 0].argmax()]]


def _ideal(distortion: Distortion, intrinsics: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(...,2) pixels at which the ideal camera sees what the plate shows at places (...,2)."""
    return undistorted((places - intrinsics[2:]) / intrinsics[:2], distortion) * intrinsics[:2] + intrinsics[2:]


def bytes_of_frame_maps(size: tuple[int, int], distortion: Distortion | None, intrinsics: np.ndarray) -> int:
    """What the maps of all frames take on a disk; 0 where one pair serves them. intrinsics: (T,4), of the plate."""
    if distortion is None or not maps_differ(distortion, intrinsics, size):
        return 0
    (width, height), (left, right, top, bottom) = size, common_overscan(distortion, intrinsics, size)
    pixels = width * height + (width + left + right) * (height + top + bottom)
    return int(len(intrinsics) * BYTES_PER_PIXEL_OF_FRAMES * pixels)


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
    ideal = _ideal(distortion, intrinsics, outline)
    beyond = np.concatenate([-ideal.min(axis=0), ideal.max(axis=0) - size])[[0, 2, 1, 3]]
    most = MOST_OVERSCAN * np.repeat(size, 2)
    left, right, top, bottom = np.ceil(np.clip(beyond - _ROUNDING_PX, 0.0, most)).astype(int).tolist()
    return left, right + (left + right) % 2, top, bottom + (top + bottom) % 2


def undistort_map(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int],
                  overscan: tuple[int, int, int, int], *, is_quick: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """u and v, (H,W) float32 of the overscan's size: where the plate shows what the ideal camera sees.

    is_quick: by a table of radii, if the lens is radial.
    """
    left, right, top, bottom = overscan
    fold, wide = distortion.ideal_fold_radius(), (size[0] + left + right, size[1] + top + bottom)
    bend = _lens(distorted, distortion, intrinsics, wide, (left, top), is_quick)

    def look_up(places: np.ndarray) -> np.ndarray:
        is_shown = np.hypot(places[..., 0], places[..., 1]) <= fold
        return np.where(is_shown[..., None], bend(places), np.nan)

    return _map(look_up, intrinsics, wide, (left, top), size, (0, 0))


def redistort_map(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int],
                  overscan: tuple[int, int, int, int], *, is_quick: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """u and v, (H,W) float32 of the plate's size: where the ideal camera with overscan sees what the plate shows.

    is_quick: as of undistort_map.
    """
    left, right, top, bottom = overscan
    return _map(_lens(undistorted, distortion, intrinsics, size, (0, 0), is_quick), intrinsics, size, (0, 0),
                (size[0] + left + right, size[1] + top + bottom), (left, top))


def _lens(bend: Bend, distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int], corner: tuple[int, int],
          is_quick: bool) -> Callable[[np.ndarray], np.ndarray]:
    """What bend does to places (...,2) of a map of this size; see _map for its corner."""
    if not (is_quick and distortion.is_radial):
        return lambda places: bend(places, distortion)
    edges = (np.array([(0, 0), size]) - corner - intrinsics[2:]) / intrinsics[:2]
    squared = np.linspace(0.0, (edges**2).max(axis=0).sum(), TABLE)
    radii = np.sqrt(squared[1:])
    ratios = bend(np.stack([radii, np.zeros_like(radii)], axis=-1), distortion)[:, 0] / radii
    table = np.concatenate([[1.0], ratios])
    return lambda places: places * np.interp((places**2).sum(axis=-1), squared, table)[..., None]


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
