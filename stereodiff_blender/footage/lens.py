"""The lens that is known of a clip: its lens panel's, in all of Blender's models, or a file's.

Blender's models, by measurement (u ideal, d on the plate, y up, over the focal length): polynomial and Brown are
OpenCV's; division d = u / (1 + k1 r^2 + k2 r^4) with r of u; Nuke's goes from the plate to the ideal picture and counts
in half lengths of the longer side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ..engine.contract import (
    Distortion,
    GivenLens,
    Settings,
    StereoDiffError,
    distortion_fault,
    invalid_lens_file,
    is_exr,
    read_calibration,
)
from ..engine.contract.job_files.picture_headers import read_header
from ..engine.lens_fit import fit_distortion, lens_of_map

__all__ = ["clip_distortion", "with_clip_lens", "with_lens_file"]

MOST_FIT_ERROR_PX = 0.05
"""Of the plate, that our coefficients may be off a lens of another model."""
SAME_ASPECT = 0.01
CENTERED_PX = 0.01
COEFFICIENTS = {
    "POLYNOMIAL": ("k1", "k2", "k3"), "DIVISION": ("division_k1", "division_k2"),
    "NUKE": ("nuke_k1", "nuke_k2", "nuke_p1", "nuke_p2"),  # p1 and p2 from 5.2 on
    "BROWN": ("brown_k1", "brown_k2", "brown_k3", "brown_k4", "brown_p1", "brown_p2"),
}
_GRID = 41
_STEPS, _ROUNDS, _DIFFERENCE, _REACHED = 25, 4, 1e-6, 1e-9

_Model = Callable[[np.ndarray], np.ndarray]


def with_clip_lens(settings: Settings, clip: bpy.types.MovieClip, *, is_undistorted: bool = False) -> Settings:
    """The settings with the lens of the clip's lens panel as the known one.

    Parameters
    ----------
    settings : Settings
        All else that is asked for.
    clip : bpy.types.MovieClip
        Its camera may have any of Blender's distortion models. Coefficients that are all 0, as a new clip's are, say
        nothing of the distortion.
    is_undistorted : bool
        The plate has no distortion, whatever the lens panel says.

    Returns
    -------
    Settings
        With focal length, sensor, principal point and distortion.

    Raises
    ------
    StereoDiffError
        "lens_not_followed": the distortion is none that our coefficients can be. "settings_invalid": it folds the
        picture over, or is for pixels of another aspect than the clip's.
    """
    camera = clip.tracking.camera
    lens = replace(_panel_place(clip), distortion=Distortion()) if is_undistorted else _panel_lens(clip)
    is_centered = max(abs(2.0 * at - side) for at, side in zip((lens.cx, lens.cy), clip.size, strict=True)) < (
        2.0 * CENTERED_PX)
    known = lens.in_settings(settings, clip.size[0], camera.sensor_width)
    return replace(known, focal_mm=camera.focal_length,
                   principal_point_px=None if is_centered else known.principal_point_px)


def clip_distortion(clip: bpy.types.MovieClip) -> Distortion | None:
    """The distortion of the clip's lens panel.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        Its camera may have any of Blender's distortion models.

    Returns
    -------
    Distortion or None
        None where all coefficients are 0.

    Raises
    ------
    StereoDiffError
        As with_clip_lens.
    """
    return _panel_lens(clip).distortion


def with_lens_file(settings: Settings, clip: bpy.types.MovieClip, path: Path) -> Settings:
    """The settings with the lens of a file as the known one.

    Parameters
    ----------
    settings : Settings
        Where the file is an ST map, with the focal length, sensor and principal point of the clip's lens panel.
    clip : bpy.types.MovieClip
        The footage that it was shot with.
    path : Path
        A calibration, as read_calibration takes it, or a redistort ST map (EXR).

    Returns
    -------
    Settings
        With focal length, sensor, principal point and distortion.

    Raises
    ------
    StereoDiffError
        "lens_file_...", "lens_not_followed", or "settings_invalid" if the lens folds the picture over, or an ST map is
        given without a focal length.
    """
    if is_exr(path):
        return _with_map(settings, clip, path)
    lens = read_calibration(path, *clip.size, _plate_aspect(clip))
    _refuse_fold(lens, clip)
    return lens.in_settings(settings, clip.size[0], clip.tracking.camera.sensor_width)


# --- The lens panel ----------------------------------------------------------------------------------------------

def _panel_place(clip: bpy.types.MovieClip) -> GivenLens:
    """Without distortion, in pixels of the clip; Blender counts its principal point from the bottom."""
    camera, (_, height) = clip.tracking.camera, clip.size
    (across, up), focal = camera.principal_point_pixels, camera.focal_length_pixels
    return GivenLens(focal, focal * _plate_aspect(clip), across, height - up, None)


def _panel_lens(clip: bpy.types.MovieClip) -> GivenLens:
    camera, place = clip.tracking.camera, _panel_place(clip)
    values = {name: getattr(camera, name, 0.0) for name in COEFFICIENTS.get(camera.distortion_model, ())}
    if not any(values.values()):
        return place
    _refuse_other_aspect(clip)
    distortion = _distortion(camera.distortion_model, values, place, clip)
    lens = GivenLens(place.fx, place.fy, place.cx, place.cy, distortion)
    _refuse_fold(lens, clip)
    return lens


def _plate_aspect(clip: bpy.types.MovieClip) -> float:
    x, y = clip.display_aspect
    return x / y


def _refuse_other_aspect(clip: bpy.types.MovieClip) -> None:
    """Coefficients count in pixels of the aspect that the lens panel has."""
    own, shown = clip.tracking.camera.pixel_aspect, _plate_aspect(clip)
    if abs(own / shown - 1.0) > SAME_ASPECT:
        raise StereoDiffError("settings_invalid", f"The distortion in the lens panel is for a Pixel Aspect of "
                                                  f"{own:.4g}, but the clip's Aspect Ratio is {shown:.4g}.")


def _refuse_fold(lens: GivenLens, clip: bpy.types.MovieClip) -> None:
    intrinsics = (lens.fx, lens.fy, lens.cx, lens.cy)
    fault = "" if lens.distortion is None else distortion_fault(lens.distortion, *clip.size, intrinsics)
    if fault:
        raise StereoDiffError("settings_invalid", fault)


def _distortion(model: str, values: dict[str, float], lens: GivenLens, clip: bpy.types.MovieClip) -> Distortion:
    if model == "POLYNOMIAL":
        return Distortion(values["k1"], values["k2"], values["k3"])
    if model == "BROWN" and not values["brown_k4"]:
        return _brown(values)
    plate, focal = _plate_places(lens, clip.size), np.array([lens.fx, lens.fy])
    if model == "NUKE":
        ideal = _nuke_ideal(plate, values, lens, clip)
    else:
        ideal = _inverse(_division(values) if model == "DIVISION" else _brown_with_k4(values), plate)
    found, worst_px = Distortion(), np.inf
    if np.isfinite(ideal).all():
        found, worst_px = fit_distortion(ideal, plate, focal)
    if not worst_px <= MOST_FIT_ERROR_PX:
        raise StereoDiffError("lens_not_followed", f"The distortion in the lens panel is of the model {model.title()}, "
                                                   f"and {_why_not(worst_px)}.")
    return found


def _why_not(worst_px: float) -> str:
    if not np.isfinite(worst_px):
        return "folds the picture over"
    return (f"is {worst_px:.3g} pixels off K1 to K3, P1 and P2, and off a fisheye's K1 to K4, at best; "
            f"{MOST_FIT_ERROR_PX} are allowed")


def _plate_places(lens: GivenLens, size: tuple[int, int]) -> np.ndarray:
    """(N,2) all over the picture and on its outline, in focal lengths from the principal point, y down."""
    pixels = np.stack(np.meshgrid(*(np.linspace(0.0, side, _GRID) for side in size)), axis=-1).reshape(-1, 2)
    return (pixels - (lens.cx, lens.cy)) / (lens.fx, lens.fy)


def _brown(values: dict[str, float]) -> Distortion:
    """Blender's y points up, which swaps p1 and p2 and turns one of them."""
    return Distortion(values["brown_k1"], values["brown_k2"], values["brown_k3"], -values["brown_p2"],
                      values["brown_p1"])


