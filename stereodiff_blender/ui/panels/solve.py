"""The sidebar tab, the same in the 3D View and the Movie Clip Editor. Draws what properties and session say.

No disk, no probing, no changes here: drawing happens many times a second.
"""

from __future__ import annotations

import bpy

from ...engine.contract import STAGE_LABELS, WARNING_CODES, Quality, WeightsUsed, messages
from ...footage import clip as clips
from ...jobs import grades
from ...session import session
from ..drawing.text import draw_help, draw_problem, draw_text
from .health import draw_disk, draw_doctor, draw_health

__all__ = ["register", "unregister"]

STATE_ICONS = {"waiting": "TIME", "running": "PLAY", "finished": "CHECKMARK", "failed": "ERROR", "cancelled": "X",
               "interrupted": "PAUSE"}
VERDICT_ICONS = {grades.GOOD: "CHECKMARK", grades.FAIR: "INFO", grades.POOR: "ERROR"}
LEARNED_ENGINES = ("monst3r", "depthcrafter")
MOST_WARNINGS_DRAWN, MOST_ROWS = 12, 40
PICTURE_SCALE = 10.0


# --- Words -----------------------------------------------------------------------------------------------------

def progress_text(status) -> str:
    """A job's status as one line: "Measuring depth 12 / 48 · 1:05 left"."""
    if status.state == "waiting" or status.stage is None:
        return "Starting"
    counted = f" {status.done} / {status.total}" if status.total > 1 else ""
    left = f" · {duration_text(status.eta_s)} left" if status.eta_s is not None else ""
    return f"{STAGE_LABELS.get(status.stage, status.stage)}{counted}{left}"


def stuck_text(status) -> str:
    """Why a job may have to be ended: its engine is silent, or it makes no progress."""
    if status.is_silent:
        return f"The engine has not answered for {int(status.silent_s)}\u00a0s"
    rest = "It computes; a long step may take that long." if status.is_working else "It does not compute either."
    return f"No progress for {duration_text(status.idle_s)}. {rest}"


def duration_text(seconds: float) -> str:
    """"0:07", "1:05" or "2:03:04"."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def quality_lines(outcome: session.Outcome) -> list[tuple[str, str]]:
    """What a result says about itself, as (name, value) in words; what does not apply is left out."""
    quality, count = outcome.quality, outcome.frame_count
    solved = count - len(quality.unsolved_frames)
    lines = [("Camera", {"moving": "Moves", "rotation": "Only turns", "static": "Stands still"}[outcome.camera_kind]),
             ("Frames", f"{solved} of {count} solved")]
    optional = (
        ("Error", quality.reprojection_mean_px, lambda: _error_text(quality)),
        ("Parallax", quality.parallax_deg, lambda: f"{quality.parallax_deg:.1f}°"),
        ("Measured", quality.coverage, lambda: f"{quality.coverage:.0%} of the picture"),
        ("Moving", quality.moving_share, lambda: f"{quality.moving_share:.0%} of the picture"),
        ("Flicker", quality.flicker_before, lambda: _flicker_text(quality)),
    )
    lines += [(name, text()) for name, value, text in optional if value is not None]
    if outcome.refinement is not None:
        lines.append(("Scale", _scale_text(outcome)))
    lines += [("Weights", _weights_text(used)) for used in outcome.weights]
    return [(name, _graded(name, value, outcome)) for name, value in lines]


def _graded(name: str, value: str, outcome: session.Outcome) -> str:
    """The figure, and a word if it is not good."""
    figures = {"Error": ("error",), "Frames": ("solved",), "Parallax": ("parallax",), "Measured": ("coverage",),
               "Flicker": ("flicker",), "Scale": ("apart", "seam")}
    found = grades.grades(outcome.camera_kind, outcome.quality, outcome.refinement)
    words = {found[figure] for figure in figures.get(name, ()) if figure in found}
    worst = next((word for word in (grades.POOR, grades.FAIR) if word in words), None)
    return value if worst is None else f"{value} ({worst})"


def _weights_text(used: WeightsUsed) -> str:
    return used.name if used.commercial_use else f"no commercial use: {used.name}"


def _scale_text(outcome: session.Outcome) -> str:
    """How stage 2 was brought back to the solve's scale, and what remains between the two."""
    residual = outcome.quality.gauge_residual
    fitted = {"clip": "one fit for the clip", "windows": "a fit for each window", "inverse": "not fitted"}
    words = fitted.get(outcome.refinement.alignment, "fitted")
    return words + (f", {residual:.1%} apart" if residual is not None else "")


