"""Preferences of the extension: where the engine's Python is, where jobs go, which device computes."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..engine.contract import StereoDiffError, messages, user_folders
from ..engine.contract.errors import problem_from
from ..health.checkup import Question
from ..runtime import environment as runtime
from ..session import session
from .drawing.weights import draw_weights

__all__ = ["checkup_question", "find_python", "must_end_jobs", "register", "unregister"]

EXTENSION_ID = __package__.rsplit(".", 2)[0]
EXTENSION_ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS_FOLDER = EXTENSION_ROOT / "vendor" / "runtime"

DEVICES = (
    ("auto", "Auto", "CUDA where PyTorch sees a card for it, otherwise the processor"),
    ("cpu", "CPU", "The processor; slower, the same on every computer"),
    ("cuda", "CUDA", "An NVIDIA graphics card"),
    ("mps", "Metal", "The graphics unit of a Mac"),
)
AT_EXIT_ITEMS = (
    ("CONTINUE", "Let Jobs Go On", "They work on without Blender; the file that started them finds them again"),
    ("END", "End Jobs", "They are ended within two seconds. What they have done is kept for Resume"),
)


def _look_elsewhere(self, context) -> None:
    session.current().engine.look_elsewhere()


def _look_again(self, context) -> None:
    session.current().engine.look_again()


class STEREODIFF_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = EXTENSION_ID

    runtime_python: bpy.props.StringProperty(
        name="Python",
        description="Python that runs the engine. Empty: the environment that Install Engine makes",
        subtype="FILE_PATH",
        update=_look_elsewhere,
    )
    wheel_folder: bpy.props.StringProperty(
        name="Wheel Folder",
        description="Folder with the engine's packages, for a computer without internet. Empty: they are fetched from "
                    "the Python package index",
        subtype="DIR_PATH",
    )
    jobs_folder: bpy.props.StringProperty(
        name="Jobs Folder",
        description="Where results are written; imported scenes read their depth from there. "
                    "Empty: a folder of your user account",
        subtype="DIR_PATH",
    )
    cache_folder: bpy.props.StringProperty(
        name="Cache Folder",
        description="Where new jobs keep what they need while they work and for Resume, a folder for each, such as on "
                    "a fast disk. Empty: in the job's own folder",
        subtype="DIR_PATH",
    )
    models_folder: bpy.props.StringProperty(
        name="Models Folder",
        description="Where the weights of learned engines are, a folder for each: MonST3R's files in its folder "
                    "monst3r. Empty: a folder of your user account",
        subtype="DIR_PATH",
        update=_look_again,
    )
    cores: bpy.props.IntProperty(
        name="Cores",
        description="Processor cores that a solve may use, behind Blender's own work. 0: all but one, or both of two. "
                    "The result does not depend on it",
        default=0, min=0, soft_max=64, max=1024,
    )
    at_exit: bpy.props.EnumProperty(
        name="When Blender Quits",
        description="What becomes of jobs that run when Blender quits or this extension is disabled",
        items=AT_EXIT_ITEMS,
    )
    device: bpy.props.EnumProperty(
        name="Device", description="What computes the learned stages", items=DEVICES,
    )

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        _draw_engine(layout.box(), session.status())
        layout.prop(self, "runtime_python")
        layout.prop(self, "wheel_folder")
        layout.prop(self, "jobs_folder")
        layout.prop(self, "cache_folder")
        layout.prop(self, "models_folder")
        layout.prop(self, "cores")
        layout.prop(self, "device")
        layout.prop(self, "at_exit")
        draw_weights(layout.box(), context, session.status().weights)


def _draw_engine(layout, status: session.Status) -> None:
    """What is known about the engine's installation, in words, and the button that makes it."""
    installation = status.installation
    if installation is not None and installation.is_running:
        _draw_work(layout, installation)
        return
    problem = (installation.problem if installation is not None else None) or status.engine_problem
    if problem is None:
        text, icon = _engine_words(status)
        layout.label(text=text, icon=icon)
    else:
        explanation = messages.explain(problem.code)
        layout.label(text=explanation.sentence, icon="ERROR")
        layout.label(text=problem.message)
        layout.label(text=explanation.remedy)
    if installation is not None and installation.problem is None and installation.last_line:
        layout.label(text=installation.last_line)
    if not bpy.app.online_access:
        layout.label(text="To install an engine, allow Online Access in Preferences, System, Network, or choose a "
                          "Wheel Folder.", icon="INTERNET")
    row = layout.row(align=True)
    row.operator("stereodiff.doctor", icon="VIEWZOOM")
    row.operator("stereodiff.copy_doctor", icon="COPYDOWN")
    row.operator("stereodiff.help", text="Guide", icon="HELP").page = "artists/install"
    layout.operator("stereodiff.install_runtime", icon="IMPORT").extent = "standard"
    layout.operator("stereodiff.install_runtime", icon="IMPORT",
                    text="Install Engine for Learned Engines (PyTorch, several GB)").extent = "learned"
    row = layout.row(align=True)
    row.operator("stereodiff.verify_runtime", icon="CHECKMARK")
    row.operator("stereodiff.repair_runtime", icon="TOOL_SETTINGS")
    row.operator("stereodiff.remove_runtime", icon="TRASH", text="Remove")


