"""The test run's own decisions: what is whose, what runs beside what, and what it all came to."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.tools import parts
from tests.tools.parts import TESTS, Outcome, Part, Run

PYTHON = Path(sys.executable)


def outcomes(*statuses: int) -> list[Outcome]:
    return [Outcome(f"part {n}", status, "") for n, status in enumerate(statuses)]


@pytest.mark.parametrize(
    ("statuses", "selective", "expected"),
    [
        ((0, 0), False, 0),
        ((0, 1), False, 1),
        ((0, -11), False, 1),
        ((0, parts.NOTHING_COLLECTED), False, 1),
        ((0, parts.NOTHING_COLLECTED), True, 0),
        ((parts.NOTHING_COLLECTED, parts.NOTHING_COLLECTED), True, 1),
        ((1, parts.NOTHING_COLLECTED), True, 1),
        ((), True, 1),
    ],
)
def test_verdict(statuses, selective, expected):
    assert parts.verdict(outcomes(*statuses), selective) == expected


# --- What belongs where ------------------------------------------------------------------------------------------

def without_a_part(tests: list[Path], found: list[Part]) -> list[Path]:
    return [test for test in tests if not any(parts.chosen_paths(part, [str(test)]) for part in found)]


@pytest.fixture
def every_part() -> list[Part]:
    return parts.test_parts(PYTHON, {"5.0": PYTHON})


def test_every_test_file_belongs_to_a_part(every_part):
    assert without_a_part(sorted(TESTS.rglob("test_*.py")), every_part) == []


def test_a_test_file_of_no_part_is_found(every_part):
    without_engine = [part for part in every_part if part.label != "engine"]
    files = [TESTS / "engine" / "media" / "test_exr.py", TESTS / "test_parts.py",
             TESTS / "blender" / "footage" / "test_clip.py"]
    assert without_a_part(files, without_engine) == files[:1]


def test_no_test_file_belongs_to_two_parts(every_part):
    for test in TESTS.rglob("test_*.py"):
        assert sum(bool(parts.chosen_paths(part, [str(test)])) for part in every_part) == 1, test


@pytest.mark.parametrize("cores", [2, 4])
def test_all_cores_end_at_about_the_same_time(cores):
    """If parts take as long as they say, each core taking the next one when it is done."""
    found = parts.test_parts(PYTHON, dict.fromkeys(("4.2", "4.5", "5.0", "5.2", "5.3"), PYTHON))
    ends = [0] * cores
    for part in found:
        ends[ends.index(min(ends))] += part.expected_s
    assert max(ends) < 1.15 * sum(ends) / cores


def test_paths_asked_for_go_to_the_part_they_belong_to():
    engine = Part("engine", PYTHON,
                  (TESTS / "engine" / "media" / "test_exr.py", TESTS / "jobs", TESTS / "test_rooms.py"))
    blender = Part("Blender", PYTHON, (TESTS / "blender",))
    asked = ["tests/engine/media/test_exr.py", "tests/blender", "tests/test_rooms.py::test_checker_allows"]
    assert parts.chosen_paths(engine, asked) == [asked[0], asked[2]]
    assert parts.chosen_paths(blender, asked) == [asked[1]]
    assert parts.chosen_paths(blender, []) == [str(TESTS / "blender")]
    assert parts.chosen_paths(engine, ["tests/engine"]) == [str(TESTS / "engine" / "media" / "test_exr.py")]


def test_what_no_version_changes_runs_on_one_blender():
    found = {part.label: part.without for part in parts.test_parts(PYTHON, {"5.0": PYTHON, "4.2": PYTHON}, ("slow",))}
    assert found["Blender 5.0"] == ("slow",) and found["Blender 4.2"] == ("slow", "any_blender")
    assert found["engine"] == ("slow",)


# --- Side by side ------------------------------------------------------------------------------------------------

def run_of(label: str, program: str) -> Run:
    return Run(Part(label, PYTHON, ()), [sys.executable, "-c", program], dict(os.environ))


WAITS_FOR_THE_OTHER = """
import pathlib, sys, time
here = pathlib.Path({folder!r})
(here / {own!r}).touch()
deadline = time.monotonic() + 30
while not (here / {other!r}).exists():
    if time.monotonic() > deadline:
        sys.exit(1)
    time.sleep(0.01)
