"""The Help buttons: the guide that comes with the extension, at the page for where one is.

The package holds the guide as pages for a browser, which need no internet. Where there is no browser, or no such page,
as in a checkout, the same page in Markdown is shown in Blender's Text Editor.
"""

from __future__ import annotations

import webbrowser
from pathlib import Path

import bpy

from .base import show_text, written_text

__all__ = ["register", "unregister"]

GUIDE = Path(__file__).resolve().parents[2] / "guide"
PAGES = tuple((page, label, f"The guide's page {label}") for page, label in (
    ("README", "Contents"),
    ("artists/install", "Install"),
    ("artists/solve", "Solve"),
    ("artists/matte", "Matte"),
    ("artists/finish", "Finish"),
    ("artists/compositing", "Compositing"),
    ("artists/report", "Report"),
    ("artists/jobs", "Jobs"),
    ("artists/weights", "Weights"),
    ("artists/troubleshooting", "Troubleshooting"),
    ("method/how_it_works", "How It Works"),
))


class STEREODIFF_OT_help(bpy.types.Operator):
    """Open the guide, which came with the extension, at the page for this place"""

    bl_idname = "stereodiff.help"
    bl_label = "StereoDiff Guide"
    bl_options = {"REGISTER"}

    page: bpy.props.EnumProperty(name="Page", items=PAGES, options={"SKIP_SAVE"})

    def execute(self, context):
        if not bpy.app.background and open_in_browser(GUIDE / f"{self.page}.html"):
            return {"FINISHED"}
        try:
            content = (GUIDE / f"{self.page}.md").read_text(encoding="utf-8")
        except OSError as error:
            self.report({"ERROR"}, f"The guide is not there: {error.strerror}. Install the extension again.")
            return {"CANCELLED"}
        text = written_text(f"StereoDiff {self.page.rpartition('/')[2]}.md", content)
        if not bpy.app.background:
            show_text(context, text)
        return {"FINISHED"}


def open_in_browser(page: Path) -> bool:
    """Whether the page is there and a browser took it."""
    return page.is_file() and webbrowser.open(page.as_uri())


CLASSES = (STEREODIFF_OT_help,)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
