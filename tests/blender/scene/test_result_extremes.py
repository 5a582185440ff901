"""Results with numbers and texts that no solve has: refused in words or imported, and nothing huge is ever made."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import pytest
from job_folder import Example, write_job_folder

EXAMPLE = Example(raster=(32, 18), clip=(32, 18), frame_count=3)
MOST_VERTICES = 100_000
MOST_BYTES = 2_000_000_000
LIMIT_S = 20.0
HUGE, TINY = 1e300, 1e-300


@pytest.fixture
def job(tmp_path) -> Path:
    write_job_folder(tmp_path / "job", EXAMPLE, clip_folder=tmp_path / "clip")
    return tmp_path / "job"


@pytest.fixture
def bring(addon, contract, job) -> Callable[[str], str]:
    """bring(text of result.json) -> "imported", or the code of the refusal, in little time and memory."""
    scene = importlib.import_module(f"{addon.__name__}.scene")

    def call(text: str) -> str:
        (job / "result.json").write_text(text)
        began = time.process_time()
        with _little_memory():
            try:
                scene.import_result(bpy.context.scene, job)
                outcome = "imported"
            except contract.StereoDiffError as error:
                outcome = error.code
        assert time.process_time() - began < LIMIT_S
        assert sum(len(mesh.vertices) for mesh in bpy.data.meshes) < MOST_VERTICES
        return outcome

    return call


@contextmanager
def _little_memory() -> Iterator[None]:
    """What asks for more fails here instead of ending the machine's other programs."""
    if not Path("/proc/self/statm").exists():
        yield
        return
    import resource
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def result_of(job: Path) -> dict:
    return json.loads((job / "result.json").read_text())


def test_the_result_as_it_is(bring, job):
    assert bring((job / "result.json").read_text()) == "imported"


@pytest.mark.parametrize(("name", "value"), [
    *((name, value) for name in ("width", "height", "clip_width", "clip_height")
      for value in (0, -1, 10**9, 2**63, 10**30)),
    *((name, value) for name in ("fps", "clip_pixel_aspect") for value in (0.0, -24.0, HUGE, TINY, 1e308)),
    *(("depth_range", value) for value in ([0.0, 0.0], [5.0, 1.0], [-1.0, 1.0], [TINY, HUGE], [1.0, 1e308])),
    ("camera_kind", "static"), ("camera_kind", "rotation"), ("points", "depth/0001.exr"), ("timings_s", {"x": HUGE}),
    ("preview_image", "result.json"), ("preview_movie", "job.json"),
])
def test_numbers_of_the_whole(bring, job, name, value):
    outcome = bring(json.dumps(result_of(job) | {name: value}))
    assert outcome in ("imported", "result_invalid", "depth_missing", "points_unusable"), outcome


@pytest.mark.parametrize("value", [0.0, -1.0, HUGE, TINY, 1e308, 5e-324])
@pytest.mark.parametrize("name", ["fx", "fy", "cx", "cy", "reprojection_px"])
def test_lenses(bring, job, name, value):
    result = result_of(job)
    for frame in result["frames"]:
        frame[name] = value
    assert bring(json.dumps(result)) in ("imported", "result_invalid")


@pytest.mark.parametrize("value", [HUGE, -HUGE, 1e308])
def test_cameras_far_away(bring, job, value):
    result = result_of(job)
    for frame in result["frames"][1:]:
        frame["camera_to_world"][0][3] = value
    assert bring(json.dumps(result)) in ("imported", "result_invalid")


@pytest.mark.parametrize(("text", "outcome"), [
    ("x" * 100_000, "result_invalid"), ("1-\ud800", "result_invalid"), ("1-\0", "result_invalid"),
    ("1-other", "footage_changed"), ("9-of a later version", "imported"), ("", "imported")])
def test_footage_known_by_whatever_text(bring, job, text, outcome):
    result = result_of(job)
    result["clip"]["fingerprint"] = text
    assert bring(json.dumps(result)) == outcome


def test_long_words_and_many_warnings(bring, job):
    warnings = [{"code": "weak_focal", "message": "x" * 100_000}] * 20
    result = result_of(job) | {"warnings": warnings, "engine_version": "y" * 100_000, "job_id": "z" * 100_000}
    assert bring(json.dumps(result)) in ("imported", "result_invalid")


@pytest.mark.parametrize("text", ["[" * 2_000_000, '{"a":' * 200_000, "9" * 1_000_000, '"' + "x" * 5_000_000, "",
                                  "nul", '{"width": NaN}', '{"width": 1e999}', "\0" * 1000])
def test_no_result_at_all(bring, text):
    assert bring(text) == "result_invalid"


def test_numbers_that_are_none(bring, job):
    text = (job / "result.json").read_text()
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        assert bring(text.replace('"fps": 24.0', f'"fps": {number}')) == "result_invalid"
