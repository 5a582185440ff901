"""The ablations' script on a clip of a few frames: switches reach the engine, and tiny networks are said to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ablations import NOTE_TINY, PLAIN, SIGMAS, variants
from dataset_folders import shot_of, write_folder

from stereodiff_blender.engine.contract import JobFolder

TESTS = Path(__file__).resolve().parents[1]


def test_every_choice_of_the_issue_is_a_variant():
    names = [variant.name for variant in variants()]
    assert names[0] == PLAIN and len(set(names)) == len(names)
    assert {"geometric-guided", "geometric-refined", "monst3r-refined", "schedule-karras", "schedule-trailing"} <= set(
        names)
    assert sum(name.startswith("sigma-") for name in names) == len(SIGMAS)
    assert all(variant.learned == ("depthcrafter" in variant.options or "monst3r" in variant.options)
               for variant in variants())


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, str]:
    pytest.importorskip("diffusers", reason="the tiny networks need torch and diffusers")
    out = tmp_path_factory.mktemp("ablations")
    write_folder(out / "root", "alley", shot=shot_of(6))
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    ran = subprocess.run([sys.executable, TESTS / "tools" / "ablations.py", out / "out", "--root", out / "root",
                          "--frames", "6",
                          "--max-side", "160", "--only", "sigma-5"],
                         capture_output=True, text=True, env=environment, timeout=240)
    assert ran.returncode == 0, ran.stderr
    return out / "out", ran.stdout


@pytest.mark.slow
def test_settings_reach_the_network(done):
    refinements = {name: JobFolder(done[0] / name / "jobs" / "run_1" / "alley").read_result().refinement
                   for name in (PLAIN, "sigma-5")}
    assert refinements["sigma-5"].noise_level == 5.0 and refinements[PLAIN] is None


@pytest.mark.slow
def test_figures_follow_the_choice_and_tiny_networks_are_said_to_be(done):
    out, text = done
    data = json.loads((out / "ablations.json").read_text())
    plain, noisy = data["rows"]
    assert data["tiny_networks"] and NOTE_TINY in text
    assert "| noise level 5 * |" in text and "| guided stage off |" in text
    assert plain["absrel"] != noisy["absrel"] and plain["failures"] == noisy["failures"] == []
    assert plain["mean_disparity"] is None and noisy["mean_disparity"] is not None
    assert plain["ate_percent"] == noisy["ate_percent"], "stage 2 leaves the cameras alone"
