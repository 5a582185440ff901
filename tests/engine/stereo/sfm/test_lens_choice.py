"""What the lens does beside the pinhole: it is found where a shot tells it, and made up nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import path_error
from recording_report import RecordingReport
from track_scenes import (
    FOCAL_PX,
    HEIGHT,
    WIDTH,
    KeptTracks,
    filmed,
    filmed_through,
    path,
    room,
    solved,
    walk_through_room,
)

from stereodiff_blender.engine.contract import Distortion, LensResult, StereoDiffError
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.stereo.sfm.lens_choice import is_zoom
from stereodiff_blender.engine.stereo.sfm.solve import solve_cameras
from stereodiff_blender.engine.storage import RunContext

COUNT = 30
SAID = {"lens_distorts", "lens_zooms", "rolling_shutter"}

pytestmark = pytest.mark.slow


walk = walk_through_room(COUNT)
POSES = path(*walk(np.arange(float(COUNT))))
WORLD = room(400)


def off_path(solution: CameraSolution) -> float:
    return path_error(solution.camera_to_world[:, :3, 3], POSES[:len(solution.camera_to_world), :3, 3])


def test_a_pinhole_stays_one():
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT))
    assert solution.lens == LensResult() and not SAID & set(warnings)
    assert solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX, rel=1e-3) and off_path(solution) < 1e-3


@pytest.mark.parametrize(("k1", "k2", "near"), [(-0.12, 0.0, 0.03), (-0.03, 0.0, 0.05), (0.05, 0.0, 0.05),
                                                 (-0.25, 0.08, 0.03), (-0.35, 0.1, 0.03)])
def test_distortion_is_found(k1, k2, near):
    lens = Distortion(k1, k2)
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, lens=lens))
    found = solution.lens
    assert found.model == "radial" and not found.is_given and not found.zooms and not found.readout
    assert found.distortion.k1 == pytest.approx(k1, rel=near)
    assert found.distortion.k2 == pytest.approx(k2, rel=near, abs=1e-3)
    assert 0.0 < found.k1_std < 0.01 * max(abs(k1), 0.1) and found.k2_std >= 0.0
    np.testing.assert_allclose(solution.intrinsics[:, :2], FOCAL_PX, rtol=3e-3)
    assert SAID & set(warnings) == {"lens_distorts"} and f"{found.distortion.k1:.4f}" in warnings["lens_distorts"]
    assert off_path(solution) < 1e-3 and solution.solved.all()


WIDE = {"barrel": (Distortion(-0.35, 0.1), 0.55), "mild barrel": (Distortion(-0.12, 0.02), 0.625),
        "equidistant": (Distortion(is_fisheye=True), 0.46), "fisheye": (Distortion(-0.05, 0.01, is_fisheye=True), 0.48)}


@pytest.mark.parametrize(("lens", "share"), WIDE.values(), ids=WIDE)
def test_a_wide_lens_is_found_and_called_what_it_is(lens, share):
    """As action cameras have them, up to 125 degrees across and 143 from corner to corner."""
    focal_px = share * WIDTH
    solution, warnings = solved(filmed_through(room(600), walk, COUNT, lens=lens, focal_px=focal_px))
    found = solution.lens
    assert found.model == ("fisheye" if lens.is_fisheye else "radial")
    assert found.distortion.is_fisheye == lens.is_fisheye
    np.testing.assert_allclose(solution.intrinsics[:, :2], focal_px, rtol=5e-3)
    assert found.distortion.k1 == pytest.approx(lens.k1, rel=0.03, abs=2e-3)
    assert found.distortion.k2 == pytest.approx(lens.k2, rel=0.03, abs=1e-3)
    assert 0.0 < found.k1_std < 0.002 and 0.0 < found.k2_std < 0.002
    assert SAID & set(warnings) == {"lens_distorts"} and ("fisheye" in warnings["lens_distorts"]) == lens.is_fisheye
    found.validate(WIDTH, HEIGHT, tuple(solution.intrinsics[0].tolist()))
    assert off_path(solution) < 1e-3 and solution.solved.all() and "weak_focal" not in warnings


def test_a_fisheye_that_no_plane_holds_is_refused_in_words():
    """Its corners are 94 degrees off the axis, behind the camera."""
    lens, focal_px = Distortion(is_fisheye=True), 0.35 * WIDTH
    with pytest.raises(StereoDiffError, match="170 degrees across the picture's corners.*crop") as refused:
        solved(filmed_through(room(600), walk, COUNT, lens=lens, focal_px=focal_px))
    assert refused.value.code == "camera_unsolved"


def test_a_known_fisheye_is_used_as_it_is_given():
    lens, focal_px = Distortion(-0.05, 0.01, 0.003, is_fisheye=True), 0.48 * WIDTH
    solution, warnings = solved(filmed_through(room(600), walk, COUNT, lens=lens, focal_px=focal_px),
                                focal_px=focal_px, distortion=lens)
    assert solution.lens == LensResult("fisheye", lens, is_given=True)
    assert not (SAID | {"lens_doubtful"}) & set(warnings) and off_path(solution) < 1e-3


@pytest.mark.parametrize(("lens", "share", "given", "words"), [
    (Distortion(-0.05, 0.01, is_fisheye=True), 0.48, Distortion(is_fisheye=True), "K1 to K4"),
    (Distortion(-0.35, 0.1), 0.55, Distortion(is_fisheye=True), "a fisheye's"),
    (Distortion(-0.05, 0.01, is_fisheye=True), 0.48, Distortion(-0.25, 0.08), "K1 to K3"),
    (Distortion(is_fisheye=True), 0.46, Distortion(-0.35, 0.1), "K1 to K3"),
    (Distortion(is_fisheye=True), 0.46, Distortion(-0.3, 0.05), "K1 to K3"),
    (Distortion(is_fisheye=True), 0.46, Distortion(), "without distortion"),
    (Distortion(-0.12), FOCAL_PX / WIDTH, Distortion(), "without distortion")])
def test_a_wide_lens_that_the_shot_contradicts_is_held_and_doubted(lens, share, given, words):
    focal_px = share * WIDTH
    solution, warnings = solved(filmed_through(room(600), walk, COUNT, lens=lens, focal_px=focal_px),
                                focal_px=focal_px, distortion=given)
    assert solution.lens == LensResult.as_given(given) and words in warnings["lens_doubtful"]
    assert not SAID & set(warnings), "no shutter explains it"


def test_no_distortion_is_sought_where_it_is_known_that_there_is_none():
    """What is so slight that nobody would doubt it is left alone, and a true pinhole is not doubted."""
    faint = filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.02))
    assert "lens_distorts" in solved(faint, focal_px=FOCAL_PX)[1]
    for tracks in (faint, filmed_through(WORLD, walk, COUNT)):
        solution, warnings = solved(tracks, focal_px=FOCAL_PX, distortion=Distortion())
        assert solution.lens == LensResult(is_given=True) and "lens_distorts" not in warnings
    assert "lens_doubtful" not in warnings and off_path(solution) < 1e-3


def test_points_are_seen_where_the_lens_shows_them():
    tracks = filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.12))
    solution, _ = solved(tracks)
    for index in (0, COUNT // 2, COUNT - 1):
        points, pixels = solution.observations[index]
        filmed_px = {tuple(pixel) for pixel in np.round(tracks.observed(index)[1], 6)}
        assert all(tuple(pixel) in filmed_px for pixel in np.round(pixels, 6)), "as filmed, not undistorted"
        focal, center = solution.intrinsics[index, :2], solution.intrinsics[index, 2:]
        ideal = undistorted((pixels - center) / focal, solution.lens.distortion)
        pose = solution.camera_to_world[index]
        local = (solution.points[points] - pose[:3, 3]) @ pose[:3, :3]
        off_px = np.linalg.norm((local[:, :2] / local[:, 2:] - ideal) * focal, axis=1)
        assert np.median(off_px) < 0.15 and len(points) > 100


@pytest.mark.parametrize("ratio", [1.3, 1.03])
def test_a_zoom_is_found_frame_by_frame(ratio):
    zoom = ratio ** np.linspace(0.0, 1.0, COUNT)
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, zoom=zoom))
    np.testing.assert_allclose(solution.intrinsics[:, 0], FOCAL_PX * zoom, rtol=4e-3)
    np.testing.assert_array_equal(solution.intrinsics[:, 0], solution.intrinsics[:, 1])
    assert solution.lens == LensResult(zooms=True) and SAID & set(warnings) == {"lens_zooms"}
    assert f"{ratio:.2f}" in warnings["lens_zooms"] and off_path(solution) < 1e-3


def test_a_zoom_that_the_shot_tells_only_roughly_is_doubted():
    """Zooming out while the camera goes on looks nearly like standing still: what seeds lead to is far apart."""
    zoom = 0.7 ** np.linspace(0.0, 1.0, COUNT)
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, zoom=zoom, noise_px=0.1))
    off = np.abs(solution.intrinsics[:, 0] / (FOCAL_PX * zoom) - 1.0).max()
    assert off < 0.01 or ("zooms" in warnings["weak_focal"] and solution.is_focal_unreliable)


def test_a_zoom_that_is_doubted_tells_no_shutter_that_is_not_there():
    """Bent as such a solve is, a part of what is left is explained by one of 6 to 11 %."""
    zoom = 0.6 ** np.linspace(0.0, 1.0, COUNT)
    solution, warnings = solved(filmed_through(room(450), walk, COUNT, zoom=zoom, noise_px=0.1))
    assert solution.is_focal_unreliable and "weak_focal" in warnings
    assert solution.lens.readout == 0.0 and "rolling_shutter" not in warnings


@pytest.mark.parametrize("readout", [0.5, 0.25, -0.5])
def test_a_rolling_shutter_is_found_with_its_sign(readout):
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, readout=readout))
    assert solution.lens.readout == pytest.approx(readout, rel=0.1)
    assert 0.0 < solution.lens.readout_std < 0.05 and solution.lens.distortion is None
    assert SAID & set(warnings) == {"rolling_shutter"}, "it is no zoom"
    assert f"{100 * abs(solution.lens.readout):.0f} %" in warnings["rolling_shutter"]
    assert solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX, rel=0.01) and off_path(solution) < 3e-3


def test_distortion_and_rolling_shutter_are_told_apart():
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.12), readout=0.5))
    assert solution.lens.distortion.k1 == pytest.approx(-0.12, rel=0.03)
    assert solution.lens.readout == pytest.approx(0.5, rel=0.1)
    assert SAID & set(warnings) == {"lens_distorts", "rolling_shutter"}


@pytest.mark.parametrize("lens", [Distortion(-0.12), Distortion(-0.25, 0.08, -0.01)])
def test_a_known_lens_is_used_as_it_is_given(lens):
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, lens=lens), focal_px=FOCAL_PX, distortion=lens)
    assert solution.lens == LensResult("brown" if lens.k3 else "radial", lens, is_given=True)
    solution.lens.validate(WIDTH, HEIGHT, tuple(solution.intrinsics[0].tolist()))
    np.testing.assert_allclose(solution.intrinsics[:, :2], FOCAL_PX)
    assert not SAID & set(warnings) and off_path(solution) < 1e-3


@pytest.mark.parametrize("given", [Distortion(0.12), Distortion(-0.02)])
def test_a_distortion_that_the_shot_contradicts_is_doubted(given):
    tracks = filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.12))
    solution, warnings = solved(tracks, focal_px=FOCAL_PX, distortion=given)
    assert solution.lens.distortion == given and "K1" in warnings["lens_doubtful"]


def test_a_known_focal_length_leaves_the_distortion_to_be_found():
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.12)), focal_px=FOCAL_PX)
    assert solution.lens.distortion.k1 == pytest.approx(-0.12, rel=0.03) and not solution.lens.is_given
    np.testing.assert_allclose(solution.intrinsics[:, :2], FOCAL_PX)
    assert "lens_distorts" in warnings and "lens_doubtful" not in warnings


@pytest.mark.parametrize(("count", "share"), [(10, 1.5), (30, 1.3)])
def test_a_wrong_focal_length_is_doubted_and_not_made_up_for(count, share):
    """A pinhole's shot; under a lens too long, a pincushion and a rolling shutter explain it better."""
    solution, warnings = solved(filmed_through(WORLD, walk, count), focal_px=share * FOCAL_PX)
    assert "lens_doubtful" in warnings and solution.lens == LensResult() and not SAID & set(warnings)


