"""A whole job with the MonST3R engine: a tiny network in the published layout, from the command line to the result.

Its pointmaps mean nothing, so nothing is asked of the depth but that it is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from command_line import engine_here

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from tiny_monst3r import published_tensors, write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.contract import JobFolder  # noqa: E402
from stereodiff_blender.engine.media.exr import read_exr  # noqa: E402
from stereodiff_blender.engine.weights import cards, licences, records  # noqa: E402
from stereodiff_blender.jobs import worker_process as jobs  # noqa: E402

LENS = ("--focal-mm", "30", "--sensor-mm", "36")


@pytest.fixture
def words(tiny_clip, tmp_path, accepted) -> tuple:
    return ("solve", tiny_clip, tmp_path / "out", "--frames", "2-5", "--stereo", "monst3r", "--device", "cpu")


@pytest.fixture
def solve(words, tmp_path):
    """solve(*options) -> what the command line says, and the job folder."""
    return lambda *options: (engine_here(*words, *options), JobFolder(tmp_path / "out"))


@pytest.fixture
def solve_alone(words, worker_python, repository, tmp_path):
    """As solve(), by a program of its own."""

    def call(*options) -> tuple[subprocess.CompletedProcess, JobFolder]:
        command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, *map(str, (*words, *options))]
        done = subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True,
                              check=False)
        return done, JobFolder(tmp_path / "out")

    return call


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_the_whole_job(solve_alone, models, kind):
    write_tiny_monst3r(models / "monst3r", kind=kind)
    done, folder = solve_alone("--models", models, *LENS)
    assert done.returncode == 0, done.stderr
    result = folder.read_result()
    result.validate(folder.path)
    assert (result.stereo, result.camera_kind, result.width, result.height) == ("monst3r", "moving", 192, 144)
    assert [(used.name, used.licence, used.commercial_use) for used in result.weights] == [
        ("MonST3R", "CC BY-NC-SA 4.0", False)]
    assert result.frames[0].fx == pytest.approx(30 / 36 * 192, rel=1e-3)
    assert list(result.timings_s)[:2] == ["read", "match"]


@pytest.mark.slow
def test_depth_at_the_plates_size(solve, models):
    write_tiny_monst3r(models / "monst3r")
    done, folder = solve("--models", models, "--max-side", "96", "--depth-size", "plate", *LENS)
    assert done.returncode == 0, done.stderr
    result = folder.read_result()
    result.validate(folder.path)
    assert ((result.width, result.height), result.plate_size) == ((96, 72), (192, 144))
    for frame in result.frames:
        (depth,) = read_exr(folder.path / frame.plate_depth).values()
        assert depth.shape == (144, 192) and np.isfinite(depth).all() and (depth >= 0).all() and depth.any()


@pytest.mark.slow
def test_the_same_bytes_twice(solve, models):
    write_tiny_monst3r(models / "monst3r")
    depth = []
    for _ in range(2):
        _, folder = solve("--models", models, "--overwrite", *LENS)
        depth.append(b"".join(path.read_bytes() for path in sorted((folder.path / "depth").iterdir())))
        shutil.rmtree(folder.cache)  # or the second would take stage 1 from the first
    assert depth[0] == depth[1]


@pytest.mark.slow
def test_refined_cameras_are_asked_for_and_reported(solve, models):
    write_tiny_monst3r(models / "monst3r")
    done, folder = solve("--models", models, "--refine-cameras", "--refine", "none", *LENS)
    assert done.returncode == 0, done.stderr
    assert "track" in folder.read_result().timings_s


def test_without_a_models_folder(solve):
    done, folder = solve()
    assert done.returncode == 1 and "error weights_missing" in done.stderr and "remedy: Put the model" in done.stderr
    assert not folder.job_file.exists()


def test_without_weights_in_it(solve, models):
    (models / "monst3r").mkdir(parents=True)
    done, _ = solve("--models", models)
    assert done.returncode == 1 and "error weights_missing" in done.stderr and "monst3r" in done.stderr


@pytest.mark.slow
def test_a_licence_that_nobody_accepted(solve, models, user_folder):
    (user_folder / licences.FILE_NAME).unlink()
    write_tiny_monst3r(models / "monst3r")
    done, folder = solve("--models", models, *LENS)
    assert done.returncode == 1 and "error licence_not_accepted" in done.stderr and "paid work" in done.stderr
    assert not folder.job_file.exists()
    done, _ = solve("--models", models, "--accept-licence", *LENS)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_weights_that_are_no_longer_what_was_verified(solve, models):
    path = write_tiny_monst3r(models / "monst3r") / "model.safetensors"
    card = cards.read_card("monst3r")
    known = records.hash_file(path)
    records.write_record(models, card, records.Record(files={"model.safetensors": known}))
    os.utime(path, ns=(1, 1))
    done, _ = solve("--models", models, *LENS)
    assert done.returncode == 0, "only its time is another"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    done, _ = solve("--models", models, "--overwrite", *LENS)
    assert done.returncode == 1 and "error weights_damaged" in done.stderr


@pytest.mark.slow
def test_a_folder_of_the_users_own(solve, models, tmp_path):
    own = write_tiny_monst3r(tmp_path / "elsewhere")
    records.write_record(models, cards.read_card("monst3r"), records.Record(folder=str(own)))
    done, _ = solve("--models", models, *LENS)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_picture_names_the_licence(solve, models):
    write_tiny_monst3r(models / "monst3r")
    done, folder = solve("--models", models, *LENS)
    assert done.returncode == 0, done.stderr
    for product in ("depth", "confidence", "motion_mask"):
        for path in (folder.path / product).iterdir():
            with OpenEXR.File(str(path), header_only=True) as file:
                header = dict(file.header())
            assert header["stereodiffWeights"] == "MonST3R"
            assert header["stereodiffLicence"] == "CC BY-NC-SA 4.0, no commercial use"


def test_a_file_cut_short(solve, models):
    path = write_tiny_monst3r(models / "monst3r") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    done, folder = solve("--models", models)
    assert done.returncode == 1 and "error weights_damaged" in done.stderr
    assert "Traceback" not in done.stderr.split("error weights_damaged")[1]
    assert not folder.result_file.exists()


def test_a_pth_that_holds_a_program(solve, models, tmp_path):
    """It is refused, and does not run."""
    target = tmp_path / "ran"
    folder = models / "monst3r"
    folder.mkdir(parents=True)

    class Program:
        def __reduce__(self):
            return (Path.touch, (target,))

    torch.save({"model": Program()}, folder / "weights.pth")
    done, _ = solve("--models", models)
    assert done.returncode == 1 and "error weights_refused" in done.stderr
    assert not target.exists()


def test_a_network_that_gives_no_numbers(solve, models):
    folder = write_tiny_monst3r(models / "monst3r")
    tensors = published_tensors()
    tensors["enc_norm.bias"][:] = float("nan")
    safetensors.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    done, _ = solve("--models", models)
    assert done.returncode == 1 and "error network_not_finite" in done.stderr


@pytest.mark.slow
def test_a_network_that_is_never_sure(solve, models):
    folder = write_tiny_monst3r(models / "monst3r")
    tensors = published_tensors()
    for head in (1, 2):
        tensors[f"downstream_head{head}.dpt.head.4.bias"][3] = -40.0  # confidence 1, its least
    safetensors.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    done, _ = solve("--models", models)
    assert done.returncode == 1 and "error pointmaps_unsure" in done.stderr


def test_another_model(solve, models):
    folder = models / "monst3r"
    folder.mkdir(parents=True)
    safetensors.save_file({"unet.weight": torch.zeros(4, 4)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "unet"}))
    done, _ = solve("--models", models)
    assert done.returncode == 1 and "error weights_wrong_model" in done.stderr
