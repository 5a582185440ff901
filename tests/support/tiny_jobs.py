"""A clip small enough for tests to solve in seconds, and waiting for real workers.

The clip: a camera that slides past four textured boards at different distances.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from stereodiff_blender.engine.contract import Event, JobFolder
from stereodiff_blender.jobs import worker_process as jobs

WIDTH, HEIGHT, FRAMES = 192, 144, 10
FOCAL_PX = 170.0
LENS = {"focal_mm": 36.0 * FOCAL_PX / WIDTH, "sensor_mm": 36.0}
"""The clip's own, as settings: whoever names it is spared the search for it, half of the time of a solve."""
LENS_OPTIONS = ("--focal-mm", str(LENS["focal_mm"]), "--sensor-mm", "36")
PATIENCE_S = 180.0


def write_movie(path: Path, frames: list[np.ndarray]) -> None:
    """frames: (H,W,3) uint8 RGB each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def render_boards(count: int = FRAMES) -> list[np.ndarray]:
    """Boards that face the camera: (distance, center x, center y, half width, half height); the first fills all."""
    boards = [(9.0, 0.0, 0.0, 14.0, 10.0), (6.0, -1.6, 0.4, 1.3, 2.0), (4.5, 1.4, -0.3, 0.8, 1.2),
              (3.2, 0.0, 1.1, 1.6, 0.5)]
    textures = [_texture(seed, finest) for seed, finest in enumerate((256, 32, 32, 64))]
    return [_render(0.09 * index, 0.02 * index, 0.004 * index, boards, textures) for index in range(count)]


def _texture(seed: int, finest: int) -> np.ndarray:
    """512x512 noise with detail at every scale down to finest cells a side, which is about the board's size in pixels.
    """
    rng = np.random.default_rng(seed)
    picture = np.zeros((512, 512, 3), np.float32)
    for size in [cells for cells in (4, 8, 16, 32, 64, 128, 256) if cells <= finest]:
        noise = rng.uniform(-1, 1, (size, size, 3)).astype(np.float32)
        picture += cv2.resize(noise, (512, 512), interpolation=cv2.INTER_CUBIC)
    tint = rng.uniform(90, 160, 3)
    return np.clip(tint + 38 * picture, 0, 255).astype(np.uint8)


def _render(x: float, y: float, pan: float, boards, textures) -> np.ndarray:
    """The camera stands at (x, y, 0) and is turned by pan about the vertical; boards are drawn from far to near."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    turn = np.array([[np.cos(pan), 0, -np.sin(pan)], [0, 1, 0], [np.sin(pan), 0, np.cos(pan)]])
    lens = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    for (distance, cx, cy, half_width, half_height), texture in zip(boards, textures, strict=True):
        corners = np.array([[cx - half_width, cy - half_height], [cx + half_width, cy - half_height],
                            [cx + half_width, cy + half_height], [cx - half_width, cy + half_height]])
        seen = np.column_stack([corners - (x, y), np.full(4, distance)]) @ turn.T @ lens.T
        place = cv2.getPerspectiveTransform(np.float32([[0, 0], [512, 0], [512, 512], [0, 512]]),
                                            np.float32(seen[:, :2] / seen[:, 2:]))
        drawn = cv2.warpPerspective(texture, place, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        covered = cv2.warpPerspective(np.ones((512, 512), np.uint8), place, (WIDTH, HEIGHT), flags=cv2.INTER_NEAREST)
        picture[covered > 0] = drawn[covered > 0]
    return picture


def wait_until(condition: Callable[[], bool]) -> None:
    """Polls until true; a test that waits in vain fails rather than hangs."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def wait_for_end(job: jobs.FollowedJob) -> jobs.JobStatus:
    wait_until(lambda: job.poll().has_ended)
    return job.poll()


def left_in(folder: Path) -> set[str]:
    """Names in a job folder, besides what is kept for Resume and what a killed worker cannot take away."""
    return {path.name for path in folder.iterdir()} - {"cache", "lock", "heartbeat"}


STAGES = ("read", "track", "solve", "depth", "motion", "borders", "refine", "write")
NOT_COMPARED = {"events.jsonl", "worker.log", "job.json", "result.json", "lock", "heartbeat"}


def contents(folder: Path) -> dict[str, bytes]:
    """What a job gives; of result.json all but how long it took."""
    files = (path for path in folder.rglob("*") if path.is_file() and "cache" not in path.relative_to(folder).parts)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files
             if path.name not in NOT_COMPARED}
    result = json.loads((folder / "result.json").read_text())
    del result["timings_s"]
    return found | {"result.json": json.dumps(result).encode()}


def kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(process: subprocess.Popen, folder: Path) -> None:
    status = process.wait(PATIENCE_S)
    assert status == 0, JobFolder(folder).log_file.read_text()[-2000:]


def events_after(folder: Path, offset: int) -> list[Event]:
    return JobFolder(folder).read_events(offset)[0]


def size_of_events(folder: Path) -> int:
    path = JobFolder(folder).events_file
    return path.stat().st_size if path.exists() else 0


def place_of(events: list[Event], stages: tuple[str, ...] = STAGES) -> tuple[int, float]:
    """How far a run has come: the stage's number and the share of it that is done."""
    last = next((event for event in reversed(events) if event.stage), None)
    if last is None:
        return -1, 0.0
    return stages.index(last.stage), (last.done or 0) / max(last.total or 1, 1)


def run_until(run, folder: Path, place: tuple[int, float], stages: tuple[str, ...] = STAGES) -> bool:
    """Start the job's worker and kill it when it has come so far; False if it came to its end before."""
    offset = size_of_events(folder)
    process = run(folder)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and place_of(events_after(folder, offset), stages) < place:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    if process.poll() is not None:
        assert process.returncode == 0, JobFolder(folder).log_file.read_text()[-2000:]
        return False
    kill(process)
    return True


def noted(folder: Path, name: str) -> int:
    """Units of a step that a run has left."""
    return sum(len(path.read_text().splitlines()) for path in folder.glob(f"cache/*/kept-{name}.ledger"))
