"""Blender extension: a movie clip becomes depth textures, a displaced mesh and a camera.

Nothing is imported here before register(), so the worker and the tests can import the package without bpy.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import preferences
    from .session import session
    for module in _modules():
        module.register()
    session.register(preferences.find_python, preferences.checkup_question)


def unregister() -> None:
    """Called by Blender when the extension is disabled, and when Blender quits.

    Workers go on, and the next Blender finds them again, unless the preferences want them to end.
    """
    from . import preferences
    from .session import session
    session.unregister(must_end_jobs=preferences.must_end_jobs())
    for module in reversed(_modules()):
        module.unregister()


def _modules() -> tuple:
    """What has classes to register, in the order in which they need each other."""
    from . import (
        comp_operators,
        doctor_operators,
        finish_operators,
        help_operators,
        job_operators,
        mesh_operators,
        operators,
        panels,
        panels_jobs,
        panels_scene,
        preferences,
        properties,
        report_operators,
        runtime_operators,
        weights_operators,
    )
    return (preferences, properties, operators, job_operators, runtime_operators, comp_operators, mesh_operators,
            finish_operators, report_operators, doctor_operators, weights_operators, help_operators,
            panels, panels_jobs, panels_scene)
