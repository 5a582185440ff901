"""The benchmark's own arithmetic: what counts as worse, and which command measures what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bench_compare
import bench_peers
import bench_revision
import bench_suite
import cv2
import numpy as np
import pytest
import tiny_jobs
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, camera_path, render_boards
from truth import Truth

from stereodiff_blender.engine.contract import StereoDiffError


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


# --- Beside COLMAP -----------------------------------------------------------------------------------------------

def straight(count: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3], poses[:, 1, 3] = np.arange(count), np.sin(np.arange(count))
    return poses


def test_errors_are_of_the_frames_that_were_registered():
    true = Truth(straight(8), np.tile([50.0, 50.0, 32.0, 24.0], (8, 1)), (64, 48), None, None)
    index = np.array([0, 1, 2, 5, 6])
    poses = true.camera_to_world[index].copy()
    poses[:, :3, 3] *= 3.0  # a solve has no unit
    cameras = bench_peers.Cameras(index, poses, np.full(5, 55 / 64))
    row = bench_peers.scored("clip", "ours", 8, cameras, true, (1.0, 2.0))
    assert (row.solved, row.frames) == (5, 8) and row.path_percent < 1e-6 and row.turn_deg < 1e-6
    assert row.lens_percent == pytest.approx(10.0)
    poses[2, 1, 3] += 1.0
    assert bench_peers.scored("clip", "ours", 8, bench_peers.Cameras(index, poses, np.full(5, 1.0)), true,
                              (1.0, 2.0)).path_percent > 1.0
    none = bench_peers.Cameras(index[:2], poses[:2], np.ones(2))
    assert bench_peers.scored("clip", "COLMAP", 8, none, true, (1.0, 2.0)).said == "nothing solved"


@pytest.mark.slow
def test_colmap_and_ours_on_the_same_tiny_clip(tmp_path):
    folder = tmp_path / "boards"
    (folder / "frames").mkdir(parents=True)
    poses = camera_path(8, travel=1.5)
    for index, picture in enumerate(render_boards(poses)):
        cv2.imwrite(str(folder / "frames" / f"{index + 1:04}.png"), picture[:, :, ::-1])
    np.savez(folder / "gt.npz", camera_to_world=poses, size=(WIDTH, HEIGHT), depth=np.ones((8, 1, 1)),
             dynamic=np.zeros((8, 1, 1), bool), K=np.array([[FOCAL_PX, 0, 160], [0, FOCAL_PX, 90], [0, 0, 1.0]]))
    command = [sys.executable, Path(bench_peers.__file__), tmp_path / "out", folder]
    environ = {"PYTHONPATH": str(Path(bench_peers.__file__).parents[2]), "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "peers.json").read_text())
    assert [row["solver"] for row in rows] == ["ours", "COLMAP", "COLMAP global"]
    assert all(row["solved"] >= 6 and row["path_percent"] < 5.0 for row in rows[:2]), rows
    assert done.stdout.count("| boards |") == 3 and not (tmp_path / "out" / "colmap").exists()


def test_a_folder_without_a_clip_is_refused(tmp_path):
    with pytest.raises(StereoDiffError, match="no clip"):
        bench_peers.read_pictures(tmp_path, 320)


# --- Against another revision ------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_revision_beside_this_one_is_measured_on_the_same_clip(tmp_path, monkeypatch):
    """This very tree twice, as both are solved by the real engine: equal accuracy, and every cost told of both."""
    tiny_jobs.write_movie(tmp_path / "clip.mp4", tiny_jobs.render_boards())
    monkeypatch.setattr(bench_revision, "taken_out", lambda name, _: bench_revision.Revision(name, bench_revision.ROOT))
    options = bench_revision.arguments([str(tmp_path / "out"), "HEAD", "--clips", str(tmp_path / "clip.mp4"), "--pairs",
                                        "1", "--cores", "1", "--quality", "draft"])
    assert bench_revision.main(options) == 0
    row, = json.loads((tmp_path / "out" / "bench.json").read_text())["rows"]
    assert set(row["runs"]) == {"HEAD", "this"} and row["cores"] == 1
    assert all(run[cost] > 0 for run in row["runs"].values() for cost in bench_revision.COSTS)


@pytest.mark.skipif(not (bench_revision.ROOT / ".git").exists(), reason="this is no checkout of git")
def test_the_engine_of_a_revision_is_taken_out_of_git(tmp_path):
    taken = bench_revision.taken_out("HEAD", tmp_path / "revision")
    assert (taken.tree / "stereodiff_blender" / "engine" / "__main__.py").is_file()
    assert any(word.startswith("--cores=2") for word in bench_revision.Revision("this", bench_revision.ROOT).command(
        Path("clip.mp4"), Path("job"), 2, []))
    with pytest.raises(subprocess.CalledProcessError):
        bench_revision.taken_out("no-such-revision", tmp_path / "nothing")


def test_a_table_names_the_ratio_of_what_both_have():
    rows = [{"clip": "room", "cores": 2, "runs": {"abc": {"wall_s": 40.0, "absrel_static": None},
                                                  "this": {"wall_s": 10.0, "absrel_static": 0.02}}}]
    said = bench_revision.table(rows)
    assert "0.25" in said and "absrel_static" not in said


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system holds no process to some cores")
def test_a_command_is_held_to_the_cores_that_are_asked_for():
    held = bench_revision.held_to(1, [sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"])
    assert subprocess.run(held, capture_output=True, text=True, check=True).stdout.strip() == "1"
