"""A job's large arrays: zeroed, writable, and on disk where they should not fill the memory."""

from __future__ import annotations

import mmap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stereodiff_blender.engine.storage.scratch import DiskScratch, Scratch


@pytest.fixture(params=["memory", "disk"])
def scratch(request, tmp_path) -> Scratch:
    return Scratch() if request.param == "memory" else DiskScratch(tmp_path / "not" / "there" / "yet")


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, bool])
def test_arrays_start_at_zero_and_keep_what_is_written(scratch, dtype):
    array = scratch.allocate("depth", (3, 4, 5), dtype)
    assert array.shape == (3, 4, 5) and array.dtype == dtype and not array.any()
    array[1] = 1
    assert array.sum() == 20


def test_two_names_are_two_arrays(scratch):
    first, second = scratch.allocate("one", (2, 2), np.float32), scratch.allocate("two", (2, 2), np.float32)
    first[:] = 1
    assert not second.any()


def test_an_array_on_disk_is_a_mapped_file_that_can_be_read_again(tmp_path):
    array = DiskScratch(tmp_path).allocate("depth", (2, 3), np.float32)
    assert isinstance(array.base, mmap.mmap), "the array must not be held in memory"
    array[:] = 7
    array.flush()
    assert np.array_equal(np.load(tmp_path / "depth.npy"), np.full((2, 3), 7, np.float32))


def test_allocating_a_name_again_starts_from_zero(tmp_path):
    scratch = DiskScratch(tmp_path)
    scratch.allocate("depth", (2, 3), np.float32)[:] = 7
    assert not scratch.allocate("depth", (4, 3), np.float32).any()


def test_letting_go_keeps_what_was_written(tmp_path):
    scratch = DiskScratch(tmp_path)
    array = scratch.allocate("depth", (40, 100, 100), np.float32)
    array[:] = np.arange(40)[:, None, None]
    scratch.let_go()
    np.testing.assert_array_equal(array, np.broadcast_to(np.arange(40)[:, None, None], array.shape))
    array[3] = 7.0
    scratch.let_go()
    assert array[3].min() == 7.0 and array[39].max() == 39.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read as Linux tells it")
def test_letting_go_gives_back_memory(tmp_path):
    scratch = DiskScratch(tmp_path)
    array = scratch.allocate("depth", (64, 1024, 256), np.float32)
    array[:] = 1.0
    before = mapped_mb()
    scratch.let_go()
    assert before - mapped_mb() > 50


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read as Linux tells it")
def test_a_relieved_scratch_lets_go_by_itself_and_loses_nothing(tmp_path):
    scratch = DiskScratch(tmp_path)
    array = scratch.allocate("depth", (64, 1024, 256), np.float32)
    array[:] = 1.0
    with_it = mapped_mb()
    with scratch.relieved(mapped_mb=0.0):
        deadline = time.monotonic() + 20
        while with_it - mapped_mb() < 50 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert with_it - mapped_mb() >= 50
        for value in range(5):
            array += 1.0
            assert array.min() == array.max() == value + 2
    assert "scratch relief" not in [thread.name for thread in threading.enumerate()]


def mapped_mb() -> float:
    """Pages of files in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024
