"""What the operators have in common: words, refusals, what has to be there first, waiting, texts that Blender shows."""

from __future__ import annotations

import bpy

from ...engine.contract import StereoDiffError, messages
from ...engine.contract.errors import Problem
from ...scene.data import SceneImport, chosen_import, has_imports
from ...session import job_list, session
from .. import properties

WAIT_DESCRIPTION = "Return when it has ended. Not given: wait only where Blender has no window"
NOT_ONLINE = "Allow Online Access first, in Preferences, System, Network"


# --- Words and waiting -------------------------------------------------------------------------------------------

def in_words(code: str, message: str) -> str:
    """What happened, the particulars of this case, and what to do, in one line."""
    explanation = messages.explain(code)
    return " ".join(part for part in (explanation.sentence, message, explanation.remedy) if part)


def fail(operator: bpy.types.Operator, error: StereoDiffError | Problem) -> set[str]:
    """Say what went wrong. Returns what execute or invoke is to return."""
    operator.report({"ERROR"}, in_words(error.code, error.message))
    return {"CANCELLED"}


def must_wait(operator: bpy.types.Operator) -> bool:
    """Whether an operator with a "wait" property returns only when its job has ended."""
    return operator.wait if operator.properties.is_property_set("wait") else bpy.app.background


# --- Texts -------------------------------------------------------------------------------------------------------

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


# --- What has to be there first ----------------------------------------------------------------------------------

class OnImport:
    """An operator on the import that the active object or the scene's camera belongs to. act() does it.

    import_first: what is said where there is none.
    """

    bl_options = {"REGISTER", "UNDO"}
    import_first = "Import a result first"

    @classmethod
    def poll(cls, context):
        if not has_imports(context.scene):
            cls.poll_message_set(cls.import_first)
            return False
        return True

    def execute(self, context):
        try:
            message = self.act(context, chosen_import(context))
        except StereoDiffError as error:
            return fail(self, error)
        if message:
            self.report({"INFO"}, message)
        return {"FINISHED"}

    def act(self, context: bpy.types.Context, found: SceneImport) -> str | None:
        """Do it; returns a sentence for the artist, or None. Raises StereoDiffError."""
        raise NotImplementedError


class OnJobList:
    """An operator on the list of jobs: there has to be one in it."""

    @classmethod
    def poll(cls, context):
        if properties.active_job(context.scene) is None:
            cls.poll_message_set("There is no job in the list")
            return False
        return True


class OnListedJob(OnJobList):
    """An operator on one job of the list."""

    job_id: bpy.props.StringProperty(name="Job", description="Empty: the selected job", options={"SKIP_SAVE", "HIDDEN"})

    def item(self, context: bpy.types.Context):
        """The listed job that is meant, None if there is none."""
        return job_list.find_item(self.job_id) if self.job_id else properties.active_job(context.scene)


class OnActiveJobs:
    """An operator on jobs that run or wait."""

    @classmethod
    def poll(cls, context):
        status = session.status()
        if status.running is None and not status.waiting:
            cls.poll_message_set("No job is running")
            return False
        return True
