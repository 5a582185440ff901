"""Runs in a Blender of its own (see test_install.py): installs a package, looks, disables it, looks again.

Usage: python install_in_blender.py PACKAGE, with BLENDER_USER_RESOURCES set. Prints one line, REPORT and JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy

MODULE = "bl_ext.user_default.stereodiff"


def names() -> dict[str, set[str]]:
    """What an extension can leave behind in Blender, by kind."""
    handlers = {f"{kind}: {f.__module__}.{f.__name__}" for kind in dir(bpy.app.handlers)
                if isinstance(functions := getattr(bpy.app.handlers, kind), list) for f in functions}
    return {
        "types": {name for name in dir(bpy.types) if "stereodiff" in name.lower()},
        "operators": set(dir(bpy.ops.stereodiff)),
        "scene": {name for name in dir(bpy.types.Scene) if "stereodiff" in name.lower()},
        "handlers": {name for name in handlers if "stereodiff" in name},
        "timers": {f"{module.__name__}.{name}" for module in own_modules() for name, value in vars(module).items()
                   if callable(value) and is_timer(value)},
    }


def own_modules() -> list:
    return [module for name, module in list(sys.modules.items()) if name.startswith(MODULE)]


def is_timer(function) -> bool:
    try:
        return bpy.app.timers.is_registered(function)
    except (TypeError, ValueError):
        return False


def install(package: Path) -> str:
    bpy.ops.extensions.package_install_files(filepath=str(package), repo="user_default", enable_on_install=True)
    return MODULE if MODULE in bpy.context.preferences.addons else ""


def main(package: Path) -> None:
    before = names()
    report = {"enabled": install(package)}
    enabled = names()
    report |= {
        "operators": sorted(enabled["operators"]),
        "panels": sorted(name for name in enabled["types"] if "_PT_" in name),
        "has_scene_settings": hasattr(bpy.context.scene, "stereodiff"),
        "preferences": sorted(bpy.context.preferences.addons[MODULE].preferences.bl_rna.properties.keys()),
    }
    bpy.ops.preferences.addon_disable(module=MODULE)
    report["left"] = {kind: sorted(found - before[kind]) for kind, found in names().items()}
    bpy.ops.preferences.addon_enable(module=MODULE)
    report["operators_again"] = sorted(names()["operators"])
    bpy.ops.preferences.addon_disable(module=MODULE)
    print("REPORT " + json.dumps(report), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
