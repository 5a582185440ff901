"""Buttons for the weights of learned engines: accept their license, get, verify, remove, or use a folder at hand."""

from __future__ import annotations

import textwrap
from pathlib import Path

import bpy

from ...engine.contract import StereoDiffError, user_folders
from ...engine.weights.cards import ModelCard, read_card
from ...engine.weights.licences import accept, acceptance, refuse_unaccepted
from ...engine.weights.records import remove
from ...health.weights import WeightsManager, WeightsTaskView
from ...session import session
from .. import preferences
from .base import NOT_ONLINE, WAIT_DESCRIPTION, fail, must_wait

__all__ = ["register", "unregister"]

DIALOG_WIDTH = 480
DIALOG_LETTERS = 74


def _weights() -> WeightsManager:
    return session.current().weights


class OfModel:
    """An operator on one model."""

    bl_options = {"REGISTER"}

    model: bpy.props.StringProperty(name="Model", description="Name of the model's card, such as monst3r",
                                    options={"SKIP_SAVE", "HIDDEN"})


class WithLicence(OfModel):
    """An operator that asks whether the model's license is accepted, if it is not yet."""

    accept: bpy.props.BoolProperty(name="I have read this and accept it", options={"SKIP_SAVE"})

    def invoke(self, context, event):
        try:
            if acceptance(user_folders.user_folder(), read_card(self.model)) is not None:
                return self.execute(context)
        except StereoDiffError as error:
            return fail(self, error)
        return context.window_manager.invoke_props_dialog(self, width=DIALOG_WIDTH)

    def draw(self, context):
        view = session.status().weights.view(self.model)
        if view is not None:
            draw_terms(self.layout, view.card)
        self.layout.prop(self, "accept")

    def keep_acceptance(self) -> None:
        """Raises StereoDiffError "licence_not_accepted", "output_not_writable" or "disk_full"."""
        card = read_card(self.model)
        if self.accept and acceptance(user_folders.user_folder(), card) is None:
            accept(user_folders.user_folder(), card)
        refuse_unaccepted(user_folders.user_folder(), [card])


def draw_terms(layout, card: ModelCard) -> None:
    """The licence's name, its paragraph in lines that fit the dialog, and the page where it stands in full."""
    layout.label(text=f"{card.name}: {card.licence}", icon="INFO" if card.commercial_use else "ERROR")
    column = layout.column(align=True)
    column.scale_y = 0.8
    for line in textwrap.wrap(card.terms, DIALOG_LETTERS):
        column.label(text=line)
    layout.operator("wm.url_open", text="Open Source Page", icon="URL").url = card.source


# --- The license and the download ------------------------------------------------------------------------------

class STEREODIFF_OT_accept_licence(WithLicence, bpy.types.Operator):
    """Read the license of these weights and accept it; a solve that uses them needs that, wherever they came from"""

    bl_idname = "stereodiff.accept_licence"
    bl_label = "Accept License"

    def execute(self, context):
        try:
            self.keep_acceptance()
        except StereoDiffError as error:
            return fail(self, error)
        _look_again()
        return {"FINISHED"}


class STEREODIFF_OT_download_weights(WithLicence, bpy.types.Operator):
    """Download these weights from their page on Hugging Face into the models folder, or go on where it stopped"""

    bl_idname = "stereodiff.download_weights"
    bl_label = "Download Weights"

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context):
        if not bpy.app.online_access:
            cls.poll_message_set(NOT_ONLINE)
            return False
        return True

    def execute(self, context):
        try:
            self.keep_acceptance()
            _begin(self.model, "get")
        except StereoDiffError as error:
            return fail(self, error)
        return _follow(self)


