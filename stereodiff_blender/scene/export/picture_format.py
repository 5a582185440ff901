"""The format that a plate with overscan, or one that was cropped, is made for: an EXR says it in its header.

Blender shows all that such a picture holds (its data window), and so the camera is solved for that. Compositing
programs place it in its format (its display window), and their cameras are the format's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...engine.contract.job_files.picture_headers import read_header
from ..camera import CameraSamples
from ..result import ImportedResult

__all__ = ["PictureFormat", "format_of"]


@dataclass(frozen=True)
class PictureFormat:
    """size: (width, height) in pixels. left, top: of the format in the picture that Blender shows; below 0 outside."""

    size: tuple[int, int]
    left: int
    top: int


def format_of(shot: ImportedResult) -> PictureFormat | None:
    """The format of a result's plate, where that is another than what Blender shows of it.

    Parameters
    ----------
    shot : ImportedResult
        Whose plate's first picture is asked.

    Returns
    -------
    PictureFormat or None
        None for all but EXR sequences, and for those whose pictures fill their format.
    """
    try:
        with open(shot.plate, "rb") as stream:
            header = read_header(stream)
    except (OSError, ValueError):
        return None
    if header is None or not header.display_window or header.display_window == header.data_window:
        return None
    held, shown = header.data_window, header.display_window
    if _size(held) != shot.clip_size or min(_size(shown)) < 1:
        return None
    return PictureFormat(_size(shown), shown[0] - held[0], shown[1] - held[1])


def in_format(samples: CameraSamples, shot: ImportedResult) -> CameraSamples:
    """The same camera for pictures of the plate's format."""
    shown = format_of(shot)
    if shown is None:
        return samples
    return replace(samples, size=shown.size, intrinsics=samples.intrinsics - [0.0, 0.0, shown.left, shown.top])


def _size(window: tuple[int, ...]) -> tuple[int, int]:
    return window[2] - window[0] + 1, window[3] - window[1] + 1
