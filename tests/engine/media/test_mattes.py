"""The artist's matte: outlines against geometry, footage of every awkward kind, and what is refused at the door."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from clips import error_of, write_dpx, write_encoded, write_linear_exr, write_movie
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import (
    ClipSource,
    Job,
    JobFolder,
    Matte,
    MatteDrawing,
    MatteLayer,
    MatteShapes,
    write_shapes,
)
from stereodiff_blender.engine.media.frames import ClipInfo, Raster, source_from_path
from stereodiff_blender.engine.media.mattes import draw, examine_matte, read_matte

WIDTH, HEIGHT = 160, 96
CLIP = ClipInfo(WIDTH, HEIGHT, 1.0, 24.0, 12)
RASTER = Raster(WIDTH, HEIGHT, WIDTH, HEIGHT, 1.0)


def box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    return left, top, right, top, right, bottom, left, bottom


def circle(x: float, y: float, radius: float, *, turns: int = 1) -> tuple[float, ...]:
    """radius in shares of the width; turns -1 runs the other way round."""
    angles = turns * np.linspace(0, 2 * math.pi, 120, endpoint=False)
    return tuple(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles) * WIDTH / HEIGHT], 1).ravel())


def drawn(*layers: MatteLayer, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return draw(MatteDrawing(1, layers), height, width)


def share(*layers: MatteLayer) -> float:
    """Covered area in squares of the width."""
    return drawn(*layers).mean() * HEIGHT / WIDTH


# --- Outlines --------------------------------------------------------------------------------------------------

def test_a_box_covers_its_pixels_exactly():
    inside = drawn(MatteLayer((box(0.25, 0.5, 0.5, 0.75),)))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[48:72, 40:80] = True
    assert np.array_equal(inside, expected)


def test_a_pixel_counts_when_half_of_it_is_inside():
    for edge, columns in ((40.3, 40), (40.7, 41)):
        inside = drawn(MatteLayer((box(0.0, 0.0, edge / WIDTH, 1.0),)))
        assert inside[:, :columns].all() and not inside[:, columns:].any()


@pytest.mark.parametrize(("radius", "precision"), [(0.05, 0.05), (0.2, 0.01)])
def test_a_circle_has_its_area(radius, precision):
    assert share(MatteLayer((circle(0.5, 0.5, radius),))) == pytest.approx(math.pi * radius**2, rel=precision)


def test_outlines_may_leave_the_picture():
    assert share(MatteLayer((circle(0.0, 0.0, 0.2),))) == pytest.approx(math.pi * 0.2**2 / 4, rel=0.01)
    assert not drawn(MatteLayer((circle(-1.0, 0.5, 0.2), circle(9.0, 9.0, 0.2)))).any()
    assert drawn(MatteLayer((box(-3.0, -3.0, 4.0, 4.0),))).all()


RING = math.pi * (0.25**2 - 0.1**2)
DISC = math.pi * 0.25**2


@pytest.mark.parametrize(("fill", "turns", "area"), [
    ("union", 1, DISC), ("union", -1, DISC), ("even_odd", 1, RING), ("even_odd", -1, RING), ("winding", 1, DISC),
    ("winding", -1, RING),
])
def test_holes(fill, turns, area):
    nested = (circle(0.5, 0.5, 0.25), circle(0.5, 0.5, 0.1, turns=turns))
    assert share(MatteLayer(nested, fill=fill)) == pytest.approx(area, rel=0.01)


def test_an_outline_that_crosses_itself_is_filled():
    star = tuple(value for k in range(5) for value in (0.5 + 0.2 * math.sin(0.8 * math.pi * k),
                                                       0.5 - 0.2 * math.cos(0.8 * math.pi * k) * WIDTH / HEIGHT))
    points = np.reshape(star, (5, 2))
    assert drawn(MatteLayer((star,)))[HEIGHT // 2, WIDTH // 2]
    assert share(MatteLayer((star,))) == pytest.approx(1.1226 * 0.2**2, rel=0.02), points


LEFT, MIDDLE = MatteLayer((box(0.0, 0.0, 0.5, 1.0),)), box(0.25, 0.0, 0.75, 1.0)


@pytest.mark.parametrize(("blend", "quarters"), [
    ("merge_add", "1110"), ("add", "1110"), ("lighten", "1110"), ("merge_subtract", "1000"), ("subtract", "1000"),
    ("darken", "0100"), ("mul", "0100"), ("replace", "0110"), ("difference", "1010"),
])
def test_layers_are_laid_over_each_other(blend, quarters):
    inside = drawn(LEFT, MatteLayer((MIDDLE,), blend=blend))
    assert "".join(str(int(inside[:, 20 + 40 * k].all())) for k in range(4)) == quarters


def test_opacity_decides_together():
    def faint(opacity):
        return MatteLayer((MIDDLE,), opacity=opacity)

    assert not drawn(faint(0.4)).any()
    assert drawn(faint(0.6)).any()
    assert drawn(faint(0.4), faint(0.4)).any(), "1 - 0.6 * 0.6 is more than one half"


def test_a_layer_turned_inside_out():
    assert np.array_equal(drawn(MatteLayer((MIDDLE,), invert=True)), ~drawn(MatteLayer((MIDDLE,))))
    assert drawn(MatteLayer((), invert=True)).all()
    assert not drawn(MatteLayer(())).any() and not drawn().any()


# --- Reading ---------------------------------------------------------------------------------------------------

def moving_box(index: int, size=(WIDTH, HEIGHT)) -> np.ndarray:
    """(H,W,3) uint8, white where a box of a quarter by half the picture stands that moves on by a 16th a frame."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    left = index * width // 16
    picture[height // 4:3 * height // 4, left:left + width // 4] = 255
    return picture


def marked(index: int) -> np.ndarray:
    return moving_box(index)[..., 0] > 0


def write_boxes(folder, *, first: int = 1, count: int = 8, size=(WIDTH, HEIGHT), suffix=".png") -> ClipSource:
    folder.mkdir()
    for index in range(count):
        write_encoded(folder / f"matte_{first + index:04d}{suffix}", moving_box(index, size))
    return source_from_path(folder)


def marks_of(tmp_path, matte: Matte, first: int = 1, last: int = 8, raster: Raster = RASTER):
    job = Job("j", ClipSource("movie", "/nowhere.mp4"), first, last, matte=matte)
    marks = np.zeros((last - first + 1, raster.height, raster.width), np.uint8)
    report = RecordingReport()
    read_matte(job, JobFolder(tmp_path), raster, marks, report)
    return marks.astype(bool), report


def test_pictures_frame_by_frame(tmp_path):
    marks, report = marks_of(tmp_path, Matte("pictures", write_boxes(tmp_path / "m")))
    for index in range(8):
        assert np.array_equal(marks[index], marked(index))
    assert report.warnings == {}


def test_pictures_start_where_they_are_told(tmp_path):
    """Numbers from 1001 on, the first of which belongs to clip frame 3."""
    matte = Matte("pictures", write_boxes(tmp_path / "m", first=1001), first_frame=3)
    marks, _ = marks_of(tmp_path, matte, first=4, last=6)
    assert np.array_equal(marks[0], marked(1)) and np.array_equal(marks[2], marked(3))
    early = Matte("pictures", matte.footage, first_frame=-1)
    assert np.array_equal(marks_of(tmp_path, early, 1, 2)[0][0], marked(2))


def test_inverted_pictures(tmp_path):
    matte = Matte("pictures", write_boxes(tmp_path / "m"), invert=True)
    assert np.array_equal(marks_of(tmp_path, matte)[0][3], ~marked(3))


@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_pictures_of_another_size(tmp_path, factor):
    size = int(WIDTH * factor), int(HEIGHT * factor)
    matte = Matte("pictures", write_boxes(tmp_path / "m", size=size))
    examine_matte(matte, range(1, 9), CLIP)
    marks, _ = marks_of(tmp_path, matte)
    assert np.array_equal(marks[4], marked(4))


def test_a_movie(tmp_path):
    movie = write_movie(tmp_path / "m.mp4", pictures=[moving_box(index) for index in range(8)])
    marks, _ = marks_of(tmp_path, Matte("pictures", ClipSource("movie", str(movie))))
    assert all((marks[index] != marked(index)).mean() < 0.005 for index in range(8)), "edges are compressed"


def test_alpha_is_the_matte_where_there_is_some(tmp_path):
    """White everywhere, opaque only in the box."""
    (tmp_path / "m").mkdir()
    for index in (0, 1):
        white = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
        white[..., 3] = moving_box(index)[..., 0]
        write_encoded(tmp_path / "m" / f"a.{index}.png", white)
    marks, _ = marks_of(tmp_path, Matte("pictures", source_from_path(tmp_path / "m")), 1, 2)
    assert np.array_equal(marks[1], marked(1))


def test_other_formats(tmp_path):
    """Linear EXR and 10-bit DPX: what is displayed lighter than mid gray counts."""
    for suffix, write in ((".exr", write_linear_exr), (".dpx", write_dpx)):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        for index in (0, 1):
            write(folder / f"m.{index}{suffix}", np.where(moving_box(index) > 0, 150, 100).astype(np.uint8))
        footage = replace(source_from_path(folder), color_space="sRGB" if suffix == ".dpx" else "")
        marks, _ = marks_of(tmp_path, Matte("pictures", footage), 1, 2)
        assert np.array_equal(marks[1], marked(1)), suffix


@pytest.mark.parametrize("suffix", [".png", ".exr"])
def test_numbers_that_are_no_color_count_from_their_middle_on(suffix, tmp_path):
    """In Blender a matte's footage is often Non-Color."""
    folder = tmp_path / "m"
    folder.mkdir()
    for index in (0, 1):
        values = np.where(moving_box(index) > 0, 0.55, 0.45)
        if suffix == ".exr":
            write_linear_exr(folder / f"m.{index}.exr", values.astype(np.float32))
        else:
            write_encoded(folder / f"m.{index}.png", np.rint(values * 255).astype(np.uint8))
    footage = replace(source_from_path(folder), color_space="Non-Color")
    marks, _ = marks_of(tmp_path, Matte("pictures", footage), 1, 2)
    assert np.array_equal(marks[1], marked(1))


def test_colors_count_by_their_luminance(tmp_path):
    (tmp_path / "m").mkdir()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, :40], picture[:, 40:80], picture[:, 80:120] = (255, 0, 0), (0, 255, 0), (0, 0, 255)  # BGR
    for index in (0, 1):
        write_encoded(tmp_path / "m" / f"a.{index}.png", picture)
    marks, _ = marks_of(tmp_path, Matte("pictures", source_from_path(tmp_path / "m")), 1, 2)
    assert marks[0, 0, [20, 60, 100, 140]].tolist() == [False, True, False, False]


