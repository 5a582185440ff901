"""The arrays of a job folder, read by Blender and NumPy alone: depth, confidence, motion mask and points."""

from __future__ import annotations

import bpy
import numpy as np

from ...engine.contract import JobFolder, StereoDiffError
from ...engine.contract.job_files.result_checks import check_product
from .ply import read_ply
from .shot import ImportedResult


def read_picture(shot: ImportedResult, relative: str) -> np.ndarray:
    """One file of a product, such as frames[0].depth.

    Parameters
    ----------
    shot : ImportedResult
        The result.
    relative : str
        Of the file, relative to the job folder, as the result has it.

    Returns
    -------
    ndarray
        (H,W) float32, row 0 at the top: depth in units of the solve, 0 is invalid; confidence 0..1; motion mask 0 or 1.

    Raises
    ------
    StereoDiffError
        "result_invalid": it is not a picture of the result's raster.
    """
    check_product(JobFolder(shot.folder).files, relative, shot.raster_size)
    image = bpy.data.images.load(str(shot.folder / relative), check_existing=False)
    try:
        image.colorspace_settings.name = "Non-Color"
        width, height = image.size
        if (width, height) != shot.raster_size:
            raise StereoDiffError("result_invalid", f"{relative} is no picture of {shot.raster_size[0]} x "
                                                    f"{shot.raster_size[1]} pixels.")
        pixels = np.empty(4 * width * height, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1, :, 0]


def read_points(shot: ImportedResult) -> tuple[np.ndarray, np.ndarray]:
    """The solved points and their colors.

    Parameters
    ----------
    shot : ImportedResult
        The result.

    Returns
    -------
    positions : ndarray
        (N,3) float64 on the engine's axes: x right, y down, z forward at the first frame's camera; units of the solve.
    colors : ndarray
        (N,3) uint8, sRGB.

    Raises
    ------
    StereoDiffError
        "depth_missing": the result has none. "result_invalid": their file is damaged.
    """
    if shot.result.points is None:
        raise StereoDiffError("depth_missing", "The result has no points.")
    return read_ply(shot.folder / shot.result.points)
