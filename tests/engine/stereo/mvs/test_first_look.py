"""A quick measurement of one frame, on scenes whose depth is known."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import boards_depth, boards_shot
from recording_report import RecordingReport

from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.stereo.mvs.first_look import first_look
from stereodiff_blender.engine.stereo.mvs.sources import depth_limits, select_sources
from stereodiff_blender.engine.storage import RunContext, Scratch

COUNT = 8
MIDDLE = COUNT // 2


class LookingReport(RecordingReport):
    """looks: (stage, index of the frame, depth), as they were shown."""

    def __init__(self, frames: np.ndarray):
        super().__init__()
        self.looks: list[tuple[str, int, np.ndarray]] = []
        self._frames = frames

    def show(self, look) -> None:
        frame, depth = look()
        shown = next(index for index, one in enumerate(self._frames) if np.array_equal(one, frame))
        self.looks.append((self.stages[-1][0], shown, np.array(depth)))


@pytest.fixture(scope="module")
def shot():
    return boards_shot(COUNT)


def test_most_of_the_frame_is_measured_well(shot):
    height, width = shot.frames.shape[1:3]
    sources = select_sources(shot.cameras, height, width)[MIDDLE]
    found = first_look(shot.frames, shot.cameras, MIDDLE, sources, depth_limits(shot.cameras))
    known = found > 0
    assert found.shape == (height, width) and found.dtype == np.float32
    assert known.mean() > 0.6
    truth = boards_depth(shot.cameras.camera_to_world[MIDDLE], shot.cameras.intrinsics[MIDDLE], height, width)
    assert np.nanmedian(np.abs(found / truth - 1.0)[known]) < 0.05


@pytest.mark.parametrize("sources", [(MIDDLE + 1,), (MIDDLE - 1, MIDDLE + 1)])
def test_few_sources_will_do(shot, sources):
    found = first_look(shot.frames, shot.cameras, MIDDLE, sources, depth_limits(shot.cameras))
    assert np.isfinite(found).all() and (found >= 0).all() and (found > 0).any()


def test_the_middle_is_shown_before_anything_is_measured_and_then_each_frame(shot):
    report = LookingReport(shot.frames)
    seen = estimate_depth_maps(shot.frames, shot.cameras, context=RunContext(Scratch(), report))
    assert [(stage, index) for stage, index, _ in report.looks] == [
        ("depth", MIDDLE), *((stage, index) for stage in ("depth", "motion") for index in range(COUNT))]
    silent = estimate_depth_maps(shot.frames, shot.cameras, context=RunContext(Scratch()))
    for name in ("depth", "confidence", "motion_mask"):
        assert getattr(seen, name).tobytes() == getattr(silent, name).tobytes(), "looking changes nothing"
