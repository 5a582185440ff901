"""Paragraphs in panels, and the way to more text. Blender's labels do not wrap, so lines are made to fit the region."""

from __future__ import annotations

import textwrap

from ...engine.contract import messages

CHARACTER_WIDTH_PX = 6.4
FRAME_PX = 45
ICON_PX = 24
LONGEST_TEXT = 1000
"""What is longer comes from a file that nobody meant to be read."""


def wrapped(text: str, width_px: float, ui_scale: float) -> list[str]:
    """Text in lines that fit beside an icon in a region of that width; Blender's labels do not wrap."""
    room_px = width_px - (FRAME_PX + ICON_PX) * ui_scale
    return textwrap.wrap(text, max(16, int(room_px / (CHARACTER_WIDTH_PX * ui_scale))))


def draw_text(layout, context, text: str, icon: str = "BLANK1") -> None:
    """A paragraph; the icon stands before its first line, the other lines are indented as far."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    text = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    lines = wrapped(text, context.region.width, context.preferences.system.ui_scale)
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")


def draw_help(layout, page: str) -> None:
    """At the right of a panel's header: the guide's page for the panel."""
    layout.operator("stereodiff.help", text="", icon="HELP", emboss=False).page = page


def draw_problem(layout, context, code: str, message: str) -> None:
    """An error in words: what happened, the particulars, and what to do."""
    explanation = messages.explain(code)
    draw_text(layout, context, explanation.sentence, "ERROR")
    if message:
        draw_text(layout, context, message)
    draw_text(layout, context, explanation.remedy, "FORWARD")