def test_shapes_hold_until_the_next(tmp_path):
    write_shapes(JobFolder(tmp_path).matte_file, MatteShapes((
        MatteDrawing(2, (MatteLayer((box(0, 0, 0.25, 1),)),)), MatteDrawing(5, (MatteLayer((box(0, 0, 0.5, 1),)),)))))
    marks, _ = marks_of(tmp_path, Matte("shapes"), first=3, last=6)
    assert marks.mean(axis=(1, 2)).tolist() == [0.25, 0.25, 0.5, 0.5]
    assert marks_of(tmp_path, Matte("shapes", invert=True), 3, 6)[0].mean(axis=(1, 2))[0] == 0.75
    small = Raster(80, 48, WIDTH, HEIGHT, 1.0)
    assert marks_of(tmp_path, Matte("shapes"), 3, 6, small)[0].mean(axis=(1, 2)).tolist() == [0.25, 0.25, 0.5, 0.5]
    assert error_of(marks_of, tmp_path, Matte("shapes"), 1, 4).code == "matte_incomplete"


def test_an_empty_matte_is_mentioned(tmp_path):
    write_shapes(JobFolder(tmp_path).matte_file, MatteShapes((MatteDrawing(1, ()),)))
    marks, report = marks_of(tmp_path, Matte("shapes"))
    assert not marks.any() and list(report.warnings) == ["matte_empty"]


