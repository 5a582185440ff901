"""Telling the artist from a timer, which has no operator of its own to report with."""

from __future__ import annotations

import bpy

from ...session import session

__all__ = ["register", "tell", "unregister"]

SOON_S = 0.5
"""After what was imported is drawn for the first time, which may take longer than a report is shown."""


def tell(ending: session.Ending) -> None:
    """Report how a job ended in the status bar and the Info editor. A Blender without windows reports when it waits.

    Parameters
    ----------
    ending : Ending
        What is told. What did not end well is a warning: an error's box would open under whatever the artist does.
    """
    manager = bpy.context.window_manager
    if bpy.app.background or not manager.windows:
        return
    with bpy.context.temp_override(window=bpy.context.window or manager.windows[0]):
        bpy.ops.stereodiff.notice("INVOKE_DEFAULT", message=ending.sentence, is_warning=not ending.is_well)


class STEREODIFF_OT_notice(bpy.types.Operator):
    """Tell how a job has ended"""

    # What a script's operator reports at once goes to the script; what a modal one reports later goes to the window.
    bl_idname = "stereodiff.notice"
    bl_label = "Tell How a Job Has Ended"
    bl_options = {"INTERNAL"}

    message: bpy.props.StringProperty(options={"SKIP_SAVE"})
    is_warning: bpy.props.BoolProperty(options={"SKIP_SAVE"})

    def invoke(self, context, event):
        self._timer = context.window_manager.event_timer_add(SOON_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self.execute(context) | {"PASS_THROUGH"}

    def execute(self, context):
        self.report({"WARNING" if self.is_warning else "INFO"}, f"StereoDiff: {self.message}")
        return {"FINISHED"}


def register() -> None:
    bpy.utils.register_class(STEREODIFF_OT_notice)


def unregister() -> None:
    bpy.utils.unregister_class(STEREODIFF_OT_notice)
