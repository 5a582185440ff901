"""The files of a folder and nothing a link leads to: every operation against every kind of trap."""

from __future__ import annotations

import gc
import os
import socket
import sys
import weakref
from contextlib import suppress

import pytest

from stereodiff_blender.engine.contract import write_refusal
from stereodiff_blender.engine.contract.errors import UnsafeFileError
from stereodiff_blender.engine.contract.guarded_files import ASIDE, GuardedFolder
from stereodiff_blender.engine.contract.job_files import folder_handles

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and links without a right to make them")
PRECIOUS = b"the artist's own"


@pytest.fixture(params=["descriptors", "paths"])
def folder(request, tmp_path, monkeypatch) -> GuardedFolder:
    """A job's folder by either way of looking names up; the second is Windows', and works elsewhere, too."""
    if request.param == "paths":
        monkeypatch.setattr(folder_handles, "HANDLE", folder_handles.PathHandle)
    elif folder_handles.HANDLE is folder_handles.PathHandle:
        pytest.skip("this system looks nothing up from an open folder")
    (tmp_path / "job").mkdir()
    return GuardedFolder(tmp_path / "job")


@pytest.fixture
def outside(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "precious").write_bytes(PRECIOUS)
    return home


def untouched(outside) -> bool:
    return os.listdir(outside) == ["precious"] and (outside / "precious").read_bytes() == PRECIOUS


# --- Plain files -----------------------------------------------------------------------------------------------

def test_what_is_written_is_read_again(folder):
    folder.write_bytes("a", b"long content")
    folder.write_bytes("a", b"short")
    assert folder.read_bytes("a") == b"short" and folder.read_text("a") == "short"


def test_a_folder_is_made_with_all_between_and_stays_when_made_again(folder):
    folder.make_folder("cache/input").write_bytes("x", b"1")
    folder.make_folder("cache/input")
    assert folder.read_bytes("cache/input/x") == b"1" and folder.inside("cache").names() == ["input"]


def test_a_folder_that_was_deleted_does_not_come_back(folder):
    folder.path.rmdir()
    with pytest.raises(FileNotFoundError):
        folder.make_folder("cache")
    assert not folder.path.exists() and folder.names() == []


def test_appending_goes_on_at_the_end(folder):
    for part in (b"one", b"two"):
        with folder.open_for_writing("events", "append") as stream:
            stream.write(part)
    assert folder.read_bytes("events") == b"onetwo"


def test_updating_keeps_what_is_there_and_wants_a_file(folder):
    folder.write_bytes("a", b"abc")
    with folder.open_for_writing("a", "update") as stream:
        stream.write(b"X")
    assert folder.read_bytes("a") == b"Xbc"
    with pytest.raises(FileNotFoundError):
        folder.open_for_writing("missing", "update")


def test_new_means_new(folder):
    folder.write_bytes("a", b"abc")
    with pytest.raises(FileExistsError):
        folder.open_for_writing("a", "new")


def test_a_file_is_replaced_whole_or_not_at_all(folder):
    folder.replace("result", b"first")
    with pytest.raises(RuntimeError), folder.replacing("result") as stream:
        stream.write(b"half of the sec")
        raise RuntimeError
    assert folder.read_bytes("result") == b"first"
    folder.replace("result", b"second")
    assert folder.read_bytes("result") == b"second" and folder.names() == ["result"]


def test_a_touch_makes_a_file_and_moves_its_time(folder):
    folder.touch("heartbeat")
    os.utime(folder.path / "heartbeat", (1, 1))
    folder.touch("heartbeat")
    assert folder.stat("heartbeat").st_mtime > 1 and folder.read_bytes("heartbeat") == b""


def test_what_is_missing_is_nothing(folder):
    assert folder.stat("a") is None and folder.stat("a/b") is None and not folder.is_file("a")
    assert not folder.unlink("a") and not folder.remove_tree("a")
    folder.refuse_unsafe("a")


@pytest.mark.parametrize("missing", ["a", "a/b"])
def test_a_file_that_was_looked_for_in_vain_holds_nothing_of_its_caller(folder, missing):
    """An error that is its own cause would keep the pictures of whoever looked, until a collection."""
    class Picture:
        pass

    def read_in_vain() -> weakref.ref:
        picture = Picture()
        with suppress(FileNotFoundError):
            folder.read_bytes(missing)
        return weakref.ref(picture)

    gc.disable()
    try:
        assert read_in_vain()() is None
    finally:
        gc.enable()


def test_a_file_on_the_way_is_no_folder(folder):
    folder.write_bytes("a", b"")
    assert folder.stat("a/b") is None
    with pytest.raises(NotADirectoryError):
        folder.write_bytes("a/b", b"")
    with pytest.raises(OSError):
        folder.inside("a").make_folder("b")


def test_a_folder_is_not_opened_as_a_file(folder):
    folder.make_folder("a")
    for opened in (folder.open_for_reading, folder.open_for_writing):
        with pytest.raises(OSError) as refused:
            opened("a")
        assert not isinstance(refused.value, UnsafeFileError)


def test_what_lies_below_is_measured_and_only_files_count(folder):
    folder.make_folder("cache/input").write_bytes("a", b"12345")
    folder.write_bytes("cache/b", b"123")
    assert folder.inside("cache").file_sizes() == {"b": 3} and folder.total_bytes() == 8
    assert folder.inside("nothing").file_sizes() == {} and folder.inside("nothing").total_bytes() == 0


def test_a_file_larger_than_may_be_is_refused(folder):
    folder.write_bytes("a", b"12345")
    assert folder.read_bytes("a", max_bytes=5) == b"12345"
    with pytest.raises(UnsafeFileError, match="more than 4 bytes"):
        folder.read_bytes("a", max_bytes=4)


