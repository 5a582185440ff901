"""The lens of a file, for a clip that is solved by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..contract import (
    Settings,
    StereoDiffError,
    invalid_lens_file,
    is_exr,
    read_calibration,
    read_lens_bytes,
)
from ..lens_fit import lens_of_map
from ..media import exr
from ..media.frames import ClipInfo

USUAL_SENSOR_MM = 36.0
MAX_MAP_BYTES, MOST_CHANNELS = 2_000_000_000, 16


def with_lens_file(settings: Settings, path: Path, clip: ClipInfo) -> Settings:
    """The settings with the lens of a file as the known one.

    Raises StereoDiffError "lens_file_...", "lens_not_followed", or "settings_invalid" for an ST map without the focal
    length that it does not tell.
    """
    with_sensor = settings.sensor_mm or USUAL_SENSOR_MM
    if not is_exr(path):
        lens = read_calibration(path, clip.width, clip.height, clip.pixel_aspect)
        return lens.in_settings(settings, clip.width, with_sensor)
    if settings.focal_mm is None:
        raise StereoDiffError("settings_invalid", "The ST map needs a focal length: give --focal-mm and --sensor-mm.")
    fx = settings.focal_mm / with_sensor * clip.width
    axis = settings.principal_point_px or (0.5 * clip.width, 0.5 * clip.height)
    u, v = _map(path, clip.width * clip.height)
    lens = lens_of_map(u, v, (clip.width, clip.height), (fx, fx * clip.pixel_aspect, *axis), path)
    return settings.with_distortion(lens)


def _map(path: Path, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """u and v. A map of more pixels than the clip's is of another size, and is not decoded."""
    data = read_lens_bytes(path, MAX_MAP_BYTES)
    try:
        (width, height), values = exr.stated_size(data, path)
        if max(width * height, values / MOST_CHANNELS) > pixels:
            raise StereoDiffError("lens_file_wrong_size", f"The ST map {path.name} has {width} x {height} pixels, more "
                                                          "than the clip.")
        channels = exr.channels_of(data, path)
    except ValueError as error:
        raise invalid_lens_file(path, str(error)) from error
    if not {"R", "G"} <= channels.keys():
        raise invalid_lens_file(path, "an ST map has the channels R and G")
    return channels["R"], channels["G"]
