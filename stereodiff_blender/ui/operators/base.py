"""What the operators have in common: words, waiting, and texts that Blender shows."""

from __future__ import annotations

import bpy

from ...engine.contract import messages
from ...scene.data import has_imports

WAIT_DESCRIPTION = "Return when it has ended. Not given: wait only where Blender has no window"


def in_words(code: str, message: str) -> str:
    """What happened, the particulars of this case, and what to do, in one line."""
    explanation = messages.explain(code)
    return " ".join(part for part in (explanation.sentence, message, explanation.remedy) if part)


def must_wait(operator: bpy.types.Operator) -> bool:
    """Whether an operator with a "wait" property returns only when its job has ended."""
    return operator.wait if operator.properties.is_property_set("wait") else bpy.app.background


def written_text(name: str, content: str) -> bpy.types.Text:
    """The text of that name with this content; there is only ever one."""
    text = bpy.data.texts.get(name) or bpy.data.texts.new(name)
    text.from_string(content)
    return text


def show_text(context: bpy.types.Context, text: bpy.types.Text) -> None:
    """In a text editor that is open, or else in a new window."""
    areas = [area for window in context.window_manager.windows for area in window.screen.areas]
    area = next((area for area in areas if area.type == "TEXT_EDITOR"), None)
    if area is None:
        bpy.ops.wm.window_new()
        area = context.window_manager.windows[-1].screen.areas[0]
        area.type = "TEXT_EDITOR"
    area.spaces.active.text = text
    area.spaces.active.top = 0


class OnImport:
    """An operator on a footage's import: there has to be one."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        if not has_imports(context.scene):
            cls.poll_message_set("Import a result first")
            return False
        return True
