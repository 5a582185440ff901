"""A real job's report tells where its depth is guessed."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, camera_path, render_boards
from clips import write_encoded

from stereodiff_blender.engine.contract import Job, JobFolder, Settings
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.media.frames import source_from_path
from stereodiff_blender.engine.quality.regions import guessed_regions
from stereodiff_blender.engine.solution import StereoResult
from stereodiff_blender.engine.worker.run import run
from stereodiff_blender.jobs import grades
from stereodiff_blender.jobs.result_looks import outcome_of

COUNT = 10


@pytest.mark.slow
def test_what_leaves_the_picture_at_once_is_guessed_and_told_by_the_files_numbers(tmp_path):
    """The camera travels to the right: what stands at the left edge of the first frame is seen in no other."""
    poses = camera_path(COUNT, travel=1.5, turn_deg=0.0)
    pictures = render_boards(poses, focal_px=FOCAL_PX, width=WIDTH, height=HEIGHT)
    for number, picture in enumerate(pictures, 1001):
        write_encoded(tmp_path / f"boards_{number}.png", picture[..., ::-1])
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    folder.write_job(Job("edges", source_from_path(tmp_path / "boards_1001.png"), 1, COUNT, Settings(quality="draft")))
    result = run(folder.path)
    found = {(one.region, one.first_frame) for one in result.quality.guessed}
    assert ("left", 1) in found and not {region for region, _ in found} & {"middle", "bottom"}
    depth, sure, moves = (np.stack([exr.read_exr(folder.path / getattr(frame, product))["V"]
                                    for frame in result.frames]) for product in ("depth", "confidence", "motion_mask"))
    assert result.quality.guessed == guessed_regions(StereoResult(None, depth, sure, moves), 1), "no sky is in it"
    outcome = outcome_of(folder.read_result())
    assert "left" in outcome.guessed[0] and "1001" in outcome.guessed[0]
    assert grades.worst("moving", outcome.quality) != grades.GOOD