def _draw_work(layout, installation) -> None:
    text = "Cancelling" if installation.is_cancelling else installation.last_line or "Working"
    row = layout.row(align=True)
    if installation.fraction is not None and hasattr(row, "progress"):
        row.progress(factor=installation.fraction, text=text)
    else:
        row.label(text=text, icon="TIME")
    row.operator("stereodiff.cancel_installation", text="", icon="X")


def _engine_words(status: session.Status) -> tuple[str, str]:
    """(what is known, its icon), where an engine is found or nobody has looked for one."""
    if not status.engine_is_known:
        return "The engine has not been looked for yet.", "INFO"
    if status.checked is None:
        return "The engine is installed.", "CHECKMARK"
    if status.checked.health is None or not status.checked.health.can_run:
        return "The engine is there, but cannot run. The doctor says why.", "ERROR"
    return "The engine is installed and can run.", "CHECKMARK"


def current() -> STEREODIFF_AP_preferences:
    """The extension's preferences. Only there while the extension is enabled."""
    return bpy.context.preferences.addons[EXTENSION_ID].preferences


def find_python() -> Path:
    """The worker's interpreter.

    Returns
    -------
    Path
        The one that the preferences name, a file or an environment's folder, else that of the installed engine.

    Raises
    ------
    StereoDiffError
        "runtime_missing", or "runtime_broken" for a half-finished or unusable installation.
    """
    configured = current().runtime_python
    if configured.startswith("//"):  # Another .blend would bring another Python.
        raise StereoDiffError("runtime_missing", f"{configured} is a place beside the .blend file, not a whole path.")
    return runtime.find_python(configured)


def jobs_folder() -> Path:
    """Where new job folders are made; not necessarily there yet."""
    return _folder(current().jobs_folder) or user_folders.user_folder() / "jobs"


def cache_folder() -> Path | None:
    """Where new jobs' caches are made; None: in the job's own folder."""
    configured = current().cache_folder
    return Path(bpy.path.abspath(configured)) if configured else None


def cores() -> int:
    """How many cores a solve may use; 0: all but one."""
    return current().cores


def wheel_folder() -> Path | None:
    """Where the engine's packages lie for a machine without internet; None: they come from the package index."""
    return _folder(current().wheel_folder)


def must_end_jobs() -> bool:
    """Whether jobs are to end together with Blender.

    A Blender that enabled the extension for once has no say.

    Returns
    -------
    bool
        As the preferences have it; False where there are none.
    """
    addon = bpy.context.preferences.addons.get(EXTENSION_ID)
    return addon is not None and addon.preferences.at_exit == "END"


def locks_folder() -> Path:
    """Where all Blenders of this user keep the locks of the devices; not necessarily there yet."""
    return user_folders.user_folder() / "locks"


def models_folder() -> Path:
    """Where weights are looked for; not necessarily there."""
    return _folder(current().models_folder) or user_folders.user_folder() / "models"


def _folder(configured: str) -> Path | None:
    """A whole path, because the engine stands elsewhere; None if none was chosen."""
    return Path(bpy.path.abspath(configured)).absolute() if configured else None


def checkup_question() -> Question:
    """What the doctor is to look at: the engine and the folders that these preferences name.

    Returns
    -------
    Question
        Without an interpreter, but with the problem, where none is found.
    """
    python = problem = None
    try:
        python = find_python()
    except StereoDiffError as error:
        problem = problem_from(error)
    return Question(python, problem, EXTENSION_ROOT, jobs_folder(), models_folder())


def register() -> None:
    bpy.utils.register_class(STEREODIFF_AP_preferences)


def unregister() -> None:
    bpy.utils.unregister_class(STEREODIFF_AP_preferences)
