"""Depth while a job runs, in the panel and beside it; the worker is a real process."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import bpy
import numpy as np
import pytest

PICTURE = "depth_so_far.png"


def png_of(color: tuple[int, int, int], width: int = 64, height: int = 72) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = (b"\0" + bytes(color) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.fixture
def job(session, settings, sequence, worker_like):
    """A solve that runs until its worker is told to end: its item in the list."""
    settings.clip = sequence
    worker_like("hang")
    assert bpy.ops.stereodiff.solve(wait=False) == {"FINISHED"}
    item = settings.jobs[-1]
    tick_until(session, lambda: view_of(session, item).status.state == "running")
    return item


def tick_until(session, reached, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        session.tick()
        time.sleep(0.02)


def view_of(session, item):
    return session.status().jobs[item.job_id]


def show(item, data: bytes) -> None:
    """As the worker does."""
    folder = Path(item.folder)
    (folder / PICTURE).write_bytes(data)
    with open(folder / "events.jsonl", "a") as stream:
        stream.write(f'{{"kind": "picture", "time_s": {time.time()}}}\n')


def shown(session) -> tuple[int, int, int] | None:
    """The one color of the one picture that there is. Without a window icons have no numbers to tell them by."""
    pictures = list(session.jobs._pictures._thumbnails.pictures.values())
    if not pictures:
        return None
    (picture,) = pictures
    pixels = np.zeros(len(picture.image_pixels), np.int32)
    picture.image_pixels.foreach_get(pixels)
    assert len(set(pixels.tolist())) == 1
    return tuple(int(value) for value in pixels[:1].view(np.uint8)[:3])


RED, GREEN = (200, 10, 30), (20, 110, 30)


def test_the_picture_comes_and_is_renewed(session, job):
    assert shown(session) is None
    for color in (RED, GREEN):
        show(job, png_of(color))
        tick_until(session, lambda wanted=color: shown(session) == wanted)


@pytest.mark.parametrize("data", [b"", b"no picture", png_of((1, 2, 3))[:60]])
def test_a_damaged_picture_leaves_the_last_one(session, job, data):
    show(job, png_of(RED))
    tick_until(session, lambda: shown(session) == RED)
    show(job, data)
    tick_until(session, lambda: view_of(session, job).status.pictures == 2)
    tick_until(session, lambda: not session.jobs._pictures.is_busy)
    session.tick()
    assert shown(session) == RED
    show(job, png_of(GREEN))
    tick_until(session, lambda: shown(session) == GREEN)


@pytest.mark.parametrize("behavior", ["finish", "fail", "crash"])
def test_it_goes_when_the_job_ends(session, job, worker_like, behavior):
    show(job, png_of(RED))
    tick_until(session, lambda: shown(session) == RED)
    worker_like(behavior)
    tick_until(session, lambda: view_of(session, job).status.has_ended)
    session.tick()
    assert shown(session) is None


def test_it_goes_when_the_job_is_cancelled(session, job):
    show(job, png_of(RED))
    tick_until(session, lambda: shown(session) == RED)
    assert bpy.ops.stereodiff.cancel(job_id=job.job_id) == {"FINISHED"}
    tick_until(session, lambda: view_of(session, job).status.state == "cancelled")
    session.tick()
    assert shown(session) is None
    assert not (Path(job.folder) / PICTURE).exists()
