"""What a clip is, and the raster that it is worked on."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract import MIN_SIDE_PX, StereoDiffError, plate_scale


@dataclass(frozen=True)
class ClipInfo:
    """width, height: stored pixels as displayed (after rotation metadata). pixel_aspect: width / height of one. fps: 0
    where neither the clip nor its files say.

    frame_count: clip frames 1 to frame_count exist (a sequence may have gaps among them).
    """

    width: int
    height: int
    pixel_aspect: float
    fps: float
    frame_count: int


@dataclass(frozen=True)
class Raster:
    """The working size, and the clip it stands for. Both cover the same picture, edge to edge."""

    width: int
    height: int
    clip_width: int
    clip_height: int
    clip_pixel_aspect: float

    @property
    def pixel_aspect(self) -> float:
        """Width / height of one raster pixel: (clip_width * clip_pixel_aspect / width) / (clip_height / height).

        1 but for the rounding of the sides. A lens of focal length f in horizontal raster pixels has f * pixel_aspect
        in vertical ones.
        """
        return self.clip_width * self.clip_pixel_aspect / self.width / (self.clip_height / self.height)

    @property
    def plate_scale(self) -> float:
        """Pixels of the clip in one of the raster, as contract.plate_scale has it."""
        return plate_scale((self.width, self.height), (self.clip_width, self.clip_height))


def plan_raster(info: ClipInfo, max_side_px: int, max_enlargement: float = 1.0) -> Raster:
    """A raster with square pixels up to rounding, its longest side at most max_side_px.

    Parameters
    ----------
    info : ClipInfo
        The clip.
    max_side_px : int
        In pixels of the raster.
    max_enlargement : float
        Of the sides of a clip that is smaller than that; 1 = never.

    Returns
    -------
    Raster
        Of the same picture as the clip, edge to edge.

    Raises
    ------
    StereoDiffError
        "clip_too_small": a side would have fewer than MIN_SIDE_PX pixels.
    """
    square_width = info.width * min(info.pixel_aspect, 1.0)
    square_height = info.height / max(info.pixel_aspect, 1.0)
    scale = min(max_enlargement, max_side_px / max(square_width, square_height))
    width, height = round(square_width * scale), round(square_height * scale)
    if min(width, height) < MIN_SIDE_PX:
        raise StereoDiffError("clip_too_small", f"A clip of {info.width} x {info.height} pixels is worked on at "
                                                f"{width} x {height}; each side needs {MIN_SIDE_PX} or more.")
    return Raster(width, height, info.width, info.height, info.pixel_aspect)
