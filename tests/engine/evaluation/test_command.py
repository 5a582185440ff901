"""The command "evaluate" as it is typed: solves, scores, report, and going on where it was stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import engine_here
from dataset_folders import shot_of, write_folder, write_png, write_sintel

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.evaluation.paper import BANDS, TABLE_1

pytestmark = pytest.mark.slow

FRAMES = 10
PATIENCE_S = 120.0
REPOSITORY = Path(__file__).resolve().parents[3]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stereodiff_blender.engine", "evaluate", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess:
    return engine_here("evaluate", *arguments)


def run_alone(*arguments: object) -> subprocess.CompletedProcess:
    """As run(), by a program of its own."""
    return subprocess.run(command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S)


def folder_options(root: Path, out: Path, *more: object) -> tuple:
    return "--dataset", "folder", "--root", root, "--out", out, "--quality", "draft", *more


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Two clips, in both ways of a plain folder, and a third that shows one picture only."""
    root = tmp_path_factory.mktemp("clips")
    shot = shot_of(FRAMES)
    write_folder(root, "alley", shot=shot)
    write_folder(root, "street", shot=shot, depth="png", cameras="poses", first_number=5)
    write_folder(root, "still", shot=shot)
    for path in (root / "still" / "frames").iterdir():
        write_png(path, shot.frames[0][..., ::-1])
    return root


@pytest.fixture(scope="module")
def evaluated(clips, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    out = tmp_path_factory.mktemp("done") / "out"
    return out, run_alone(*folder_options(clips, out))


def test_scores_of_every_clip(evaluated):
    out, done = evaluated
    assert done.returncode == 0, done.stderr
    data = json.loads((out / "report.json").read_text())
    alley, still, street = data["clips"]
    assert [scores["clip"] for scores in data["clips"]] == ["alley", "still", "street"]
    for scores in (alley, street):
        assert scores["absrel"] < 0.04 and scores["delta1"] > 0.9 and scores["coverage"] == 1.0
        assert scores["ate_percent"] < 3 and len(scores["absrel_per_frame"]) == FRAMES
        assert scores["motion_from"] == "truth" and scores["absrel_static"] == scores["absrel"]
        assert all(scores[name] is not None for name in ("tae", "opw", "flicker2", "truth_flicker2", "rpe_translation"))
    assert still["failure"] == "clip_frozen" and still["absrel"] is None
    assert data["mean"]["absrel"] == pytest.approx((alley["absrel"] + street["absrel"]) / 2)
    assert data["request"]["settings"]["quality"] == "draft" and data["engine"] == "geometric + guided, draft"


def test_the_report_shows_the_papers_rows_as_such(evaluated):
    out, done = evaluated
    text = (out / "report.md").read_text()
    assert text.strip() in done.stdout
    assert "still, run 1: failed (clip_frozen)" in text and "**mean**" in text
    assert "measured by the paper's authors on its own data, not on these clips" in text
    for method in TABLE_1:
        assert f"| {method} |" in text
    for method in BANDS:
        assert f"| {method} (paper, Bonn) |" in text
    rows = [line for line in text.splitlines() if line.startswith("| StereoDiff |")]
    assert rows[0].split(" | ")[1:4] == ["0.0799", "1.2257", "0.9549"]


def test_plots_show_something(evaluated):
    out, _ = evaluated
    assert {path.name for path in (out / "plots").iterdir()} == {"bands.png", "alley.png", "street.png"}
    for path in (out / "plots").iterdir():
        picture = cv2.imread(str(path))
        assert picture.shape == (460, 1000, 3) and 10 < picture.std() < 100


def test_jobs_are_left_and_nothing_else(evaluated):
    out, done = evaluated
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "jobs", "scores", "plots", "report.md",
                                                     "report.json"}
    assert JobFolder(out / "jobs" / "run_1" / "alley").read_result().camera_kind == "moving"
    for words in ("alley: clip 1 of 3, run 1 of 1", "Solving the camera", "Scoring street", "Note: still failed"):
        assert words in done.stderr


def test_a_second_run_solves_and_scores_nothing_anew(clips, evaluated):
    out, first = evaluated
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if "scores" in path.parts
              or path.name == "result.json"}
    assert len(before) == 4
    again = run(*folder_options(clips, out))
    assert again.returncode == 0 and again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_lost_figures_are_measured_again_from_the_job(clips, evaluated, tmp_path):
    copy = tmp_path / "out"
    shutil.copytree(evaluated[0], copy)
    shutil.rmtree(copy / "scores" / "run_1")
    (copy / "scores" / "run_1").mkdir()
    (copy / "scores" / "run_1" / "street.json").write_text("{ half")
    stated = copy / "jobs" / "run_1" / "alley" / "job.json"
    stated.write_text(stated.read_text().replace(str(evaluated[0]), str(copy)))
    stated = copy / "jobs" / "run_1" / "street" / "job.json"
    stated.write_text(stated.read_text().replace(str(evaluated[0]), str(copy)))
    done = run(*folder_options(clips, copy, "--clips", "alley", "street"))
    assert done.returncode == 0 and "Solving" not in done.stderr and "Scoring alley" in done.stderr
    assert json.loads((copy / "scores" / "run_1" / "street.json").read_text())["absrel"] > 0


