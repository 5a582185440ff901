"""The trust report on the command line."""

from __future__ import annotations

from dataclasses import replace

from job_folder import EXAMPLE, write_job_folder

from stereodiff_blender.engine.cli.solve import quality_lines
from stereodiff_blender.engine.contract import Quality


def test_frames_without_a_camera_are_told_by_the_files_numbers(tmp_path):
    result = write_job_folder(tmp_path / "job", replace(EXAMPLE, first_number=1001))
    lines = quality_lines(replace(result, quality=Quality(solved_share=0.5, unsolved_frames=(2, 3))))
    assert [line.split() for line in lines if "unsolved" in line] == [["unsolved_frames", "1002", "1003"]]
