"""What a solve takes on disk: told before it, and refused where there is less."""

from __future__ import annotations

from .settings import Settings
from .sizes import Size, has_plate_depth, reads_plates

__all__ = [
    "PLATE_DEPTH_BYTES_PER_PIXEL", "PRODUCT_BYTES_PER_PIXEL", "SCRATCH_BYTES_PER_PIXEL", "result_bytes",
    "scratch_bytes",
]

# What one pixel of one frame takes on disk. Scratch, when it is most, at the end of measuring depth: 3 bytes of
# picture, 1 of a matte, 10 of what was seen, kept and once more to be worked on, 13 of depth, and 9 of it to be kept.
# Beside it a byte for each pixel of a larger plate, and one of its matte. Products, measured: floats that compress to
# about half, and the preview.
SCRATCH_BYTES_PER_PIXEL = 46
PRODUCT_BYTES_PER_PIXEL = 12
PLATE_DEPTH_BYTES_PER_PIXEL = 3.3
"""Of the plate; less than of the working raster, because little of what lies between edges is new."""


def result_bytes(raster: Size, plate: Size, settings: Settings) -> float:
    """What the result of one frame takes on disk, the lens's ST maps aside.

    Parameters
    ----------
    raster, plate : tuple of int
        As of sizes.is_finer_plate().
    settings : Settings
        Of the solve; depth_size counts.

    Returns
    -------
    float
        In bytes.
    """
    of_plate = plate[0] * plate[1] * PLATE_DEPTH_BYTES_PER_PIXEL if has_plate_depth(raster, plate, settings) else 0.0
    return raster[0] * raster[1] * PRODUCT_BYTES_PER_PIXEL + of_plate


def scratch_bytes(raster: Size, plate: Size, settings: Settings, *, has_matte: bool) -> float:
    """What one frame takes on disk besides, while it is solved and for Resume.

    Parameters
    ----------
    raster, plate, settings
        As of result_bytes().
    has_matte : bool
        Whether a matte says what moves.

    Returns
    -------
    float
        In bytes, when it is most.
    """
    kept = reads_plates(raster, plate, settings) + (has_matte and has_plate_depth(raster, plate, settings))
    return raster[0] * raster[1] * SCRATCH_BYTES_PER_PIXEL + kept * plate[0] * plate[1]
