"""How large the pictures of a solve are: those it works on, and those of the plate."""

from __future__ import annotations

from .settings import Settings

__all__ = ["has_plate_depth", "is_finer_plate", "plate_size", "reads_plates", "working_size"]

MAX_PLATE_SIDE_PX, MIN_PLATE_SCALE = 4096, 1.25
"""Of the pictures that tracked points are measured in; and times the raster, from which they show more than it."""

Size = tuple[int, int]
"""Width and height in pixels."""


def working_size(clip: Size, pixel_aspect: float, max_side_px: int, max_enlargement: float = 1.0) -> Size:
    """The size that a clip is worked on: square pixels up to rounding, the longest side at most max_side_px.

    Parameters
    ----------
    clip : tuple of int
        Width and height of the clip's pictures, in pixels as stored.
    pixel_aspect : float
        Width / height of one of its pixels.
    max_side_px : int
        In pixels of the size.
    max_enlargement : float
        Of the sides of a clip that is smaller than that; 1 = never.

    Returns
    -------
    tuple of int
        Width and height of the same picture, edge to edge; not checked for being large enough.
    """
    square_width, square_height = clip[0] * min(pixel_aspect, 1.0), clip[1] / max(pixel_aspect, 1.0)
    scale = min(max_enlargement, max_side_px / max(square_width, square_height))
    return round(square_width * scale), round(square_height * scale)


def plate_size(clip: Size) -> Size:
    """Width and height of the clip's pictures, or of pictures whose longer side has MAX_PLATE_SIDE_PX.

    Parameters
    ----------
    clip : tuple of int
        As of working_size().

    Returns
    -------
    tuple of int
        Of the same picture, edge to edge.
    """
    scale = min(1.0, MAX_PLATE_SIDE_PX / max(clip))
    return round(clip[0] * scale), round(clip[1] * scale)


def is_finer_plate(raster: Size, plate: Size) -> bool:
    """Whether the plate shows clearly more than the raster.

    Parameters
    ----------
    raster, plate : tuple of int
        As working_size() and plate_size() give them.

    Returns
    -------
    bool
        True from MIN_PLATE_SCALE times the raster on, along both sides.
    """
    return min(plate[0] / raster[0], plate[1] / raster[1]) >= MIN_PLATE_SCALE


def has_plate_depth(raster: Size, plate: Size, settings: Settings) -> bool:
    """Whether a solve gives depth at the plate's size.

    Parameters
    ----------
    raster, plate : tuple of int
        As of is_finer_plate().
    settings : Settings
        Of the solve.

    Returns
    -------
    bool
        True if it is asked for, and the plate shows more than the raster.
    """
    return settings.depth_size == "plate" and is_finer_plate(raster, plate)


def reads_plates(raster: Size, plate: Size, settings: Settings) -> bool:
    """Whether the plate shows more than the raster to what looks at it; the network of pointmaps tracks nothing.

    Parameters
    ----------
    raster, plate, settings
        As of has_plate_depth().

    Returns
    -------
    bool
        True if the solve keeps the plates beside the frames.
    """
    is_looked_at = settings.stereo != "monst3r" or settings.depth_size == "plate"
    return is_looked_at and is_finer_plate(raster, plate)
