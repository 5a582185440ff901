"""The weights' rows in the preferences: draws what the session says of them, and the buttons."""

from __future__ import annotations

import bpy

from ...health.weights import ModelView, WeightsStatus, WeightsTaskView
from .text import draw_problem, draw_text

STATES = {
    "missing": ("Not here", "IMPORT"),
    "incomplete": ("Not all files are here", "IMPORT"),
    "unchecked": ("Here, not verified", "QUESTION"),
    "damaged": ("Damaged", "ERROR"),
    "ready": ("Ready", "CHECKMARK"),
}


def size_text(size: int) -> str:
    """ "2.3 GB", "210 MB" or "453 bytes"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 100 * unit else f"{size / unit:.0f} {name}"
    return f"{size} bytes"


def state_text(view: ModelView) -> tuple[str, str]:
    """(what there is, icon)."""
    if view.state is None:
        return "Unknown", "ERROR"
    text, icon = STATES[view.state.state]
    if view.state.state == "missing":
        return f"{text}, about {size_text(view.card.size)}", icon
    return f"{text}, {size_text(view.state.size)}" + (", your folder" if view.state.is_own else ""), icon


def progress_text(task: WeightsTaskView) -> str:
    """ "Downloading model.safetensors 1.2 GB of 2.3 GB"."""
    if not task.step:
        return "Starting"
    counted = f" {size_text(task.done)} of {size_text(task.total)}" if task.total else ""
    return task.step + counted


def draw_weights(layout, context, weights: WeightsStatus) -> None:
    """A box for every model."""
    layout.label(text="Weights of Learned Engines")
    if weights.problem is not None:
        draw_problem(layout, context, weights.problem.code, weights.problem.message)
    elif not weights.models:
        layout.label(text="Not looked at yet.", icon="TIME")
    if weights.models and not bpy.app.online_access:
        layout.label(text="To download them, allow Online Access in Preferences, System, Network.", icon="INTERNET")
    for view in weights.models:
        draw_model(layout.box(), context, view)


def draw_model(layout, context, view: ModelView) -> None:
    text, icon = state_text(view)
    row = layout.row()
    row.label(text=view.card.name, icon=icon)
    row.label(text=text)
    _draw_licence(layout, view)
    if view.task is not None and view.task.is_running:
        _draw_progress(layout, view)
        return
    problem = view.problem or (view.task.problem if view.task is not None else None)
    if problem is not None:
        draw_problem(layout, context, problem.code, problem.message)
    elif view.state.state in ("damaged", "incomplete"):
        draw_text(layout, context, f"{view.state.folder}: {view.state.detail}", "INFO")
    _draw_buttons(layout, view)


def _draw_licence(layout, view: ModelView) -> None:
    row = layout.row()
    row.label(text=view.card.licence)
    if not view.card.commercial_use:
        row.label(text="No commercial use", icon="ERROR")
    if view.accepted_on:
        row.label(text=f"Accepted {view.accepted_on}")
    else:
        row.operator("stereodiff.accept_licence", text="License...").model = view.card.model


def _draw_progress(layout, view: ModelView) -> None:
    row = layout.row()
    row.progress(text=progress_text(view.task), factor=view.task.fraction, type="BAR")
    row.operator("stereodiff.cancel_weights", text="", icon="X", emboss=False).model = view.card.model


def _draw_buttons(layout, view: ModelView) -> None:
    model, state = view.card.model, view.state.state if view.state is not None else "missing"
    row = layout.row(align=True)
    if state != "ready":
        row.operator("stereodiff.download_weights", text="Download", icon="IMPORT").model = model
    if state != "missing":
        row.operator("stereodiff.verify_weights", text="Verify").model = model
        row.operator("stereodiff.remove_weights", text="Remove", icon="TRASH").model = model
    row.operator("stereodiff.use_weights_folder", text="Use Folder...", icon="FILE_FOLDER").model = model
    row.operator("wm.url_open", text="Open Source Page", icon="URL").url = view.card.source
    for other in view.card.alternatives:
        layout.operator("wm.url_open", text=f"Or Get {other.name} by Hand", icon="URL").url = other.source
