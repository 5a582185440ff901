"""One still picture of a sequence, as the display-referred picture that is matched.

still_sizes.py says what may be decoded, still_files.py decodes, color.py makes of the values what Blender shows.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ..contract import MAX_FPS, MAX_PIXELS
from .color import FootageColor
from .exr_windows import Framing
from .still_files import EXR, StoredPicture, Window, kind_of, read_header_number, read_stored, read_windows
from .still_sizes import checked_head

__all__ = ["read_still"]

DPX_RATES = (1724, 1940)
"""Where a DPX has its frame rate, 32 bits: of film and of television (SMPTE ST 268-1)."""
SLOWEST_FPS = 0.01
"""Less is what other bytes look like."""


def read_still(path: Path, *, exposure_ev: float = 0.0, max_pixels: int = MAX_PIXELS,
               color: FootageColor | None = None, framing: Framing | None = None) -> np.ndarray:
    """One still picture, display-referred.

    Straight alpha is flattened over black; EXR's is premultiplied, which is the same picture, so it is dropped.

    Parameters
    ----------
    path : Path
        The file; its content says what kind it is, and only of TGA its suffix.
    exposure_ev : float
        Stops added to light: to everything but pictures of 8 or 16 bits in sRGB.
    max_pixels : int
        Of the picture; a larger one is not decoded.
    color : FootageColor or None
        The color space of what is stored; None: as Blender takes it for this kind of file.
    framing : Framing or None
        Where an EXR's pixels belong; None: its data window is the picture.

    Returns
    -------
    ndarray
        (H,W,3) uint8 sRGB.

    Raises
    ------
    StereoDiffError
        "clip_missing", "clip_empty" (no bytes), "picture_too_large", "clip_unreadable", "clip_window_moves",
        "color_space_unknown" or "color_config_unreadable".
    """
    stored = _stored(path, max_pixels)
    picture = (color or FootageColor()).display(stored.color, stored.alpha, kind=stored.kind, exposure_ev=exposure_ev)
    return _framed(picture, stored, framing, path, max_pixels)


def read_light(path: Path, *, step: int = 1, max_pixels: int = MAX_PIXELS,
               color: FootageColor | None = None) -> np.ndarray | None:
    """The light of a picture, scene-linear (h,w,3) float32; None of one to which no exposure is added, or of numbers
    that are no color. step: every how manieth row and column. The rest as read_still."""
    color, stored = color or FootageColor(), _stored(path, max_pixels)
    if color.is_display(stored.color, stored.kind) or not color.is_color:
        return None
    some = slice(None, None, step)
    return color.light(stored.color[some, some], None if stored.alpha is None else stored.alpha[some, some],
                       kind=stored.kind)


def still_takes_exposure(path: Path, *, max_pixels: int = MAX_PIXELS, color: FootageColor | None = None) -> bool:
    """Whether stops are added to a picture; not to one that is the display's already. Errors as read_still."""
    stored = _stored(path, max_pixels)
    return not (color or FootageColor()).is_display(stored.color, stored.kind)


def still_windows(path: Path, *, max_pixels: int = MAX_PIXELS) -> tuple[Window, Window] | None:
    """Data and display window of an EXR; None of any other picture. Errors as read_still."""
    head = checked_head(path, max_pixels)
    return read_windows(path, head, max_pixels) if kind_of(path, head) == EXR else None


def still_pixel_aspect(path: Path, *, max_pixels: int = MAX_PIXELS) -> float:
    """Width / height of a pixel. Only EXR and DPX say so in a way that means it; elsewhere pixels are square."""
    head = checked_head(path, max_pixels)
    if kind_of(path, head) not in (EXR, "dpx"):
        return 1.0
    aspect = read_header_number(path, head, "PixelAspectRatio", max_pixels)
    return aspect if np.isfinite(aspect) and aspect > 0 else 1.0


def still_fps(path: Path, *, max_pixels: int = MAX_PIXELS) -> float:
    """Frames per second that a picture says it belongs to; 0 where it does not. EXR and DPX can say so."""
    head = checked_head(path, max_pixels)
    kind = kind_of(path, head)
    if kind not in ("dpx", EXR):
        return 0.0
    rates = _dpx_rates(head) if kind == "dpx" else [read_header_number(path, head, "FramesPerSecond", max_pixels)]
    return next((rate for rate in rates if SLOWEST_FPS <= rate <= MAX_FPS), 0.0)


def _dpx_rates(head: bytes) -> list[float]:
    """Of the film's header, and of the television's. What is not known has all bits set, and is no number."""
    order = "<" if head.startswith(b"XPDS") else ">"
    return [struct.unpack_from(f"{order}f", head, offset)[0] for offset in DPX_RATES if len(head) >= offset + 4]


def _stored(path: Path, max_pixels: int) -> StoredPicture:
    return read_stored(path, checked_head(path, max_pixels), max_pixels)


def _framed(picture: np.ndarray, stored: StoredPicture, framing: Framing | None, path: Path,
            max_pixels: int) -> np.ndarray:
    if framing is None or stored.kind != EXR:
        return picture
    return framing.apply(picture, stored.data, stored.display, path, max_pixels)
