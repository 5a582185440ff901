"""Running jobs in Blender's status bar, as it shows renders: how far, and a way to end them."""

from __future__ import annotations

import bpy

from ...session import session

__all__ = ["register", "unregister"]

LONGEST_NAME = 40


def draw_jobs(header, _context) -> None:
    """A bar for each job at work."""
    status = session.status()
    for view in (status.running, *status.others_running):
        if view is not None:
            row = header.layout.row(align=True)
            row.progress(text=bar_text(view), factor=view.status.fraction, type="BAR")
            row.operator("stereodiff.cancel", text="", icon="X", emboss=False).job_id = view.job_id


def bar_text(view: session.JobView) -> str:
    """What stands in the bar: "clip.mp4 42%"."""
    return f"{view.clip_name[:LONGEST_NAME]} {view.status.fraction:.0%}"


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(draw_jobs)


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw_jobs)
