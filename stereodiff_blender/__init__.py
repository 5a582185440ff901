"""Blender extension: a movie clip becomes depth textures, a displaced mesh and a camera.

Nothing is imported here before register(), so the worker and the tests can import the package without bpy.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import operators, panels, preferences, properties, session
    for module in (preferences, properties, operators, panels):
        module.register()
    session.register(preferences.find_python)


def unregister() -> None:
    """Called by Blender when the extension is disabled. Workers go on; the next Blender finds them again."""
    from . import operators, panels, preferences, properties, session
    session.unregister()
    for module in (panels, operators, properties, preferences):
        module.unregister()
