"""A hub on this computer, and the command that gets weights from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hub_server import CARD, CONFIG, SMALL, WEIGHTS, Hub, end_of, safetensors_bytes

from stereodiff_blender.jobs import worker_process as jobs


@pytest.fixture
def hub():
    with Hub() as server:
        server.add(CARD.repository, "config.json", CONFIG)
        server.add(CARD.repository, WEIGHTS, safetensors_bytes(SMALL))
        yield server


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def environment(hub, repository, tmp_path) -> dict[str, str]:
    """A user with nothing but a mirror: this hub."""
    inherited = {name: value for name, value in jobs.worker_environment(repository).items()
                 if not name.upper().startswith("HF_") and not name.upper().endswith("_PROXY")}
    home = str(tmp_path / "home")
    return inherited | {"HF_ENDPOINT": hub.address(), "HF_HOME": home, "HOME": home, "XDG_DATA_HOME": home,
                        "LOCALAPPDATA": home, "HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2"}


@pytest.fixture(scope="session")
def worker_with_hub(worker_python) -> Path:
    if subprocess.run([worker_python, "-c", "import huggingface_hub"], capture_output=True, check=False).returncode:
        pytest.skip("the worker has no huggingface_hub here")
    return worker_python


@pytest.fixture
def weights(worker_with_hub, environment, models):
    """weights(verb, *options, **environment) -> the running process. Its events are for programs."""

    def start(verb: str, *options, model: str = "monst3r", **more: str) -> subprocess.Popen:
        command = [worker_with_hub, "-s", "-m", jobs.WORKER_MODULE, "weights", verb, model, *map(str, options),
                   "--models", models, "--json-events"]
        return subprocess.Popen(command, env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    return start


@pytest.fixture
def get(weights):
    """get() -> the last event of a download whose license is accepted."""
    return lambda **more: end_of(weights("get", "--accept-licence", **more))