def test_a_camera_that_turns_has_the_lens_that_is_given():
    def pan(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(times), 3)), times[:, None] * (0.05, 0.8, 0.0)

    far, lens = np.random.default_rng(5).uniform((-6.0, -3.0, 6.0), (9.0, 3.0, 12.0), (2000, 3)), Distortion(-0.12)
    tracks, true = filmed_through(far, pan, 14, lens=lens), path(*pan(np.arange(14.0)))
    solution, _ = solved(tracks, focal_px=FOCAL_PX, distortion=lens)
    assert solution.kind == "rotation" and solution.lens == LensResult("radial", lens, is_given=True)
    np.testing.assert_allclose(solution.camera_to_world[:, :3, :3], true[0, :3, :3].T @ true[:, :3, :3], atol=1e-3)


def test_a_straight_flight_over_a_plane_tells_no_lens():
    generator = np.random.default_rng(3)
    land = generator.uniform((-30, -20, 30), (30, 20, 30), (700, 3))
    flight = path(np.arange(14)[:, None] * (0.5, 0.15, 0.0), np.zeros((14, 3)))
    solution, warnings = solved(filmed(land, flight, noise_px=0.05))
    assert solution.lens == LensResult() and not SAID & set(warnings)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_few_frames_are_solved_and_make_no_lens_up(count):
    def far_apart(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return walk(times * (COUNT - 1) / 8)

    solution, warnings = solved(filmed_through(WORLD, far_apart, count))
    assert ("focal_assumed" in warnings) == (count < 4)
    assert len(solution.camera_to_world) == count and solution.lens == LensResult() and not SAID & set(warnings)


def test_pixels_that_are_not_square_bend_alike():
    """Squeezed to half the width, as an anamorphic lens does it; distortion is that of the square picture."""
    tracks = filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.12))
    squeezed = replace(tracks, pixels=tracks.pixels * (0.5, 1.0), size=(WIDTH // 2, HEIGHT))
    frames = np.broadcast_to(np.uint8(0), (COUNT, HEIGHT, WIDTH // 2, 3))
    solution = solve_cameras(frames, pixel_aspect=2.0, context=RunContext(KeptTracks(squeezed), RecordingReport()))
    assert solution.lens.distortion.k1 == pytest.approx(-0.12, rel=0.03)
    np.testing.assert_allclose(solution.intrinsics[:, :2], [[FOCAL_PX / 2, FOCAL_PX]] * COUNT, rtol=3e-3)
    index, pixels = COUNT // 2, solution.observations[COUNT // 2][1]
    filmed_px = {tuple(pixel) for pixel in np.round(squeezed.observed(index)[1], 6)}
    assert all(tuple(pixel) in filmed_px for pixel in np.round(pixels, 6))


@pytest.mark.parametrize(("zoom", "is_told"), [
    (None, False), (1.0004, False), (1.003, False), (1.006, True), (1.3, True)])
def test_a_zoom_that_nobody_sees_is_not_told(zoom, is_told):
    assert is_zoom(None if zoom is None else np.linspace(0.0, np.log(zoom), 9)) is is_told
