"""The buttons of the engine's installation, on a real environment made from a folder of tiny wheels."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from tiny_wheels import write_lock, write_wheel


@pytest.fixture
def shelf(addon, tmp_path, monkeypatch, session) -> Path:
    """A wheel folder chosen in the preferences, and the engine's place in the test's own folder."""
    wheels = tmp_path / "wheels"
    lock = write_lock(tmp_path / "lock.txt", [write_wheel(wheels, name) for name in ("apple", "pear")])
    monkeypatch.setattr(addon.ui.operators.installation, "lock_for", lambda extent: lock)
    monkeypatch.setattr(addon.runtime.environment, "environment_folder", lambda: tmp_path / "environment")
    monkeypatch.setattr(addon.runtime.environment, "MODULES", ("apple", "pear"))
    addon.ui.preferences.current().wheel_folder = str(wheels)
    yield wheels
    addon.ui.preferences.current().wheel_folder = ""


def last_line(session) -> str:
    return session.status().installation.last_line


def test_installation_respects_online_access(addon):
    """Factory settings keep Blender offline."""
    assert not bpy.app.online_access
    for operator in (bpy.ops.stereodiff.install_runtime, bpy.ops.stereodiff.repair_runtime):
        with pytest.raises(RuntimeError, match="Allow Online Access first"):
            operator()


@pytest.mark.slow
@pytest.mark.any_blender
def test_a_wheel_folder_needs_no_network(shelf, session, tmp_path):
    assert not bpy.app.online_access
    assert bpy.ops.stereodiff.install_runtime() == {"FINISHED"}
    assert last_line(session) == "The engine is installed."
    assert bpy.ops.stereodiff.verify_runtime() == {"FINISHED"}
    assert last_line(session) == "Every file is as it was installed."


@pytest.mark.slow
@pytest.mark.any_blender
def test_what_is_broken_is_found_mended_and_removed(shelf, session, tmp_path):
    bpy.ops.stereodiff.install_runtime()
    module = next((tmp_path / "environment").glob("[Ll]ib/**/pear/data.txt"))
    module.write_text("other numbers")
    with pytest.raises(RuntimeError, match="pear has another data.txt.*Press Repair"):
        bpy.ops.stereodiff.verify_runtime()
    assert bpy.ops.stereodiff.repair_runtime() == {"FINISHED"}
    assert last_line(session) == "Mended: pear."
    assert bpy.ops.stereodiff.remove_runtime() == {"FINISHED"}
    assert not (tmp_path / "environment").exists()
    with pytest.raises(RuntimeError, match="could be removed"):
        bpy.ops.stereodiff.remove_runtime()


def test_every_extent_has_a_lock_or_says_that_there_is_none(addon):
    for extent in ("standard", "learned"):
        try:
            assert addon.ui.operators.installation.lock_for(extent).is_file()
        except addon.engine.contract.StereoDiffError as error:
            assert error.code == "runtime_broken" and "there is no" in error.message.lower()


@pytest.mark.parametrize(("lock_name", "extent"), [
    ("standard-linux_x86_64-py311.txt", "standard"), ("learned-cuda-linux_x86_64-py311.txt", "learned"),
    ("high-cuda-linux_x86_64-py311.txt", "learned"),  # before the list had its name of today
])
def test_what_is_verified_and_repaired_is_what_was_installed(addon, shelf, tmp_path, lock_name, extent):
    folder = tmp_path / "environment"
    folder.mkdir()
    (folder / addon.runtime.install.OURS).write_text(f"{lock_name}\n", encoding="ascii")
    assert addon.ui.operators.installation.installed_extent() == extent


def test_installation_that_fails_is_an_error_in_words(shelf, tmp_path, session):
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / "thesis.txt").write_text("not ours")
    for operator in (bpy.ops.stereodiff.install_runtime, bpy.ops.stereodiff.remove_runtime):
        with pytest.raises(RuntimeError, match="already holds something"):
            operator()
        assert session.status().installation.problem.code == "output_in_use"
    assert (tmp_path / "environment" / "thesis.txt").read_text() == "not ours"


def test_nothing_to_cancel_is_no_button(addon):
    assert not bpy.ops.stereodiff.cancel_installation.poll()


@pytest.mark.slow
@pytest.mark.any_blender
def test_the_preferences_draw_with_and_without_an_installation(shelf, addon, session):
    bpy.ops.stereodiff.install_runtime()
    view = session.status().installation
    assert view.problem is None and not view.is_running