@pytest.mark.parametrize("name", ["", ".", "..", "../home", "/etc/passwd", "a/../b", "a//b", "a/", "a\0b"])
def test_a_name_that_leads_out_is_none(folder, name):
    with pytest.raises(UnsafeFileError, match="no name inside"):
        folder.open_for_reading(name)
    with pytest.raises(UnsafeFileError):
        folder.inside(name)


# --- Traps -----------------------------------------------------------------------------------------------------

def link_to_file(place, outside):
    place.symlink_to(outside / "precious")


def link_to_nowhere(place, outside):
    place.symlink_to(outside / "not there yet")


def link_to_folder(place, outside):
    place.symlink_to(outside)


def pipe(place, outside):
    os.mkfifo(place)


def device(place, outside):
    place.symlink_to("/dev/zero")


def unix_socket(place, outside):
    here = os.getcwd()
    os.chdir(place.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(place.name)
    finally:
        os.chdir(here)


TRAPS = [link_to_file, link_to_nowhere, link_to_folder, pipe, device, unix_socket]
OPERATIONS = {
    "read": lambda folder: folder.read_bytes("trap", 1000),
    "create": lambda folder: folder.write_bytes("trap", b"x"),
    "append": lambda folder: folder.open_for_writing("trap", "append").close(),
    "update": lambda folder: folder.open_for_writing("trap", "update").close(),
    "new": lambda folder: folder.open_for_writing("trap", "new").close(),
    "touch": lambda folder: folder.touch("trap"),
    "refuse": lambda folder: folder.refuse_unsafe("trap"),
    "make below": lambda folder: folder.make_folder("trap/below"),
    "write below": lambda folder: folder.write_bytes("trap/below", b"x"),
    "read below": lambda folder: folder.read_bytes("trap/precious"),
}


@POSIX
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_refused_at_once_and_outside_nothing_changes(folder, outside, trap, operation):
    trap(folder.path / "trap", outside)
    with pytest.raises(UnsafeFileError) as refused:
        OPERATIONS[operation](folder)
    assert "trap" in refused.value.filename and refused.value.strerror in (
        "is a link", "is neither a file nor a folder")
    assert untouched(outside)


@POSIX
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_can_be_removed_and_replaced_without_being_followed(folder, outside, trap):
    trap(folder.path / "trap", outside)
    assert not folder.is_file("trap") and not folder.is_folder("trap") and not folder.is_file("trap/precious")
    folder.replace("trap", b"mine")
    assert folder.read_bytes("trap") == b"mine" and folder.unlink("trap")
    trap(folder.path / "trap", outside)
    assert folder.remove_tree("trap")
    trap(folder.path / "trap.tmp", outside)
    folder.replace("trap", b"mine")
    assert folder.read_bytes("trap") == b"mine" and untouched(outside)


@POSIX
def test_a_tree_is_removed_with_its_links_and_not_what_they_lead_to(folder, outside):
    deep = folder.make_folder("cache/deep")
    for place, trap in enumerate(TRAPS):
        trap(deep.path / str(place), outside)
    assert folder.remove_tree("cache") and folder.names() == [] and untouched(outside)


def test_a_file_with_a_second_name_is_read_and_not_written(folder, outside):
    os.link(outside / "precious", folder.path / "trap")
    assert folder.read_bytes("trap") == PRECIOUS
    for mode in ("create", "append", "update"):
        with pytest.raises(UnsafeFileError, match="second name"):
            folder.open_for_writing("trap", mode)
    with pytest.raises(UnsafeFileError, match="second name"):
        folder.touch("trap")
    with pytest.raises(UnsafeFileError, match="second name"):
        folder.refuse_unsafe("trap")
    folder.refuse_unsafe("trap", may_be_shared=True)
    folder.replace("trap", b"mine")
    assert untouched(outside)


@POSIX
def test_a_trap_deep_down_is_found(folder, outside):
    link_to_file(folder.make_folder("cache/input").path / "kept.npy", outside)
    with pytest.raises(UnsafeFileError, match="is a link"):
        folder.refuse_unsafe("cache", may_be_shared=True)


def test_folders_below_folders_without_end_are_refused(folder):
    folder.make_folder("/".join(["cache"] + ["a"] * 40))
    with pytest.raises(UnsafeFileError, match="lies deeper"):
        folder.refuse_unsafe("cache")
    assert folder.remove_tree("cache") and folder.names() == []


def test_a_further_name_is_given_to_a_file_and_not_to_a_link(folder, outside, tmp_path):
    other = GuardedFolder(outside)
    folder.link("a", other, "precious")
    assert folder.read_bytes("a") == PRECIOUS
    if sys.platform != "win32":
        link_to_file(outside / "b", outside)
        with pytest.raises(UnsafeFileError):
            folder.link("b", other, "b")


def test_removing_can_be_repeated_where_it_was_broken_off(folder):
    folder.make_folder("cache/deep")
    folder.make_folder(f"{ASIDE}0123/rest")
    assert folder.remove_tree("cache") and folder.names() == []
    folder.make_folder(f"{ASIDE}0123/rest")
    assert not folder.remove_tree("cache") and folder.names() == []


def test_a_refusal_has_a_code_and_names_the_file(folder, outside):
    os.link(outside / "precious", folder.path / "trap")
    with pytest.raises(UnsafeFileError) as refused:
        folder.touch("trap")
    error = write_refusal(refused.value, folder.path)
    assert error.code == "job_folder_unsafe" and str(folder.path / "trap") in error.message
