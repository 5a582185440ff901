"""A job's large arrays: zeroed, writable, and on disk where they should not fill the memory."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from stereodiff_blender.engine.scratch import DiskScratch, Scratch


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
