"""A lens and a shutter that are known: used as they are given, and doubted where the shot contradicts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import path_error
from recording_report import RecordingReport
from track_scenes import FOCAL_PX, HEIGHT, WIDTH, KeptTracks, filmed_through, path, room, walk_through_room

from stereodiff_blender.engine.contract import Distortion, LensResult
from stereodiff_blender.engine.geometry import rotation_angle_deg
from stereodiff_blender.engine.solution import CameraSolution, KnownLens
from stereodiff_blender.engine.stereo.sfm.solve import solve_cameras
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks
from stereodiff_blender.engine.storage import RunContext

COUNT = 24
BROWN = Distortion(-0.2, 0.06, -0.01, 0.004, -0.003)

pytestmark = pytest.mark.slow


walk = walk_through_room(COUNT)
POSES = path(*walk(np.arange(float(COUNT))))
WORLD = room(400)


def solved(tracks: Tracks, lens: KnownLens | None = None, *, readout: float | None = None,
           pixel_aspect: float = 1.0) -> tuple[CameraSolution, dict[str, str]]:
    report = RecordingReport()
    width, height = (int(side) for side in tracks.size)
    frames = np.broadcast_to(np.uint8(0), (tracks.frame_count, height, width, 3))
    solution = solve_cameras(frames, lens=lens, readout=readout, pixel_aspect=pixel_aspect,
                             context=RunContext(KeptTracks(tracks), report))
    return solution, report.warnings


def off_path(solution: CameraSolution) -> float:
    return path_error(solution.camera_to_world[:, :3, 3], POSES[:, :3, 3])


def test_all_five_coefficients_are_taken_out():
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, lens=BROWN), KnownLens(FOCAL_PX, None, BROWN))
    assert solution.lens == LensResult("brown", BROWN, is_given=True)
    assert "lens_doubtful" not in warnings and off_path(solution) < 1e-3
    assert np.nanmean(solution.reprojection_px) < 0.08, "the noise of the tracks"


def test_a_true_distortion_solves_as_well_as_the_one_that_is_found():
    tracks = filmed_through(WORLD, walk, COUNT, lens=Distortion(-0.12))
    known, _ = solved(tracks, KnownLens(FOCAL_PX, None, Distortion(-0.12)))
    found, _ = solved(tracks)
    assert off_path(known) < 1.1 * off_path(found) + 1e-5
    ratio = np.nanmean(known.reprojection_px) / np.nanmean(found.reprojection_px)
    assert ratio < 1.06, "without distortion, pixels of a barrel are larger, and so is their noise"


def test_squeezed_pixels_have_the_coefficients_of_the_square_picture():
    tracks = filmed_through(WORLD, walk, COUNT, lens=BROWN)
    squeezed = replace(tracks, pixels=tracks.pixels * (0.5, 1.0), size=(WIDTH // 2, HEIGHT))
    solution, warnings = solved(squeezed, KnownLens(0.5 * FOCAL_PX, None, BROWN), pixel_aspect=2.0)
    assert solution.lens.distortion == BROWN and "lens_doubtful" not in warnings and off_path(solution) < 1e-3
    np.testing.assert_allclose(solution.intrinsics[0, :2], (0.5 * FOCAL_PX, FOCAL_PX))
    index, pixels = COUNT // 2, solution.observations[COUNT // 2][1]
    filmed_px = {tuple(pixel) for pixel in np.round(squeezed.observed(index)[1], 6)}
    assert all(tuple(pixel) in filmed_px for pixel in np.round(pixels, 6)), "as filmed"


@pytest.mark.parametrize(("readout", "given"), [(0.5, 0.5), (-0.3, -0.3)])
def test_a_readout_that_is_given_is_held(readout, given):
    tracks = filmed_through(WORLD, walk, COUNT, readout=readout)
    solution, warnings = solved(tracks, readout=given)
    found, _ = solved(tracks)
    assert solution.lens == LensResult(readout=given) and "lens_doubtful" not in warnings
    assert "as was given" in warnings["rolling_shutter"] and f"{100 * abs(given):.0f} %" in warnings["rolling_shutter"]
    assert off_path(solution) < max(off_path(found), 1e-3)


@pytest.mark.parametrize(("readout", "given"), [(0.5, -0.5), (0.5, 0.0), (0.0, 0.5)])
def test_a_readout_that_the_shot_contradicts_is_doubted(readout, given):
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT, readout=readout), readout=given)
    assert solution.lens.readout == given, "it is used all the same"
    assert f"given, {100 * given:.0f} %" in warnings["lens_doubtful"]
    told = float(warnings["lens_doubtful"].partition("tells ")[2].partition(" %")[0])
    assert told == pytest.approx(100 * readout, abs=8)


def test_no_rolling_shutter_is_made_up_where_none_is_said_to_be():
    solution, warnings = solved(filmed_through(WORLD, walk, COUNT), readout=0.0)
    assert solution.lens == LensResult() and not {"rolling_shutter", "lens_doubtful"} & set(warnings)


@pytest.mark.parametrize("lens", [BROWN, Distortion(-0.3, 0.1)])
def test_distortion_and_readout_are_given_together(lens):
    """Rows are read out on the plate as it is filmed: taken without the distortion, the path is two to four times as
    far off."""
    tracks = filmed_through(WORLD, walk, COUNT, lens=lens, readout=0.5)
    solution, warnings = solved(tracks, KnownLens(FOCAL_PX, None, lens), readout=0.5)
    assert solution.lens == LensResult("brown" if lens.k3 else "radial", lens, is_given=True, readout=0.5)
    assert "lens_doubtful" not in warnings and off_path(solution) < 1e-4


FAR = np.random.default_rng(5).uniform((-9.0, -4.0, 6.0), (14.0, 4.0, 12.0), (3000, 3))


def shaken_pan(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """On the spot, as from the hand."""
    shake = np.stack([np.sin(0.7 * times), np.zeros_like(times), 0.3 * np.sin(0.9 * times)], axis=1)
    return np.zeros((len(times), 3)), 0.6 * shake + times[:, None] * (0.0, 1.0, 0.0)


def turn_off_deg(solution: CameraSolution) -> float:
    true = path(*shaken_pan(np.arange(float(len(solution.camera_to_world)))))[:, :3, :3]
    found = solution.camera_to_world[:, :3, :3]
    return float(rotation_angle_deg(np.swapaxes(found, 1, 2) @ true[0].T @ true).max())


@pytest.mark.parametrize("known", [True, False], ids=["known focal length", "any focal length"])
@pytest.mark.parametrize(("readout", "lens"), [(0.7, None), (-0.5, None), (0.7, Distortion(-0.12))])
def test_a_turn_on_the_spot_goes_by_its_shutter(readout, lens, known):
    """Without it, rows that lean are taken for a path, or for a turn that is off by several times as much."""
    tracks = filmed_through(FAR, shaken_pan, 16, readout=readout, lens=lens)
    solution, warnings = solved(tracks, KnownLens(FOCAL_PX, None, lens) if known or lens else None, readout=readout)
    assert solution.kind == "rotation" and turn_off_deg(solution) < 0.01
    assert solution.lens == replace(LensResult.as_given(lens), readout=readout)
    assert "as was given" in warnings["rolling_shutter"] and "lens_doubtful" not in warnings
    assert np.nanmean(solution.reprojection_px) < 0.09
    np.testing.assert_allclose(solution.intrinsics[:, :2], FOCAL_PX, rtol=2e-3)


def test_a_shutter_that_a_turn_contradicts_is_doubted():
    solution, warnings = solved(filmed_through(FAR, shaken_pan, 16), KnownLens(FOCAL_PX), readout=0.5)
    assert solution.kind == "rotation" and solution.lens.readout == 0.5, "it is used all the same"
    assert "given, 50 %" in warnings["lens_doubtful"] and "all rows at once" in warnings["lens_doubtful"]


def test_two_frames_of_a_turn_say_that_their_shutter_is_not_used():
    def far_apart(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return shaken_pan(3.0 * times)

    solution, warnings = solved(filmed_through(FAR, far_apart, 2), KnownLens(FOCAL_PX), readout=0.3)
    assert solution.kind == "rotation" and "not taken into account" in warnings["rolling_shutter"]
    assert solution.lens == LensResult()


def shifted(tracks: Tracks, shift: tuple[float, float]) -> Tracks:
    """Of a plate whose axis is that far off its center; what is seen stays the same."""
    return replace(tracks, pixels=tracks.pixels + shift)


@pytest.mark.parametrize("lens", [None, Distortion(-0.12)])
@pytest.mark.parametrize(("shift", "given", "words"), [
    ((0, 0), (12, 0), "the picture's center"), ((0, 0), (0, -12), "the picture's center"),
    ((16, 14), (16, -14), "above the middle row"), ((16, 14), (0, 0), None), ((16, 14), (16, 14), None)])
def test_a_principal_point_that_the_shot_contradicts_is_doubted(lens, shift, given, words):
    """One that is not given is none to be doubted, and a true one is not."""
    tracks = shifted(filmed_through(WORLD, walk, COUNT, lens=lens), shift)
    axis = (WIDTH / 2 + given[0], HEIGHT / 2 + given[1])
    solution, warnings = solved(tracks, KnownLens(FOCAL_PX, axis if any(given) else None, lens))
    assert words in warnings["lens_doubtful"] if words else "lens_doubtful" not in warnings
    np.testing.assert_allclose(solution.intrinsics[:, 2:], [axis] * COUNT)