def _error_text(quality: Quality) -> str:
    worst = quality.reprojection_worst_px
    before = quality.reprojection_before_px
    return (f"{quality.reprojection_mean_px:.2f} px" + (f", worst frame {worst:.2f}" if worst is not None else "")
            + (f"; {before:.2f} before it was refined" if before is not None else ""))


def _flicker_text(quality: Quality) -> str:
    after = quality.flicker_after
    return f"{quality.flicker_before:.2g} %" + (f" → {after:.2g} %" if after is not None else "")


# --- Pieces ----------------------------------------------------------------------------------------------------

def draw_engine(layout, context, status: session.Status) -> None:
    """Nothing at all when the engine is there; otherwise what is missing and the button that brings it."""
    installation = status.installation
    if installation is not None and installation.is_running:
        box = layout.box()
        draw_text(box, context, "Installing the engine. This takes a minute or two.", "TIME")
        draw_text(box, context, installation.last_line[:160])
        return
    failed = installation.problem if installation is not None else None
    problem = failed or status.engine_problem
    if problem is None:
        return
    box = layout.box()
    draw_problem(box, context, problem.code, problem.message)
    if not bpy.app.online_access:
        draw_text(box, context, "Blender may not go online. Allow it in Preferences, System, Network.", "INTERNET")
    box.operator("stereodiff.install_runtime", icon="IMPORT")
    draw_doctor(box)


def draw_running(layout, context, status: session.Status) -> None:
    """The running job's progress, and those that wait behind it."""
    for view in (status.running, *status.others_running):
        if view is not None:
            draw_progress(layout.box(), context, view)
    for view in status.waiting[:MOST_ROWS]:
        draw_waiting(layout, view, can_move=len(status.waiting) > 1)
    if len(status.waiting) > MOST_ROWS:
        layout.label(text=f"and {len(status.waiting) - MOST_ROWS} more", icon="BLANK1")
    if status.waiting:
        layout.operator("stereodiff.cancel_all", icon="CANCEL")


def draw_progress(box, context, view: session.JobView) -> None:
    row = box.row()
    row.label(text=view.clip_name, icon="RENDER_ANIMATION")
    row.operator("stereodiff.cancel", text="", icon="X", emboss=False).job_id = view.job_id
    box.progress(text=progress_text(view.status), factor=view.status.fraction, type="BAR")
    if view.picture_id:
        box.template_icon(icon_value=view.picture_id, scale=PICTURE_SCALE)
    if view.status.is_stuck:
        draw_text(box, context, stuck_text(view.status), "ERROR")
        row = box.row()
        row.operator("stereodiff.cancel", icon="X").job_id = view.job_id
        row.operator("stereodiff.resume", text="Restart", icon="FILE_REFRESH").job_id = view.job_id
    if view.status.note:
        draw_text(box, context, view.status.note, "PREFERENCES")
    draw_warnings(box, context, view.status.warnings, view.status.other_warnings)


def draw_warnings(layout, context, warnings, others: int, *, with_remedies: bool = False) -> None:
    """The first of them, and how many others there are; codes that this version does not know have no remedy."""
    for warning in warnings[:MOST_WARNINGS_DRAWN]:
        box = layout.box() if with_remedies else layout
        draw_text(box, context, warning.message, "INFO")
        if with_remedies and warning.code in WARNING_CODES:
            draw_text(box, context, messages.explain(warning.code).remedy, "FORWARD")
    others += max(0, len(warnings) - MOST_WARNINGS_DRAWN)
    if others:
        draw_text(layout, context, f"There are {others} more warnings.", "INFO")


