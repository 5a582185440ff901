"""Depth with given cameras, through the real engine: a COLMAP model on the command line, held against the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from colmap_folders import write_model
from command_line import engine_here

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.media import exr

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
FRAMES, SIZE, FOCAL = 12, (640, 360), 497.7777777777778
QUICK = ("--frames", f"1-{FRAMES}", "--max-side", "320", "--refine", "none")


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(SAMPLE / "truth.npz") as stored:
        return {name: stored[name][:FRAMES] for name in ("depth", "dynamic", "camera_to_world")}


@pytest.fixture(scope="module")
def model(truth, tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("sparse") / "0", [f"clip_{n:04d}.png" for n in range(1, FRAMES + 1)],
                       truth["camera_to_world"], size=SIZE, parameters=(FOCAL, FOCAL, 320.0, 180.0))


def depth_of(folder: Path, frame: int) -> np.ndarray:
    (depth,) = exr.read_exr(JobFolder(folder).product_file("depth", frame)).values()
    return depth


def static_error(folder: Path, truth: dict[str, np.ndarray], *, scale: float | None) -> float:
    """Mean relative error on what stands still; scale None: the one that fits best."""
    found = np.stack([depth_of(folder, frame) for frame in range(1, FRAMES + 1)])
    true = truth["depth"].astype(np.float32)
    still = ~truth["dynamic"] & (true > 0) & np.isfinite(true)
    factor = float(np.median(true[still] / found[still])) if scale is None else scale
    return float((np.abs(factor * found - true)[still] / true[still]).mean())


@pytest.mark.slow
def test_depth_is_in_the_models_world_and_no_worse_than_with_our_own_cameras(model, truth, tmp_path):
    for name, options in (("given", ("--cameras", model)), ("own", ())):
        done = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / name, *QUICK, *options)
        assert done.returncode == 0, done.stderr
    result = JobFolder(tmp_path / "given").read_result()
    poses = np.array(result.placement) @ np.array([frame.camera_to_world for frame in result.frames])
    assert np.abs(poses - truth["camera_to_world"]).max() < 1e-6
    assert {(frame.fx, frame.fy, frame.cx, frame.cy) for frame in result.frames} == {(FOCAL / 2, FOCAL / 2, 160, 90)}
    assert result.quality.reprojection_mean_px < 0.3 and "cameras_doubtful" not in {w.code for w in result.warnings}
    error = static_error(tmp_path / "given", truth, scale=1.0)
    assert error < 0.05 and error < 1.1 * static_error(tmp_path / "own", truth, scale=None)
    near, far = result.depth_range
    assert near < np.median(truth["depth"]) < far
    assert JobFolder(tmp_path / "own").read_result().placement is None
    assert "placement" not in json.loads((tmp_path / "own" / "result.json").read_text())


@pytest.mark.slow
def test_other_cameras_are_another_solve(model, truth, tmp_path):
    done = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / "out", *QUICK, "--frames", "1-4", "--cameras", model)
    assert done.returncode == 0, done.stderr
    again = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / "out", *QUICK, "--frames", "1-4", "--cameras", model)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    poses = truth["camera_to_world"].copy()
    poses[:, :3, 3] *= 50.0
    larger = write_model(tmp_path / "larger", [f"clip_{n:04d}.png" for n in range(1, FRAMES + 1)], poses, size=SIZE,
                         parameters=(FOCAL, FOCAL, 320.0, 180.0), binary=True)
    options = (*QUICK, "--frames", "1-4", "--cameras", larger)
    refused = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / "out", *options)
    assert refused.returncode == 1 and "error output_in_use: " in refused.stderr
    before = depth_of(tmp_path / "out", 3)
    done = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / "out", *options, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert np.median(depth_of(tmp_path / "out", 3) / before) == pytest.approx(50.0, rel=1e-3)


@pytest.mark.parametrize(("options", "code"), [
    (("--cameras", "{model}", "--frames", "1-20"), "cameras_incomplete"), (("--cameras", "{none}"), "cameras_missing"),
    (("--cameras", "{model}", "--refine-cameras"), "settings_invalid"),
    (("--cameras", "{model}", "--focal-mm", "35", "--sensor-mm", "36"), "settings_invalid"),
])
def test_cameras_that_cannot_serve_make_no_folder(model, tmp_path, options, code):
    words = [text.format(model=model, none=tmp_path / "none") for text in options]
    done = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / "out", *QUICK, *words)
    assert done.returncode == 1 and done.stderr.startswith(f"error {code}: "), done.stderr
    assert not (tmp_path / "out").exists()


def test_cameras_of_other_pictures_fail_in_words(truth, tmp_path):
    model = write_model(tmp_path / "model", [f"clip_{n:04d}.png" for n in range(1, FRAMES + 1)],
                        truth["camera_to_world"], size=(640, 480), parameters=(FOCAL, FOCAL, 320.0, 240.0))
    done = engine_here("solve", SAMPLE / "clip.mp4", tmp_path / "out", *QUICK, "--cameras", model)
    assert done.returncode == 1 and "error cameras_wrong_size: " in done.stderr
