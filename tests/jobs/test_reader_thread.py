"""Reading beside Blender: one after the other, each once, and nobody waits for what hangs."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.jobs.reader_thread import ReaderThread, read_beside

PATIENCE_S = 20.0


@pytest.fixture
def reader():
    reader = ReaderThread("test", patience_s=0.2)
    yield reader
    reader.close()


@pytest.fixture
def gate():
    """Whatever waits for it in a thread goes on after the test."""
    gate = threading.Event()
    yield gate
    gate.set()


def answers_until(reader: ReaderThread, count: int) -> dict:
    """The first answers, by key."""
    came, end = [], time.monotonic() + PATIENCE_S
    while len(came) < count:
        assert time.monotonic() < end, came
        came += reader.answers()
        time.sleep(0.005)
    return {answer.key: answer.error or answer.value for answer in came}


def test_answers_come_in_order_and_from_another_thread(reader):
    assert not reader.is_busy and reader.answers() == []
    threads = []
    for number in range(5):
        assert reader.ask(number, lambda number=number: (threads.append(threading.get_ident()), 10 * number)[1])
    assert reader.is_busy
    came = answers_until(reader, 5)
    assert came == {0: 0, 1: 10, 2: 20, 3: 30, 4: 40} and list(came) == [0, 1, 2, 3, 4]
    assert set(threads) != {threading.get_ident()} and len(set(threads)) == 1
    assert not reader.is_busy


def test_what_is_being_read_is_not_asked_for_again(reader, gate):
    assert reader.ask("a", gate.wait)
    assert not reader.ask("a", gate.wait) and reader.is_asked("a")
    gate.set()
    assert answers_until(reader, 1) == {"a": True}
    assert not reader.is_asked("a") and reader.ask("a", gate.wait)


def test_an_error_is_an_answer(reader, caplog):
    def refuse():
        raise StereoDiffError("job_missing", "It is gone.")

    reader.ask("refused", refuse)
    reader.ask("broken", lambda: 1 / 0)
    reader.ask("fine", lambda: 1)
    came = answers_until(reader, 3)
    assert came["refused"].code == "job_missing" and isinstance(came["broken"], ZeroDivisionError)
    assert came["fine"] == 1 and "failed" in caplog.text


def test_nobody_waits_for_what_hangs(reader, gate):
    reader.ask("hangs", gate.wait)
    reader.ask("fine", lambda: 1)
    came = answers_until(reader, 2)
    assert came["hangs"].code == "disk_silent" and came["fine"] == 1
    assert not reader.is_busy, "nothing more is waited for"
    assert not reader.ask("hangs", gate.wait), "it hangs already"
    gate.set()
    assert answers_until(reader, 1) == {"hangs": True}, "it came after all"


@pytest.mark.slow
def test_no_more_threads_hang_than_some(reader, gate):
    before = threading.active_count()
    for number in range(3 * reader.MOST_HUNG):
        reader.ask(number, gate.wait)
    came = answers_until(reader, reader.MOST_HUNG)
    time.sleep(0.3)
    assert reader.answers() == [] and len(came) == reader.MOST_HUNG
    assert threading.active_count() - before <= reader.MOST_HUNG + 1
    gate.set()
    assert len(answers_until(reader, 3 * reader.MOST_HUNG)) == 3 * reader.MOST_HUNG


def test_a_closed_reader_ends_its_thread():
    reader = ReaderThread("to be closed")
    reader.close()
    reader.ask("a", lambda: threading.current_thread())
    thread = answers_until(reader, 1)["a"]
    reader.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_one_may_wait_for_one_thing_but_not_for_ever(gate):
    assert read_beside(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        read_beside(lambda: 1 / 0)
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "disk_silent"):
        read_beside(gate.wait, patience_s=0.1)


class Large:
    """Something that was read."""


def test_an_error_holds_on_to_nothing_that_was_read(reader):
    """Blender's thread drops the answer, and would have to let go of a file of any size with it."""
    alive = []

    def read():
        large = Large()
        alive.append(weakref.ref(large))
        try:
            raise KeyError(large)
        except KeyError as error:
            raise StereoDiffError("job_invalid", "No.") from error

    assert reader.ask("a", read)
    error = answers_until(reader, 1)["a"]
    assert error.code == "job_invalid" and error.__traceback__ is None
    gc.collect()
    assert alive[0]() is None
