"""The Doctor button: a real engine, none and broken ones; the text, what is copied, and what panels are told."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

unix_only = pytest.mark.skipif(os.name == "nt", reason="a script stands for a Python")


@pytest.fixture
def doctor(addon):
    import importlib
    return importlib.import_module(f"{addon.__name__}.ui.operators.doctor")


@pytest.fixture
def no_engine(preferences, tmp_path, monkeypatch):
    """A user who has installed nothing."""
    preferences.runtime_python = ""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))


@pytest.fixture
def bare_python(tmp_path) -> Path:
    """A real Python without any package."""
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture
def script(tmp_path):
    """script(text) -> a program that stands in the preferences as Python."""

    def write(text: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def run_doctor() -> str:
    assert bpy.ops.stereodiff.doctor() == {"FINISHED"}
    return bpy.data.texts["StereoDiff Doctor"].as_string()


# --- The report ------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.any_blender
def test_a_real_engine(preferences, session, worker_python):
    preferences.runtime_python = str(worker_python)
    text = run_doctor()
    assert "the default engine can run here" in text.splitlines()[0]
    assert bpy.app.version_string in text and "FAULT" not in text
    for name in ("Blender ", "Extension ", "Online access ", "Engine's Python ", "NumPy ", "EXR files ", "Jobs folder ",
                 "MonST3R weights "):
        assert f" {name}" in text, name
    assert session.status().checked.health.can_run
    assert session.status().checked.weights == frozenset()


def test_no_engine(no_engine, session):
    text = run_doctor()
    assert "cannot run here" in text.splitlines()[0]
    assert "FAULT Engine " in text and "not installed" in text and "Install the engine in the preferences" in text
    assert f" {bpy.app.version_string} " in text, "Blender's own part is there all the same"
    assert session.status().checked.health is None


def test_an_engine_without_packages(preferences, session, bare_python):
    preferences.runtime_python = str(bare_python)
    text = run_doctor()
    assert "cannot run here" in text.splitlines()[0] and "FAULT NumPy" in text and "repair" in text
    assert session.status().checked.health.capabilities.unusable["monst3r"][0] == "torch"


@unix_only
@pytest.mark.parametrize(("source", "words"), [
    ("echo 'cannot open shared object file' >&2; exit 127", "cannot open shared object file"),
    ("exit 3", "exit status 3"), ("kill -9 $$", "signal 9"), ("echo '{}'", "another version"),
    ("echo '[1, 2]'", "another version"), ("echo 'no json'", "exit status 0"),
])
def test_an_interpreter_that_does_not_work(preferences, script, source, words):
    preferences.runtime_python = str(script(source))
    text = run_doctor()
    assert "FAULT Engine " in text and words in text and "Install the engine again" in text


@unix_only
def test_an_interpreter_that_is_no_program(preferences, tmp_path):
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF nothing")
    path.chmod(0o755)
    preferences.runtime_python = str(path)
    assert "does not start" in run_doctor()


@pytest.mark.slow
@unix_only
def test_an_interpreter_that_hangs_is_given_up(addon, script, tmp_path, contract):
    with pytest.raises(contract.StereoDiffError, match="no answer within") as caught:
        addon.health.checkup.ask_doctor(script("sleep 600"), tmp_path, tmp_path, tmp_path, timeout_s=0.5)
    assert caught.value.code == "runtime_broken"


@pytest.mark.slow
def test_nobody_is_named(preferences, bare_python, tmp_path, monkeypatch):
    home = tmp_path / "people" / "annabel"
    home.mkdir(parents=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "annabel")
    preferences.jobs_folder = str(home / "jobs")
    for python in (bare_python, home / "gone" / "python"):
        preferences.runtime_python = str(python)
        text = run_doctor()
        assert "annabel" not in text and f"~{os.sep}" in text


# --- Text and clipboard ----------------------------------------------------------------------------------------

def test_the_text_is_replaced(no_engine):
    before = run_doctor()
    assert run_doctor() == before
    assert [text.name for text in bpy.data.texts] == ["StereoDiff Doctor"]


def test_what_is_copied_is_the_text(no_engine, doctor):
    assert doctor.report() == ""
    assert not bpy.ops.stereodiff.copy_doctor.poll()
    with pytest.raises(RuntimeError, match="Click Doctor first"):
        bpy.ops.stereodiff.copy_doctor()
    text = run_doctor()
    assert doctor.report() == text.rstrip("\n")
    assert bpy.ops.stereodiff.copy_doctor() == {"FINISHED"}


def test_while_he_looks_there_is_nothing_to_copy(no_engine, doctor):
    bpy.data.texts.new(doctor.TEXT_NAME).from_string(doctor.LOOKING)
    assert doctor.report() == ""


@unix_only
def test_he_looks_once_at_a_time_and_does_not_block(preferences, session, script, doctor, tmp_path):
    go_on = tmp_path / "go on"
    preferences.runtime_python = str(script(f"while [ ! -e '{go_on}' ]; do sleep 0.05; done; exit 3"))
    assert bpy.ops.stereodiff.doctor(wait=False) == {"FINISHED"}
    session.tick()
    assert session.engine.is_examining() and session.status().is_examining
    assert not bpy.ops.stereodiff.doctor.poll() and not bpy.ops.stereodiff.look_again.poll()
    assert "looking" in bpy.data.texts[doctor.TEXT_NAME].as_string()
    go_on.touch()
    session.wait_for(session.engine.is_examining)
    assert "exit status 3" in bpy.data.texts[doctor.TEXT_NAME].as_string()
    assert bpy.ops.stereodiff.doctor.poll()


def test_a_text_that_was_deleted_meanwhile_comes_again(addon, no_engine, doctor, session):
    session.engine.examine(addon.ui.preferences.checkup_question(), doctor.write_report)
    session.wait_for(session.engine.is_examining)
    assert "FAULT Engine" in bpy.data.texts[doctor.TEXT_NAME].as_string()


# --- What panels are told --------------------------------------------------------------------------------------

def test_nobody_looks_unasked_in_a_background_blender(session, preferences, worker_python):
    preferences.runtime_python = str(worker_python)
    session.engine.find_out_again()
    session.tick()
    assert not session.engine.is_examining() and session.status().checked is None


def test_look_again_writes_no_text(no_engine, session):
    assert bpy.ops.stereodiff.look_again() == {"FINISHED"}
    assert session.status().checked is not None and len(bpy.data.texts) == 0


def told_of_the_engine(session) -> str:
    """The code of what the preferences say about it; "" where there is an engine."""
    session.tick()
    problem = session.status().engine_problem
    return problem.code if problem is not None else ""


def test_a_python_chosen_by_a_script_is_told_at_once(no_engine, session, preferences, bare_python):
    assert told_of_the_engine(session) == "runtime_missing"
    preferences.runtime_python = str(bare_python)
    assert not session.is_at_rest(), "the timer has something to do"
    assert told_of_the_engine(session) == ""
    preferences.runtime_python = str(bare_python.parent / "none")
    assert told_of_the_engine(session) == "runtime_missing"


def test_the_preferences_say_what_the_doctor_finds(no_engine, session, preferences, bare_python, monkeypatch, addon):
    """An engine that came to its place without Blender's doing."""
    assert told_of_the_engine(session) == "runtime_missing"
    monkeypatch.setattr(addon.runtime.environment, "environment_folder", lambda: bare_python.parents[1])
    (bare_python.parents[1] / addon.runtime.environment.MARKER).touch()
    assert told_of_the_engine(session) == "runtime_missing", "no disk is read at every tick"
    run_doctor()
    assert told_of_the_engine(session) == ""


