"""`build.py demo` from the zip to the figures: on a scene of eight small frames, of which the truth is known, too."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import build

SHORT = build.TESTS / "data" / "scenes" / "short"


@pytest.mark.slow
@pytest.mark.any_blender
def test_the_demo_shows_what_it_promises(tmp_path, monkeypatch, capfd, worker_python):
    sample, out = tmp_path / "sample", tmp_path / "out"
    sample.mkdir()
    shutil.copyfile(SHORT / "clip.mp4", sample / "clip.mp4")
    shutil.copyfile(SHORT / "gt.npz", sample / "truth.npz")
    monkeypatch.setattr(build, "SAMPLE", sample)
    monkeypatch.setattr(build, "blender_environment", lambda blender: Path(sys.executable))
    monkeypatch.setattr(build, "worker_environment", lambda requirements: worker_python)

    status = build.main(["demo", "--out", str(out)])

    said = capfd.readouterr()
    assert status == 0 and "Traceback" not in said.out + said.err, said.out + said.err
    for name in ("mesh.png", "camera.png", "depth.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG"), name
    assert (out / "demo.blend").stat().st_size > 100_000
    assert len(list(out.glob("jobs/*/depth/*.exr"))) == 8
    quality, accuracy = said.out.split("Accuracy against the truth")
    assert "The camera is moving; 100 % of 8 frames were solved." in quality
    assert "(RMS, 8 frames)" in accuracy