def test_a_matte_of_nearly_everything_is_refused(tmp_path):
    full = MatteShapes((MatteDrawing(1, (MatteLayer((box(0, 0, 0.97, 1),)),)),))
    write_shapes(JobFolder(tmp_path).matte_file, full)
    error = error_of(marks_of, tmp_path, Matte("shapes"))
    assert error.code == "matte_full" and "97 %" in error.message
    assert marks_of(tmp_path, Matte("shapes", invert=True))[0].any()


def test_a_frame_that_is_all_covered_may_be(tmp_path):
    """Something passes right before the lens."""
    write_shapes(JobFolder(tmp_path).matte_file, MatteShapes(tuple(
        MatteDrawing(frame, (MatteLayer((box(0, 0, 1.0 if frame == 4 else 0.2, 1),)),)) for frame in range(1, 9))))
    assert marks_of(tmp_path, Matte("shapes"))[0][3].all()


# --- At the door -----------------------------------------------------------------------------------------------

def door(matte: Matte, frames: range = range(1, 9), clip: ClipInfo = CLIP):
    return error_of(examine_matte, matte, frames, clip)


@pytest.fixture
def boxes(tmp_path) -> ClipSource:
    return write_boxes(tmp_path / "m")


def test_footage_that_fits_passes(boxes):
    examine_matte(Matte("pictures", boxes), range(1, 9), CLIP)
    examine_matte(Matte("shapes"), range(1, 9), CLIP)


