"""The files of a job folder that are made of arrays: depth, confidence and motion mask as EXR, points as PLY.

Arrays may be memory-mapped; they are read frame by frame. Previews are in preview.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from ..contract import JobFolder, StereoDiffError, WeightsUsed
from ..contract.guarded_files import GuardedFile
from ..media import exr
from ..solution import TRUSTED, StereoResult
from ..storage import RunContext, Scratch, Target, translated_errors, write_bytes
from .mesh_depth import mesh_channels
from .preview import write_preview_image, write_preview_movie

__all__ = ["depth_range", "write_depth_products", "write_points", "write_preview_image", "write_preview_movie"]

JOURNAL, MESH_DEPTH = "write", "mesh_depth"
_MAX_SAMPLES = 2_000_000
_FEW_TRUSTED = 0.01  # of the valid samples; fewer say nothing about the shot as a whole
_MEANINGS = {
    "depth": "z-depth along the optical axis in scene units of relative scale; 0 is invalid",
    "confidence": "0 to 1, larger is surer",
    "plate_depth": "z-depth along the optical axis in scene units of relative scale, at the plate's size; 0 is invalid",
    "edge": "share of the nearer surface in pixels near an edge of plate_depth, 0 to 1; 1 elsewhere",
    "motion_mask": "1 where the thing itself moves, else 0",
    MESH_DEPTH: "for Blender's mesh: R z-depth, rounded; G confidence, rounded up; B 1 where the thing itself moves, "
                "-1 where the sky is",
}
_POINT = np.dtype([("position", "<f4", 3), ("color", "u1", 3)])


class FramesOfDepth(Protocol):
    """(T,H,W), read frame by frame."""

    def __getitem__(self, index: int, /) -> np.ndarray: ...


def write_depth_products(folder: JobFolder, file_numbers: range, stereo: StereoResult,
                         weights: tuple[WeightsUsed, ...], context: RunContext,
                         of_plate: Mapping[str, FramesOfDepth] | None = None,
                         sky: Callable[[int], np.ndarray] | None = None) -> None:
    """Write depth/####.exr, confidence/####.exr and motion_mask/####.exr, 32-bit float, with these numbers; and of
    these, mesh_depth/####.exr.

    stereo: of T frames, one for each number, with the depth to use, which is written in its cameras' unit. weights:
    that the result was made with; every file names them and their licenses. context: its scratch knows which frames
    an earlier run has written of the very same depth; its report is told the progress in frames, of the caller's stage.
    of_plate: what is written at the plate's size as well, "plate_depth" and "edge". sky: where a frame shows it, (H,W)
    bool; None: as stereo tells. Raises StereoDiffError "disk_full" or "output_not_writable".
    """
    arrays: dict[str, FramesOfDepth] = {"depth": stereo.depth, "confidence": stereo.confidence,
                                        "motion_mask": stereo.motion_mask, **(of_plate or {})}
    written = (*arrays, MESH_DEPTH)
    for product in written:
        with translated_errors(folder.path / product):
            folder.files.make_folder(product)
    attributes = weights_attributes(weights)
    journal = context.scratch.journal(JOURNAL, lambda index: [
        _bytes_of(_product(folder, product, file_numbers[index])) for product in written])
    units = dict.fromkeys(("depth", "plate_depth"), np.float32(stereo.cameras.unit))

    def write(index: int) -> None:
        pictures = {product: array[index] * units[product] if product in units else array[index]
                    for product, array in arrays.items()}
        for product, picture in pictures.items():
            exr.write_gray(_product(folder, product, file_numbers[index]), picture,
                           {"comments": _MEANINGS[product], **attributes})
        channels = mesh_channels(pictures["depth"], pictures["confidence"], pictures["motion_mask"],
                                 (sky or stereo.is_sky)(index))
        exr.write_exr(_product(folder, MESH_DEPTH, file_numbers[index]), channels,
                      {"comments": _MEANINGS[MESH_DEPTH], **attributes})

    left = range(journal.done, len(file_numbers))
    for index, _ in zip(left, context.cores.map(write, left), strict=True):
        journal.note(index)
        context.report.progress(index + 1)


def has_begun(scratch: Scratch) -> bool:
    """Whether an earlier run has written frames of the very same depth."""
    return scratch.has_journal(JOURNAL)


def _product(folder: JobFolder, product: str, number: int) -> GuardedFile:
    return folder.file(folder.product_file(product, number))


def _bytes_of(file: GuardedFile) -> np.ndarray:
    """None, for a file that is gone."""
    if not file.folder.is_file(file.name):
        return np.empty(0, np.uint8)
    with file.folder.open_for_reading(file.name) as stream:
        return np.fromfile(stream, np.uint8)


def weights_attributes(weights: tuple[WeightsUsed, ...]) -> dict[str, str]:
    """What an EXR's header says of the weights, so that a file that left its folder still does; {} without any."""
    if not weights:
        return {}
    terms = [used.licence + ("" if used.commercial_use else ", no commercial use") for used in weights]
    return {"stereodiffWeights": "; ".join(used.name for used in weights), "stereodiffLicence": "; ".join(terms)}


def write_points(path: Target, points: np.ndarray, colors: np.ndarray) -> None:
    """points: (N,3) in the world axes of the contract; colors: (N,3) uint8 RGB. A binary little-endian PLY.

    Raises ValueError if they do not belong together; StereoDiffError "disk_full" or "output_not_writable".
    """
    if points.shape != colors.shape or points.shape[1:] != (3,):
        raise ValueError(f"points {points.shape} and colors {colors.shape} must both be (N,3)")
    table = np.empty(len(points), _POINT)
    table["position"], table["color"] = points, colors
    write_bytes(path, _ply_header(len(points)).encode("ascii") + table.tobytes())


def _ply_header(count: int) -> str:
    properties = [f"property float {axis}" for axis in "xyz"]
    properties += [f"property uchar {color}" for color in ("red", "green", "blue")]
    return "\n".join(["ply", "format binary_little_endian 1.0", "comment axes: x right, y down, z forward",
                      f"element vertex {count}", *properties, "end_header", ""])


def depth_range(depth: np.ndarray, confidence: np.ndarray) -> tuple[float, float]:
    """Nearest and farthest trusted depth: the 0.5 and 99.5 percentiles of an even sample of the clip.

    depth, confidence: (T,H,W). Pixels above stereo.TRUSTED count; where they are fewer than 1 % of the valid ones,
    all valid ones do. Raises StereoDiffError "result_invalid" if no pixel is valid.
    """
    step = _sample_step(depth.size)
    samples = [_valid_samples(d, c, step) for d, c in zip(depth, confidence, strict=True)]
    depths, confidences = (np.concatenate(column) for column in zip(*samples, strict=True))
    if not depths.size:
        raise StereoDiffError("result_invalid", "No pixel of the clip has a depth.")
    trusted = depths[confidences > TRUSTED]
    chosen = trusted if trusted.size >= max(_FEW_TRUSTED * depths.size, 1) else depths
    near, far = np.percentile(chosen, (0.5, 99.5))
    return float(near), float(far)


def _valid_samples(depth: np.ndarray, confidence: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    depths, confidences = np.ravel(depth)[::step], np.ravel(confidence)[::step]
    valid = np.isfinite(depths) & (depths > 0)
    return depths[valid], confidences[valid]


def _sample_step(size: int) -> int:
    """Every how manieth pixel keeps the sample small. Odd, so that it does not walk down one column of even rows."""
    return -(-size // _MAX_SAMPLES) | 1
