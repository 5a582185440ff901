"""The doctor as people run it, and a driver's program of any kind."""

from __future__ import annotations

import os
import subprocess

import pytest

from stereodiff_blender.jobs import worker_process as jobs


@pytest.fixture
def doctor(worker_python, repository):
    """doctor(*arguments, python, **environment) -> the finished process."""

    def call(*arguments, python=worker_python, **environment) -> subprocess.CompletedProcess:
        command = [python, "-s", "-m", jobs.WORKER_MODULE, "doctor", *map(str, arguments)]
        return subprocess.run(command, env={**jobs.worker_environment(repository), **environment}, check=False,
                              capture_output=True, text=True, encoding="utf-8")

    return call


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """nvidia_smi(script) -> PATH on which this script is the driver's program."""

    def put(script: str) -> str:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        return os.environ["PATH"]

    return put
