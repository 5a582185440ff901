"""The benchmark's own arithmetic: what counts as worse, and which command measures what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bench_compare
import bench_suite
import pytest


def report(machine: str = "a", **costs) -> dict:
    return {"machine": {"system": machine}, "parts": {"solve": {"runs": [costs]}}}


def compared(old: dict, new: dict) -> dict[str, bool]:
    found = bench_compare.changes(old["parts"], new["parts"])
    return {change.name.rsplit("/", 1)[-1]: change.is_regression for change in found}


@pytest.mark.parametrize(("old", "new", "is_worse"), [
    ({"cpu_s": 10.0}, {"cpu_s": 11.4}, False), ({"cpu_s": 10.0}, {"cpu_s": 11.6}, True),
    ({"cpu_s": 10.0}, {"cpu_s": 5.0}, False), ({"cpu_s": 0.1}, {"cpu_s": 0.25}, False),
    ({"peak_memory_mb": 300}, {"peak_memory_mb": 400}, True), ({"wall_ms": 10.0}, {"wall_ms": 12.5}, False),
    ({"stages_s": {"depth": 10.0}}, {"stages_s": {"depth": 13.0}}, True),
])
def test_worse_is_more_than_15_percent_and_more_than_noise(old, new, is_worse):
    assert list(compared(report(**old), report(**new)).values()) == [is_worse]


def test_what_is_no_cost_or_is_not_in_both_is_not_compared():
    assert compared(report(frames=48, cpu_s=1.0), report(frames=480, other_s=9.0)) == {}


def test_the_exit_status_and_the_words(tmp_path, capsys):
    for name, content in (("old", report(cpu_s=10.0)), ("new", report("b", cpu_s=20.0))):
        (tmp_path / name).write_text(json.dumps(content))
    assert bench_compare.main(tmp_path / "old", tmp_path / "new") == 1
    said = capsys.readouterr().out
    assert "different machines" in said and "WORSE" in said and "+100%" in said and "1 of 1" in said
    assert bench_compare.main(tmp_path / "new", tmp_path / "new") == 0


@pytest.mark.parametrize("part", bench_suite.PARTS)
def test_every_part_is_a_script_that_is_there(part, tmp_path):
    options = bench_suite.arguments([str(tmp_path), "--worker", "w", "--blender", "b", "--clip", "c.mp4", "--quick"])
    command, file = bench_suite.command_of(part, options, tmp_path)
    assert Path(command[1]).is_file() and file.suffix == ".json"


def test_registration_is_measured(tmp_path):
    command = [sys.executable, Path(bench_suite.__file__).with_name("bench_registration.py"), tmp_path / "r.json",
               "--frames", "6", "9", "--size", "64", "48"]
    paths = str(Path(bench_suite.__file__).parents[2])
    done = subprocess.run(command, env={"PYTHONPATH": paths, "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert [run["frames"] for run in runs] == [6, 9] and all(run["peak_memory_mb"] > 20 for run in runs)
