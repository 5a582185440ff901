"""One process has a lock, however it came to it, and nobody has it once that process is gone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import file_lock

HOLDER = """
import os, sys
from stereodiff_blender.engine.contract import file_lock
how, path = sys.argv[1:]
descriptor = os.open(path, os.O_RDWR) if how == "acquire" else file_lock.open_alone(path)
print(file_lock.acquire(descriptor) if how == "acquire" else descriptor is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "lock").touch()
    return tmp_path / "lock"


@pytest.fixture
def holder(path, repository) -> Iterator[Callable[[str], subprocess.Popen]]:
    """holder(how): another process that holds the lock until it is killed."""
    started: list[subprocess.Popen] = []

    def start(how: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, how, path], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(repository)})
        started.append(process)
        assert process.stdout.readline() == "True\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_the_first_has_it_until_the_file_is_closed(path):
    with opened(path) as ours, opened(path) as second:
        assert file_lock.is_free(ours) and file_lock.acquire(ours)
        assert not file_lock.acquire(second) and not file_lock.is_free(second)
    with opened(path) as third:
        assert file_lock.acquire(third)


@pytest.mark.parametrize("how", ["acquire", "open_alone"])
def test_another_process_has_it_until_it_is_killed(path, holder, how):
    process = holder(how)
    assert file_lock.open_alone(path) is None
    with opened(path) as ours:
        assert not file_lock.acquire(ours) and not file_lock.is_free(ours)
        process.kill()
        process.wait()
        assert file_lock.is_free(ours)
    descriptor = file_lock.open_alone(path)
    assert descriptor is not None
    os.close(descriptor)


def test_whoever_looks_takes_nothing_from_who_looks_at_the_same_time(path):
    with opened(path) as ours, opened(path) as second:
        assert file_lock.is_free(ours) and file_lock.is_free(second)


@pytest.mark.skipif(os.name == "nt", reason="an open file is inherited otherwise there")
def test_an_heir_goes_on_holding_it(path):
    descriptor = file_lock.open_alone(path)
    heir = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
                            pass_fds=(descriptor,))
    os.close(descriptor)
    assert file_lock.open_alone(path) is None
    heir.kill()
    heir.communicate()
    last = file_lock.open_alone(path)
    assert last is not None
    os.close(last)


def test_what_no_lock_can_be_had_of_is_an_error(path):
    with opened(path) as descriptor:
        pass
    for ask in (file_lock.acquire, file_lock.is_free):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            ask(descriptor)


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        file_lock.open_alone(path)
    assert not (tmp_path / "elsewhere").exists()


def test_no_number_means_both(path):
    assert not file_lock.HELD & file_lock.NO_LOCKS
