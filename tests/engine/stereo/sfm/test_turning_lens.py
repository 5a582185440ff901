"""The lens of a camera that only turns: found where it bends the picture, and a pinhole where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from track_scenes import FOCAL_PX, filmed, filmed_through, path, room, solved

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.geometry import rotation_angle_deg
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks

COUNT = 30

pytestmark = pytest.mark.slow


def pan(across_deg: float):
    """On the spot, across so many degrees, with a slow nod; as filmed_through takes it."""
    def turn(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = times / (COUNT - 1)
        turns = np.stack([2 * np.sin(5 * share), across_deg * (share - 0.5), 0 * share], axis=1)
        return np.zeros((len(times), 3)), turns
    return turn


def panned(across_deg: float, lens: Distortion | None, noise_px: float, **more) -> Tracks:
    """more: as filmed_through takes it."""
    return filmed_through(room(400), pan(across_deg), COUNT, lens=lens, noise_px=noise_px, **more)


def turn_error_deg(found: np.ndarray, across_deg: float) -> float:
    """Mean angle between the found and the true turn from each frame to the next."""
    true = path(*pan(across_deg)(np.arange(float(COUNT))))
    steps = [np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3] for poses in (found, true)]
    return float(rotation_angle_deg(np.swapaxes(steps[0], 1, 2) @ steps[1]).mean())


@pytest.mark.parametrize("across_deg", [20, 40])
@pytest.mark.parametrize(("k1", "k2", "noise_px"), [
    (-0.12, 0.0, 0.05), (0.05, 0.0, 0.05), (-0.03, 0.0, 0.05), (-0.25, 0.08, 0.05), (-0.12, 0.0, 0.2),
    (0.05, 0.0, 0.2)])
def test_a_pan_tells_the_lens(across_deg, k1, k2, noise_px):
    """Taken for a pinhole, that of -0.12 has a focal length of 27 % too much, or the camera travels."""
    solution, warnings = solved(panned(across_deg, Distortion(k1, k2), noise_px))
    assert solution.kind == "rotation" and solution.solved.all() and solution.lens.model == "radial"
    found = solution.lens.distortion
    assert found is not None and found.k1 == pytest.approx(k1, rel=0.1) and found.k2 == pytest.approx(k2, abs=0.01)
    assert solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX, rel=5e-3)
    assert turn_error_deg(solution.camera_to_world, across_deg) < 0.05 * noise_px / 0.05
    deviation = solution.lens.k1_std
    assert deviation is not None and abs(found.k1 - k1) < 5 * deviation < abs(k1)
    assert "lens_distorts" in warnings and "lens_zooms" not in warnings


@pytest.mark.parametrize("across_deg", [20, 40])
@pytest.mark.parametrize("noise_px", [0.05, 0.2])
def test_a_pan_through_a_pinhole_finds_no_distortion(across_deg, noise_px):
    solution, warnings = solved(panned(across_deg, None, noise_px))
    assert solution.kind == "rotation" and solution.lens.distortion is None and "lens_distorts" not in warnings
    assert solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX, rel=2e-3)


@pytest.mark.parametrize(("across_deg", "ratio", "k1", "k2", "noise_px"), [
    (20, 1.2, -0.12, 0.0, 0.05), (40, 1.2, -0.25, 0.08, 0.05), (20, 1.6, 0.05, 0.0, 0.05), (20, 1.2, -0.12, 0.0, 0.2)])
def test_a_pan_with_a_zoom_tells_the_distortion_too(across_deg, ratio, k1, k2, noise_px):
    """Taken for a pinhole that zooms, the first travels, through a lens that is made up."""
    zoom = ratio ** (np.arange(COUNT) / (COUNT - 1))
    solution, warnings = solved(panned(across_deg, Distortion(k1, k2), noise_px, zoom=zoom))
    assert solution.kind == "rotation" and solution.solved.all() and solution.lens.model == "radial"
    assert {"lens_distorts", "lens_zooms"} <= set(warnings) and solution.lens.zooms
    found = solution.lens.distortion
    assert found is not None and found.k1 == pytest.approx(k1, rel=0.05) and found.k2 == pytest.approx(k2, abs=0.01)
    assert np.abs(solution.intrinsics[:, 0] / (FOCAL_PX * zoom) - 1).max() < 3e-3
    assert turn_error_deg(solution.camera_to_world, across_deg) < 0.05 * noise_px / 0.05


def test_a_pan_with_a_zoom_through_a_pinhole_finds_no_distortion():
    zoom = 1.2 ** (np.arange(COUNT) / (COUNT - 1))
    solution, warnings = solved(panned(20, None, 0.05, zoom=zoom))
    assert solution.kind == "rotation" and solution.lens.zooms and solution.lens.distortion is None
    assert "lens_distorts" not in warnings


@pytest.mark.parametrize(("across_deg", "k1", "k2", "focal_px", "noise_px"), [
    (20, 0.0, 0.0, 300.0, 0.05), (40, 0.0, 0.0, 220.0, 0.05), (40, -0.02, 0.002, 300.0, 0.2),
    (20, 0.03, 0.0, 260.0, 0.05)])
def test_a_pan_tells_a_fisheye(across_deg, k1, k2, focal_px, noise_px):
    fisheye = Distortion(k1, k2, is_fisheye=True)
    solution, warnings = solved(panned(across_deg, fisheye, noise_px, focal_px=focal_px))
    assert solution.kind == "rotation" and solution.solved.all() and solution.lens.model == "fisheye"
    found = solution.lens.distortion
    assert found is not None and found.k1 == pytest.approx(k1, abs=2e-3) and found.k2 == pytest.approx(k2, abs=2e-3)
    assert solution.intrinsics[0, 0] == pytest.approx(focal_px, rel=2e-3)
    assert turn_error_deg(solution.camera_to_world, across_deg) < 0.05 * noise_px / 0.05
    assert "is a fisheye" in warnings["lens_distorts"]


def test_with_a_known_focal_length_a_pan_tells_a_fisheye():
    solution, _ = solved(panned(20, Distortion(is_fisheye=True), 0.05, focal_px=300.0), focal_px=300.0)
    assert solution.kind == "rotation" and solution.lens.model == "fisheye"
    assert solution.lens.distortion is not None and abs(solution.lens.distortion.k1) < 2e-3


def test_with_a_known_focal_length_the_pan_tells_the_rest():
    solution, _ = solved(panned(20, Distortion(-0.12), 0.05), focal_px=FOCAL_PX)
    assert solution.kind == "rotation" and solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX)
    assert solution.lens.distortion is not None and solution.lens.distortion.k1 == pytest.approx(-0.12, rel=0.02)


def test_a_focal_length_that_is_wrong_is_not_explained_by_a_lens():
    """27 % too long, as the pinhole has it that fits best."""
    solution, _ = solved(panned(20, None, 0.05), focal_px=1.27 * FOCAL_PX)
    assert solution.lens.distortion is None


def test_a_lens_that_is_given_is_held():
    given = Distortion(-0.12)
    solution, warnings = solved(panned(20, given, 0.05), focal_px=FOCAL_PX, distortion=given)
    assert solution.kind == "rotation" and solution.lens.distortion == given and solution.lens.is_given
    assert "lens_distorts" not in warnings


def test_a_small_turn_tells_no_lens():
    solution, _ = solved(panned(1.5, Distortion(-0.02), 0.05))
    assert solution.lens.distortion is None or abs(solution.lens.distortion.k1 + 0.02) < 0.02


@pytest.mark.parametrize("k1", [0.0, -0.12])
def test_a_short_walk_with_a_pan_travels(k1):
    """A lens does not make a turn of it."""
    def walk(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = times / (COUNT - 1)
        _, turns = pan(15)(times)
        return np.stack([0.4 * share, 0 * share, 0.1 * share], axis=1), turns
    solution, _ = solved(filmed_through(room(400), walk, COUNT, lens=Distortion(k1) if k1 else None))
    assert solution.kind == "moving"


def test_the_filmed_pan_is_that_of_a_pinhole_without_a_lens():
    """The two ways to film agree, so what is found is not of the tests' own making."""
    poses = path(*pan(20)(np.arange(float(COUNT))))
    one, other = filmed(room(), poses, noise_px=0.0), filmed_through(room(), pan(20), COUNT, noise_px=0.0)
    both = np.intersect1d(one.frame * one.points + one.point, other.frame * other.points + other.point)
    keys = [tracks.frame * tracks.points + tracks.point for tracks in (one, other)]
    pixels = [tracks.pixels[np.isin(key, both)] for tracks, key in zip((one, other), keys, strict=True)]
    assert len(both) > 1000 and np.abs(pixels[0] - pixels[1]).max() < 1e-6
