"""A .blend from anywhere: opening it and following its list starts no program, asks no network and writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bpy
import pytest
from job_folder import Example, write_job_folder

OPENING = Path(__file__).parents[1] / "support" / "audited_opening.py"
FOLDERS = ("\\\\127.0.0.1\\share\\job", "//127.0.0.1/share/job", "../../x", "..", "/", "/dev", "/proc/self", "", ".",
           "job", "//job", "http://127.0.0.1:9/job", "file:///etc", "$(touch marker)", "-rf", "C:\\Users", "~",
           "/nowhere/at/all")
LAST = "x" * 1000
STATES = ("waiting", "running", "finished", "failed", "cancelled", "interrupted")


@pytest.fixture
def hostile_file(settings, contract, tmp_path) -> Path:
    """Every strange folder in every state, and real job folders whose events and results name other processes."""
    folders = [*FOLDERS, *_job_folders(contract, tmp_path), LAST]
    for number, folder in enumerate(folders):
        for state in STATES:
            item = settings.jobs.add()
            item.job_id, item.folder, item.state = f"job-{number}-{state}", str(folder), state
            item.clip_name, item.code, item.message = "$(touch marker)", "no_such_code", "\x1b]0;title\x07" * 20
    path = tmp_path / "hostile.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)
    return path


def _job_folders(contract, tmp_path: Path) -> list[Path]:
    """A finished job; and one whose worker, so it says, is process 1, or this one, or none that there can be."""
    write_job_folder(tmp_path / "elsewhere" / "done", Example(raster=(32, 18), clip=(32, 18), frame_count=2))
    folders = [tmp_path / "elsewhere" / "done"]
    for name, pid in (("first", 1), ("self", os.getpid()), ("group", -1), ("zero", 0), ("huge", 2**40)):
        folder = contract.JobFolder(tmp_path / "elsewhere" / name)
        write_job_folder(folder.path, Example(raster=(32, 18), clip=(32, 18), frame_count=2))
        folder.result_file.unlink()
        folder.events_file.write_text(json.dumps({"kind": "started", "time_s": 1.0, "pid": pid, "plan": [["x", 1.0]]})
                                      + "\n" + json.dumps({"kind": "warning", "time_s": 2.0, "code": "nonsense",
                                                           "message": "\x1b[2J"}) + "\n")
        folder.log_file.write_text("$(touch marker)")
        folders.append(folder.path)
    return folders


@pytest.mark.slow
def test_opening_does_nothing_but_look(hostile_file, tmp_path):
    before = _contents(tmp_path)
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "user"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, OPENING, tmp_path / "root", hostile_file], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    assert seen == []
    assert {path for path in _contents(tmp_path) - before if "root" not in path.parts} == set()


def _contents(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}
