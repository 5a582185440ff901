"""Depth, confidence and motion mask as ready materials: right values, right frame, and the artist's changes kept."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, depth_of, write_job_folder
from scene_checks import render

EXAMPLE = Example(raster=(64, 36), clip=(64, 36), zoom=1.0, first_frame=4, first_number=7)
START = 21


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    """import_here(example, name): a clip that plays from scene frame START, solved from its frame 4 on."""

    def run(example: Example = EXAMPLE, name: str = "job"):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        if not bpy.data.movieclips:
            bpy.data.movieclips.load(str(tmp_path / "clip" / "plate_0007.png")).frame_start = START
        return scene_module.import_result(bpy.context.scene, tmp_path / name)

    return run


def material(part: str) -> bpy.types.Material:
    return next(m for m in bpy.data.materials if m.name == f"plate_0001 {part} material" or m.name.endswith(
        f" {part} material"))


def node_named(part: str, label: str) -> bpy.types.Node:
    return next(node for node in material(part).node_tree.nodes if node.label == label)


def flat_render(shown: bpy.types.Material, path, frame: int) -> np.ndarray:
    """The material on a plane that fills an orthographic view, one pixel of the picture to one of the render."""
    scene = bpy.context.scene
    for thing in scene.objects:
        thing.hide_render = True
    bpy.ops.mesh.primitive_plane_add(size=1.0, location=(0.0, 0.0, -500.0))
    plane = bpy.context.object
    plane.scale = (64.0, 36.0, 1.0)
    plane.data.materials.append(shown)
    lens = bpy.data.cameras.new("flat")
    lens.type, lens.ortho_scale = "ORTHO", 64.0
    camera = bpy.data.objects.new("flat", lens)
    camera.location = (0.0, 0.0, -490.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BOX", 0.01  # every ray through the pixel's center
    picture = render(scene, path, frame)
    bpy.data.objects.remove(plane)
    bpy.data.objects.remove(camera)
    return picture


def normalized(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(depth > 0, np.clip((1 / depth - 1 / far) / (1 / near - 1 / far), 0, 1), 0)


@pytest.mark.parametrize(("index", "files_by_clip_frame"), [(0, False), (3, False), (5, False), (3, True)])
def test_every_product_shows_its_own_frame(import_here, tmp_path, index, files_by_clip_frame):
    imported = import_here(replace(EXAMPLE, files_by_clip_frame=files_by_clip_frame))
    frame = START - 1 + EXAMPLE.first_frame + index
    depth = depth_of(EXAMPLE, index)
    expected = {"depth": normalized(depth, *imported.result.depth_range), "confidence": (depth > 0) * 0.9,
                "motion_mask": ((depth < 3.0) & (depth > 0)).astype(float)}
    for part, values in expected.items():
        picture = flat_render(material(part), tmp_path / "flat.exr", frame)[..., 0]
        assert np.abs(picture - values).max() < 1e-5, part


def test_frames_differ_enough_to_be_told_apart():
    masks = [(depth_of(EXAMPLE, index) < 3.0) for index in range(EXAMPLE.frame_count)]
    assert (masks[0] != masks[3]).mean() > 0.03 < (masks[3] != masks[5]).mean()


def test_color_ramp_goes_from_dark_far_to_bright_near(import_here, tmp_path):
    imported = import_here()
    node_named("depth", "Color Ramp").outputs[0].default_value = 1.0
    picture = flat_render(material("depth"), tmp_path / "flat.exr", START + 3)
    value = normalized(depth_of(EXAMPLE, 0), *imported.result.depth_range)
    ramp = node_named("depth", "Look").color_ramp
    expected = np.array([[ramp.evaluate(float(v))[:3] for v in row] for row in value])
    assert np.abs(picture - expected).max() < 0.02
    brightness = [sum(ramp.evaluate(v)[:3]) for v in np.linspace(0, 1, 21)]
    assert all(np.diff(brightness) > 0)


@pytest.mark.slow
def test_views_on_the_mesh(import_here, tmp_path):
    imported = import_here()
    scene = bpy.context.scene
    depth = depth_of(EXAMPLE, 2)
    expected = {"NORMALIZED": normalized(depth, *imported.result.depth_range), "CONFIDENCE": (depth > 0) * 0.9,
                "MOTION_MASK": ((depth < 3.0) & (depth > 0)).astype(float)}
    for view, values in expected.items():
        assert bpy.ops.stereodiff.show_view(view=view) == {"FINISHED"}
        shown = render(scene, tmp_path / "view.exr", START + 5)
        assert (np.abs(shown[..., 0] - values) < 0.05).mean() > 0.9, view
        assert np.ptp(shown, axis=-1).max() < 1e-4, view
    bpy.ops.stereodiff.show_view(view="RAMP")
    assert np.ptp(render(scene, tmp_path / "view.exr", START + 5), axis=-1).max() > 0.3
    bpy.ops.stereodiff.show_view(view="PLATE")
    plate = render(scene, tmp_path / "view.exr", START + 5)
    import_here()
    assert np.allclose(render(scene, tmp_path / "view.exr", START + 5), plate, atol=1e-3)


def test_view_is_kept_by_another_import(import_here, tmp_path):
    import_here()
    bpy.ops.stereodiff.show_view(view="MOTION_MASK")
    before = render(bpy.context.scene, tmp_path / "view.exr", START + 5)
    import_here()
    assert np.allclose(render(bpy.context.scene, tmp_path / "view.exr", START + 5), before, atol=1e-3)


def test_what_the_artist_did_to_a_material_is_kept(import_here):
    import_here()
    node_named("depth", "Color Ramp").outputs[0].default_value = 0.5
    node_named("depth", "Look").color_ramp.elements[0].color = (0.0, 1.0, 0.0, 1.0)
    node_named("plate", "Relight").outputs[0].default_value = 0.75
    extra = material("plate").node_tree.nodes.new("ShaderNodeHueSaturation").name
    again = import_here(replace(EXAMPLE, depth_scale=4.0, frame_count=8, job_id="again"), "again")
    assert node_named("depth", "Color Ramp").outputs[0].default_value == 0.5
    assert tuple(node_named("depth", "Look").color_ramp.elements[0].color) == (0.0, 1.0, 0.0, 1.0)
    assert node_named("plate", "Relight").outputs[0].default_value == 0.75
    assert extra in material("plate").node_tree.nodes
    picture, limits = node_named("depth", "Depth"), node_named("depth", "Near is 1").inputs
    assert picture.image_user.frame_duration == 8 and "again" in picture.image.filepath
    near, far = again.result.depth_range
    assert (limits[1].default_value, limits[2].default_value) == pytest.approx((1 / far, 1 / near))


def test_a_material_that_lost_its_picture_is_made_anew(import_here, tmp_path):
    import_here()
    tree = material("confidence").node_tree
    tree.nodes.clear()
    import_here()
    picture = flat_render(material("confidence"), tmp_path / "flat.exr", START + 3)[..., 0]
    assert np.abs(picture - (depth_of(EXAMPLE, 0) > 0) * 0.9).max() < 1e-5


def test_materials_wait_in_slots_of_the_mesh(import_here):
    slots = [m.name.rpartition(" material")[0].rpartition(" ")[2] for m in import_here().mesh.data.materials]
    assert slots == ["plate", "depth", "confidence", "motion_mask"]


def test_views_are_refused_in_words(import_here):
    imported = import_here()
    bpy.data.materials.remove(material("confidence"))
    with pytest.raises(RuntimeError, match="no confidence material"):
        bpy.ops.stereodiff.show_view(view="CONFIDENCE")
    bpy.data.objects.remove(imported.mesh)
    with pytest.raises(RuntimeError, match="mesh was removed"):
        bpy.ops.stereodiff.show_view(view="NORMALIZED")


def test_images_are_plain_numbers(import_here):
    images = import_here().images
    assert set(images) == {"depth", "confidence", "motion_mask", "mesh_depth"}
    for image in images.values():
        assert (image.source, image.colorspace_settings.name, image.use_half_precision) \
            == ("SEQUENCE", "Non-Color", False)
