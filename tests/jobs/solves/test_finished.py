"""A whole job on a tiny clip: what it writes, that it can be followed by anyone, and that it repeats itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_jobs import (
    FOCAL_PX,
    FRAMES,
    HEIGHT,
    LENS,
    WIDTH,
    left_in,
    render_boards,
    wait_for_end,
    wait_until,
    write_movie,
)

from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Settings
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.worker import run as worker
from stereodiff_blender.jobs import worker_process as jobs

pytestmark = pytest.mark.slow

PRODUCTS = {"depth", "confidence", "motion_mask", "mesh_depth"}


@pytest.fixture(scope="module")
def finished(tiny_clip, worker_python, repository, tmp_path_factory) -> JobFolder:
    """One solve of frames 2 to 10 with the lens known, whose worker was followed to its end."""
    job = Job("tiny", ClipSource("movie", str(tiny_clip)), 2, FRAMES, Settings(**LENS))
    folder = jobs.create_job(job, tmp_path_factory.mktemp("jobs"))
    process = jobs.start(folder, worker_python, repository)
    followed = jobs.FollowedJob(folder, process)
    status = wait_for_end(followed)
    assert status.state == "finished", status
    assert (status.fraction, status.eta_s) == (1.0, None)
    process.wait()
    return followed.folder


def test_the_folder_holds_what_the_contract_names(finished):
    assert left_in(finished.path) == {"job.json", "events.jsonl", "worker.log", "result.json", "points.ply",
                                      "preview.png", "preview.mp4", "flicker.png", "camera.png"} | PRODUCTS
    assert sorted(path.name for path in (finished.path / "depth").iterdir()) == [
        f"{frame:04d}.exr" for frame in range(2, FRAMES + 1)]


def test_the_result_says_what_was_solved(finished):
    result = finished.read_result()
    assert (result.width, result.height, result.clip_width, result.clip_height) == (WIDTH, HEIGHT, WIDTH, HEIGHT)
    assert (result.camera_kind, result.fps, result.clip.fps) == ("moving", 24.0, 24.0)
    assert [frame.frame for frame in result.frames] == list(range(2, FRAMES + 1))
    assert result.frames[0].fx == pytest.approx(FOCAL_PX)
    assert result.quality.solved_share == 1.0
    assert result.quality.reprojection_mean_px < 0.5
    assert set(result.timings_s) == {"read", "track", "solve", "depth", "motion", "borders", "refine", "write"}


def test_depth_lies_in_the_range_that_is_named(finished):
    result = finished.read_result()
    near, far = result.depth_range
    (depth,) = exr.read_exr(finished.path / result.frames[4].depth).values()
    assert depth.shape == (HEIGHT, WIDTH) and depth.dtype == np.float32
    inside = (depth > 0.8 * near) & (depth < 1.2 * far)
    assert inside.mean() > 0.95
    assert 2.0 < far / near < 5.0  # the boards stand 3.2 to 9 units away


def test_the_camera_slides_the_way_it_was_moved(finished):
    cameras = np.array([frame.camera_to_world for frame in finished.read_result().frames])
    path = cameras[-1, :3, 3]
    assert path[0] / np.linalg.norm(path) == pytest.approx(0.976, abs=0.02)
    assert path[1] / path[0] == pytest.approx(0.02 / 0.09, abs=0.05)


def test_points_have_the_colors_of_the_picture(finished):
    header, body = (finished.path / "points.ply").read_bytes().split(b"end_header\n")
    assert b"property uchar red" in header
    points = np.frombuffer(body, np.dtype([("position", "<f4", 3), ("color", "u1", 3)]))
    assert len(points) > 100
    assert points["color"].std(axis=0).min() > 10


def test_events_tell_the_whole_story(finished):
    events = finished.read_events()[0]
    assert (events[0].kind, events[-1].kind) == ("started", "finished")
    plan = dict(events[0].plan)
    stages = [event.stage for event in events if event.kind == "stage"]
    assert set(stages) <= set(plan)
    assert sum(plan.values()) == pytest.approx(1.0)
    for stage in dict.fromkeys(stages):
        last = [event for event in events if event.stage == stage][-1]
        assert last.kind == "progress" and last.done == last.total, stage


def test_a_later_blender_sees_it_finished(finished):
    assert jobs.FollowedJob(finished.path).poll().state == "finished"


def test_warnings_reach_result_and_status_alike(finished):
    told = [(event.code, event.message) for event in finished.read_events()[0] if event.kind == "warning"]
    assert [(w.code, w.message) for w in finished.read_result().warnings] == told
    assert [(w.code, w.message) for w in jobs.FollowedJob(finished.path).poll().warnings] == told


def test_the_same_job_gives_the_same_bytes(finished, start, make_job):
    again = start(make_job(first=2, **LENS))
    assert wait_for_end(again).state == "finished"
    first, second = finished.read_result(), again.folder.read_result()
    assert first.frames == second.frames
    assert (first.quality, first.depth_range) == (second.quality, second.depth_range)
    for name in produced(finished):
        assert (finished.path / name).read_bytes() == (again.folder.path / name).read_bytes(), name


def produced(folder: JobFolder) -> list[Path]:
    files = [path.relative_to(folder.path) for product in PRODUCTS for path in (folder.path / product).iterdir()]
    assert len(files) == len(PRODUCTS) * (FRAMES - 1)
    return [*files, Path("points.ply"), Path("preview.png"), Path("preview.mp4")]


def test_a_worker_outlives_the_one_who_started_it(start, make_job):
    first = start(make_job(last=4, refine="none", **LENS))
    wait_until(lambda: first.poll().stage is not None)
    later = jobs.FollowedJob(first.folder.path)
    assert later.poll().state == "running"
    assert wait_for_end(later).state == "finished"
    assert later.folder.read_result().refine == "none"


def test_a_camera_that_does_not_move_gives_no_depth_and_says_so(start, make_job, tmp_path):
    """Two pictures of one place that differ in grain alone."""
    grain = np.random.default_rng(5)
    still = render_boards(1)[0].astype(int)
    frames = [np.clip(still + grain.integers(-6, 7, still.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    write_movie(tmp_path / "tripod.mp4", frames)
    job = start(make_job(tmp_path / "tripod.mp4", last=6))
    status = wait_for_end(job)
    assert status.state == "finished", status
    result = job.folder.read_result()
    assert (result.camera_kind, result.depth_range) == ("static", None)
    assert "static_camera" in [warning.code for warning in status.warnings]
    assert left_in(job.folder.path) == {"job.json", "events.jsonl", "worker.log", "result.json", "preview.png",
                                        "preview.mp4"}


def test_stage_1_of_a_camera_that_does_not_move_is_taken_over_and_named(make_job, user_folder, tmp_path):
    grain = np.random.default_rng(3).integers(-6, 7, (FRAMES, HEIGHT, WIDTH, 3))
    write_movie(tmp_path / "still.mp4", list(np.clip(render_boards(1)[0] + grain, 0, 255).astype(np.uint8)))
    first, second = (make_job(clip=tmp_path / "still.mp4", refine=refine) for refine in ("guided", "none"))
    assert worker.run(first).stereo_from is None
    result = worker.run(second)
    assert result.camera_kind == "static" and result.stereo_from == first.name
    assert result == JobFolder(second).read_result(), "what is handed back is what was written"
    assert {event.stage for event in JobFolder(second).read_events()[0] if event.kind == "stage"} == {"read", "write"}