def _brown_with_k4(values: dict[str, float]) -> _Model:
    lens, k4 = _brown(values), values["brown_k4"]

    def distorted(places: np.ndarray) -> np.ndarray:
        x, y = places.T
        squared = x * x + y * y
        scale = 1.0 + squared * (lens.k1 + squared * (lens.k2 + squared * (lens.k3 + squared * k4)))
        return np.stack([x * scale + 2.0 * lens.p1 * x * y + lens.p2 * (squared + 2.0 * x * x),
                         y * scale + lens.p1 * (squared + 2.0 * y * y) + 2.0 * lens.p2 * x * y], axis=-1)
    return distorted


def _division(values: dict[str, float]) -> _Model:
    k1, k2 = values["division_k1"], values["division_k2"]

    def distorted(places: np.ndarray) -> np.ndarray:
        squared = (places**2).sum(1, keepdims=True)
        return places / (1.0 + squared * (k1 + squared * k2))
    return distorted


def _nuke_ideal(plate: np.ndarray, values: dict[str, float], lens: GivenLens, clip: bpy.types.MovieClip) -> np.ndarray:
    width, height = clip.size
    half = 0.5 * max(width, height / _plate_aspect(clip)) / lens.fx
    x, y = (plate / half).T
    squared = x * x + y * y
    radial = 1.0 + squared * (values["nuke_k1"] + squared * values["nuke_k2"])
    scales = np.stack([radial + values.get("nuke_p1", 0.0) * y * y, radial + values.get("nuke_p2", 0.0) * x * x],
                      axis=-1)
    return np.where((scales > 0.0).all(), plate / np.where(scales > 0.0, scales, 1.0), np.nan)


