"""What panels say; how it looks is looked at in a real window."""

from __future__ import annotations

import shutil

import bpy
import pytest


@pytest.fixture
def panels(addon):
    return addon.ui.panels.solve


def status(panels, **values):
    return panels.session.JobStatus(**values)


def test_progress(panels):
    text = panels.progress_text(status(panels, state="running", stage="depth", done=12, total=48, eta_s=64.8))
    assert text == "Measuring depth 12 / 48 · 1:05 left"


def test_progress_without_rate_and_count(panels):
    assert panels.progress_text(status(panels, state="running", stage="solve", total=1)) == "Solving the camera"
    assert panels.progress_text(status(panels, state="running")) == "Starting"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (65, "1:05"), (7384, "2:03:04")])
def test_duration(panels, seconds, text):
    assert panels.duration_text(seconds) == text


def outcome(panels, contract, **quality):
    return panels.session.Outcome("moving", 48, contract.Quality(**quality), ())


def test_quality_in_words(panels, contract):
    lines = panels.quality_lines(outcome(
        panels, contract, solved_share=46 / 48, unsolved_frames=(3, 4), reprojection_mean_px=0.413,
        reprojection_worst_px=0.9, parallax_deg=5.26, coverage=0.834, moving_share=0.1, flicker_before=2.13,
        flicker_after=0.8,
    ))
    assert lines == [
        ("Camera", "Moves"), ("Frames", "46 of 48 solved (fair)"), ("Error", "0.41 px, worst frame 0.90"),
        ("Parallax", "5.3°"), ("Measured", "83% of the picture"), ("Moving", "10% of the picture"),
        ("Flicker", "2.1 % → 0.8 %"),
    ]


def test_weights_and_what_refining_changed_in_words(panels, contract):
    weights = (contract.WeightsUsed("MonST3R", "CC BY-NC-SA 4.0", False), contract.WeightsUsed("Free", "MIT", True))
    quality = contract.Quality(solved_share=1.0, reprojection_mean_px=0.21, reprojection_before_px=3.456)
    lines = panels.quality_lines(panels.session.Outcome("moving", 2, quality, (), weights))
    assert ("Error", "0.21 px; 3.46 before it was refined") in lines
    assert lines[-2:] == [("Weights", "no commercial use: MonST3R"), ("Weights", "Free")]


def test_what_does_not_apply_is_left_out(panels, contract):
    lines = dict(panels.quality_lines(outcome(panels, contract, solved_share=1.0)))
    assert lines == {"Camera": "Moves", "Frames": "48 of 48 solved"}


@pytest.mark.parametrize(("alignment", "words"), [("clip", "one fit for the clip"), ("windows", "a fit for each"),
                                                  ("inverse", "not fitted")])
def test_how_the_diffusion_came_back_to_the_solves_scale(panels, contract, alignment, words):
    refinement = contract.Refinement(640, 384, 110, 25, 2.269, 0.002, "float16", alignment)
    quality = contract.Quality(solved_share=1.0, gauge_residual=0.0123)
    text = dict(panels.quality_lines(panels.session.Outcome("moving", 2, quality, (), (), refinement)))["Scale"]
    assert text.startswith(words) and text.endswith("1.2% apart")


def test_every_camera_kind_has_a_word(panels, contract):
    for kind in contract.CAMERA_KINDS:
        made = panels.session.Outcome(kind, 2, contract.Quality(solved_share=1.0), ())
        assert panels.quality_lines(made)[0][1]


def test_wrapping_follows_the_region(addon):
    panels = addon.ui.drawing.text
    text = "The engine stopped without saying why. Open the log for the cause."
    wide, narrow = panels.wrapped(text, 900, 1.0), panels.wrapped(text, 220, 1.0)
    assert len(wide) == 1 < len(narrow)
    assert " ".join(narrow) == text
    assert panels.wrapped(text, 440, 2.0) == narrow
    assert panels.wrapped(text, 10, 1.0), "a region may be very narrow while it opens"


