"""Enabling and disabling leaves Blender as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[3]


def traces() -> dict[str, object]:
    """Everything an extension may leave behind."""
    handlers = bpy.app.handlers
    return {
        "types": set(dir(bpy.types)),
        "operators": set(dir(bpy.ops.stereodiff)),
        "scene": set(bpy.types.Scene.bl_rna.properties.keys()) | set(vars(bpy.types.Scene)),
        "handlers": {name: list(functions) for name in dir(handlers)
                     if isinstance(functions := getattr(handlers, name), list)},
    }


def test_unregister_leaves_nothing_and_register_again_works(addon):
    timer = addon.session.session._on_timer
    addon.unregister()
    without = traces()
    addon.register()
    within = traces()
    assert within["types"] - without["types"] and "stereodiff" in within["scene"] - without["scene"]
    addon.unregister()
    assert traces() == without
    assert not [name for name in without["types"] if "stereodiff" in name.lower()]
    assert without["operators"] == set()
    assert not bpy.app.timers.is_registered(timer)
    addon.register()
    assert traces()["types"] == within["types"]
    assert bpy.context.scene.stereodiff.quality == "standard"


def test_unregister_says_nothing(addon, capfd):
    addon.unregister()
    addon.register()
    out = capfd.readouterr()
    assert out.out == "" and out.err == ""


def test_classes_are_named_as_blender_wants(addon):
    names = [name for name in dir(bpy.types) if "stereodiff" in name.lower()]
    assert {name.split("_")[1] for name in names} == {"MT", "OT", "PT", "UL"}, "bpy.types lists no property groups"
    assert all(name.startswith("STEREODIFF_") for name in names)


def test_session_is_not_there_when_disabled(addon):
    addon.session.session.unregister()
    try:
        with pytest.raises(RuntimeError, match="not registered"):
            addon.session.session.status()
    finally:
        addon.session.session.register(addon.ui.preferences.find_python)


def test_package_imports_without_bpy():
    script = "import sys; sys.modules['bpy'] = None; import stereodiff_blender; print('fine')"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "fine", done.stderr
