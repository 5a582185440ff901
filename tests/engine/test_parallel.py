"""Units of work on several cores: in order, few ahead, and a unit that fails spoils no other."""

from __future__ import annotations

import os
import threading
import time

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine import parallel
from stereodiff_blender.engine.parallel import ONE_CORE, Cores

WAIT_S = 10.0
COUNTS = (1, 2, 7, 16)


@pytest.mark.parametrize("count", COUNTS)
def test_results_come_in_the_order_of_the_units_whichever_is_done_first(count: int):
    def work(unit: int) -> int:
        time.sleep(0.002 * (unit % 3))
        return unit * unit

    assert list(Cores(count).map(work, range(20))) == [unit * unit for unit in range(20)]


@pytest.mark.parametrize("count", COUNTS)
def test_there_may_be_no_units_or_one(count: int):
    assert list(Cores(count).map(str, [])) == [] and list(Cores(count).map(str, [3])) == ["3"]


def test_so_many_units_are_worked_on_at_once():
    """Each of them waits until all are there, which one after the other would never do."""
    together = threading.Barrier(3)
    assert sorted(Cores(3).map(lambda _: together.wait(WAIT_S), range(3))) == [0, 1, 2]


def test_one_core_works_in_the_thread_that_asks():
    assert set(ONE_CORE.map(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


def test_few_units_are_begun_ahead_of_what_is_taken():
    begun = []
    results = Cores(2).map(begun.append, range(100))
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 4
    results.close()


def test_a_unit_within_a_unit_works_where_it_is():
    cores = Cores(2)

    def work(_: int) -> bool:
        here = threading.get_ident()
        return set(cores.map(lambda _: threading.get_ident(), range(4))) == {here}

    assert all(cores.map(work, range(4)))


def test_the_first_failure_is_told_and_nothing_is_begun_after_it():
    begun = []

    def work(unit: int) -> int:
        begun.append(unit)
        if unit == 3:
            raise ValueError("three")
        return unit

    taken = []
    with pytest.raises(ValueError, match="three"):
        for result in Cores(2).map(work, range(50)):
            taken.append(result)  # noqa: PERF402 - what was there before the failure is to be seen
    assert taken == [0, 1, 2] and max(begun) < 8


def test_who_stops_asking_waits_for_no_unit_that_has_not_begun():
    done = []
    results = Cores(2).map(lambda unit: (time.sleep(0.01), done.append(unit)), range(1000))
    next(results)
    results.close()
    assert len(done) < 10
    time.sleep(0.05)
    assert len(done) < 10


@pytest.mark.parametrize("lack", [MemoryError(), OSError(12, "Cannot allocate memory")])
def test_a_unit_that_lacks_memory_is_done_again_alone(lack: Exception):
    at_work, together, guard = set(), [], threading.Lock()
    failed = threading.Event()

    def work(unit: int) -> int:
        with guard:
            at_work.add(unit)
        time.sleep(0.01)
        try:
            if unit == 2 and not failed.is_set():
                failed.set()
                raise lack
            if unit == 2:
                together.extend(at_work)
        finally:
            with guard:
                at_work.discard(unit)
        return unit

    assert list(Cores(3).map(work, range(6))) == list(range(6))
    assert together == [2]


def test_memory_that_is_lacking_still_is_told():
    def work(unit: int) -> int:
        if unit == 1:
            raise MemoryError
        return unit

    with pytest.raises(MemoryError):
        list(Cores(2).map(work, range(4)))


def test_how_numpy_treats_faults_is_the_same_in_every_thread():
    def work(_: int) -> float:
        return float(np.float32(1.0) / np.zeros(1, np.float32)[0])

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(Cores(2).map(work, range(4)))
    with np.errstate(divide="ignore"):
        assert list(Cores(2).map(work, range(4))) == [np.inf] * 4


def test_opencv_adds_no_threads_of_its_own():
    before = cv2.getNumThreads()
    assert set(Cores(2).map(lambda _: cv2.getNumThreads(), range(4))) == {1}
    assert cv2.getNumThreads() == before
    with Cores(3).in_opencv():
        assert cv2.getNumThreads() == 3
        list(Cores(2).map(str, range(4)))
        assert cv2.getNumThreads() == 3
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize(("there", "asked", "count"), [
    (16, 0, 16), (16, -1, 15), (16, 3, 3), (2, -1, 2), (1, -1, 1), (1, 0, 1), (4, -1, 3), (4, -9, 2), (2, 8, 8),
])
def test_cores_that_are_asked_for(monkeypatch: pytest.MonkeyPatch, there: int, asked: int, count: int):
    monkeypatch.setattr(parallel, "available_cores", lambda: there)
    assert Cores.asked(asked).count == count


def test_more_cores_than_there_can_be_are_taken_for_the_most():
    assert Cores(10_000).count == parallel.MAX_CORES
    with pytest.raises(ValueError, match="core"):
        Cores(0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell of a process")
def test_cores_are_those_that_the_process_may_run_on():
    assert parallel.available_cores() == len(os.sched_getaffinity(0))
