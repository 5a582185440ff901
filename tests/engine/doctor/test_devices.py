"""What the doctor says of drivers and cards: of those that hang, fail, are full, or were not thought of by a build."""

from __future__ import annotations

import os
import time

import pytest

from stereodiff_blender.engine.doctor import devices, probing

unix_only = pytest.mark.skipif(os.name == "nt", reason="a script on PATH stands for the driver's program")


@unix_only
def test_a_driver_that_hangs_is_not_waited_for(nvidia_smi):
    nvidia_smi("sleep 600")
    began = time.monotonic()
    driver = devices.ask_driver(timeout_s=0.5)
    assert time.monotonic() - began < 60
    found, = devices.driver_findings(driver)
    assert found.state == "fault" and "no answer" in found.found and found.remedy


@unix_only
def test_a_driver_that_fails_is_quoted(nvidia_smi):
    nvidia_smi("echo \"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\"; exit 9")
    found, = devices.driver_findings(devices.ask_driver())
    assert found.state == "fault" and "status 9" in found.found and "couldn't communicate" in found.found


@unix_only
def test_a_driver_that_is_no_program(nvidia_smi, tmp_path):
    nvidia_smi("")
    (tmp_path / "bin" / "nvidia-smi").write_bytes(b"\x7fELF nothing")
    found, = devices.driver_findings(devices.ask_driver())
    assert found.state == "fault" and "does not start" in found.found


def torch_answer(**values) -> probing.Answer:
    """What the probe says of PyTorch, on a computer without any card unless values say otherwise."""
    return probing.Answer({"version": "2.13.0", "cuda": "", "hip": "", "auto": "cpu", "cards": [], "has_mps": False,
                           "mps_fault": "", "threads": 4, "cores": 8, "warning": "", **values})


def card(**values) -> dict:
    return {"name": "NVIDIA L4", "capability": [8, 9], "total": 24 * 10**9, "free": 20 * 10**9,
            "kernels": ["sm_80", "sm_86", "sm_90"], "fault": "", **values}


NO_DRIVER = devices.Driver(is_there=False)
A_DRIVER = devices.Driver(True, "550.54", (("NVIDIA L4", 24 * 10**9, 20 * 10**9),))


def test_a_card_in_order():
    answer = torch_answer(cuda="13.0", auto="cuda", cards=[card()])
    found = {found.name: found for found in devices.device_findings(answer, A_DRIVER)}
    assert found["CUDA device 0"].state == "ok" and "8.9" in found["CUDA device 0"].found
    assert "Auto means CUDA" in found["Device"].found
    assert devices.capabilities(answer, {}).devices == {"cpu": "CPU", "cuda": "NVIDIA L4"}


def test_a_card_without_kernels_in_this_build():
    answer = torch_answer(cuda="13.0", auto="cuda", cards=[card(capability=[6, 1], fault="no kernel image")])
    found = next(found for found in devices.device_findings(answer, A_DRIVER) if found.name == "CUDA device 0")
    assert found.state == "fault" and "6.1" in found.found and "sm_80" in found.found and "CPU" in found.remedy
    known = devices.capabilities(answer, {})
    assert known.auto_device == "cuda" and "cuda" not in known.devices and known.broken_devices["cuda"]


def test_a_card_that_is_full():
    answer = torch_answer(cuda="13.0", auto="cuda", cards=[card(free=2 * 10**9)])
    found = next(found for found in devices.device_findings(answer, A_DRIVER) if found.name == "CUDA device 0")
    assert found.state == "note" and "2.0 GB of it free" in found.found and found.remedy


@pytest.mark.parametrize(("capability", "kernels", "runs"), [
    ((8, 9), ["sm_86"], True), ((8, 6), ["sm_89"], False), ((9, 0), ["sm_90a"], True), ((10, 0), ["sm_90"], False),
    ((12, 0), ["sm_90", "compute_90"], True), ((7, 5), ["compute_90"], False), ((12, 0), ["sm_120"], True),
    ((9, 4), ["gfx942"], True), ((8, 9), [], True),
])
def test_which_kernels_run_on_which_card(capability, kernels, runs):
    assert devices.has_kernels(capability, kernels) == runs


@pytest.mark.parametrize(("answer", "driver", "hidden", "words"), [
    (torch_answer(cuda="13.0"), A_DRIVER, "", "CUDA_VISIBLE_DEVICES"),
    (torch_answer(cuda="13.0", warning="The driver is too old"), A_DRIVER, None, "The driver is too old"),
    (torch_answer(), A_DRIVER, None, "made without CUDA"),
    (torch_answer(cuda="13.0"), NO_DRIVER, None, "sees no card"),
])
def test_why_there_is_no_cuda(answer, driver, hidden, words, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    found = next(found for found in devices.device_findings(answer, driver) if found.name == "CUDA")
    assert found.state == "note" and words in found.found and found.remedy


def test_without_a_card_nothing_is_said_of_cuda(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert all(found.state == "ok" for found in devices.device_findings(torch_answer(), NO_DRIVER))


def test_a_mac_is_told_that_auto_leaves_metal_alone():
    answer = torch_answer(has_mps=True)
    found = next(found for found in devices.device_findings(answer, NO_DRIVER) if found.name == "Metal")
    assert found.state == "ok" and "Auto does not choose it" in found.found
    assert devices.capabilities(answer, {}).devices["mps"] == "Metal"
    broken = devices.capabilities(torch_answer(has_mps=True, mps_fault="no"), {})
    assert broken.broken_devices == {"mps": "no"} and "mps" not in broken.devices