def draw_waiting(layout, view: session.JobView, *, can_move: bool) -> None:
    row = layout.row(align=True)
    row.label(text=f"{view.clip_name}: {view.status.note}" if view.status.note else f"{view.clip_name} waits",
              icon="TIME")
    for direction, icon in (("UP", "TRIA_UP"), ("DOWN", "TRIA_DOWN")):
        if can_move and view.is_queued:
            button = row.operator("stereodiff.move_job", text="", icon=icon, emboss=False)
            button.job_id, button.direction = view.job_id, direction
    row.operator("stereodiff.cancel", text="", icon="X", emboss=False).job_id = view.job_id


def draw_shots(layout, shots: tuple[tuple[int, int], ...], clip: bpy.types.MovieClip | None) -> None:
    """A button for each shot that can be solved; a single frame cannot. Named by the footage's own numbers."""
    column = layout.column(align=True)
    for first, last in shots[:MOST_ROWS]:
        if last > first:
            named = [frame if clip is None else clips.number_of_clip_frame(clip, frame) for frame in (first, last)]
            button = column.operator("stereodiff.use_shot", text=f"Frames {named[0]}-{named[1]}", icon="SEQUENCE")
            button.first_frame, button.last_frame = first, last
    if len(shots) > MOST_ROWS:
        column.label(text=f"and {len(shots) - MOST_ROWS} more shots")


def draw_guessed(layout, context, outcome: session.Outcome) -> None:
    """Where in the picture and in which frames depth is guessed, and what to do about it."""
    if not outcome.guessed:
        return
    box = layout.box()
    for sentence in outcome.guessed:
        draw_text(box, context, sentence, "INFO")
    draw_text(box, context, outcome.guessed_remedy, "FORWARD")


def draw_quality(layout, context, outcome: session.Outcome) -> None:
    draw_text(layout, context, grades.sentence(outcome.camera_kind, outcome.quality, outcome.refinement) + ".",
              VERDICT_ICONS[grades.worst(outcome.camera_kind, outcome.quality, outcome.refinement)])
    draw_guessed(layout, context, outcome)
    column = layout.column(align=True)
    for name, value in quality_lines(outcome):
        split = column.split(factor=0.32)
        split.active = True
        label = split.row()
        label.alignment = "RIGHT"
        label.active = False
        label.label(text=name)
        split.label(text=value)
    draw_warnings(layout, context, outcome.warnings, outcome.other_warnings, with_remedies=True)


def draw_clip_range(layout, group) -> None:
    """A way to the clip's own numbers, where those that are set are not among them."""
    if group.clip is None:
        return
    first, last = (clips.number_of_clip_frame(group.clip, frame) for frame in clips.shown_range(group.clip))
    if not first <= group.first_frame <= group.last_frame <= last:
        layout.operator("stereodiff.use_clip_frames", text=f"Frames {first}-{last}", icon="SEQUENCE")


# --- Panels ----------------------------------------------------------------------------------------------------

def draw_matte(layout, group) -> None:
    """What kind of matte, and which."""
    column = layout.column()
    column.use_property_split = True
    column.prop(group, "matte")
    if group.matte == "MASK":
        column.prop(group, "matte_mask")
    elif group.matte == "CLIP":
        layout.template_ID(group, "matte_clip", open="clip.open")
    if group.matte != "NONE":
        row = layout.column()
        row.use_property_split = True
        row.prop(group, "matte_invert")