class STEREODIFF_OT_cancel_weights(OfModel, bpy.types.Operator):
    """Stop; what has been downloaded is kept, and the next download goes on from there"""

    bl_idname = "stereodiff.cancel_weights"
    bl_label = "Cancel"

    def execute(self, context):
        if not _weights().is_at_work(self.model):
            self.report({"WARNING"}, "This has ended already.")
            return {"CANCELLED"}
        _weights().cancel(self.model)
        if bpy.app.background:
            session.current().wait_for(_weights().is_busy)
        return {"FINISHED"}


# --- What is there ---------------------------------------------------------------------------------------------

class STEREODIFF_OT_verify_weights(OfModel, bpy.types.Operator):
    """Read every file of this model and compare it with what was downloaded first, or with what its card promises"""

    bl_idname = "stereodiff.verify_weights"
    bl_label = "Verify Weights"

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context):
        try:
            _begin(self.model, "verify")
        except StereoDiffError as error:
            return fail(self, error)
        return _follow(self)


class STEREODIFF_OT_use_weights_folder(OfModel, bpy.types.Operator):
    """Use this model's files from a folder of yours; they are checked and stay where they are"""

    bl_idname = "stereodiff.use_weights_folder"
    bl_label = "Use Folder"

    directory: bpy.props.StringProperty(name="Folder", description="The folder that holds the model's files",
                                        subtype="DIR_PATH", options={"SKIP_SAVE"})
    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        if not self.directory:
            self.report({"ERROR"}, "Choose the folder that holds the model's files.")
            return {"CANCELLED"}
        try:
            _begin(self.model, "use", str(Path(bpy.path.abspath(self.directory)).absolute()))
        except StereoDiffError as error:
            return fail(self, error)
        return _follow(self)


class STEREODIFF_OT_remove_weights(OfModel, bpy.types.Operator):
    """Delete this model's downloaded files; a folder of yours is only forgotten, and nothing in it is deleted"""

    bl_idname = "stereodiff.remove_weights"
    bl_label = "Remove Weights"

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        if _weights().is_at_work(self.model):
            self.report({"ERROR"}, "Cancel the download first.")
            return {"CANCELLED"}
        try:
            card = read_card(self.model)
            removed = remove(preferences.models_folder(), card)
        except StereoDiffError as error:
            return fail(self, error)
        self.report({"WARNING"} if removed.is_nothing else {"INFO"}, removed.sentence(card.name))
        _look_again()
        return {"CANCELLED"} if removed.is_nothing else {"FINISHED"}


# --- Tasks -----------------------------------------------------------------------------------------------------

def _begin(model: str, verb: str, *options: str) -> None:
    read_card(model)  # an unknown model is refused in words
    _weights().begin(model, verb, *options, python=preferences.find_python(),
                     extension_root=preferences.EXTENSION_ROOT, models_folder=preferences.models_folder())
    session.current().wake()


def _follow(operator: bpy.types.Operator) -> set[str]:
    """Return at once, or wait and say how it ended."""
    if not must_wait(operator):
        return {"FINISHED"}
    session.current().wait_for(_weights().is_busy)
    _look_again()
    return _report_end(operator, _weights().task(operator.model))


def _report_end(operator: bpy.types.Operator, task: WeightsTaskView) -> set[str]:
    if task.problem is not None:
        return fail(operator, task.problem)
    if task.is_cancelled:
        operator.report({"WARNING"}, "It was cancelled.")
        return {"CANCELLED"}
    operator.report({"INFO"}, task.message)
    return {"FINISHED"}


def _look_again() -> None:
    """The rows, and what panels say before a run, are about what there is now."""
    _weights().inspect_models(preferences.models_folder())
    session.current().engine.look_again()
    if bpy.app.background:
        session.current().wait_for(_weights().is_busy)


CLASSES = (
    STEREODIFF_OT_accept_licence, STEREODIFF_OT_download_weights, STEREODIFF_OT_cancel_weights,
    STEREODIFF_OT_verify_weights, STEREODIFF_OT_use_weights_folder, STEREODIFF_OT_remove_weights,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
