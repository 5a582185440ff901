"""The picture of what stage 2 did: read back as an image, and by its colors."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.quality import plots
from stereodiff_blender.engine.quality.static_spectrum import StaticSpectrum

COUNT = 130


@pytest.fixture(scope="module")
def spectrum() -> StaticSpectrum:
    frequency = np.arange(1, 33) / 64
    before = 0.004 + 0.01 * np.exp(-30 * frequency)
    return StaticSpectrum(frequency, before, before / (1 + (frequency / 0.1) ** 2), np.full(11, 0.002),
                          np.full(11, 0.001), 0.93, 0.14, 64, 800)


def draw(path, spectrum, count: int = COUNT, **changed) -> np.ndarray:
    """The picture, (H,W,3) RGB."""
    before = 0.4 + 0.02 * np.sin(np.arange(count)) + 0.001 * np.arange(count)
    after = 0.41 + 0.001 * np.arange(count)
    options = {"stereo_disparity": before, "refined_disparity": after, "first_frame": 1001} | changed
    plots.write_refinement_plot(path, spectrum=spectrum, **options)
    return cv2.imread(str(path))[..., ::-1]


def pixels_of(picture: np.ndarray, color: str) -> np.ndarray:
    """Where the picture has just this color, (H,W) bool."""
    return (picture == [int(color[i:i + 2], 16) for i in (1, 3, 5)]).all(axis=-1)


def halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two diagrams, without the heading."""
    below = picture[picture.shape[0] // 5:]
    return below[:, :690], below[:, 760:]


def test_both_diagrams_show_both_stages(spectrum, tmp_path):
    picture = draw(tmp_path / "plot.png", spectrum)
    assert picture.shape == (540, 1400, 3)
    for half in halves(picture):
        assert pixels_of(half, plots.BEFORE).sum() > 200 and pixels_of(half, plots.AFTER).sum() > 200


@pytest.mark.slow
def test_curves_stand_where_their_numbers_say(spectrum, tmp_path):
    """After stage 2 lies below before it at high frequencies, and both run together at the lowest."""
    left, right = halves(draw(tmp_path / "plot.png", spectrum))
    rows = {name: [np.nonzero(pixels_of(left, color)[:, column])[0] for column in (650, 660)]
            for name, color in (("before", plots.BEFORE), ("after", plots.AFTER))}
    assert min(map(min, rows["after"])) > max(map(max, rows["before"]))
    after = [float(np.mean(np.nonzero(pixels_of(right, plots.AFTER)[:, column])[0])) for column in (100, 550)]
    assert after[0] > after[1] + 20, "disparity grows, so the curve rises"


def test_nothing_is_cut_off_at_the_border(spectrum, tmp_path):
    picture = draw(tmp_path / "plot.png", spectrum, seams=(1086,))
    border = np.concatenate([picture[:6].reshape(-1, 3), picture[-6:].reshape(-1, 3), picture[:, :6].reshape(-1, 3),
                             picture[:, -6:].reshape(-1, 3)])
    assert (border == 255).all()


def test_each_window_border_is_marked_at_its_frame(spectrum, tmp_path):
    plain = draw(tmp_path / "plain.png", spectrum)
    marked = draw(tmp_path / "marked.png", spectrum, seams=(1033, 1097))
    changed = (plain != marked).any(axis=-1)
    columns = np.nonzero(changed[200:440].any(axis=0))[0]
    groups = np.split(columns, np.nonzero(np.diff(columns) > 5)[0] + 1)
    assert len(groups) == 2 and all(len(group) < 6 for group in groups)
    # Frames 1001 to 1130, half a frame more at either end, fill the axis; two lines 64 frames apart.
    axis_px = np.nonzero(pixels_of(plain, plots.BEFORE)[150:450, 760:].any(axis=0))[0]
    assert groups[1].mean() - groups[0].mean() == pytest.approx(64 / 129 * np.ptp(axis_px), abs=3)
    assert changed[:60].any(), "and the legend says what the lines are"


@pytest.mark.parametrize("count", [2, 12, 40])
def test_without_a_spectrum_the_other_diagram_still_stands(count, tmp_path):
    left, right = halves(draw(tmp_path / "plot.png", None, count))
    assert pixels_of(left, plots.BEFORE).sum() == 0 and (left < 200).any(), "words, no curve"
    assert pixels_of(right, plots.BEFORE).sum() > 100


def test_a_short_clip_and_a_lack_of_points_are_told_apart(tmp_path):
    short, long = (halves(draw(tmp_path / "plot.png", None, count))[0] for count in (12, 40))
    assert (short != long).any()


def test_curves_that_touch_zero_or_stay_flat_are_drawn(spectrum, tmp_path):
    nothing = np.zeros_like(spectrum.before)
    still = StaticSpectrum(spectrum.frequency, nothing, nothing, np.zeros(11), np.zeros(11), None, None, 64, 800)
    flat = np.full(COUNT, 0.5)
    left, right = halves(draw(tmp_path / "plot.png", still, stereo_disparity=flat, refined_disparity=flat))
    assert pixels_of(left, plots.AFTER).sum() > 200 and pixels_of(right, plots.AFTER).sum() > 200


def test_a_frame_without_depth_leaves_a_gap(spectrum, tmp_path):
    holed = np.full(COUNT, 0.5)
    holed[40:80] = np.nan
    whole, gap = (pixels_of(halves(draw(tmp_path / "plot.png", spectrum, refined_disparity=mean))[1], plots.AFTER)
                  for mean in (np.full(COUNT, 0.5), holed))
    assert gap.any(axis=0).sum() == pytest.approx(90 / 130 * whole.any(axis=0).sum(), rel=0.05)


def test_the_same_input_gives_the_same_bytes(spectrum, tmp_path):
    for name in ("first", "second"):
        draw(tmp_path / name, spectrum, seams=(1086,))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert b"matplotlib" not in (tmp_path / "first").read_bytes()


def test_a_folder_that_is_not_there_is_said(spectrum, tmp_path):
    with pytest.raises(StereoDiffError) as raised:
        draw(tmp_path / "missing" / "plot.png", spectrum)
    assert raised.value.code == "output_not_writable"


@pytest.mark.slow
def test_drawing_needs_no_home_and_leaves_pyplot_alone(tmp_path):
    """In a home that cannot be written (a file stands there), without a display, on no backend of the user's."""
    home = tmp_path / "home"
    home.write_text("a file, not a folder", encoding="utf-8")
    code = ("import sys, numpy\nfrom stereodiff_blender.engine.quality.plots import write_refinement_plot\n"
            "write_refinement_plot(sys.argv[1], spectrum=None, stereo_disparity=numpy.arange(9.0), "
            "refined_disparity=numpy.arange(9.0), first_frame=1)\nprint('matplotlib.pyplot' in sys.modules)")
    hidden = {"DISPLAY", "MPLBACKEND", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "plot.png")], env=environment, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False" and (tmp_path / "plot.png").stat().st_size > 10_000
    assert len(done.stderr.splitlines()) <= 3, done.stderr


