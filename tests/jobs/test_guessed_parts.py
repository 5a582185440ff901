"""What is guessed, in whole sentences and the clip's own numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from job_folder import EXAMPLE, write_job_folder

from stereodiff_blender.engine.cli.solve import quality_lines
from stereodiff_blender.engine.contract import REGIONS, GuessedRegion, Quality, Result
from stereodiff_blender.jobs import grades
from stereodiff_blender.jobs.guessed_parts import guessed_sentences, remedy
from stereodiff_blender.jobs.result_looks import outcome_of

COUNT = 24


@pytest.fixture
def result(tmp_path) -> Result:
    """Of files 1001 to 1024, nothing of it guessed."""
    made = write_job_folder(tmp_path / "job", replace(EXAMPLE, first_number=1001, frame_count=2))
    frames = tuple(replace(made.frames[0], frame=1 + index) for index in range(COUNT))
    return replace(made, frames=frames)


def guessed_in(result: Result, *runs: tuple[str, int, int]) -> Result:
    return replace(result, quality=Quality(solved_share=1.0, reprojection_mean_px=0.1, parallax_deg=3.0, coverage=0.9,
                                           guessed=tuple(GuessedRegion(*run, 0.8) for run in runs)))


@pytest.mark.parametrize(("runs", "sentences"), [
    ([], ()),
    ([("right", 1, 8)], ("The right edge of the picture is mostly guessed in frames 1001-1008.",)),
    ([("middle", 5, 5)], ("The middle of the picture is mostly guessed in frame 1005.",)),
    ([("left", 1, COUNT)], ("The left edge of the picture is mostly guessed in all frames.",)),
    ([("left", 1, 8), ("right", 1, 7)],
     ("The left and right edges of the picture are mostly guessed in frames 1001-1008.",)),
    ([("left", 1, 8), ("middle", 1, 8)],
     ("The middle and the left edge of the picture are mostly guessed in frames 1001-1008.",)),
    ([(region, 1, 8) for region in REGIONS[:-1]],
     ("All edges of the picture are mostly guessed in frames 1001-1008.",)),
    ([(region, 3, 4) for region in REGIONS], ("The whole picture is mostly guessed in frames 1003-1004.",)),
    ([("left", 1, 3), ("right", 12, 20)],
     ("The right edge of the picture is mostly guessed in frames 1012-1020.",
      "The left edge of the picture is mostly guessed in frames 1001-1003.")),
])
def test_each_is_a_whole_sentence_in_the_clips_numbers(result, runs, sentences):
    assert guessed_sentences(guessed_in(result, *runs)) == sentences


def test_of_many_the_longest_are_told_and_the_others_counted(result):
    told = guessed_sentences(guessed_in(result, *[("left", first, first) for first in range(1, 20, 3)]))
    assert len(told) == 5 and told[-1] == "3 more parts are guessed in other frames."


@pytest.mark.parametrize(("runs", "words"), [
    ([], None), ([("left", 1, 4)], "some frames more"), ([("right", 20, COUNT)], "some frames more"),
    ([("right", 9, 12)], "Keep CG away"), ([("top", 1, COUNT)], "Keep CG away"), ([("middle", 1, 3)], "Keep CG away")])
def test_more_frames_are_asked_for_only_where_they_help(result, runs, words):
    found = remedy(guessed_in(result, *runs))
    assert found == "" if words is None else words in found and found.endswith(".")


def test_a_solve_with_guessed_parts_is_not_called_good(result):
    for runs, verdict in (((), grades.GOOD), ((("left", 1, 8),), grades.FAIR)):
        outcome = outcome_of(guessed_in(result, *runs))
        assert grades.worst("moving", outcome.quality) == verdict
        assert bool(outcome.guessed) == bool(outcome.guessed_remedy) == (verdict == grades.FAIR)
    assert grades.sentence("moving", outcome.quality) \
        == "Usable, but look closely: parts of the picture are guessed"


def test_the_command_line_tells_them_too(result):
    lines = quality_lines(guessed_in(result, ("left", 1, 8), ("middle", 3, 3)))
    assert [line.split() for line in lines if "guessed" in line] == [["guessed", "left", "1001-1008", "middle",
                                                                    "1003-1003"]]
