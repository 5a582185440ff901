"""The doctor, run as people run it: by interpreters whole, bare and broken, and beside drivers of all kinds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import Finding, Health, StereoDiffError, disk_use, text_lines
from stereodiff_blender.engine.doctor import machine, packages, weights
from stereodiff_blender.engine.pipeline import networks
from stereodiff_blender.engine.weights.cards import ENGINE_CARDS, read_card
from stereodiff_blender.jobs import worker_process as jobs

unix_only = pytest.mark.skipif(os.name == "nt", reason="a script on PATH stands for the driver's program")
STATES = {"ok", "note", "fault"}


def health_of(done: subprocess.CompletedProcess) -> Health:
    assert not done.stderr, done.stderr
    return Health.from_json(json.loads(done.stdout))


def finding(health: Health, name: str) -> Finding:
    return next(finding for finding in health.findings if finding.name == name)


def make_environment(folder: Path, *, borrow: bool) -> Path:
    """An interpreter without packages, or with those of this one behind its own. Returns its folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scheme = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    site = Path(scheme["purelib"])
    if borrow:
        (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return site


def python_of(site: Path) -> Path:
    folder = next(parent for parent in site.parents if (parent / "pyvenv.cfg").is_file())
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture
def borrowing(tmp_path) -> Path:
    """Packages put here come before the real ones. PyTorch and what brings it are hidden: they take seconds to load."""
    site = make_environment(tmp_path / "environment", borrow=True)
    for module in ("torch", "safetensors", "diffusers", "transformers"):
        put_package(site, module, f"raise ModuleNotFoundError('{module} is hidden')")
    return site


@pytest.fixture
def light_python(borrowing) -> Path:
    """An interpreter with all that the default engine needs."""
    return python_of(borrowing)


def put_package(site: Path, module: str, source: str, distribution: str = "", version: str = "1.0") -> None:
    """A package as an installer leaves it; with distribution, also the record of its installation."""
    (site / f"{module}.py").write_text(source)
    if distribution:
        record = site / f"{distribution}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")


# --- Whole and bare --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def whole(worker_python, repository, tmp_path_factory) -> Health:
    """What the doctor says of the engine's real environment."""
    folder = tmp_path_factory.mktemp("doctor")  # which stays empty
    command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, "doctor", "--json", "--jobs", folder / "jobs",
               "--models", folder / "models"]
    done = subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.iterdir()) == []
    return health_of(done)


@pytest.mark.slow
def test_nothing_is_wrong_with_the_real_environment(whole):
    assert whole.can_run and not [found for found in whole.faults if found.is_vital]
    names = {found.name for found in whole.findings}
    assert {"System", "Python", "Engine", "Memory", "NumPy", "OpenCV", "PyAV", "OpenEXR", "PyTorch", "Movies",
            "EXR files", "Device", "Temporary folder", "Jobs folder", "Models folder", "MonST3R weights"} <= names
    assert all(finding(whole, name).state == "ok" for name in ("Python", "NumPy", "PyAV", "EXR files", "Movies"))
    assert whole.capabilities.unusable["standard"] == ()


@pytest.mark.slow
def test_every_finding_can_be_acted_on(whole):
    for found in whole.findings:
        assert found.state in STATES and found.name and found.found, found
        assert found.state != "fault" or found.remedy.endswith("."), found
        assert "\n" not in found.found + found.remedy, found


def test_what_engines_need_is_what_they_are_refused_without():
    assert {engine: packages.NEEDS[engine] for engine in networks.PACKAGES} == networks.PACKAGES
    assert weights.LABELS == networks.LABELS
    assert {model: engine for engine, cards in ENGINE_CARDS.items() for model in cards} == weights.ENGINE_OF_CARD


@pytest.mark.slow
def test_what_auto_means_is_what_the_engine_takes(whole):
    torch = pytest.importorskip("torch")
    from stereodiff_blender.engine.torch_support.device import torch_device
    assert whole.capabilities.auto_device == torch_device("auto").type
    assert "cpu" in whole.capabilities.devices
    assert ("cuda" in whole.capabilities.devices) == torch.cuda.is_available()