# --- The camera's fit --------------------------------------------------------------------------------------------

def draw_camera(path, error, solved=None) -> np.ndarray:
    solved = np.ones(len(error), bool) if solved is None else solved
    plots.write_camera_plot(path, reprojection_px=error, solved=solved, first_frame=1001)
    return cv2.imread(str(path))[..., ::-1]


@pytest.mark.parametrize("error_px", [1.7e308, np.inf])
def test_a_camera_that_fits_nothing_is_drawn(tmp_path, error_px):
    error = np.full(60, 0.2)
    error[45] = error_px
    picture = draw_camera(tmp_path / "camera.png", error)
    assert pixels_of(picture[100:], plots.BEFORE).any()


def test_the_worst_frame_stands_out_at_its_place(tmp_path):
    error = np.full(60, 0.2)
    error[45] = 0.8
    picture = draw_camera(tmp_path / "camera.png", error)
    assert picture.shape == (420, 1400, 3)
    below = picture[100:]
    worst, others = pixels_of(below, plots.BEFORE), pixels_of(below, plots.AFTER)
    columns = np.nonzero(worst.any(axis=0))[0]
    assert columns.mean() == pytest.approx(84 + (45.5 / 60) * (1379 - 84), abs=6)
    assert worst.any(axis=1).sum() > 3 * others.any(axis=1).sum()


def test_frames_that_nothing_was_tracked_in_and_interpolated_ones_are_drawn(tmp_path):
    error, solved = np.full(60, 0.2), np.ones(60, bool)
    plain = draw_camera(tmp_path / "plain.png", error)
    error[20:25], solved[20:25] = np.nan, False
    holed = draw_camera(tmp_path / "holed.png", error, solved)
    assert pixels_of(holed, plots.AFTER).sum() < pixels_of(plain, plots.AFTER).sum()
    assert (plain != holed)[:60].any(), "the legend says what is shaded"
    assert draw_camera(tmp_path / "again.png", error, solved).tobytes() == holed.tobytes()