@pytest.mark.parametrize(("first_frame", "frames"), [(1, range(1, 10)), (2, range(1, 5)), (-4, range(3, 6))])
def test_footage_that_does_not_cover_the_range(boxes, first_frame, frames):
    error = door(Matte("pictures", boxes, first_frame), frames)
    assert error.code == "matte_incomplete" and f"{first_frame} to {first_frame + 7}" in error.message


@pytest.mark.parametrize(("width", "height"), [(WIDTH, 120), (2048, 858)])
def test_other_proportions(boxes, width, height):
    error = door(Matte("pictures", boxes), clip=ClipInfo(width, height, 1.0, 24.0, 12))
    assert error.code == "matte_wrong_size" and "160 x 96" in error.message


@pytest.mark.parametrize(("width", "height", "aspect"), [
    (1920, 1152, 1.0), (961, 577, 1.0), (80, 96, 2.0), (160, 96, 2.0), (163, 98, 1.0),
])
def test_the_same_proportions_up_to_rounding(boxes, width, height, aspect):
    """Also an anamorphic clip whose matte was rendered unsqueezed, or squeezed like the clip itself."""
    examine_matte(Matte("pictures", boxes), range(1, 9), ClipInfo(width, height, aspect, 24.0, 12))


def test_footage_that_went_away(boxes, tmp_path):
    (tmp_path / "m" / "matte_0001.png").unlink()
    assert door(Matte("pictures", boxes)).code == "matte_missing"


def test_footage_that_is_none(boxes, tmp_path):
    (tmp_path / "m" / "matte_0001.png").write_text("no picture")
    assert door(Matte("pictures", boxes)).code == "matte_unreadable"


def test_a_gap_and_a_changed_size(boxes, tmp_path):
    write_encoded(tmp_path / "m" / "matte_0006.png", cv2.resize(moving_box(5), (80, 48)))
    error = error_of(marks_of, tmp_path, Matte("pictures", boxes))
    assert error.code == "matte_unreadable" and error.message.startswith("The matte cannot be used: ")
    (tmp_path / "m" / "matte_0004.png").unlink()
    assert error_of(marks_of, tmp_path, Matte("pictures", boxes)).code == "matte_incomplete"


def test_shapes_that_are_not_there(tmp_path):
    assert error_of(marks_of, tmp_path, Matte("shapes")).code == "matte_missing"
