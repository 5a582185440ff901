"""Tracks measured once more in a plate larger than the raster they were followed on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from recording_report import RecordingReport

from stereodiff_blender.engine.stereo.tracking import Tracks, refine_on_plates, thin_tracks, track_features

COUNT, RASTER = 8, (240, 160)
STEP = np.array([1.37, -0.61])
"""Of the picture from frame to frame, in pixels of the raster."""


def fine_texture() -> np.ndarray:
    """(1024,1024) float32 of gray levels with detail down to single pixels."""
    generator, total = np.random.default_rng(3), np.zeros((1024, 1024), np.float32)
    for cells in (32, 64, 128, 256, 512, 1024):
        total += cv2.resize(generator.standard_normal((cells, cells), np.float32), (1024, 1024),
                            interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 22 * total, 0, 255)


def sliding_plates(scale: tuple[float, float], *, blur_px: float = 0.0, noise: float = 1.5) -> np.ndarray:
    """(T,h,w) uint8: a wall that slides by STEP; scale: pixels of the plate in one of the raster."""
    size = (round(RASTER[0] * scale[0]), round(RASTER[1] * scale[1]))
    generator, wall, plates = np.random.default_rng(0), fine_texture(), []
    for index in range(COUNT):
        x, y = index * STEP * scale - (80.0, 150.0)
        plate = cv2.warpAffine(wall, np.array([[1, 0, x], [0, 1, y]]), size, flags=cv2.INTER_CUBIC)
        plate = cv2.GaussianBlur(plate, (0, 0), blur_px) if blur_px else plate
        plates.append(np.clip(np.rint(plate + generator.normal(0, noise, plate.shape)), 0, 255).astype(np.uint8))
    return np.stack(plates)


def followed(plates: np.ndarray) -> Tracks:
    frames = [cv2.cvtColor(cv2.resize(plate, RASTER, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
              for plate in plates]
    return thin_tracks(track_features(np.stack(frames), None, RecordingReport()), per_frame=200, min_length=3)


def miss_px(tracks: Tracks) -> float:
    """Typical distance of places from where they must be, by where their tracks begin; in pixels of the raster."""
    begins = np.unique(tracks.point, return_index=True)[1][tracks.point]
    since = tracks.frame - tracks.frame[begins]
    off = tracks.pixels - tracks.pixels[begins] - since[:, None] * STEP
    return float(np.median(np.linalg.norm(off, axis=1)[since > 0]))


@pytest.mark.parametrize("scale", [(3.0, 3.0), (4.0, 4.0), (2.0, 4.0)])
def test_a_sharp_plate_tells_places_finer(scale):
    plates = sliding_plates(scale)
    tracks = followed(plates)
    refined = refine_on_plates(tracks, plates)
    assert miss_px(refined) < 0.6 * miss_px(tracks) and refined.measured_px == pytest.approx(1.0 / min(scale))
    assert tracks.size == refined.size and tracks.measured_px == 1.0
    assert np.array_equal(refined.frame, tracks.frame) and np.array_equal(refined.point, tracks.point)
    begins = np.unique(tracks.point, return_index=True)[1]
    assert np.array_equal(refined.pixels[begins], tracks.pixels[begins])
    assert np.abs(refined.pixels - tracks.pixels).max() < 1.0


@pytest.mark.parametrize("scale", [1.0, 1.2])
def test_a_plate_as_large_as_the_raster_changes_nothing(scale):
    plates = sliding_plates((scale, scale))
    tracks = followed(plates)
    assert refine_on_plates(tracks, plates) is tracks


def test_a_soft_and_noisy_plate_changes_nothing():
    """Its raster averages the noise away, and there is no detail to gain."""
    plates = sliding_plates((3.0, 3.0), blur_px=2.5, noise=6.0)
    tracks = followed(plates)
    assert refine_on_plates(tracks, plates) is tracks


def test_frames_in_which_the_plate_is_spoiled_keep_their_places():
    plates = sliding_plates((3.0, 3.0))
    tracks = followed(plates)
    plates[4] = np.random.default_rng(1).integers(0, 256, plates[4].shape)
    refined = refine_on_plates(tracks, plates)
    rows = tracks.in_frame(4)
    assert np.array_equal(refined.pixels[rows], tracks.pixels[rows])
    assert miss_px(refined) < 0.7 * miss_px(tracks)


def test_it_does_not_depend_on_what_else_is_tracked():
    plates = sliding_plates((3.0, 3.0))
    tracks = followed(plates)
    half = tracks.select(tracks.point % 2 == 0)
    alone, together = refine_on_plates(half, plates), refine_on_plates(tracks, plates).select(tracks.point % 2 == 0)
    assert np.abs(alone.pixels - together.pixels).max() < 1e-4 and together.measured_px == alone.measured_px


def test_what_is_kept_comes_back():
    plates = sliding_plates((3.0, 3.0))
    refined = refine_on_plates(followed(plates), plates)
    back = Tracks.from_arrays(refined.as_arrays())
    assert back.measured_px == refined.measured_px and np.array_equal(back.pixels, refined.pixels)
