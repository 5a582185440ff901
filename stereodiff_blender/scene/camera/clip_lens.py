"""The lens of the movie clip's own camera, which Blender's tracker and its undistortion go by.

It takes the solved one where the artist has none of their own: no solve of this clip, and no value but those that
Blender gives to a new clip, those that were written here before, and those that say the same as the solved lens. What
was written is noted on the clip, so that a later result may bring it up to date.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ...engine.contract import Distortion
from ...engine.lens import undistorted
from ..result import ImportedResult

TRACKING_OBJECT = "StereoDiff"
"""What tracking objects that were written here are called."""
WRITTEN = "stereodiff_lens"
SAME, LEAST = 1e-4, 1e-7
"""Relative and absolute; values that differ by less are one."""
FITTED_RADII = 60
NEW_SENSOR_MM, NEW_FOCAL_MM = 35.0, 24.0
_COEFFICIENTS = ("k1", "k2", "k3", "division_k1", "division_k2", "nuke_k1", "nuke_k2", "nuke_p1", "nuke_p2",
                 "brown_k1", "brown_k2", "brown_k3", "brown_k4", "brown_p1", "brown_p2")
_IN_ORDER = ("distortion_model", "sensor_width", "pixel_aspect", "focal_length_pixels")  # millimeters go by the sensor
_Lens = dict[str, str | float]


def set_clip_lens(clip: bpy.types.MovieClip, shot: ImportedResult) -> bool:
    """Give the clip's camera the solved lens, unless the artist has a solve or a lens of their own there.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        The footage.
    shot : ImportedResult
        Its lens; of a moving one that of the middle frame, because a clip's camera has one for all frames.

    Returns
    -------
    bool
        Whether the clip's camera has the solved lens now.
    """
    wanted, before = _solved(clip, shot), _read(clip)
    if all(_is_close(value, wanted[name]) for name, value in before.items()):
        return True
    if clip.library is not None or 0 in clip.size or _is_the_artists(clip, wanted):
        return False
    noted = _noted(clip)
    _write(clip, wanted)
    ours = {name: value for name, value in _read(clip).items() if name in noted or value != before[name]}
    clip[WRITTEN] = {"footage": shot.key, **ours}
    return True


def follow_lens(clip: bpy.types.MovieClip, shot: ImportedResult) -> bool:
    """What an import does: as set_clip_lens(), but a pinhole is told only to a clip with another lens of this shot.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        The footage.
    shot : ImportedResult
        Its lens.

    Returns
    -------
    bool
        False where the lens bends the picture and the clip's camera, which is the artist's, does not say so.
    """
    if shot.distortion is None and _noted(clip).get("footage") != shot.key:
        return True
    return set_clip_lens(clip, shot) or shot.distortion is None


@contextmanager
def holding_lens(clip: bpy.types.MovieClip, shot: ImportedResult) -> Iterator[bool]:
    """The clip's camera has the solved lens meanwhile; afterwards only where set_clip_lens() may give it.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        The footage.
    shot : ImportedResult
        Its lens.

    Yields
    ------
    bool
        Whether it stays.
    """
    stays = set_clip_lens(clip, shot)
    before = _read(clip)
    try:
        _write(clip, _solved(clip, shot))
        yield stays
    finally:
        _write(clip, before)


def _is_the_artists(clip: bpy.types.MovieClip, wanted: _Lens) -> bool:
    """A solve other than ours, or a value that neither a new clip has, nor the solved lens, nor what was noted."""
    if any(thing.reconstruction.is_valid for thing in clip.tracking.objects
           if thing.is_camera or not thing.name.startswith(TRACKING_OBJECT)):
        return True
    known = (_new(clip), wanted, _noted(clip))
    return any(not any(name in lens and _is_close(value, lens[name]) for lens in known)
               for name, value in _read(clip).items())


# --- Lenses as names and values ------------------------------------------------------------------------------------

def _solved(clip: bpy.types.MovieClip, shot: ImportedResult) -> _Lens:
    """The lens that the clip's camera should have. A sensor that the artist has chosen is only a unit, and stays."""
    fx, _, cx, cy = shot.clip_intrinsics[shot.frame_count // 2]
    lens = _new(clip) | {"pixel_aspect": shot.pixel_aspect, "focal_length_pixels": float(fx),
                         "principal_across": float(cx), "principal_up": float(shot.clip_size[1] - cy)}
    sensor = clip.tracking.camera.sensor_width
    is_chosen = not any(_is_close(sensor, known) for known in (NEW_SENSOR_MM, _noted(clip).get("sensor_width", 0.0)))
    lens["sensor_width"] = sensor if is_chosen else shot.sensor_mm
    return lens | _distortion_of(shot.distortion, shot)


def _distortion_of(distortion: Distortion | None, shot: ImportedResult) -> _Lens:
    """Blender's radial model has the contract's formula; its Brown's has y upwards, and so p1 and p2 change places. It
    has no fisheye."""
    if distortion is None:
        return {}
    if distortion.is_fisheye:
        return _nuke_for(distortion, shot)
    if distortion.is_radial:
        return {"k1": distortion.k1, "k2": distortion.k2, "k3": distortion.k3}
    return {"distortion_model": "BROWN", "brown_k1": distortion.k1, "brown_k2": distortion.k2,
            "brown_k3": distortion.k3, "brown_p1": distortion.p2, "brown_p2": -distortion.p1}


def _nuke_for(distortion: Distortion, shot: ImportedResult) -> _Lens:
    """Blender's Nuke model that follows a fisheye best up to the farthest corner.

    It has u = d / (1 + k1 q^2 + k2 q^4), q being the distorted radius in halves of the picture's longer side. Least
    squares of k1 and k2, weighted by how far each changes the place on the plate.
    """
    fx, fy, cx, cy = shot.clip_intrinsics[shot.frame_count // 2]
    width, height = shot.clip_size
    corner = np.hypot(max(cx, width - cx) / fx, max(cy, height - cy) / fy)
    plate = np.linspace(0.02, 1.0, FITTED_RADII) * corner
    ideal = undistorted(np.stack([plate, np.zeros_like(plate)], axis=-1), distortion)[:, 0]
    halves = plate * fx / (0.5 * max(width, height))
    weight = ideal**2 / plate * np.gradient(plate, ideal)
    powers = np.stack([halves**2, halves**4], axis=-1)
    k1, k2 = np.linalg.lstsq(powers * weight[:, None], (plate / ideal - 1.0) * weight, rcond=None)[0]
    return {"distortion_model": "NUKE", "nuke_k1": float(k1), "nuke_k2": float(k2)}


def _new(clip: bpy.types.MovieClip) -> _Lens:
    """What Blender gives to a clip that it opens."""
    width, height = clip.size
    return {"distortion_model": "POLYNOMIAL", "sensor_width": NEW_SENSOR_MM, "pixel_aspect": 1.0,
            "focal_length_pixels": NEW_FOCAL_MM * width / NEW_SENSOR_MM, "principal_across": width / 2,
            "principal_up": height / 2, **dict.fromkeys(_coefficients(clip.tracking.camera), 0.0)}


def _noted(clip: bpy.types.MovieClip) -> _Lens:
    """What was written here: values by name, and the footage that they are of."""
    noted = clip.get(WRITTEN)
    values = noted.to_dict() if hasattr(noted, "to_dict") else {}
    return {name: value for name, value in values.items() if isinstance(value, (str, float))}


def _read(clip: bpy.types.MovieClip) -> _Lens:
    camera = clip.tracking.camera
    across, up = camera.principal_point_pixels
    return {"principal_across": across, "principal_up": up,
            **{name: getattr(camera, name) for name in (*_IN_ORDER, *_coefficients(camera))}}


def _write(clip: bpy.types.MovieClip, lens: _Lens) -> None:
    camera = clip.tracking.camera
    for name in (*_IN_ORDER, *_coefficients(camera)):
        if getattr(camera, name) != lens[name]:
            setattr(camera, name, lens[name])
    place = (lens["principal_across"], lens["principal_up"])
    if tuple(camera.principal_point_pixels) != place:
        camera.principal_point_pixels = place


def _coefficients(camera: bpy.types.MovieTrackingCamera) -> list[str]:
    """Those that this Blender has, of all models."""
    return [name for name in _COEFFICIENTS if hasattr(camera, name)]


def _is_close(value: str | float, other: str | float) -> bool:
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return math.isclose(value, other, rel_tol=SAME, abs_tol=LEAST)
