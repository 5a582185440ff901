"""The weights' buttons and rows: license, offline, folders of one's own, and what Solve says without them."""

from __future__ import annotations

import importlib
from pathlib import Path

import bpy
import pytest


@pytest.fixture
def models(addon):
    return importlib.import_module(f"{addon.__name__}.engine.weights.cards").read_cards()


@pytest.fixture
def licences(addon, tmp_path, monkeypatch):
    """The module, with a user's folder of this test's own in which nothing was accepted."""
    monkeypatch.setattr(addon.engine.contract.user_folders, "user_folder", lambda: tmp_path / "user")
    return importlib.import_module(f"{addon.__name__}.engine.weights.licences")


@pytest.fixture
def folder(preferences, worker_python, tmp_path) -> Path:
    preferences.models_folder, preferences.runtime_python = str(tmp_path / "models"), str(worker_python)
    return tmp_path / "models"


def test_nothing_is_downloaded_while_blender_is_offline(licences, folder):
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match="Allow Online Access first"):
        bpy.ops.stereodiff.download_weights(model="monst3r", accept=True)
    assert not folder.exists()


def test_a_download_needs_the_tick(licences, folder, models):
    bpy.context.preferences.system.use_online_access = True
    try:
        with pytest.raises(RuntimeError, match="licence"):
            bpy.ops.stereodiff.download_weights(model="monst3r")
    finally:
        bpy.context.preferences.system.use_online_access = False
    assert not folder.exists()


def test_an_acceptance_is_kept_with_its_date_and_asked_for_once(licences, addon, folder, models):
    card = next(card for card in models if card.model == "monst3r")
    with pytest.raises(RuntimeError, match="licence"):
        bpy.ops.stereodiff.accept_licence(model="monst3r")
    assert bpy.ops.stereodiff.accept_licence(model="monst3r", accept=True) == {"FINISHED"}
    kept = licences.acceptance(addon.engine.contract.user_folders.user_folder(), card)
    assert len(kept.date) == len("2026-01-01") and kept.licence == card.licence
    assert bpy.ops.stereodiff.accept_licence(model="monst3r") == {"FINISHED"}


def test_solve_refuses_weights_whose_licence_nobody_accepted(licences, folder, settings, tmp_path):
    (folder / "monst3r").mkdir(parents=True)
    (folder / "monst3r" / "model.safetensors").write_bytes(b"anything")
    picture = bpy.data.images.new("plate", 64, 48)
    picture.file_format, picture.filepath_raw = "PNG", str(tmp_path / "plate_0001.png")
    for number in (1, 2, 3):
        picture.filepath_raw = str(tmp_path / f"plate_{number:04d}.png")
        picture.save()
    settings.clip = bpy.data.movieclips.load(str(tmp_path / "plate_0001.png"))
    settings.stereo = "monst3r"
    with pytest.raises(RuntimeError, match="license.*MonST3R"):
        bpy.ops.stereodiff.solve()
    assert len(settings.jobs) == 0


def test_what_is_no_model_and_a_folder_without_weights_are_told(licences, folder, tmp_path):
    with pytest.raises(RuntimeError):
        bpy.ops.stereodiff.use_weights_folder(model="monst3r", directory=str(tmp_path), wait=True)
    with pytest.raises(RuntimeError):
        bpy.ops.stereodiff.verify_weights(model="../../etc", wait=True)


def test_removing_weights_that_are_not_there_deletes_nothing(licences, folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert bpy.ops.stereodiff.remove_weights(model="depthcrafter") == {"CANCELLED"}
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_every_model_has_a_row_with_its_state_and_licence(addon, licences, folder, session, models):
    panels = importlib.import_module(f"{addon.__name__}.ui.drawing.weights")
    session.weights.inspect_models(folder)
    session.wait_for(session.weights.is_busy)
    views = session.status().weights.models
    assert [view.card.model for view in views] == [card.model for card in models]
    for view in views:
        text, icon = panels.state_text(view)
        assert text.startswith("Not here, about") and icon and not view.accepted_on
        assert not view.card.commercial_use and len(view.card.terms) > 80


def test_the_panel_says_which_licence_is_missing(addon, licences, folder, session, settings, contract):
    preflight = importlib.import_module(f"{addon.__name__}.health.preflight")
    session.weights.inspect_models(folder)
    session.wait_for(session.weights.is_busy)
    asked = preflight.licence_notices(contract.Settings(stereo="monst3r"), session.status().weights)
    assert [notice.code for notice in asked] == ["licence_not_accepted"]
    assert preflight.licence_notices(contract.Settings(), session.status().weights) == ()
