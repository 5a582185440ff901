"""What stands in the way of a run, said beside Solve before it is clicked, each with the button that mends it; and what
the run takes on disk.

Draws what the session knows; no disk, no probing.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy

from ...engine.contract import Finding, disk_use, sizes
from ...footage import clip as clips
from ...health import preflight
from ...jobs.views import size_text
from ...session import session
from ..drawing.text import draw_problem, draw_text
from ..properties import settings_from

# --- Words -----------------------------------------------------------------------------------------------------

def fault_lines(faults: Iterable[Finding]) -> list[tuple[str, str]]:
    """(what, remedy), one for each remedy: a bare Python lacks eight packages, and one click brings them all."""
    by_remedy: dict[str, list[Finding]] = {}
    for fault in faults:
        by_remedy.setdefault(fault.remedy, []).append(fault)
    return [(_told(found), remedy) for remedy, found in by_remedy.items()]


def _told(faults: list[Finding]) -> str:
    if len(faults) == 1:
        return f"{faults[0].name}: {faults[0].found}"
    return f"{', '.join(fault.name for fault in faults)} cannot be used"


# --- Pieces ----------------------------------------------------------------------------------------------------

def draw_health(layout, context, status: session.Status) -> None:
    """Nothing at all when what is chosen can run as one would hope."""
    checked = status.checked
    if status.engine_problem is not None:  # that is told already
        return
    if checked is not None and checked.problem is not None:
        box = layout.box()
        draw_problem(box, context, checked.problem.code, checked.problem.message)
        draw_doctor(box)
    elif checked is not None and not checked.health.can_run:
        _draw_faults(layout.box(), context, checked.health.faults)
    else:
        settings = settings_from(context.scene, with_lens=False)
        _draw_notices(layout, context, (*preflight.notices(settings, checked),
                                        *preflight.licence_notices(settings, status.weights)))


def draw_disk(layout, context) -> None:
    """What the solve would take on disk."""
    text = disk_text(context.scene)
    if text:
        draw_text(layout, context, text, "DISK_DRIVE")


def disk_text(scene: bpy.types.Scene) -> str:
    """In words; empty while that is not known. Reads no disk: numbers of frames are taken as they stand."""
    group = scene.stereodiff
    clip, frames = group.clip, group.last_frame - group.first_frame + 1
    if clip is not None and group.use_clip_range:
        first, last = clips.shown_range(clip)
        frames = last - first + 1
    if clip is None or min(*clip.size, frames) < 1:
        return ""
    settings, size = settings_from(scene, with_lens=False), (clip.size[0], clip.size[1])
    pixel_aspect = clip.display_aspect[0] / clip.display_aspect[1]
    raster = sizes.working_size(size, pixel_aspect, settings.working_side_px, settings.max_enlargement)
    if min(raster) < 1:
        return ""
    plate = sizes.plate_size(size)
    result = disk_use.result_bytes(raster, plate, settings)
    more = disk_use.scratch_bytes(raster, plate, settings, has_matte=group.matte != "NONE")
    return (f"About {size_text(round(frames * result))} on disk, {result / 1e6:.1f} MB a frame, and "
            f"{size_text(round(frames * more))} more while it is solved.")


def draw_doctor(layout) -> None:
    row = layout.row(align=True)
    row.operator("stereodiff.doctor", icon="VIEWZOOM")
    row.operator("stereodiff.copy_doctor", text="", icon="COPYDOWN")


def _draw_faults(box, context, faults: tuple[Finding, ...]) -> None:
    """The default engine cannot run, so nothing can."""
    for told, remedy in fault_lines(fault for fault in faults if fault.is_vital):
        draw_text(box, context, told, "ERROR")
        draw_text(box, context, remedy, "FORWARD")
    draw_doctor(box)
    box.operator("stereodiff.open_preferences", icon="PREFERENCES")


def _draw_notices(layout, context, notices: tuple[preflight.Notice, ...]) -> None:
    if not notices:
        return
    box = layout.box()
    for notice in notices:
        draw_text(box, context, f"{notice.text}.", "ERROR" if notice.is_refusal else "INFO")
        _draw_mend(box, notice.mend)
    if any(notice.is_refusal for notice in notices):
        draw_doctor(box)


def _draw_mend(layout, mend: str) -> None:
    draw = _DRAW_MEND.get(mend)
    if draw is not None:
        draw(layout)


def _draw_install_pytorch(layout) -> None:
    layout.operator("stereodiff.install_runtime", text="Install PyTorch", icon="IMPORT").extent = "learned"


def _draw_look(layout) -> None:
    layout.operator("stereodiff.look_again", icon="FILE_REFRESH")


def _draw_get_weights(layout) -> None:
    row = layout.row(align=True)
    row.operator("stereodiff.open_preferences", text="Get Weights", icon="PREFERENCES")
    row.operator("stereodiff.look_again", text="", icon="FILE_REFRESH")


def _draw_open_preferences(layout) -> None:
    layout.operator("stereodiff.open_preferences", icon="PREFERENCES")


_DRAW_MEND = {preflight.INSTALL_PYTORCH: _draw_install_pytorch, preflight.LOOK: _draw_look,
              preflight.GET_WEIGHTS: _draw_get_weights, preflight.OPEN_PREFERENCES: _draw_open_preferences}
