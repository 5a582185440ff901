"""Cameras of a lens that is more than a pinhole's, refined on tracked points: not where rows are shot one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from depth_scenes import ray_cast
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import LensResult, Settings
from stereodiff_blender.engine.footage import inspect_footage, prepare_footage
from stereodiff_blender.engine.pipeline.stereo_steps import measure_clip
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.storage import RunContext, Scratch

COUNT = 6

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("readout", [0.0, 0.5])
def test_cameras_of_a_rolling_shutter_are_not_refined_as_if_all_rows_were_one(readout):
    shot = ray_cast(COUNT)
    cameras = CameraSolution("moving", shot.camera_to_world, shot.intrinsics, np.ones(COUNT, bool), np.zeros(COUNT),
                             np.zeros((0, 3)), np.zeros(0), [(np.zeros(0, np.int64), np.zeros((0, 2)))] * COUNT)
    cameras = replace(cameras, lens=LensResult(readout=readout))
    prepared = prepare_footage(shot.frames, None, inspect_footage(shot.frames), Scratch())
    report = RecordingReport()
    clip = measure_clip(prepared, prepared.measurable_frames(Scratch()), cameras, Settings(refine_cameras=True), True,
                        context=RunContext(report=report))
    assert ("rolling_shutter" in report.warnings) == bool(readout)
    assert (clip.cameras is cameras) == bool(readout)
    assert clip.cameras.lens == cameras.lens
