"""Stages: what a run that was broken off leaves is taken up, and what is superseded goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Distortion, LensResult
from stereodiff_blender.engine.pipeline.stages import MeasuredClip, SolvedClip, Stages, remove_superseded
from stereodiff_blender.engine.shutter import RollingShutter
from stereodiff_blender.engine.solution import CameraSolution, StereoResult
from stereodiff_blender.engine.storage import DiskScratch, RunContext

COUNT, HEIGHT, WIDTH = 3, 6, 8
FAR_LIMIT = 42.0
STAGE_FILES = {"settled.ledger", "settled.npz", "settled_confidence.npy", "settled_depth.npy",
               "settled_motion_mask.npy"}


LENS = LensResult("radial", Distortion(-0.12, 0.01), k1_std=0.001, k2_std=0.0, readout=-0.25, readout_std=0.01)


def cameras(kind: str = "moving") -> CameraSolution:
    observations = [(np.arange(index), np.full((index, 2), 0.5)) for index in range(COUNT)]
    return CameraSolution(kind, np.tile(np.eye(4), (COUNT, 1, 1)), np.ones((COUNT, 4)), np.ones(COUNT, bool),
                          np.full(COUNT, 0.25), np.zeros((2, 3)), np.ones(2), observations, lens=LENS)


def shuttered(bend: tuple[float, ...] | None = (1.0, -0.12, 0.01, 0.0)) -> CameraSolution:
    """As what is measured has it."""
    moves = np.arange(COUNT * 12.0).reshape(COUNT, 3, 4)
    return replace(cameras(), shutter=RollingShutter(moves, -moves, np.full(COUNT, 0.1), np.full(COUNT, 0.5), bend))


def measured(value: float) -> MeasuredClip:
    depth = np.full((COUNT, HEIGHT, WIDTH), value, np.float32)
    stereo = StereoResult(shuttered(), depth, 0.5 * depth, np.ones(depth.shape, np.uint8), FAR_LIMIT)
    return MeasuredClip(cameras(), stereo, 0.75)


class Run:
    """One run with the work of three stages. did: which of them were computed."""

    def __init__(self, folder: Path):
        self.scratch, self.report, self.did = DiskScratch(folder), RecordingReport(), []
        self.scratch.remove_temporary()
        self.stages = Stages(RunContext(self.scratch, self.report))

    def go_on(self, *names: str) -> SolvedClip:
        work: dict[str, Callable[..., SolvedClip]] = {"cameras": self._solve, "measured": self._measure,
                                                      "settled": self._settle}
        clip = None
        for name in names:
            clip = self.stages.run(name, work[name], *([] if clip is None else [clip]))
        return clip

    def _solve(self, *, context: RunContext) -> SolvedClip:
        return self._worked("cameras", SolvedClip(cameras()), "tracks", context)

    def _measure(self, clip: SolvedClip, *, context: RunContext) -> MeasuredClip:
        return self._worked("measured", measured(2.0), "survey", context)

    def _settle(self, clip: MeasuredClip, *, context: RunContext) -> MeasuredClip:
        settled = replace(clip, stereo=replace(clip.stereo, depth=clip.stereo.depth + 1.0))
        return self._worked("settled", settled, "borders_0", context)

    def _worked(self, name: str, clip: SolvedClip, array: str, context: RunContext) -> SolvedClip:
        """As a stage does: it fills arrays, kept and not, and warns."""
        context.scratch.open_array(array, (4,), np.uint8)
        context.scratch.allocate(f"{array}_for_now", (4,), np.uint8)
        context.report.warn(name, "a warning")
        self.did.append(name)
        return clip


NAMES = ("cameras", "measured", "settled")


def kept(folder: Path) -> set[str]:
    return {path.name.removeprefix("kept-") for path in folder.iterdir()}


@pytest.mark.parametrize("done", range(4))
def test_a_run_goes_on_after_the_last_stage_that_was_done(tmp_path, done):
    Run(tmp_path).go_on(*NAMES[:done])
    run = Run(tmp_path)
    clip = run.go_on(*NAMES)
    assert run.did == list(NAMES[done:])
    assert list(run.report.warnings) == list(NAMES), "what was warned of is said in every run"
    assert np.array_equal(clip.stereo.depth, np.full((COUNT, HEIGHT, WIDTH), 3.0))
    assert (clip.reprojection_before_px, clip.stereo.far_limit) == (0.75, FAR_LIMIT)
    assert [len(points) for points, _ in clip.cameras.observations] == [0, 1, 2]
    assert clip.cameras.lens == clip.stereo.cameras.lens == LENS
    assert clip.cameras.shutter is None
    assert_same_shutter(clip.stereo.cameras.shutter, shuttered().shutter)


@pytest.mark.parametrize("bend", [None, (1.0, 0.5, 0.25, 0.125)])
def test_a_shutter_is_kept_as_it_is(tmp_path, bend):
    scratch = DiskScratch(tmp_path)
    Stages(RunContext(scratch, RecordingReport())).run("cameras", lambda context: SolvedClip(shuttered(bend)))
    kept_clip = Stages(RunContext(scratch, RecordingReport())).run("cameras", pytest.fail)
    assert_same_shutter(kept_clip.cameras.shutter, shuttered(bend).shutter)


def assert_same_shutter(one: RollingShutter, other: RollingShutter) -> None:
    assert one.bend == other.bend
    for name in ("velocity", "acceleration", "offset", "slope"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_a_later_stage_answers_for_an_earlier_one(tmp_path):
    Run(tmp_path).go_on(*NAMES)
    run = Run(tmp_path)
    assert run.go_on("cameras").cameras.kind == "moving" and run.did == []


def test_only_the_last_stage_stays_on_disk(tmp_path):
    run = Run(tmp_path)
    run.go_on("cameras")
    assert kept(tmp_path) == {"cameras.npz"}
    run.go_on(*NAMES)
    assert kept(tmp_path) == STAGE_FILES


def test_what_the_next_stage_has_done_survives_a_new_run(tmp_path):
    Run(tmp_path).go_on(*NAMES[:2])
    scratch = DiskScratch(tmp_path)
    array = scratch.open_array("borders_0", (2,), np.uint8)
    scratch.journal("borders_0", lambda unit: [array[unit:unit + 1]]).note(0)
    Run(tmp_path)
    assert scratch.journal("borders_0", lambda unit: [array[unit:unit + 1]]).done == 1
    assert {"borders_0.npy", "borders_0.ledger", "measured.npz"} <= kept(tmp_path)


@pytest.mark.parametrize("remove", [Run, lambda folder: remove_superseded(DiskScratch(folder))])
def test_what_could_not_be_removed_in_time_is_removed_later(tmp_path, remove):
    """A process killed between the two, or Windows, which does not let go of a mapped file."""
    Run(tmp_path).go_on(*NAMES[:2])
    DiskScratch(tmp_path).open_array("survey", (4,), np.uint8)
    remove(tmp_path)
    assert "survey.npy" not in kept(tmp_path) and "measured_depth.npy" in kept(tmp_path)


def test_a_stage_that_is_not_whole_is_computed_again(tmp_path):
    Run(tmp_path).go_on(*NAMES)
    with open(tmp_path / "kept-settled_depth.npy", "r+b") as stream:
        stream.seek(-4, 2)
        stream.write(b"\0\0\0\0")
    run = Run(tmp_path)
    assert np.array_equal(run.go_on(*NAMES).stereo.depth, np.full((COUNT, HEIGHT, WIDTH), 3.0))
    assert run.did == list(NAMES) and kept(tmp_path) == STAGE_FILES


@pytest.mark.parametrize("missing", ["superseded", "lens"])
def test_a_stage_as_an_older_version_kept_it_is_not_taken_up(tmp_path, missing):
    Run(tmp_path).go_on(*NAMES)
    scratch = DiskScratch(tmp_path)
    stored = scratch.load("settled")
    del stored[missing]
    scratch.save("settled", stored)
    run = Run(tmp_path)
    run.go_on(*NAMES)
    assert run.did == list(NAMES) and list(run.report.warnings) == list(NAMES)


def test_in_memory_nothing_is_kept_and_everything_given():
    stages = Stages(RunContext())
    clip = stages.run("measured", lambda *, context: measured(2.0))
    assert np.array_equal(clip.stereo.depth, measured(2.0).stereo.depth)
    assert stages.run("settled", lambda clip, *, context: clip, clip).cameras.kind == "moving"
