"""Real jobs on rendered shots that go well or badly: what an artist must get, and never a confident wrong result.

The clips of tests/data/scenes are short, small versions of the test scenes (make_test_scenes.py --small).
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from accuracy import Accuracy, measure

from stereodiff_blender.engine.contract import JobFolder, Result
from stereodiff_blender.jobs import worker_process as jobs

pytestmark = pytest.mark.slow

SCENES = ("pan", "locked", "street", "white_room", "crowd", "zoom", "short")
LENS_DOUBTS = {"weak_focal", "focal_assumed"}
DOUBTS = LENS_DOUBTS | {"low_coverage", "low_texture", "little_parallax", "frames_unsolved", "high_residual"}
"""Warnings that tell an artist not to take the result as it is."""


@dataclass(frozen=True)
class Outcome:
    """failure: code of the refusal, None if the job finished; then result and accuracy are its."""

    failure: str | None
    result: Result | None
    accuracy: Accuracy | None

    @property
    def warnings(self) -> set[str]:
        return {warning.code for warning in self.result.warnings}


@pytest.fixture(scope="module")
def outcome(worker_python, repository, tmp_path_factory):
    """outcome(name) -> what a job at the standard preset makes of the scene; each is solved once."""
    known: dict[str, Outcome] = {}

    def call(name: str) -> Outcome:
        if name not in known:
            known[name] = solved(name, worker_python, repository, tmp_path_factory.mktemp("scenes") / name)
        return known[name]

    return call


def solved(name: str, worker_python: Path, repository: Path, out: Path) -> Outcome:
    scene = repository / "tests" / "data" / "scenes" / name
    command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, "solve", str(scene / "clip.mp4"), str(out)]
    done = subprocess.run(command, env={**os.environ, **jobs.worker_environment(repository)}, capture_output=True,
                          text=True, check=False)
    if done.returncode:
        return Outcome(refusal(out, done.stderr), None, None)
    return Outcome(None, JobFolder(out).read_result(), measure(out, scene))


def refusal(out: Path, told: str) -> str:
    codes = [event.code for event in JobFolder(out).read_events()[0] if event.kind == "failed"]
    assert len(codes) == 1, told
    return codes[0]


def has_no_depth(result: Result) -> bool:
    return result.depth_range is None and not any(frame.depth or frame.confidence for frame in result.frames)


# --- What each shot must give ----------------------------------------------------------------------------------

def test_a_tripod_pan_gives_turn_and_lens(outcome):
    made = outcome("pan")
    assert made.result.camera_kind == "rotation" and "rotation_only" in made.warnings
    assert has_no_depth(made.result)
    assert abs(made.accuracy.focal_percent) < 2.0
    assert made.accuracy.rotation_deg < 0.015
    assert not made.result.quality.unsolved_frames


def test_a_locked_camera_stands_still(outcome):
    made = outcome("locked")
    assert made.result.camera_kind == "static" and "static_camera" in made.warnings
    assert has_no_depth(made.result)
    assert made.accuracy.rotation_deg < 0.001


def test_a_street_is_solved_and_trusted(outcome):
    """A dolly past houses, a car and a figure: an ordinary shot, though so short that its lens may be doubted."""
    made = outcome("street")
    assert made.result.camera_kind == "moving" and made.warnings <= {"weak_focal"}
    assert made.accuracy.ate_percent < 0.3 and made.accuracy.rotation_deg < 0.02
    assert abs(made.accuracy.focal_percent) < 3.0
    assert made.accuracy.absrel_static < 0.05
    assert made.accuracy.trusted > 0.7 and made.accuracy.trusted_right > 0.9


def test_bare_walls_give_no_depth(outcome):
    made = outcome("white_room")
    assert made.failure == "camera_unsolved" or made.warnings & DOUBTS
    assert made.failure or has_no_depth(made.result) or not made.result.quality.coverage


def test_a_lens_that_only_a_doubtful_travel_tells_is_an_ordinary_one(outcome):
    """Bare walls told one three times too long, and with it turns twice as wrong."""
    made = outcome("white_room")
    assert "focal_assumed" in made.warnings
    assert abs(made.accuracy.focal_percent) < 60.0
    assert made.accuracy.rotation_deg < 0.3


def test_a_crowd_is_named(outcome):
    assert "large_motion" in outcome("crowd").warnings


def test_a_short_slide_is_measured(outcome):
    """Eight frames and 15 cm: enough to see that the camera travels, not enough to be sure of the rest."""
    made = outcome("short")
    assert made.result.camera_kind == "moving" and "little_parallax" in made.warnings
    assert made.accuracy.ate_percent < 2.0


# --- Never wrong without a doubt -------------------------------------------------------------------------------

@pytest.mark.parametrize("name", SCENES)
def test_a_wrong_lens_is_doubted(outcome, name):
    made = outcome(name)
    assert made.failure or made.warnings & LENS_DOUBTS or abs(made.accuracy.focal_percent) < 5.0


@pytest.mark.parametrize("name", SCENES)
def test_only_a_tripod_only_rotates(outcome, name):
    made = outcome(name)
    told = made.failure is None and any(w.message.startswith("The camera only rotates") for w in made.result.warnings)
    assert told == (name == "pan")


@pytest.mark.parametrize("name", SCENES)
def test_depth_that_is_trusted_is_right(outcome, name):
    made = outcome(name)
    assert made.failure or has_no_depth(made.result) or made.warnings & DOUBTS or made.accuracy.trusted_right > 0.8