def draw_cameras(column, group) -> None:
    """Where the cameras come from; and the lens, if it is known, of those that are solved."""
    column.prop(group, "cameras")
    if group.cameras == "COLMAP":
        column.prop(group, "cameras_folder")
    elif group.cameras == "SCENE":
        column.prop(group, "cameras_object")
    elif group.cameras == "SOLVE":
        column.prop(group, "use_known_focal")
        if group.use_known_focal and group.clip is not None:
            lens = column.column(align=True)
            lens.prop(group.clip.tracking.camera, "focal_length", text="Focal Length")
            lens.prop(group.clip.tracking.camera, "sensor_width", text="Sensor Width")
        column.prop(group, "lens_file")
        if group.use_known_focal or group.lens_file:
            column.prop(group, "is_undistorted")
        column.prop(group, "use_known_readout")
        if group.use_known_readout:
            column.prop(group, "readout")


def draw_licence(layout, engine: str) -> None:
    """Said at the moment of choice: the learned engines' weights are not for paid work."""
    if engine in LEARNED_ENGINES:
        layout.label(text="Weights: no commercial use", icon="ERROR")


def draw_diffusion(layout, group) -> None:
    layout.prop(group, "diffusion_preset")
    layout.prop(group, "noise_schedule")
    if group.noise_schedule == "free":
        layout.prop(group, "noise_level")
    layout.prop(group, "noise_ensemble")
    layout.prop(group, "keep_static")


class SolvePanel:
    """Footage, settings and the Solve button."""

    bl_label = "Clip to Scene"
    bl_category = "StereoDiff"
    bl_region_type = "UI"

    def draw_header_preset(self, context):
        draw_help(self.layout, "artists/solve")

    def draw(self, context):
        layout, group, status = self.layout, context.scene.stereodiff, session.status()
        layout.use_property_decorate = False
        layout.template_ID(group, "clip", open="clip.open")
        column = layout.column()
        column.use_property_split = True
        column.prop(group, "use_clip_range")
        if not group.use_clip_range:
            frames = column.column(align=True)
            frames.prop(group, "first_frame", text="Frame First")
            frames.prop(group, "last_frame", text="Last")
            draw_clip_range(frames, group)
        column.prop(group, "quality")
        draw_cameras(column, group)
        draw_matte(layout, group)
        draw_engine(layout, context, status)
        draw_health(layout, context, status)
        draw_disk(layout, context)
        row = layout.row()
        row.scale_y = 1.6
        row.operator("stereodiff.solve", icon="TRACKER")
        if len(bpy.data.movieclips) > 1:
            layout.operator("stereodiff.solve_all", icon="RENDERLAYERS")
        draw_running(layout, context, status)


class AdvancedPanel:
    """Engines and the settings that presets decide otherwise."""

    bl_label = "Advanced"
    bl_category = "StereoDiff"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header_preset(self, context):
        draw_help(self.layout, "method/how_it_works")

    def draw(self, context):
        layout, group = self.layout, context.scene.stereodiff
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(group, "stereo", text="Depth")
        draw_licence(layout, group.stereo)
        layout.prop(group, "refine_cameras")
        layout.prop(group, "refine", text="Refinement")
        draw_licence(layout, group.refine)
        if group.refine == "depthcrafter":
            draw_diffusion(layout.column(align=True), group)
        layout.prop(group, "max_side_px")
        layout.prop(group, "depth_size")
        layout.prop(group, "exposure_ev")
        layout.prop(group, "max_megapixels")
        layout.prop(group, "import_when_finished", text="Import at End")
        layout.prop(group, "match_scene", text="Match Scene")


class STEREODIFF_PT_solve_view3d(SolvePanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class STEREODIFF_PT_solve_clip(SolvePanel, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"


class STEREODIFF_PT_advanced_view3d(AdvancedPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_parent_id = "STEREODIFF_PT_solve_view3d"


class STEREODIFF_PT_advanced_clip(AdvancedPanel, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"
    bl_parent_id = "STEREODIFF_PT_solve_clip"


CLASSES = (
    STEREODIFF_PT_solve_view3d, STEREODIFF_PT_solve_clip, STEREODIFF_PT_advanced_view3d, STEREODIFF_PT_advanced_clip,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