print("{own} met {other}")
print("== 1 passed in 0.1s ==")
"""


def test_two_run_at_once_and_each_is_shown_whole(tmp_path, capsys):
    names = [("a", "b"), ("b", "a")]
    runs = [run_of(own, WAITS_FOR_THE_OTHER.format(folder=str(tmp_path), own=own, other=other)) for own, other in names]
    assert [outcome.closing_line for outcome in parts.run_all(runs, 2)] == ["1 passed in 0.1s"] * 2
    shown = capsys.readouterr().out
    for own, other in names:
        assert f"{own}: pytest in" in shown and f"{own} met {other}\n== 1 passed in 0.1s ==\n" in shown


def test_one_at_a_time_is_in_the_order_given(tmp_path, capfd):
    program = "print({0!r}); print('1 failed in 2.00s'); raise SystemExit({1})"
    found = parts.run_all([run_of("first", program.format("one", 1)), run_of("second", program.format("two", 0))], 1)
    assert [(outcome.label, outcome.status) for outcome in found] == [("first", 1), ("second", 0)]
    shown = capfd.readouterr().out
    assert shown.index("first: pytest") < shown.index("one") < shown.index("second: pytest") < shown.index("two")


@pytest.mark.slow
def test_what_runs_meanwhile_is_said(monkeypatch, capsys):
    monkeypatch.setattr(parts, "SILENCE_S", 0.05)
    program = "import time; print('..... [ 40%]', flush=True); time.sleep(0.5)"
    parts.run_all([run_of("slow part", program), run_of("quick part", "")], 2)
    assert "1 of 2 parts done; running: slow part 40 %" in capsys.readouterr().out


def test_a_part_that_does_not_say_how_it_ended_is_told_by_its_status():
    outcome = run_of("part", "import os; os._exit(7)").to_its_end()
    assert (outcome.status, outcome.closing_line) == (7, "pytest ended with status 7")


@pytest.mark.parametrize(("line", "count"), [
    ("12 passed, 5 skipped, 31 deselected in 8.31s", 31), ("3 deselected in 0.10s", 3), ("12 passed in 8.31s", 0),
    ("pytest ended with status 7", 0),
])
def test_what_is_left_out_is_counted(line, count):
    assert Outcome("part", 0, line).deselected() == count


def test_an_error_beside_them_ends_all(monkeypatch):
    """Here of the line that says what runs."""
    monkeypatch.setattr(parts, "SILENCE_S", 0.3)
    monkeypatch.setattr(Run, "progress", lambda run: 1 / 0)
    runs, began = [run_of(name, "import time; time.sleep(60)") for name in "ab"], time.monotonic()
    with pytest.raises(ZeroDivisionError):
        parts.run_all(runs, 2)
    assert time.monotonic() - began < 30 and all(run.process.poll() is not None for run in runs)


def test_each_part_has_its_own_places_and_its_share_of_the_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        monkeypatch.delenv(name, raising=False)
    found = [Part(label, PYTHON, (TESTS / "blender",)) for label in ("Blender 4.2", "Blender 5.0")]
    runs = parts.plan([*found, Part("nothing", PYTHON, (TESTS / "none",))], [], ["-x"], at_once=4, user=tmp_path)
    assert [run.part for run in runs] == found
    assert len({run.environ["XDG_DATA_HOME"] for run in runs}) == len({run.command[4] for run in runs}) == 2
    assert all(run.environ["OMP_NUM_THREADS"] == "2" and run.command[-1] == "-x" for run in runs)


def test_marks_that_are_left_out(tmp_path):
    found = Part("part", PYTHON, (TESTS / "blender",), ("slow", "any_blender"))
    command = parts.plan([found], [], [], at_once=1, user=tmp_path)[0].command
    assert command[command.index("-m", 2) + 1] == "not slow and not any_blender"


def test_a_number_of_threads_that_the_caller_names_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    found = Part("part", PYTHON, (TESTS / "blender",))
    assert parts.plan([found], [], [], at_once=1, user=tmp_path)[0].environ["OMP_NUM_THREADS"] == "5"