def test_a_failed_installation_is_not_told_of_another_python(no_engine, session, preferences, bare_python, contract):
    def fails(work) -> None:
        raise contract.StereoDiffError("download_failed", "The index did not answer.")

    session.engine.install(fails)
    session.wait_for(session.engine.is_installing)
    assert session.status().installation.problem.code == "download_failed"
    preferences.runtime_python = str(bare_python)
    assert told_of_the_engine(session) == "" and session.status().installation is None


def test_another_folder_of_models_is_looked_into(session, preferences, tmp_path):
    session.tick()
    assert session.is_at_rest()
    preferences.models_folder = str(tmp_path)
    assert not session.is_at_rest()


def notices(addon, session) -> list[str]:
    """The lines of the panel."""
    settings = addon.ui.properties.settings_from(bpy.context.scene)
    return [notice.text for notice in addon.health.preflight.notices(settings, session.status().checked)]


def test_the_panel_follows_the_choices(addon, session, settings, preferences, bare_python):
    preferences.runtime_python = str(bare_python)
    settings.stereo = "monst3r"
    assert "not known yet" in notices(addon, session)[0]
    bpy.ops.stereodiff.look_again()
    missing, weights = notices(addon, session)
    assert "MonST3R cannot run" in missing and weights.startswith("No weights for MonST3R: choose Geometric")
    settings.stereo, settings.quality = "geometric", "high"
    assert notices(addon, session) == []