def test_icons_exist_in_this_blender(panels):
    import ast
    from pathlib import Path
    known = set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())
    tree = ast.parse(Path(panels.__file__).read_text(encoding="utf-8"))
    used = {keyword.value.value for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords
            if keyword.arg == "icon" and isinstance(keyword.value, ast.Constant)}
    positional = {argument.value for node in ast.walk(tree) if isinstance(node, ast.Call)
                  and getattr(node.func, "id", "") == "draw_text" for argument in node.args[3:]
                  if isinstance(argument, ast.Constant)}
    assert used | positional | set(panels.STATE_ICONS.values()) <= known
    assert len(used | positional) > 5


def test_every_drawn_property_exists(panels):
    import ast
    from pathlib import Path
    tree = ast.parse(Path(panels.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) > 1
             and getattr(node.func, "attr", "") in ("prop", "template_ID")]
    drawn = {call.args[1].value for call in calls if getattr(call.args[0], "id", "") == "group"}
    assert {"matte", "matte_mask", "matte_clip", "matte_invert"} <= drawn
    assert drawn <= set(bpy.context.scene.stereodiff.bl_rna.properties.keys())


def test_both_editors_have_the_same_panels(addon):
    names = {name for name in dir(bpy.types) if name.startswith("STEREODIFF_PT_")}
    in_view = {name.removesuffix("_view3d") for name in names if getattr(bpy.types, name).bl_space_type == "VIEW_3D"}
    in_clip = {name.removesuffix("_clip") for name in names if getattr(bpy.types, name).bl_space_type == "CLIP_EDITOR"}
    assert in_view == in_clip and len(in_view) == 4
    assert {getattr(bpy.types, name).bl_category for name in names} == {"StereoDiff"}


def test_drawing_touches_no_disk(addon):
    """Panels know neither paths nor files."""
    import ast
    from pathlib import Path
    tree = ast.parse(Path(addon.ui.panels.solve.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))
                for alias in node.names}
    assert not imported & {"os", "Path", "pathlib", "jobs", "runtime", "JobFolder"}


# --- What a solve takes on disk ----------------------------------------------------------------------------------

@pytest.fixture
def disk_text(addon):
    return lambda: addon.ui.panels.health.disk_text(bpy.context.scene)


def megabytes(text: str) -> float:
    """Of one frame."""
    return float(text.split(" MB a frame")[0].rsplit(" ", 1)[1])


def test_nothing_is_said_of_no_clip(disk_text):
    assert disk_text() == ""


@pytest.fixture
def hd_clip(tmp_path, settings):
    """Of 24 HD pictures, which the scene has chosen."""
    for number in range(1, 25):
        shutil.copyfile(bpy_picture(tmp_path / "hd.png") if number == 1 else tmp_path / "plate_0001.png",
                        tmp_path / f"plate_{number:04d}.png")
    settings.clip = bpy.data.movieclips.load(str(tmp_path / "plate_0001.png"))
    return settings.clip


def bpy_picture(path):
    image = bpy.data.images.new("hd", 1920, 1080)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    return path


def test_what_a_solve_takes_on_disk_is_said_before(disk_text, settings, hd_clip):
    settings.quality = "standard"
    assert disk_text() == "About 231 MB on disk, 9.6 MB a frame, and 304 MB more while it is solved."
    settings.depth_size = "working"
    assert megabytes(disk_text()) == 2.8
    settings.depth_size = "preset"
    settings.quality = "draft"
    assert megabytes(disk_text()) == 1.6
    settings.quality = "high"
    assert megabytes(disk_text()) == 13.1


def test_it_is_that_of_the_chosen_frames(disk_text, settings, hd_clip):
    settings.use_clip_range = False
    settings.first_frame, settings.last_frame = 3, 14
    assert disk_text().startswith("About 115 MB on disk, 9.6 MB a frame")
    settings.first_frame = 20
    assert disk_text() == "", "Solve says what is wrong"
