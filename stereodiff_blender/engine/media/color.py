"""From the values that a file stores to the picture that is matched: what Blender shows under its Standard view.

Stored values -> scene-linear light of Rec.709 primaries, through OpenColorIO with Blender's own configuration ->
exposure -> sRGB. Files of 8 or 16 bits in sRGB are that picture already and stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PyOpenColorIO as ocio  # noqa: N813 - as its own documentation has it

from ..contract import StereoDiffError

__all__ = ["expose", "light_from_srgb", "needs_config"]

SRGB, LINEAR, NO_COLOR = "sRGB", "Linear Rec.709", "Non-Color"
DEFAULT_SPACES = {"openexr": LINEAR, "dpx": LINEAR, "cineon": LINEAR}
"""By the kind of file, what Blender takes unless told; sRGB for all others, float TIFF among them."""
NOMINAL_WHITE = {"Rec.2100-PQ": 2.03, "Rec.2100-HLG": 2.03}
"""In stills, Blender has its 1.0 at 203 nits; in movies at 100, as the configurations have it."""
BUILT_IN = "ocio://studio-config-latest"
_BUILT_IN_NAMES = {
    LINEAR: "lin_rec709_scene", "Display P3": "srgb_p3d65_scene", "Linear DCI-P3 D65": "lin_p3d65_scene",
    "Rec.1886": "g24_rec709_scene", "Linear CIE-XYZ D65": "lin_ciexyzd65_scene", "Rec.2100-PQ": "pq_rec2020_display",
    "Rec.2100-HLG": "hlg_rec2020_display",
}
"""Blender's names of spaces that OpenColorIO's own configuration has under others."""
_TOP = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
CINEON_BLACK, CINEON_WHITE, CINEON_DENSITY, CINEON_GAMMA = 95, 685, 0.002, 0.6
"""Codes of 10 bits, density of a code, and gamma of the negative (Kodak, Cineon)."""


@dataclass(frozen=True)
class FootageColor:
    """How the values of some footage become pictures.

    space: as Blender names it; "" = what it takes for the kind of file. config: path of an OpenColorIO configuration;
    "" = OpenColorIO's own.
    """

    space: str = ""
    config: str = ""

    def space_of(self, kind: str) -> str:
        """kind: OpenImageIO's name of the format; "" for a movie."""
        return self.space or DEFAULT_SPACES.get(kind, SRGB)

    @property
    def is_color(self) -> bool:
        return self.space != NO_COLOR

    def takes_light(self, kind: str = "") -> bool:
        """Whether even integers have to become light first. kind: as of space_of."""
        return self.space_of(kind) != SRGB or kind == "cineon"

    def is_display(self, stored: np.ndarray, kind: str = "") -> bool:
        """Whether stored values are the picture already, to which no exposure is added."""
        return stored.dtype in _TOP and not self.takes_light(kind)

    def display(self, color: np.ndarray, alpha: np.ndarray | None = None, *, kind: str = "",
                exposure_ev: float = 0.0) -> np.ndarray:
        """Stored values to the picture over black.

        color: (H,W,3) integers over their whole range or floats. alpha: (H,W) of the same type, straight, or None.
        exposure_ev: stops, added to light. Returns (H,W,3) uint8 sRGB. Raises StereoDiffError "color_space_unknown" or
        "color_config_unreadable".
        """
        if self.is_display(color, kind) and (alpha is None or not _is_premultiplied(color, kind)):
            return _over_black(eight_bit(color), alpha)
        if alpha is None and self.space_of(kind) in (LINEAR, NO_COLOR) and color.dtype.itemsize <= 2:
            return _look_up(color, _display_table(color.dtype, kind == "cineon", exposure_ev))
        exposure_ev = 0.0 if self.is_display(color, kind) else exposure_ev
        return expose(self.light(color, alpha, kind=kind), exposure_ev)

    def light(self, color: np.ndarray, alpha: np.ndarray | None = None, *, kind: str = "") -> np.ndarray:
        """Stored values to scene-linear light of Rec.709 primaries, (H,W,3) float32 over black. The rest as display."""
        space, values, own = self.space_of(kind), _as_floats(color, kind == "cineon"), None
        if alpha is not None:
            own = _as_floats(alpha)[..., None]
            if _is_premultiplied(color, kind) and space != NO_COLOR:
                own = np.where(own > 0, own, np.float32(1.0))  # Blender shows what lies where nothing covers it
                values = values / own
        if space == SRGB:
            values = light_from_srgb(values)
        elif needs_config(space):
            values = _convert(values, space, self.config) / np.float32(NOMINAL_WHITE.get(space, 1.0) if kind else 1.0)
        return values if own is None or space == NO_COLOR else values * own


def needs_config(space: str) -> bool:
    """Whether a color space takes OpenColorIO to be understood.

    Parameters
    ----------
    space : str
        As in contract.ClipSource.

    Returns
    -------
    bool
        False of those whose meaning is known here.
    """
    return space not in ("", SRGB, LINEAR, NO_COLOR)


