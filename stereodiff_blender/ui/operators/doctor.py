"""The Doctor button: what the engine's doctor finds and what Blender knows besides, as a text to read and to copy."""

from __future__ import annotations

import platform

import bpy

from ...engine.contract import (
    ENGINE_VERSION,
    FAULT,
    NOTE,
    OK,
    Finding,
    Health,
    StereoDiffError,
    messages,
    redacted,
    text_lines,
)
from ...health.checkup import Checked
from ...session import session
from .. import preferences
from .base import WAIT_DESCRIPTION, must_wait, show_text, written_text

__all__ = ["register", "unregister"]

TEXT_NAME = "StereoDiff Doctor"
LOOKING = "The doctor is looking. This takes some seconds.\n"


class AskingDoctor:
    """An operator that sends for the doctor: he must not be looking already."""

    @classmethod
    def poll(cls, context):
        if session.current().engine.is_examining():
            cls.poll_message_set("The doctor is looking already")
            return False
        return True


class STEREODIFF_OT_doctor(AskingDoctor, bpy.types.Operator):
    """Look at engine, graphics card, disks and weights, and show what is wrong and what to do about it"""

    bl_idname = "stereodiff.doctor"
    bl_label = "Doctor"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    def execute(self, context):
        text = written_text(TEXT_NAME, LOOKING)
        session.current().engine.examine(preferences.checkup_question(), write_report)
        if not bpy.app.background:
            show_text(context, text)
        if must_wait(self):
            session.current().wait_for(session.current().engine.is_examining)
        return {"FINISHED"}


class STEREODIFF_OT_copy_doctor(bpy.types.Operator):
    """Copy what the doctor wrote, to paste it into a bug report. It names neither you nor your folders"""

    bl_idname = "stereodiff.copy_doctor"
    bl_label = "Copy Report"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context):
        if not report():
            cls.poll_message_set("Click Doctor first")
            return False
        return True

    def execute(self, context):
        context.window_manager.clipboard = report()
        self.report({"INFO"}, "The doctor's report is in the clipboard.")
        return {"FINISHED"}


class STEREODIFF_OT_look_again(AskingDoctor, bpy.types.Operator):
    """Find out again, in the background, what this computer and the installed engine can do"""

    bl_idname = "stereodiff.look_again"
    bl_label = "Look Again"
    bl_options = {"REGISTER"}

    def execute(self, context):
        session.current().engine.examine(preferences.checkup_question())
        if bpy.app.background:
            session.current().wait_for(session.current().engine.is_examining)
        return {"FINISHED"}


class STEREODIFF_OT_open_preferences(bpy.types.Operator):
    """Show this extension's preferences"""

    bl_idname = "stereodiff.open_preferences"
    bl_label = "Open Preferences"
    bl_options = {"REGISTER"}

    def execute(self, context):
        return bpy.ops.preferences.addon_show(module=preferences.EXTENSION_ID)


# --- The report ------------------------------------------------------------------------------------------------

def report() -> str:
    """What Copy Report copies: the text as it is now; empty while there is none."""
    text = bpy.data.texts.get(TEXT_NAME)
    content = text.as_string().rstrip("\n") if text is not None else ""
    return "" if content == LOOKING.rstrip("\n") else content


def write_report(checked: Checked) -> None:
    """Replace the text by what was found, and redraw the editors that may show it."""
    written_text(TEXT_NAME, report_text(checked))
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "TEXT_EDITOR":
                area.tag_redraw()


def report_text(checked: Checked) -> str:
    """Plain text without the user's name."""
    health = checked.health
    if health is None:
        health = Health(ENGINE_VERSION, (redacted(_engine_trouble(checked)),))
    whole = Health(health.engine_version, (*map(redacted, blender_findings()), *health.findings), health.capabilities)
    return "\n".join(text_lines(whole)) + "\n"


def _engine_trouble(checked: Checked) -> Finding:
    problem = checked.problem
    explanation = messages.explain(problem.code)
    return Finding("Engine", FAULT, f"{explanation.sentence} {problem.message}", explanation.remedy, is_vital=True)


def blender_findings() -> list[Finding]:
    """What only Blender knows."""
    chosen = preferences.current()
    build = bpy.app.build_hash.decode("ascii", "replace")
    return [
        Finding("Blender", OK, f"{bpy.app.version_string} ({build}), Python {platform.python_version()}, "
                               f"{platform.system()}"),
        Finding("Extension", OK, f"StereoDiff {ENGINE_VERSION}, {preferences.EXTENSION_ROOT}"),
        Finding("Blender's graphics", OK, _graphics()),
        _online_access(),
        Finding("Engine's Python", OK, _python_in_use()),
        Finding("Chosen device", OK, chosen.device),
    ]


def _python_in_use() -> str:
    try:
        return str(preferences.find_python())
    except StereoDiffError as error:
        return error.message


def _graphics() -> str:
    if bpy.app.background:
        return "none, Blender runs in the background"
    import gpu  # only here: without a window it raises when it is asked
    return f"{gpu.platform.backend_type_get()}, {gpu.platform.renderer_get()}, {gpu.platform.version_get()}"


def _online_access() -> Finding:
    if bpy.app.online_access:
        return Finding("Online access", OK, "allowed")
    return Finding("Online access", NOTE, "not allowed", "To install the engine or get weights, allow Online Access in "
                   "Preferences, System, Network, or use folders of your own.")


CLASSES = (STEREODIFF_OT_doctor, STEREODIFF_OT_copy_doctor, STEREODIFF_OT_look_again, STEREODIFF_OT_open_preferences)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
