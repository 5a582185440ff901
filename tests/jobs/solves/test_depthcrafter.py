"""A whole job with DepthCrafter as stage 2: tiny networks in the published layouts, from the command line to the
result. Their numbers mean nothing, so nothing is asked of the depth but that it is there and in stage 1's range."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import engine_here

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
pytest.importorskip("diffusers")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from tiny_depthcrafter import write_tiny_depthcrafter  # noqa: E402
from tiny_monst3r import write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.contract import JobFolder  # noqa: E402
from stereodiff_blender.jobs import worker_process as jobs  # noqa: E402

LENS = ("--focal-mm", "30", "--sensor-mm", "36")
UNET = "depthcrafter/diffusion_pytorch_model.safetensors"


@pytest.fixture
def words(tiny_clip, tmp_path, accepted) -> tuple:
    return ("solve", tiny_clip, tmp_path / "out", "--frames", "2-5", "--refine", "depthcrafter", "--device", "cpu",
            "--models", tmp_path / "models")


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
    write_tiny_depthcrafter(tmp_path / "models")
    return tmp_path / "models"


@pytest.mark.slow
def test_after_the_geometric_solve(solve_alone, models):
    done, folder = solve_alone(*LENS)
    assert done.returncode == 0, done.stderr
    result = folder.read_result()
    result.validate(folder.path)
    assert (result.stereo, result.refine, result.camera_kind) == ("geometric", "depthcrafter", "moving")
    assert {used.name for used in result.weights} == {"DepthCrafter", "Stable Video Diffusion"}
    assert not any(used.commercial_use for used in result.weights)
    assert (result.refinement.window, result.refinement.seam_frames) == (4, ())
    assert result.quality.gauge_residual is not None
    assert (folder.path / result.plot).read_bytes().startswith(b"\x89PNG")
    assert {"encode", "refine"} <= set(result.timings_s)
    assert "frames at once" in done.stderr


@pytest.mark.slow
def test_after_monst3r_the_same_bytes_twice(solve, models):
    write_tiny_monst3r(models / "monst3r")
    depth = []
    for _ in range(2):
        done, folder = solve("--stereo", "monst3r", "--diffusion", "paper", "--overwrite", *LENS)
        assert done.returncode == 0, done.stderr
        depth.append(b"".join(path.read_bytes() for path in sorted((folder.path / "depth").iterdir())))
        shutil.rmtree(folder.cache)  # or the second would take stage 1 from the first
    assert depth[0] == depth[1]
    assert [used.name for used in folder.read_result().weights] == ["MonST3R", "DepthCrafter",
                                                                    "Stable Video Diffusion"]


def test_without_weights(solve):
    done, folder = solve()
    assert done.returncode == 1 and "error weights_missing" in done.stderr
    assert not folder.job_file.exists()


def test_a_file_that_is_not_there(solve, models):
    path = next((models / "stable-video-diffusion-img2vid-xt" / "vae").glob("*.safetensors"))
    path.unlink()
    done, folder = solve()
    assert done.returncode == 1 and "error weights_missing" in done.stderr and "vae" in done.stderr
    assert not folder.result_file.exists()


def test_a_file_cut_short(solve, models):
    path = models / UNET
    path.write_bytes(path.read_bytes()[:5000])
    done, _ = solve()
    assert done.returncode == 1 and "error weights_damaged" in done.stderr and str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_folders_mixed_up(solve, models):
    """The VAE's files where the U-Net's should be."""
    vae = models / "stable-video-diffusion-img2vid-xt" / "vae"
    for name in ("config.json", next(vae.glob("*.safetensors")).name):
        target = models / ("depthcrafter/config.json" if name == "config.json" else UNET)
        target.write_bytes((vae / name).read_bytes())
    done, _ = solve()
    assert done.returncode == 1 and "error weights_wrong_model" in done.stderr and "depthcrafter" in done.stderr


def test_a_configuration_that_does_not_fit(solve, models):
    path = models / "depthcrafter" / "config.json"
    stated = json.loads(path.read_text())
    stated["cross_attention_dim"] = 2 * stated["cross_attention_dim"]
    path.write_text(json.dumps(stated))
    done, _ = solve()
    assert done.returncode == 1 and "error weights_wrong_model" in done.stderr and str(models / UNET) in done.stderr


@pytest.mark.slow
def test_a_network_that_gives_no_numbers(solve, models):
    path = models / UNET
    spoilt = {name: tensor.float() for name, tensor in safetensors.load_file(path).items()}
    spoilt["conv_norm_out.weight"][:] = spoilt["conv_out.weight"][:] = 1e37  # numbers all, but their product is none
    safetensors.save_file(spoilt, path, {"format": "pt"})
    done, folder = solve(*LENS)
    assert done.returncode == 1 and "error network_not_finite" in done.stderr
    assert not folder.result_file.exists() and not (folder.path / "depth").exists()