def expose(light: np.ndarray, exposure_ev: float = 0.0) -> np.ndarray:
    """Scene-linear light to display: times 2**exposure_ev, clipped, sRGB transfer (IEC 61966-2-1).

    Done by a table of 65536 entries, whose steps are under a tenth of a gray level everywhere.

    Parameters
    ----------
    light : ndarray
        (H,W,3) or (N,3); nan becomes black.
    exposure_ev : float
        Stops added.

    Returns
    -------
    ndarray
        Of the same shape, uint8 sRGB.
    """
    light = np.nan_to_num(light.astype(np.float32) * np.float32(2.0**exposure_ev), nan=0.0)
    return _look_up(np.rint(np.clip(light, 0.0, 1.0) * 65535.0).astype(np.uint16), _srgb_table())


def light_from_srgb(encoded: np.ndarray) -> np.ndarray:
    """The light that sRGB stands for (IEC 61966-2-1).

    Parameters
    ----------
    encoded : ndarray
        Floats of any shape, 0 to 1; what lies outside follows the same curve.

    Returns
    -------
    ndarray
        Of the same shape and type.
    """
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0.0) + 0.055) / 1.055) ** 2.4)


def eight_bit(values: np.ndarray) -> np.ndarray:
    """Of 8 or 16 bits, rounded."""
    return values if values.dtype == np.uint8 else _look_up(values, _eight_bit_table())


def _over_black(color: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """uint8, in stored values, as players do. alpha: straight."""
    if alpha is None:
        return np.ascontiguousarray(color)
    cover = eight_bit(alpha)[..., None]
    return ((color.astype(np.uint16) * cover.astype(np.uint16) + 127) // 255).astype(np.uint8)


def _is_premultiplied(color: np.ndarray, kind: str) -> bool:
    """Blender takes TIFF of 16 bits so, whatever the file says."""
    return kind == "tiff" and color.dtype == np.uint16


def _as_floats(values: np.ndarray, is_film: bool = False) -> np.ndarray:
    if values.dtype == np.uint16 and is_film:
        return cv2.LUT(values, _film_table())
    top = _TOP.get(values.dtype)
    return values.astype(np.float32) if top is None else values.astype(np.float32) / np.float32(top)


# --- Tables ----------------------------------------------------------------------------------------------------

def _look_up(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """values: of 8 or 16 bits, also half floats, whose bits are looked up."""
    return cv2.LUT(np.ascontiguousarray(values).view(np.uint8 if values.dtype == np.uint8 else np.uint16), table)


@cache
def _display_table(dtype: np.dtype, is_film: bool, exposure_ev: float) -> np.ndarray:
    """What every value of 8 or 16 bits looks like, taken as light."""
    every = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return expose(_as_floats(every.reshape(-1, 1), is_film), exposure_ev).ravel()


@cache
def _srgb_table() -> np.ndarray:
    light = np.arange(65536) / 65535.0
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255.0).astype(np.uint8)


@cache
def _eight_bit_table() -> np.ndarray:
    return ((np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


@cache
def _film_table() -> np.ndarray:
    """Light of Cineon codes as Blender has it: printed to display, 0 to 1, and that taken for sRGB."""
    codes = np.arange(65536) / 65535.0 * 1023.0
    step = CINEON_DENSITY / CINEON_GAMMA
    black = 10.0 ** ((CINEON_BLACK - CINEON_WHITE) * step)
    display = np.clip((10.0 ** ((codes - CINEON_WHITE) * step) - black) / (1.0 - black), 0.0, 1.0)
    return light_from_srgb(display).astype(np.float32)


# --- OpenColorIO -----------------------------------------------------------------------------------------------

def _convert(values: np.ndarray, space: str, config: str) -> np.ndarray:
    """(H,W,3) float32 of any space to light of Rec.709 primaries; values is not kept."""
    values = np.ascontiguousarray(values)
    values = values if values.flags.writeable else values.copy()
    _processor(space, config).applyRGB(values)
    return values


@cache
def _processor(space: str, path: str) -> ocio.CPUProcessor:
    config = _config(path)
    name = space if path else _BUILT_IN_NAMES.get(space, space)
    if config.getColorSpace(name) is None:
        where = f"The OpenColorIO configuration {path}" if path else "OpenColorIO's own configuration"
        raise StereoDiffError("color_space_unknown", f"{where} has no color space named {space!r}.")
    try:
        if config.getColorSpace(LINEAR) is not None:
            processor = config.getProcessor(name, LINEAR)
        else:
            processor = ocio.Config.GetProcessorToBuiltinColorSpace(config, name, _BUILT_IN_NAMES[LINEAR])
        return processor.getDefaultCPUProcessor()
    except ocio.Exception as error:
        raise _unusable(path, error) from error


@cache
def _config(path: str) -> ocio.Config:
    try:
        if path and not path.startswith("ocio://") and not Path(path).is_file():
            raise StereoDiffError("color_config_unreadable", f"There is no file {path}.")
        return ocio.Config.CreateFromFile(path or BUILT_IN)
    except ocio.Exception as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: Exception) -> StereoDiffError:
    reason = " ".join(str(error).split())
    return StereoDiffError("color_config_unreadable", f"{path or 'OpenColorIO'} cannot be used: {reason}")
