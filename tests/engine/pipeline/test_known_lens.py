"""What is known of a lens besides its focal length: its axis and its distortion."""

from __future__ import annotations

import pytest

from stereodiff_blender.engine.contract import Distortion, Settings, StereoDiffError
from stereodiff_blender.engine.media.frames import Raster
from stereodiff_blender.engine.worker.known_cameras import known_lens

KNOWN = {"focal_mm": 35.0, "sensor_mm": 36.0}


def test_the_principal_point_is_scaled_to_the_raster():
    raster = Raster(480, 270, 1920, 1080, 1.0)
    assert known_lens(Settings(**KNOWN, principal_point_px=(1200.0, 500.0)), raster).principal_point == (300.0, 125.0)
    assert known_lens(Settings(**KNOWN), raster).principal_point is None


def test_the_distortion_is_the_settings():
    raster = Raster(480, 270, 1920, 1080, 1.0)
    assert known_lens(Settings(**KNOWN, distortion=(-0.1, 0.02, 0.003)), raster).distortion == Distortion(
        -0.1, 0.02, 0.003)
    assert known_lens(Settings(**KNOWN, distortion=(-0.1, 0.02, 0.003, 0.001, 0.002)), raster).distortion == Distortion(
        -0.1, 0.02, 0.003, 0.001, 0.002)
    assert known_lens(Settings(**KNOWN), raster).distortion is None
    assert known_lens(Settings(**KNOWN, distortion=(0.0, 0.0, 0.0)), raster).distortion == Distortion(), "known as none"
    for coefficients in ((-0.05, 0.01, 0.004, -0.001), (0.0, 0.0, 0.0, 0.0)):
        k1, k2, k3, k4 = coefficients
        found = known_lens(Settings(**KNOWN, distortion=coefficients, is_fisheye=True), raster).distortion
        assert found == Distortion(k1, k2, k3, k4=k4, is_fisheye=True)


def test_a_fold_is_looked_for_in_the_picture_as_it_is_wide_on_a_screen():
    """The same coefficients, over a picture that is squeezed to half its width, and over one that is not."""
    distortion = (-0.25, 0.0, 0.0, 0.0, 0.0)
    wide = Settings(focal_mm=30.0, sensor_mm=36.0, distortion=distortion)
    assert known_lens(wide, Raster(480, 540, 960, 1080, 2.0)).distortion is not None
    with pytest.raises(StereoDiffError, match="fold", check=lambda error: error.code == "settings_invalid"):
        known_lens(wide, Raster(480, 540, 960, 1080, 1.0))
