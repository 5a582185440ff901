"""What a timer does to the windows of this Blender, of which it has none in its context."""

from __future__ import annotations

import bpy

DRAWN_IN = {"VIEW_3D": "UI", "CLIP_EDITOR": "UI", "PREFERENCES": "WINDOW"}


def push_undo(message: str) -> None:
    """One step of its own. A timer has no window in its context, so it borrows one."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=bpy.context.window or windows[0]):
        bpy.ops.ed.undo_push(message=message)


def redraw_sidebars() -> None:
    """Everywhere where jobs are shown."""
    areas = (area for window in bpy.context.window_manager.windows for area in window.screen.areas)
    for region in (region for area in areas for region in area.regions if region.type == DRAWN_IN.get(area.type)):
        region.tag_redraw()


def redraw_status_bar() -> None:
    """It belongs to no screen that scripts can reach; but Blender draws it anew when what else it shows is set."""
    manager = bpy.context.window_manager
    manager.extensions_updates = manager.extensions_updates
