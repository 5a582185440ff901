"""What the figures of a result mean in words."""

from __future__ import annotations

import pytest

from stereodiff_blender.engine.cli.solve import quality_lines
from stereodiff_blender.engine.contract import ClipSource, Quality, Refinement, Result
from stereodiff_blender.jobs import grades
from stereodiff_blender.jobs.result_looks import outcome_of

GOOD = {"solved_share": 1.0, "reprojection_mean_px": 0.2, "parallax_deg": 3.0, "coverage": 0.9, "flicker_before": 2.0,
        "flicker_after": 0.4, "gauge_residual": 0.01}


def test_a_good_solve_is_called_good():
    quality = Quality(**GOOD)
    assert set(grades.grades("moving", quality).values()) == {grades.GOOD}
    assert grades.sentence("moving", quality) == "Good for match-moving and depth"
    assert grades.worst("moving", quality) == grades.GOOD


@pytest.mark.parametrize(("name", "figure", "fair", "poor"), [
    ("error", "reprojection_mean_px", 0.9, 2.0), ("solved", "solved_share", 0.95, 0.6),
    ("parallax", "parallax_deg", 1.0, 0.3), ("coverage", "coverage", 0.5, 0.2), ("flicker", "flicker_after", 2.0, 5.0),
    ("apart", "gauge_residual", 0.1, 0.3),
])
def test_each_figure_has_its_grades_and_is_named(name, figure, fair, poor):
    for value, grade, beginning in ((fair, grades.FAIR, "Usable"), (poor, grades.POOR, "Not to be trusted")):
        quality = Quality(**GOOD | {figure: value})
        assert grades.grades("moving", quality)[name] == grade == grades.worst("moving", quality)
        words = grades.sentence("moving", quality)
        assert words.startswith(beginning) and words.endswith(grades.PROBLEMS[name])


def test_flicker_is_that_of_stage_1_where_nothing_refined_it():
    quality = Quality(**GOOD | {"flicker_after": None})
    assert grades.grades("moving", quality)["flicker"] == grades.FAIR


def test_steps_at_window_borders_count():
    refinement = Refinement(640, 384, 110, 25, 2.269, 0.002, "float16", "windows", 0.02)
    assert grades.grades("moving", Quality(**GOOD), refinement)["seam"] == grades.FAIR


@pytest.mark.parametrize("kind", ["rotation", "static"])
def test_a_camera_in_one_place_is_not_blamed_for_having_no_depth(kind):
    quality = Quality(solved_share=1.0, reprojection_mean_px=0.3, coverage=None)
    assert set(grades.grades(kind, quality)) == {"error", "solved"}
    assert "no depth" in grades.sentence(kind, quality)


def solved_at_640(clip: tuple[int, int], error_px: float) -> Result:
    """error_px: in pixels of the raster."""
    quality = Quality(solved_share=1.0, reprojection_mean_px=error_px, reprojection_worst_px=2 * error_px)
    return Result("job", ClipSource("movie", "/footage/walk.mp4"), 640, 360, *clip, 1.0, 24.0, "geometric", "guided",
                  "rotation", (), quality)


@pytest.mark.parametrize(("clip", "error_px", "grade"), [
    ((640, 360), 0.45, grades.GOOD), ((640, 360), 0.6, grades.FAIR), ((1920, 1080), 0.15, grades.GOOD),
    ((1920, 1080), 0.23, grades.FAIR), ((1920, 1080), 0.6, grades.POOR), ((4096, 2304), 0.07, grades.GOOD),
    ((4096, 2304), 0.3, grades.POOR),
])
def test_the_error_is_judged_by_what_it_is_on_the_plate(clip, error_px, grade):
    """0.23 at 640 is what a lens with K1 of -0.12 leaves that is taken for a pinhole: CG slides by up to 1.7 pixels."""
    outcome = outcome_of(solved_at_640(clip, error_px))
    assert outcome.quality.reprojection_mean_px == pytest.approx(error_px * clip[0] / 640)
    assert grades.grades(outcome.camera_kind, outcome.quality)["error"] == grade


def test_the_command_line_tells_pixels_of_the_plate():
    told = dict(line.split() for line in quality_lines(solved_at_640((1920, 1080), 0.23)) if "reprojection" in line)
    assert told == {"reprojection_mean_px": "0.69", "reprojection_worst_px": "1.38"}