@pytest.mark.parametrize("more", [("--refine", "none"), ("--frames", "5"), ("--seed", "3"), ("--farthest", "4"),
                                  ("--quality", "standard")])
def test_other_settings_in_the_same_folder_are_refused(more, clips, evaluated):
    report = (evaluated[0] / "report.md").read_bytes()
    done = run(*folder_options(clips, evaluated[0]), *more)
    assert done.returncode == 1 and "output_in_use" in done.stderr and " was " in done.stderr
    assert (evaluated[0] / "report.md").read_bytes() == report


def test_a_folder_of_something_else_is_left_alone(clips, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = run(*folder_options(clips, tmp_path))
    assert done.returncode == 1 and "output_in_use" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_killed_in_the_second_clip_it_goes_on_there(clips, tmp_path):
    out = tmp_path / "out"
    options = folder_options(clips, out, "--clips", "alley", "street", "--refine", "none")
    process = subprocess.Popen(command(*options), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = JobFolder(out / "jobs" / "run_1" / "street")
    deadline = time.monotonic() + PATIENCE_S
    while not second.events_file.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not second.result_file.exists()
    first = JobFolder(out / "jobs" / "run_1" / "alley")
    before = first.result_file.stat().st_mtime_ns
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert first.result_file.stat().st_mtime_ns == before and done.stderr.count("Solving the camera") == 1
    assert [event.kind for event in second.read_events()[0]].count("started") == 1
    assert not second.cache.exists() and not (out / "scratch").exists() and not (out / "footage").exists()


def test_several_runs_count_the_seed_up_and_report_means(clips, tmp_path):
    done = run(*folder_options(clips, tmp_path / "out", "--clips", "alley", "--runs", "2", "--seed", "4",
                               "--refine", "none", "--frames", "6"))
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    seeds = [JobFolder(tmp_path / "out" / "jobs" / f"run_{r}" / "alley").read_job().settings.seed for r in (1, 2)]
    assert seeds == [4, 5] and data["runs"] == 2
    both = [scores["absrel"] for scores in data["clips"]]
    assert data["mean"]["absrel"] == pytest.approx(np.mean(both))
    assert data["spread_over_runs"]["absrel"] == pytest.approx(np.std(both))
    assert all(scores["frames"] == 6 for scores in data["clips"])
    assert "Means of 2 runs." in done.stdout and "At most the first 6 frames" in done.stdout


def test_a_data_set_of_the_paper_stands_beside_its_own_rows_only(tmp_path):
    write_sintel(tmp_path / "sintel")
    done = run("--dataset", "sintel", "--root", tmp_path / "sintel", "--out", tmp_path / "out", "--quality", "draft",
               "--refine", "none")
    assert done.returncode == 0, done.stderr
    assert "MPI Sintel, final: AbsRel" in done.stdout and "ScanNetV2" not in done.stdout
    assert "with the published weights and on their choice of clips" in done.stdout
    assert "True depth from 70 on is not scored" in done.stdout


def test_broken_data_sets_are_refused_before_any_work(clips, tmp_path):
    shutil.copytree(clips, tmp_path / "clips")
    (tmp_path / "clips" / "street" / "depth" / "scale.txt").unlink()
    for options in (folder_options(tmp_path / "clips", tmp_path / "out"),
                    folder_options(tmp_path / "nowhere", tmp_path / "out"),
                    folder_options(clips, tmp_path / "out", "--clips", "../clips/alley"),
                    ("--dataset", "bonn", "--root", clips, "--out", tmp_path / "out")):
        done = run(*options)
        assert done.returncode == 1 and "error dataset_missing" in done.stderr and "remedy: " in done.stderr
        assert not (tmp_path / "out").exists()


def test_truth_that_turns_out_broken_costs_its_own_clip_only(clips, tmp_path):
    shutil.copytree(clips, tmp_path / "clips")
    (tmp_path / "clips" / "alley" / "depth" / "0002.exr").write_bytes(b"broken")
    done = run(*folder_options(tmp_path / "clips", tmp_path / "out", "--clips", "alley", "still", "--refine", "none",
                               "--frames", "6"))
    assert done.returncode == 0, done.stderr
    failures = [scores["failure"] for scores in json.loads((tmp_path / "out" / "report.json").read_text())["clips"]]
    assert failures == ["dataset_invalid", "clip_frozen"]


def test_what_every_solve_lacks_ends_the_evaluation(clips, tmp_path):
    done = run(*folder_options(clips, tmp_path / "out", "--stereo", "monst3r", "--models", tmp_path))
    assert done.returncode == 1 and "error weights_missing" in done.stderr
    assert not (tmp_path / "out" / "report.md").exists()


@pytest.mark.parametrize("wrong", [("--runs", "0"), ("--frames", "1"), ("--frames", "-3"), ("--dataset", "nyu"), ()])
def test_wrong_usage(wrong):
    arguments = ("--dataset", "folder", "--root", ".", *wrong) if wrong else ()
    assert run(*arguments).returncode == 2