def _inverse(model: _Model, plate: np.ndarray) -> np.ndarray:
    """Ideal places (N,2) that the model shows at those on the plate, by Newton's method; nan where there are none.

    From the axis outward in steps, so that nothing is found beyond a fold.
    """
    ideal, determinant = np.zeros_like(plate), np.ones(len(plate))
    with np.errstate(all="ignore"):
        for share in np.linspace(0.0, 1.0, _STEPS + 1)[1:]:
            for _ in range(_ROUNDS):
                ideal, determinant = _newton_step(model, ideal, share * plate)
        is_reached = (np.abs(model(ideal) - plate).max(axis=1) < _REACHED) & (determinant > 0.0)
    return np.where(is_reached[:, None], ideal, np.nan)


def _newton_step(model: _Model, ideal: np.ndarray, plate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ideal places (N,2) nearer to those that are shown at plate, and the derivative's determinant (N,)."""
    here = model(ideal)
    by_x, by_y = ((model(ideal + step) - here) / _DIFFERENCE for step in np.eye(2) * _DIFFERENCE)
    determinant = by_x[:, 0] * by_y[:, 1] - by_y[:, 0] * by_x[:, 1]
    miss = plate - here
    step = np.stack([miss[:, 0] * by_y[:, 1] - miss[:, 1] * by_y[:, 0],
                     miss[:, 1] * by_x[:, 0] - miss[:, 0] * by_x[:, 1]], axis=-1)
    return ideal + step / determinant[:, None], determinant


# --- ST maps -----------------------------------------------------------------------------------------------------

def _with_map(settings: Settings, clip: bpy.types.MovieClip, path: Path) -> Settings:
    if settings.focal_mm is None or settings.sensor_mm is None:
        raise StereoDiffError("settings_invalid", "The ST map needs a focal length: tick Known Lens, and enter focal "
                                                  "length and sensor width.")
    width, height = clip.size
    cx, cy = settings.principal_point_px or (0.5 * width, 0.5 * height)
    fx = settings.focal_mm / settings.sensor_mm * width
    place = (fx, fx * _plate_aspect(clip), cx, cy)
    _refuse_other_size(path, (width, height))
    with _opened(path) as (u, v):
        lens = GivenLens(*place, lens_of_map(u, v, (width, height), place, path))
    _refuse_fold(lens, clip)
    return settings.with_distortion(lens.distortion)


def _refuse_other_size(path: Path, size: tuple[int, int]) -> None:
    """By its header: before Blender makes room for the pixels."""
    try:
        with open(path, "rb") as stream:
            header = read_header(stream)
    except (OSError, ValueError) as error:
        raise invalid_lens_file(path, f"it is no plain EXR ({error})") from error
    if header is None or header.channels < 2:
        raise invalid_lens_file(path, "an ST map has the channels R and G")
    if (header.width, header.height) != size:
        raise StereoDiffError("lens_file_wrong_size", f"The ST map {path.name} has {header.width} x {header.height} "
                                                      f"pixels, the clip {size[0]} x {size[1]}.")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """u and v of the map, (H,W) float32, row 0 at the top, for a moment."""
    image = bpy.data.images.load(str(path), check_existing=False)
    try:
        image.colorspace_settings.name, image.alpha_mode = "Non-Color", "CHANNEL_PACKED"
        (width, height), channels = image.size, image.channels
        if image.type != "IMAGE" or not width or channels < 2:
            raise invalid_lens_file(path, "Blender finds no plain picture in it")
        pixels = np.empty(width * height * channels, np.float32)
        image.pixels.foreach_get(pixels)
        pixels = pixels.reshape(height, width, channels)[::-1]
        yield pixels[..., 0], pixels[..., 1]
    finally:
        bpy.data.images.remove(image)
