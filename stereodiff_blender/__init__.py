"""Blender extension: a movie clip becomes depth textures, a displaced mesh and a camera.

Nothing is imported here before register(), so the worker and the tests can import the package without bpy.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .session import session
    from .ui import preferences
    from .ui.operators import notice
    for module in _modules():
        module.register()
    session.register(preferences.find_python, preferences.checkup_question, notice.tell)


def unregister() -> None:
    """Called by Blender when the extension is disabled, and when Blender quits.

    Workers go on, and the next Blender finds them again, unless the preferences want them to end.
    """
    from .session import session
    from .ui import preferences
    session.unregister(must_end_jobs=preferences.must_end_jobs())
    for module in reversed(_modules()):
        module.unregister()


def _modules() -> tuple:
    """What has classes to register, in the order in which they need each other."""
    from .ui import preferences, properties
    from .ui.operators import compositing as compositing
    from .ui.operators import doctor as doctor_operators
    from .ui.operators import help as help_operators
    from .ui.operators import installation as runtime_operators
    from .ui.operators import jobs as job_operators
    from .ui.operators import mesh as mesh_operators
    from .ui.operators import notice as notice
    from .ui.operators import placing as placing
    from .ui.operators import report as report_operators
    from .ui.operators import solve as operators
    from .ui.operators import weights as weights_operators
    from .ui.panels import jobs as panels_jobs
    from .ui.panels import scene as panels_scene
    from .ui.panels import solve as panels
    from .ui.panels import status_bar as status_bar
    return (preferences, properties, operators, job_operators, runtime_operators, compositing, mesh_operators,
            placing, report_operators, doctor_operators, weights_operators, help_operators,
            notice, panels, panels_jobs, panels_scene, status_bar)
