"""The benchmark for a card, on a processor at tiny size: the same code, but for the card."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import bench_cuda
import pytest
import wheel_folder

from stereodiff_blender.engine.contract import StereoDiffError

HERE = Path(bench_cuda.__file__).parent
TINY = bench_cuda.SIZES["tiny"]


def bench(out: Path, *words: str) -> tuple[subprocess.CompletedProcess, dict]:
    """The command as build.py starts it, on one core."""
    roots = (HERE.parents[1], HERE, HERE.parent / "tools")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, HERE / "bench_cuda.py", out, "--device", "cpu", "--size", "tiny", *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    file = out / "bench_cuda.json"
    return done, json.loads(file.read_text()) if file.is_file() else {}


@pytest.fixture
def torch() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")


# --- On a processor ------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_the_command_compares_answers_with_the_reference(torch, tmp_path):
    done, report = bench(tmp_path, "--parts", "agreement", "budget", "--seconds", "1500")
    assert done.returncode == 0, done.stderr
    assert report["machine"]["torch"] and report["device"] == "cpu" and report["summary"]["target"]["met"] is None
    assert all("skipped" in part for name, part in report["parts"].items() if name.startswith("budget"))
    found = report["parts"]["agreement"]
    assert found["agrees"] is report["summary"]["agrees"] is True
    for stage in ("monst3r", "depthcrafter"):
        assert found[stage]["processor"]["from_reference"] < 3e-5
        assert found[stage]["bf16"]["from_processor"] > found[stage]["fp32"]["from_processor"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "precision", "way"), [
    ("monst3r", "fp16", "once"), ("monst3r", "fp32", "per_pair"), ("depthcrafter", "fp32", "one_step"),
    ("depthcrafter", "fp32", "five_steps")])
def test_a_stage_in_each_way(torch, tmp_path, stage, precision, way):
    part = bench_cuda.stage(stage, (64, 64), precision, way, 3)
    options = bench_cuda.arguments([str(tmp_path), "--device", "cpu", "--size", "tiny"])
    found = bench_cuda.measured(part, options, {"failed": {}}, None, 400.0)
    assert (found["stage"], found["precision"], found["way"]) == (stage, precision, way), found
    assert found["seconds_a_frame"] > 0 and not any(found.get("retries", {}).values())
    assert set(found.get("stages_s", {})) == ({"encode", "refine"} if stage == "depthcrafter" else set())


@pytest.mark.slow
def test_a_whole_job_through_the_worker(torch, tmp_path):
    options = bench_cuda.arguments([str(tmp_path), "--device", "cpu", "--size", "tiny"])
    part = next(part for part in bench_cuda.parts_of(TINY) if part.name == "job/learned")
    found = bench_cuda.measured(part, options, {"failed": {}}, None, 800.0)
    assert (found["stereo"], found["refine"], found["frames"]) == ("monst3r", "depthcrafter", 4)
    assert {"match", "encode", "refine"} <= set(found["stages_s"]) and found["others_s"] > 0


# --- What goes wrong -----------------------------------------------------------------------------------------------

def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path, capsys):
    (tmp_path / "fine.py").write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text("
                                      "'{\"seconds_a_frame\": 2.0}')")
    (tmp_path / "broken.py").write_text("raise SystemExit('the card is full')")
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(60)")
    options = bench_cuda.arguments([str(tmp_path), "--device", "cpu"])
    parts = [bench_cuda.Part(name, str(tmp_path / f"{name}.py"), (), least_s, most_s, needs) for name, least_s, most_s,
             needs in (("broken", 0, 30, ()), ("hanging", 0, 0.1, ()), ("fine", 0, 30, ()), ("late", 1e6, 1e6, ()),
                       ("lacking", 0, 30, ("cv2",)))]
    found = bench_cuda.measure_all(parts, options, {"failed": {"cv2": "ImportError"}}, None, time.monotonic())
    assert found["broken"]["error"] == "the card is full" and found["hanging"]["error"].startswith("no answer within")
    assert found["fine"]["seconds_a_frame"] == 2.0 and "1000000 s" in found["late"]["skipped"]
    assert found["lacking"]["skipped"] == "not here: opencv-python-headless"
    assert [bench_cuda.is_wrong(result) for result in found.values()] == [True, True, False, False, False]
    assert capsys.readouterr().out.count("\n") == 5


def test_without_a_card_it_is_said(tmp_path):
    options = argparse.Namespace(device="cuda")
    with pytest.raises(StereoDiffError, match="sees no card"):
        bench_cuda.refuse({"failed": {}, "torch": "2.0"}, options)
    with pytest.raises(StereoDiffError, match="has no PyTorch"):
        bench_cuda.refuse({"failed": {"torch": "ModuleNotFoundError"}}, options)
    bench_cuda.refuse({"failed": {}, "torch": "2.0", "card": "any"}, options)


# --- What it comes to ----------------------------------------------------------------------------------------------

def costs(ours: float, original: float) -> dict[str, dict]:
    at = "1024x576"
    return {f"monst3r/{at}/bf16/once": {"seconds_a_frame": ours},
            f"monst3r/{at}/bf16/per_pair": {"seconds_a_frame": 1.0},
            f"depthcrafter/{at}/fp16/one_step": {"seconds_a_frame": ours},
            f"monst3r/{at}/fp32/per_pair": {"seconds_a_frame": original},
            f"depthcrafter/{at}/fp16/five_steps": {"seconds_a_frame": original}}


@pytest.mark.parametrize(("ours", "original", "met"), [(0.05, 0.25, True), (0.05, 0.15, False), (0.07, 0.5, False)])
def test_the_target_is_of_both_stages_together(ours, original, met):
    found = bench_cuda.summary(costs(ours, original), bench_cuda.SIZES["full"])
    assert found["target"]["met"] is met
    assert found["1024x576"]["times_faster"] == pytest.approx(original / ours, abs=0.01)
    assert found["512x288"]["times_faster"] is None


def test_every_part_is_a_script_with_its_own_name():
    parts = bench_cuda.parts_of(bench_cuda.SIZES["full"])
    assert len({part.name for part in parts}) == len(parts)
    assert all((HERE / part.script).is_file() and part.group in bench_cuda.GROUPS for part in parts)
    assert sum(part.least_s for part in parts) < bench_cuda.SECONDS


# --- Wheels --------------------------------------------------------------------------------------------------------

def write_wheel(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(f"{name}.py", "VALUE = 7\n")
        packed.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", "")
    return path


def test_only_what_is_missing_is_installed(tmp_path):
    for name in ("sample_one", "sample_two"):
        write_wheel(tmp_path / "wheels", name)
    target = tmp_path / "target"
    done = wheel_folder.install_missing(tmp_path / "wheels", target, sys.executable, {"sample-two"}.__contains__)
    assert done == ["sample-one"] and (target / "sample_one.py").is_file()
    assert not (target / "sample_two.py").exists()
    assert wheel_folder.install_missing(tmp_path / "wheels", target, sys.executable, lambda _: True) == []
    with pytest.raises(StereoDiffError, match="no folder of wheels"):
        wheel_folder.install_missing(tmp_path / "nothing", target, sys.executable, lambda _: False)


def test_wheels_are_carried_in_pieces(tmp_path):
    wheels = [write_wheel(tmp_path / "wheels", name) for name in ("sample_one", "sample_two")]
    pieces = wheel_folder.cut(wheels, tmp_path / "wheels", 400 / wheel_folder.MIB)
    assert len(pieces) > 2 and all(piece.stat().st_size <= 400 for piece in pieces)
    assert not list((tmp_path / "wheels").glob("*.whl"))
    with wheel_folder.all_wheels(tmp_path / "wheels") as joined:
        assert [wheel.name for wheel in joined] == [wheel.name for wheel in wheels]
    pieces[1].unlink()
    with (pytest.raises(StereoDiffError, match="a piece is missing"),
          wheel_folder.all_wheels(tmp_path / "wheels")):
        pass


def test_what_is_collected_is_pinned_and_never_pytorch():
    pinned = wheel_folder.pins()
    assert pinned["av"].startswith("av==") and "torch" not in pinned
    assert {"diffusers", "av", "OpenEXR"} <= set(wheel_folder.SELDOM) & set(pinned)
