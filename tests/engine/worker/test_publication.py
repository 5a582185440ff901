"""What a job's folder is given besides its arrays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import Job, JobFolder, Quality, Settings
from stereodiff_blender.engine.media.frames import ClipInfo, Raster, source_from_path
from stereodiff_blender.engine.pipeline import Estimate
from stereodiff_blender.engine.quality.plots import write_camera_plot
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.storage import RunContext
from stereodiff_blender.engine.worker.event_report import EventReport
from stereodiff_blender.engine.worker.publication import publish
from stereodiff_blender.engine.worker.reading import Request

ERROR_PX = np.array([0.2, 0.5, 0.3])
SOLVED = np.ones(3, bool)


@pytest.mark.parametrize("larger", [1, 2, 3])
def test_the_plot_of_the_cameras_fit_is_in_pixels_of_the_plate(tmp_path, larger):
    pictures = np.random.default_rng(4).integers(0, 256, (3, 36, 64, 3), np.uint8)
    width, height = 64 * larger, 36 * larger
    for number, picture in enumerate(pictures, 1):
        cv2.imwrite(str(tmp_path / f"p_{number}.png"), cv2.resize(picture, (width, height)))
    cameras = CameraSolution("rotation", np.tile(np.eye(4), (3, 1, 1)), np.tile([50.0, 50.0, 32.0, 18.0], (3, 1)),
                             SOLVED, ERROR_PX, np.zeros((0, 3)), np.zeros(0))
    folder = JobFolder(tmp_path)
    job = Job("job", source_from_path(tmp_path / "p_1.png"), 1, 3, Settings())
    folder.write_job(job)
    request = Request(job, folder, ClipInfo(width, height, 1.0, 24.0, 3), Raster(64, 36, width, height, 1.0))
    result = publish(request, pictures, Estimate(cameras, Quality(solved_share=1.0)), (), RunContext(),
                     EventReport(folder))
    write_camera_plot(tmp_path / "expected.png", reprojection_px=larger * ERROR_PX, solved=SOLVED, first_frame=1)
    assert folder.camera_plot_file.read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert [frame.reprojection_px for frame in result.frames] == ERROR_PX.tolist()