@pytest.mark.slow
def test_the_text_is_for_people(doctor, light_python):
    done = doctor(python=light_python)
    assert done.returncode == 0 and done.stdout.isascii()
    first, blank, *rest = done.stdout.splitlines()
    assert "can run here" in first and not blank
    assert rest and all(line[:5].strip() in (*STATES, "FAULT", "") for line in rest)


@pytest.mark.slow
def test_without_any_package_it_names_each(doctor, tmp_path):
    python = python_of(make_environment(tmp_path / "bare", borrow=False))
    done = doctor("--json", python=python)
    health = health_of(done)
    assert done.returncode == 1 and not health.can_run
    for package in packages.PACKAGES:
        found = finding(health, package.label)
        assert found.state == ("fault" if package.is_vital else "note")
        assert found.remedy and "not installed" in found.found
    assert health.capabilities.unusable["standard"] == packages.NEEDS["standard"]
    assert health.capabilities.unusable["monst3r"] == packages.NEEDS["monst3r"] and health.capabilities.devices == {}
    text = doctor(python=python)
    assert text.returncode == 1 and "cannot run here" in text.stdout.splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.9", "3.10"])
def test_a_python_that_is_too_old_hears_it_in_words(doctor, version):
    places = [shutil.which(f"python{version}"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    python = next((place for place in places if place and subprocess.run(
        [place, "-c", ""], capture_output=True, check=False).returncode == 0), None)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    done = doctor("--json", python=python)
    assert done.returncode == 1
    assert finding(health_of(done), "Python").state == "fault"


# --- Broken packages -------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_package_of_another_version_is_named(doctor, borrowing):
    put_package(borrowing, "imageio", "from importlib import metadata\n__version__ = '2.0.1'\n", "imageio", "2.0.1")
    found = finding(health_of(doctor("--json", python=python_of(borrowing))), "imageio")
    wanted, = packages.pinned_versions()["imageio"]
    assert found.state == "note" and "2.0.1" in found.found and wanted in found.found and found.remedy


def test_builds_of_one_version_are_one_version():
    assert packages._public("2.13.0+cpu") == packages._public("2.13.0+cu130") == "2.13.0"


@pytest.mark.slow
def test_a_package_that_cannot_be_loaded(doctor, borrowing):
    put_package(borrowing, "av", "raise OSError('libavcodec.so: cannot open shared object file')", "av", "18.1.0")
    done = doctor("--json", python=python_of(borrowing))
    found = finding(health_of(done), "PyAV")
    assert done.returncode == 1
    assert found.state == "fault" and "cannot be loaded" in found.found and "libavcodec.so" in found.found


@pytest.mark.slow
def test_a_package_that_takes_python_down_with_it(doctor, borrowing):
    put_package(borrowing, "matplotlib", "import os\nos.abort()")
    done = doctor("--json", python=python_of(borrowing))
    health = health_of(done)
    assert done.returncode == 1 and finding(health, "Matplotlib").state == "fault"
    assert "ended with status" in finding(health, "Matplotlib").found
    others = [finding(health, name).state for name in ("NumPy", "Pillow")]
    assert others == ["ok", "ok"], "they were tried all the same"


@pytest.mark.slow
def test_a_broken_pytorch_is_a_fault_that_the_default_engine_survives(doctor, borrowing):
    put_package(borrowing, "torch", "raise OSError('c10.dll is missing')", "torch", "2.13.0")
    done = doctor("--json", python=python_of(borrowing))
    health = health_of(done)
    assert done.returncode == 0 and health.can_run
    assert finding(health, "PyTorch").state == "fault" and finding(health, "PyTorch").remedy
    assert "torch" in health.capabilities.unusable["monst3r"] and health.capabilities.unusable["standard"] == ()


@pytest.mark.slow
def test_what_a_package_prints_is_not_taken_for_an_answer(doctor, borrowing):
    put_package(borrowing, "PIL", "print('doctor:{no json', end='')\n__version__ = '13.0.0'")
    assert finding(health_of(doctor("--json", python=python_of(borrowing))), "Pillow").state == "ok"


@pytest.mark.slow
def test_a_package_that_hangs_is_given_up(borrowing, repository):
    put_package(borrowing, "sleepy", "import time\ntime.sleep(600)")
    question = ("from stereodiff_blender.engine.doctor.probing import ask_probe\n"
                "answers = ask_probe(['import:json', 'import:sleepy', 'import:csv'], timeout_s=2.0)\n"
                "print([answers[step].error for step in ('import:json', 'import:sleepy', 'import:csv')])")
    done = subprocess.run([python_of(borrowing), "-c", question], env=jobs.worker_environment(repository), check=True,
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['', 'no answer within 2 s', '']"


# --- Beside a driver -------------------------------------------------------------------------------------------

@pytest.mark.slow
@unix_only
def test_a_card_that_pytorch_was_not_made_for(nvidia_smi, doctor):
    torch = pytest.importorskip("torch")
    path = nvidia_smi("echo 'NVIDIA GeForce RTX 4070, 580.65.06, 12282, 11000'")
    health = health_of(doctor("--json", PATH=path))
    assert finding(health, "NVIDIA driver").state == "ok"
    assert "580.65.06" in finding(health, "NVIDIA driver").found and "12.9 GB" in finding(health, "NVIDIA driver").found
    if torch.version.cuda is None:
        assert finding(health, "CUDA").state == "note" and "made without CUDA" in finding(health, "CUDA").found


# --- Folders ---------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_jobs_folder_below_a_file(doctor, light_python, tmp_path):
    (tmp_path / "file").touch()
    done = doctor("--json", "--jobs", tmp_path / "file" / "jobs", python=light_python)
    found = finding(health_of(done), "Jobs folder")
    assert done.returncode == 1 and found.state == "fault" and "is a file" in found.found and found.remedy


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_a_jobs_folder_where_nobody_may_write(doctor, light_python):
    done = doctor("--json", "--jobs", "/proc/jobs", "--models", "/proc/models", python=light_python)
    health = health_of(done)
    assert done.returncode == 1 and finding(health, "Jobs folder").state == "fault"
    assert "cannot be written" in finding(health, "Jobs folder").found
    assert finding(health, "Models folder").state in ("ok", "note"), "weights are only read"


def test_a_jobs_folder_behind_a_link_into_nothing(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    found = next(found for found in machine.folder_findings(tmp_path / "link" / "jobs", None)
                 if found.name == "Jobs folder")
    assert found.state == "fault" and "cannot be written" in found.found


def test_too_little_space_for_a_solve(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "EXAMPLE_FRAMES", 10**12)
    found = next(found for found in machine.folder_findings(tmp_path, None) if found.name == "Jobs folder")
    assert found.state == "fault" and found.is_vital and "need" in found.found and "Free some space" in found.remedy


def test_the_space_that_is_named_is_what_a_solve_asks_for():
    assert machine.BYTES_PER_PIXEL == disk_use.SCRATCH_BYTES_PER_PIXEL + disk_use.PRODUCT_BYTES_PER_PIXEL


# --- Weights ---------------------------------------------------------------------------------------------------

@pytest.fixture
def models_folder(tmp_path) -> Path:
    """Tiny networks in files as published."""
    pytest.importorskip("torch")
    from tiny_depthcrafter import write_tiny_depthcrafter
    from tiny_monst3r import write_tiny_monst3r
    write_tiny_monst3r(tmp_path / "models" / "monst3r")
    statement = tmp_path / "models" / "monst3r" / "config.json"
    statement.write_text(statement.read_text().ljust(read_card("monst3r").files[0].size))  # as large as published
    write_tiny_depthcrafter(tmp_path / "models")
    return tmp_path / "models"


def by_name(folder: Path) -> dict[str, Finding]:
    return {found.name.removesuffix(" weights"): found for found in weights.weights_findings(folder).values()}


@pytest.mark.slow
def test_weights_that_are_all_there(models_folder):
    found = by_name(models_folder)
    assert set(found) == {"MonST3R", "DepthCrafter", "Stable Video Diffusion"}
    assert all(found.state == "ok" and "complete" in found.found and "no commercial use" in found.found
               for found in found.values()), found


def test_weights_that_are_not_there(tmp_path):
    assert all(found.state == "note" and found.remedy for found in by_name(tmp_path / "none").values())


@pytest.mark.slow
def test_a_part_that_is_missing(models_folder):
    (models_folder / "stable-video-diffusion-img2vid-xt" / "vae" / "config.json").unlink()
    found = by_name(models_folder)
    assert found["Stable Video Diffusion"].state == "fault"
    assert "vae/config.json" in found["Stable Video Diffusion"].found
    assert found["DepthCrafter"].state == "ok"
    lacking = weights.unusable_weights(weights.weights_findings(models_folder))
    assert set(lacking) == {"depthcrafter"} and "vae/config.json" in lacking["depthcrafter"]


def test_the_authors_own_file_serves_as_well(tmp_path):
    pytest.importorskip("torch")
    from tiny_monst3r import write_tiny_monst3r
    write_tiny_monst3r(tmp_path / "monst3r", kind="pth")
    assert by_name(tmp_path)["MonST3R"].state == "ok"


def test_what_the_engine_can_do_without_is_not_missed(models_folder):
    (models_folder / "monst3r" / "config.json").unlink()
    assert by_name(models_folder)["MonST3R"].state == "ok"
    from stereodiff_blender.engine.stereo.monst3r.checkpoint import find_weights
    assert find_weights(models_folder / "monst3r").is_file()


@pytest.mark.parametrize("content", [b"", b"short", b"<!doctype html>" * 9, None])
def test_a_download_that_broke_off(models_folder, content):
    path = models_folder / "monst3r" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    found = by_name(models_folder)["MonST3R"]
    assert found.state == "fault" and "model.safetensors" in found.found and found.remedy


# --- Private and exact -----------------------------------------------------------------------------------------

@pytest.mark.slow
def test_nobody_is_named(doctor, light_python, tmp_path):
    home = tmp_path / "people" / "annabel"
    home.mkdir(parents=True)
    elsewhere = tmp_path / "media" / "annabel" / "models"
    who = {"HOME": str(home), "USERPROFILE": str(home), "USER": "annabel", "LOGNAME": "annabel", "USERNAME": "annabel"}
    for form in ("--json",), ():
        done = doctor(*form, "--jobs", home / "jobs", "--models", elsewhere, python=light_python, **who)
        assert done.returncode == 0, done.stdout
        assert "annabel" not in done.stdout
        assert f"~{os.sep}jobs" in done.stdout.replace("\\\\", "\\") and "<user>" in done.stdout


def test_json_comes_back_as_it_was(whole):
    data = json.loads(json.dumps(whole.to_json()))
    assert data["schema_version"] == 1 and data["can_run"] is True
    assert set(data) == {"schema_version", "engine_version", "can_run", "findings", "capabilities"}
    assert Health.from_json(data) == whole


@pytest.mark.parametrize("change", [
    {"schema_version": 2}, {"findings": "none"}, {"findings": [{"name": "x", "state": "fine", "found": "y"}]},
    {"surprise": 1}, {"capabilities": {"devices": ["cpu"]}},
])
def test_an_answer_of_another_kind_is_refused(whole, change):
    with pytest.raises(StereoDiffError) as caught:
        Health.from_json({**whole.to_json(), **change})
    assert caught.value.code == "runtime_broken"


def test_a_fault_that_is_not_vital_does_not_stop_the_default_engine():
    optional, vital = Finding("a", "fault", "b", "c."), Finding("d", "fault", "e", "f.", is_vital=True)
    assert Health("1", (optional,)).can_run and not Health("1", (optional, vital)).can_run
    assert "FAULT a  b" in text_lines(Health("1", (optional,)))
