"""Files that appear whole or not at all."""

from __future__ import annotations

import os

import pytest

from stereodiff_blender.engine.contract.whole_files import put_in_place, replacing


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_takes_its_place_at_the_end(tmp_path, before):
    path = tmp_path / "weights.bin"
    if before is not None:
        path.write_bytes(before)
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert (path.read_bytes() if path.exists() else None) == before
    assert path.read_bytes() == b"new" and names(tmp_path) == ["weights.bin"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_what_failed_leaves_nothing_behind(tmp_path, before):
    path = tmp_path / "weights.bin"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        _ = 1 // 0
    assert names(tmp_path) == ([] if before is None else ["weights.bin"])
    assert before is None or path.read_bytes() == before


def test_nothing_written_is_an_error_and_the_old_file_stays(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_bytes() == b"old"


def test_processes_do_not_share_a_name(tmp_path, monkeypatch):
    path = tmp_path / "weights.bin"
    with replacing(path) as mine, monkeypatch.context() as patch:
        mine.write_bytes(b"mine")
        patch.setattr(os, "getpid", lambda: -1)
        with replacing(path) as theirs:
            theirs.write_bytes(b"theirs")
        assert path.read_bytes() == b"theirs" and mine.read_bytes() == b"mine"
    assert path.read_bytes() == b"mine" and names(tmp_path) == ["weights.bin"]


def test_it_is_flushed_before_it_is_moved(tmp_path, monkeypatch):
    written, path, told = tmp_path / "part", tmp_path / "whole", []
    written.write_bytes(b"all")
    really = os.fsync

    def fsync(descriptor: int) -> None:
        told.append((os.fstat(descriptor).st_ino == os.stat(written).st_ino, path.exists()))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    put_in_place(written, path)
    assert told == [(True, False)] and path.read_bytes() == b"all" and not written.exists()