def test_solve_refuses_what_the_panel_said(session, settings, sequence, preferences, bare_python):
    preferences.runtime_python, settings.clip, settings.stereo = str(bare_python), sequence, "monst3r"
    bpy.ops.stereodiff.look_again()
    with pytest.raises(RuntimeError, match="needs PyTorch.*MonST3R cannot run"):
        bpy.ops.stereodiff.solve()
    assert len(settings.jobs) == 0 and not Path(preferences.jobs_folder).exists()


def test_weights_that_came_since_are_seen(addon, session, settings, sequence, preferences, worker_like, tmp_path):
    settings.clip, settings.stereo = sequence, "monst3r"
    preferences.models_folder = str(tmp_path / "models")
    with pytest.raises(RuntimeError, match="no weights in"):
        bpy.ops.stereodiff.solve()
    (tmp_path / "models" / "monst3r").mkdir(parents=True)
    (tmp_path / "models" / "monst3r" / "model.safetensors").write_bytes(b"numbers")
    worker_like("finish")
    bpy.ops.stereodiff.accept_licence(model="monst3r", accept=True)
    assert bpy.ops.stereodiff.solve() == {"FINISHED"}


@pytest.fixture
def drawing(addon) -> list[ast.AST]:
    """Every piece of syntax of the module that draws all this."""
    return list(ast.walk(ast.parse(Path(addon.ui.panels.health.__file__).read_text(encoding="utf-8"))))


def test_every_button_is_an_operator(drawing):
    names = {node.args[0].value for node in drawing if isinstance(node, ast.Call)
             and getattr(node.func, "attr", "") == "operator"}
    assert {"stereodiff.doctor", "stereodiff.look_again", "stereodiff.open_preferences"} <= names
    for name in names:
        space, _, operator = name.partition(".")
        assert getattr(getattr(bpy.ops, space), operator).get_rna_type().name


def test_every_mend_has_its_button(addon, drawing):
    """Whatever a notice asks for, the panel draws something for it."""
    named = {node.attr for node in drawing if isinstance(node, ast.Attribute)
             and getattr(node.value, "id", "") == "preflight"}
    preflight = addon.health.preflight
    constants = {name for name, value in vars(preflight).items() if isinstance(value, str) and value in preflight.MENDS}
    assert constants <= named and len(constants) == len(preflight.MENDS)


def test_icons_exist_in_this_blender(drawing):
    known = set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())
    used = {node.value.value for node in drawing if isinstance(node, ast.keyword) and node.arg == "icon"}
    texts = [node for node in drawing if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "draw_text"]
    drawn = {each.value for node in texts for each in ast.walk(node.args[3]) if isinstance(each, ast.Constant)}
    assert len(used) > 3 and {"ERROR", "INFO"} <= drawn and used | drawn <= known


def test_drawing_touches_no_disk(drawing):
    imports = [node for node in drawing if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {alias.name for node in imports for alias in node.names}
    assert not imported & {"os", "Path", "pathlib", "jobs", "runtime", "checkup", "JobFolder"}


def test_faults_with_one_remedy_are_told_together(addon, contract):
    faults = [contract.Finding(name, "fault", "not installed", "Install them.", True) for name in ("NumPy", "OpenCV")]
    disk = contract.Finding("Jobs folder", "fault", "/x is full", "Free some space.", True)
    assert addon.ui.panels.health.fault_lines([faults[0], disk, faults[1]]) == [
        ("NumPy, OpenCV cannot be used", "Install them."), ("Jobs folder: /x is full", "Free some space.")]


def test_what_is_used_is_declared():
    """Network, files and clipboard, each with a reason that Blender's own check accepts."""
    import tomllib
    manifest = tomllib.loads((Path(__file__).resolve().parents[3] / "blender_manifest.toml").read_text("utf-8"))
    assert set(manifest["permissions"]) == {"files", "network", "clipboard"}
    assert all(10 < len(reason) <= 64 and not reason.endswith(".") for reason in manifest["permissions"].values())
