"""Buttons of the engine's environment: install, look at every file, mend, remove. The work is done beside Blender."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import bpy

from ...engine.contract import StereoDiffError
from ...runtime import environment as runtime
from ...runtime import install as runtime_install
from ...runtime import locks as runtime_locks
from ...runtime.installation import Installation
from ...session import session
from .. import preferences
from .base import NOT_ONLINE, WAIT_DESCRIPTION, fail, must_wait

__all__ = ["register", "unregister"]

EXTENTS = (
    ("standard", "Standard", "What the geometric engine and every preset need"),
    ("learned", "Learned Engines", "That and PyTorch, for MonST3R and DepthCrafter"),
)

LEARNED_SETS = ("learned-cuda", "learned-mps", "learned-cpu")
"""In this order: a build for a device also computes on the processor."""

LEARNED_LOCKS = ("learned-", "high-")
"""How the names of their locks begin; "high" while that preset needed PyTorch."""


def is_free(cls) -> bool:
    """Whether no other work on the environment runs; poll of every button here."""
    if session.current().engine.is_installing():
        cls.poll_message_set("The engine's installation is being worked on")
        return False
    return True


def can_fetch(cls) -> bool:
    """Whether packages can come from anywhere, and no other work runs."""
    if not bpy.app.online_access and preferences.wheel_folder() is None:
        cls.poll_message_set(f"{NOT_ONLINE}; or choose a Wheel Folder")
        return False
    return is_free(cls)


def plan_for(extent: str) -> Callable[[Installation], runtime_install.Installer]:
    """What to install, with how to tell of it and how to cancel it. Read now, because a thread may not ask Blender.

    Raises StereoDiffError "runtime_broken" where there is no lock for this computer.
    """
    lock = lock_for(extent)
    wheels = preferences.wheel_folder()

    def plan(work: Installation) -> runtime_install.Installer:
        def tell(progress: runtime_install.InstallProgress) -> None:
            work.say(progress.sentence(), progress.done / progress.total if progress.total else None)

        return runtime_install.Installer(runtime.environment_folder(), lock, sys.executable, wheels, tell,
                                         lambda: work.is_cancelled)

    return plan


def begin(operator: bpy.types.Operator, work: Callable[[Installation], object]) -> set[str]:
    """Start some work, and in a Blender without a window, wait for its end."""
    session.current().engine.install(work)
    if not must_wait(operator):
        return {"FINISHED"}
    session.current().wait_for(session.current().engine.is_installing)
    problem = session.status().installation.problem
    if problem is not None:
        return fail(operator, problem)
    operator.report({"INFO"}, session.status().installation.last_line)
    return {"FINISHED"}


class STEREODIFF_OT_install_runtime(bpy.types.Operator):
    """Fetch the engine's Python packages into a folder of your user account; Blender itself stays as it is"""

    bl_idname = "stereodiff.install_runtime"
    bl_label = "Install Engine"
    bl_options = {"REGISTER"}

    extent: bpy.props.EnumProperty(name="Extent", items=EXTENTS)
    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return can_fetch(cls)

    def execute(self, context):
        try:
            plan = plan_for(self.extent)
        except StereoDiffError as error:
            return fail(self, error)
        return begin(self, lambda work: install(plan(work), work))


class STEREODIFF_OT_verify_runtime(bpy.types.Operator):
    """Compare every file of the engine's installation with what was installed, and try it"""

    bl_idname = "stereodiff.verify_runtime"
    bl_label = "Verify"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return is_free(cls)

    def execute(self, context):
        try:
            plan = plan_for(installed_extent())
        except StereoDiffError as error:
            return fail(self, error)
        return begin(self, lambda work: verify(plan(work), work))


class STEREODIFF_OT_repair_runtime(bpy.types.Operator):
    """Install anew what is missing or changed of the engine's installation, and nothing else"""

    bl_idname = "stereodiff.repair_runtime"
    bl_label = "Repair"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        return can_fetch(cls)

    def execute(self, context):
        try:
            plan = plan_for(installed_extent())
        except StereoDiffError as error:
            return fail(self, error)
        return begin(self, lambda work: repair(plan(work), work))


class STEREODIFF_OT_cancel_installation(bpy.types.Operator):
    """End the work on the engine's installation; what was fetched is kept for the next time"""

    bl_idname = "stereodiff.cancel_installation"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context):
        return session.current().engine.is_installing()

    def execute(self, context):
        session.current().engine.cancel_installation()
        return {"FINISHED"}


class STEREODIFF_OT_remove_runtime(bpy.types.Operator):
    """Delete the engine's installation; results and weights stay"""

    bl_idname = "stereodiff.remove_runtime"
    bl_label = "Remove Engine"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        if session.status().running is not None:
            cls.poll_message_set("A job is running with it")
            return False
        return is_free(cls)

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        folder = runtime.environment_folder()
        return begin(self, lambda work: remove(folder, work))


# --- In the thread -------------------------------------------------------------------------------------------------

def install(plan: runtime_install.Installer, work: Installation) -> None:
    _unless_cancelled(work, lambda: _install_and_try(plan, work))


def _install_and_try(plan: runtime_install.Installer, work: Installation) -> None:
    python = runtime_install.install(plan)
    work.say("Trying the engine")
    runtime.verify(python)
    work.say("The engine is installed.")


def verify(plan: runtime_install.Installer, work: Installation) -> None:
    work.say("Checking every file")
    faults = runtime_install.faults_of(plan.folder, plan.lock)
    if faults:
        named = "; ".join(f"{fault.package} {fault.what}" for fault in faults[:3])
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise StereoDiffError("runtime_broken", f"{named}{more}. Press Repair.")
    runtime.verify(runtime.environment_python(plan.folder))
    work.say("Every file is as it was installed.")


def repair(plan: runtime_install.Installer, work: Installation) -> None:
    def mend() -> None:
        mended = runtime_install.repair(plan)
        runtime.verify(runtime.environment_python(plan.folder))
        work.say(f"Mended: {', '.join(fault.package for fault in mended)}." if mended else "Nothing was broken.")

    _unless_cancelled(work, mend)


def remove(folder: Path, work: Installation) -> None:
    work.say("Removing the engine")
    runtime_install.remove(folder)
    work.say("The engine is removed.")


def _unless_cancelled(work: Installation, task: Callable[[], None]) -> None:
    try:
        task()
    except runtime_install.Cancelled:
        work.say("Cancelled. Install Engine goes on from here.")


def installed_extent() -> str:
    """Which set the installation was made from; the smaller one where that cannot be told."""
    name = runtime_install.lock_name_of(runtime.environment_folder()) or ""
    return "learned" if name.startswith(LEARNED_LOCKS) else "standard"


def lock_for(extent: str) -> Path:
    """The lock of what to install on this computer; of PyTorch, the build that its device needs.

    Raises StereoDiffError "runtime_broken" where there is none.
    """
    if extent == "standard":
        return runtime_locks.required_lock("standard")
    here, version = runtime_locks.platform_name(), sys.version_info[:2]
    for name in LEARNED_SETS:
        found = runtime_locks.lock_file(name, here, version)
        if found is not None:
            return found
    raise StereoDiffError("runtime_broken", f"There is no PyTorch for {here} and Python {version[0]}.{version[1]}; the "
                                            "learned engines need it.")


CLASSES = (
    STEREODIFF_OT_install_runtime, STEREODIFF_OT_verify_runtime, STEREODIFF_OT_repair_runtime,
    STEREODIFF_OT_cancel_installation, STEREODIFF_OT_remove_runtime,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
