"""A whole job shows depth while it runs, and its result is what it would be without."""

from __future__ import annotations

import io

import numpy as np
import pytest
from tiny_jobs import (
    FRAMES,
    HEIGHT,
    LENS,
    WIDTH,
    contents,
    left_in,
    render_boards,
    wait_for_end,
    wait_until,
    write_movie,
)

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.worker import run as worker
from stereodiff_blender.jobs.result_looks import read_picture_so_far

pytestmark = pytest.mark.slow

PICTURE = "depth_so_far.png"


def test_depth_is_seen_before_any_is_measured_and_the_picture_is_gone_at_the_end(start, make_job):
    job = start(make_job(**LENS))
    wait_until(lambda: job.poll().pictures or job.poll().has_ended)
    assert job.poll().state == "running"
    shown = read_picture_so_far(job.folder.path)
    assert shown is not None and shown.shape == (256, 128 * WIDTH // HEIGHT)
    assert wait_for_end(job).state == "finished"
    kinds = [(event.kind, event.stage) for event in job.folder.read_events()[0]]
    assert kinds.index(("picture", None)) < kinds.index(("stage", "depth"))
    assert PICTURE not in left_in(job.folder.path)


def test_the_result_is_the_same_where_no_picture_can_be_written(make_job):
    """A folder stands in the picture's place, as good as a disk that refuses it."""
    seen, unseen = (JobFolder(make_job(last=6, **LENS)) for _ in range(2))
    (unseen.path / "cache").mkdir()
    unseen.picture_so_far.mkdir()
    log = io.StringIO()
    assert worker.run(seen.path).frames == worker.run(unseen.path, log=log).frames
    assert "picture" in [event.kind for event in seen.read_events()[0]]
    assert "picture" not in [event.kind for event in unseen.read_events()[0]]
    assert log.getvalue().count("There is no picture of depth") == 1
    unseen.picture_so_far.rmdir()
    with_pictures, without = contents(seen.path), contents(unseen.path)
    for own in (with_pictures, without):
        del own["result.json"]  # which names the job
    assert with_pictures == without


def test_a_camera_that_does_not_move_shows_nothing(make_job, tmp_path):
    grain = np.random.default_rng(3).integers(-6, 7, (6, HEIGHT, WIDTH, 3))
    write_movie(tmp_path / "still.mp4", list(np.clip(render_boards(1)[0] + grain, 0, 255).astype(np.uint8)))
    folder = JobFolder(make_job(clip=tmp_path / "still.mp4", last=6))
    assert worker.run(folder.path).camera_kind == "static"
    assert "picture" not in [event.kind for event in folder.read_events()[0]]


def test_a_cancelled_job_keeps_no_picture_and_a_resumed_one_shows_new_ones(start, make_job):
    job = start(make_job(last=FRAMES, **LENS))
    wait_until(lambda: job.poll().pictures or job.poll().has_ended)
    assert (job.folder.path / PICTURE).is_file()
    job.cancel()
    assert wait_for_end(job).state == "cancelled"
    assert PICTURE not in left_in(job.folder.path)
    again = start(job.folder.path)
    wait_until(lambda: again.poll().pictures or again.poll().has_ended)
    assert again.poll().state == "running" and (job.folder.path / PICTURE).is_file()
    assert wait_for_end(again).state == "finished" and PICTURE not in left_in(job.folder.path)
