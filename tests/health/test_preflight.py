"""What is said before a run: the truth about what is missing, what will be used instead, and what will be refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import Capabilities, Health, Settings, StereoDiffError
from stereodiff_blender.engine.contract.errors import Problem
from stereodiff_blender.engine.pipeline.networks import refuse_missing
from stereodiff_blender.health import preflight
from stereodiff_blender.health.checkup import Checked, Question, ask, has_weights

ALL_WEIGHTS = frozenset({"monst3r", "depthcrafter"})
HIGH = Settings(quality="high")
MONST3R = Settings(stereo="monst3r")
DEPTHCRAFTER = Settings(refine="depthcrafter")


def checked(weights=ALL_WEIGHTS, *, auto="cpu", devices=None, **capabilities) -> Checked:
    """What was found on a computer with PyTorch and nothing else to compute on, unless said otherwise."""
    known = Capabilities(auto_device=auto, devices=devices or {"cpu": "CPU"}, **capabilities)
    return Checked(Health("0.1.0", (), known), weights=weights)


WITH_CUDA = {"auto": "cuda", "devices": {"cpu": "CPU", "cuda": "NVIDIA L4"}}
WITH_METAL = {"devices": {"cpu": "CPU", "mps": "Metal"}}
WITHOUT_TORCH = {"unusable": {"high": ("torch",),  # so said the doctor of earlier versions
                              "monst3r": ("torch", "safetensors"),
                              "depthcrafter": ("torch", "safetensors", "diffusers", "transformers")}}


def only_notice(settings: Settings, found: Checked | None) -> preflight.Notice:
    notice, = preflight.notices(settings, found)
    return notice


@pytest.mark.parametrize("settings", [Settings(), HIGH, Settings(quality="high", device="cuda")])
@pytest.mark.parametrize("found", [None, checked(), Checked(problem=Problem("runtime_missing", "None.")),
                                   checked(frozenset(), **WITHOUT_TORCH)])
def test_the_geometric_engine_needs_nothing_said(settings, found):
    assert preflight.notices(settings, found) == ()
    preflight.refuse(settings, Path("nowhere"), found)


@pytest.mark.parametrize("settings", [MONST3R, DEPTHCRAFTER])
def test_with_everything_there_nothing_is_said(settings):
    assert preflight.notices(settings, checked(**WITH_CUDA)) == ()


@pytest.mark.parametrize(("settings", "name"), [(MONST3R, "MonST3R"), (DEPTHCRAFTER, "DepthCrafter")])
def test_before_anybody_has_looked_that_is_said(settings, name):
    notice = only_notice(settings, None)
    assert not notice.is_refusal and notice.mend == preflight.LOOK and name in notice.text


@pytest.mark.parametrize(("settings", "instead"), [(MONST3R, "choose Geometric"), (DEPTHCRAFTER, "choose Guided")])
def test_without_pytorch_it_is_refused(settings, instead, tmp_path):
    found = checked(**WITHOUT_TORCH)
    notice = only_notice(settings, found)
    assert "PyTorch" in notice.text and instead in notice.text and notice.mend == preflight.INSTALL_PYTORCH
    with pytest.raises(StereoDiffError) as caught:
        preflight.refuse(settings, tmp_path, found)
    assert caught.value.code == notice.code == "torch_missing"


@pytest.mark.parametrize(("settings", "name"), [(MONST3R, "MonST3R"), (DEPTHCRAFTER, "DepthCrafter")])
def test_without_weights_it_is_refused(settings, name):
    notice = only_notice(settings, checked(frozenset(), **WITH_CUDA))
    assert notice.text.startswith(f"No weights for {name}: choose")
    assert notice.code == "weights_missing" and notice.mend == preflight.GET_WEIGHTS


def test_weights_that_are_not_whole_are_said_to_be():
    lack = "MonST3R weights: damaged: model.safetensors (9 of 90 bytes)"
    notice = only_notice(MONST3R, checked(unusable_weights={"monst3r": lack}, **WITH_CUDA))
    assert lack in notice.text and notice.is_refusal
    assert preflight.notices(DEPTHCRAFTER, checked(unusable_weights={"monst3r": lack}, **WITH_CUDA)) == ()


def test_weights_can_be_missed_without_any_engine():
    found = Checked(problem=Problem("runtime_broken", "It does not start."))
    assert only_notice(MONST3R, found).code == "weights_missing"


@pytest.mark.parametrize(("settings", "words"), [
    (MONST3R, "No CUDA: MonST3R runs on the processor, slower"),
    (Settings("monst3r", "depthcrafter", "high"), "No CUDA: MonST3R and DepthCrafter run on the processor, slower"),
])
def test_without_cuda_it_is_said_to_be_slower(settings, words):
    notice = only_notice(settings, checked())
    assert notice.text == words and not notice.is_refusal and not notice.mend


def test_on_a_mac_metal_is_named_as_what_could_be_chosen():
    notice = only_notice(MONST3R, checked(**WITH_METAL))
    assert "on the processor" in notice.text and "Metal" in notice.text and notice.mend == preflight.OPEN_PREFERENCES
    assert preflight.notices(Settings("monst3r", device="mps"), checked(**WITH_METAL)) == ()


def test_a_processor_that_was_chosen_although_there_is_cuda():
    notice = only_notice(Settings("monst3r", device="cpu"), checked(**WITH_CUDA))
    assert "CPU is chosen" in notice.text and "CUDA is there" in notice.text and not notice.is_refusal


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(device, tmp_path):
    settings = Settings("monst3r", device=device)
    notice = only_notice(settings, checked())
    assert notice.code == "device_unavailable" and "does not see it" in notice.text
    with pytest.raises(StereoDiffError) as caught:
        preflight.refuse(settings, tmp_path, checked())
    assert caught.value.code == "device_unavailable"


def test_a_card_that_cannot_compute_is_refused():
    notice = only_notice(MONST3R, checked(auto="cuda", broken_devices={"cuda": "no kernel image"}))
    assert notice.code == "device_unavailable" and "no kernel image" in notice.text and "CPU" in notice.text


def test_a_device_that_nothing_uses_is_no_matter():
    assert preflight.notices(Settings(device="cuda"), checked()) == ()


def test_every_refusal_has_a_code_of_the_contract():
    for settings in (MONST3R, DEPTHCRAFTER, Settings("monst3r", device="cuda")):
        for found in (checked(), checked(frozenset(), **WITHOUT_TORCH), checked(**WITH_METAL)):
            for notice in preflight.notices(settings, found):
                assert notice.mend in (*preflight.MENDS, "")
                if notice.is_refusal:
                    StereoDiffError(notice.code, notice.text)


# --- The engine's own rule -------------------------------------------------------------------------------------

def weights_file(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"numbers")


@pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors", "PIL", "diffusers",
                                                                            "transformers")),
                    reason="without PyTorch the engine refuses before it looks for weights")
@pytest.mark.parametrize("settings", [MONST3R, DEPTHCRAFTER])
@pytest.mark.parametrize("name", ["", "model.safetensors", "deep/er.safetensors", "old.pth", "model.bin", "notes.txt"])
def test_weights_are_missed_where_the_engine_would_miss_them(settings, name, tmp_path):
    if name:
        for engine in ALL_WEIGHTS:
            path = tmp_path / engine / name
            weights_file(path.parent, path.name)

    def is_refused(refuse, *arguments) -> bool:
        try:
            refuse(*arguments)
        except StereoDiffError as error:
            assert error.code == "weights_missing"
            return True
        return False

    assert is_refused(preflight.refuse, settings, tmp_path, None) == is_refused(refuse_missing, settings, str(tmp_path))


def test_weights_are_looked_for_afresh(tmp_path):
    """What was put there since the last look counts, and so does what was taken away."""
    weights_file(tmp_path / "monst3r", "model.safetensors")
    preflight.refuse(MONST3R, tmp_path, checked(frozenset(), **WITH_CUDA))
    assert has_weights(tmp_path, "monst3r") and not has_weights(tmp_path, "depthcrafter")
    with pytest.raises(StereoDiffError, match="There are no weights in"):
        preflight.refuse(DEPTHCRAFTER, tmp_path, checked(**WITH_CUDA))


def test_weights_in_a_folder_of_the_users_count(tmp_path):
    weights_file(tmp_path / "mine", "model.safetensors")
    record = tmp_path / "models" / "monst3r.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"schema_version": 1, "folder": str(tmp_path / "mine")}))
    preflight.refuse(MONST3R, tmp_path / "models", None)
    record.write_text("no json")
    with pytest.raises(StereoDiffError) as caught:
        preflight.refuse(MONST3R, tmp_path / "models", None)
    assert caught.value.code == "model_record_invalid"
    found = ask(Question(None, Problem("runtime_missing", "None."), tmp_path, tmp_path, tmp_path / "models"))
    assert found.weights == frozenset() and found.health is None
