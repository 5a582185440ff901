"""The compositor's depth node: exact, beside what is there, up to date after another import."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from compositors import tree_of
from job_folder import Example, depth_of, trace_depth, write_job_folder
from scene_checks import orphans, prepare_render, read_linear, render

EXAMPLE = Example(raster=(64, 36), clip=(64, 36), first_frame=3)
PLATE = replace(EXAMPLE, clip=(128, 72), has_plate_depth=True, has_edges=True)
HALF = replace(EXAMPLE, raster=(32, 18), focal=30.0)
SINCE_5 = bpy.app.version >= (5, 0, 0)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    """import_here(example, name): write a job folder and import it; all are of the same footage."""

    def run(example: Example = EXAMPLE, name: str = "job"):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        return scene_module.import_result(bpy.context.scene, tmp_path / name)

    return run


def compositor() -> bpy.types.NodeTree:
    return tree_of(bpy.context.scene)


def wiring(tree) -> set[tuple[str, str, str, str]]:
    return {(link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier)
            for link in tree.links}


def add_group() -> bpy.types.Node:
    assert bpy.ops.stereodiff.add_depth_group() == {"FINISHED"}
    return depth_node()


def depth_node() -> bpy.types.Node:
    return next(node for node in compositor().nodes if node.bl_idname == "CompositorNodeGroup")


def sequence_node() -> bpy.types.Node:
    return next(node for node in depth_node().node_tree.nodes if node.bl_idname == "CompositorNodeImage")


def output(tree) -> bpy.types.Node:
    return next(node for node in tree.nodes if node.bl_idname in ("CompositorNodeComposite", "NodeGroupOutput"))


def node_of(tree, shader_kind: str) -> bpy.types.Node:
    """A node that is the shader's from 5.0 on, and the compositor's own before."""
    return tree.nodes.new(f"{'ShaderNode' if SINCE_5 else 'CompositorNode'}{shader_kind}")


def shown(socket: bpy.types.NodeSocket, path, frame: int = 3) -> np.ndarray:
    """What the compositor renders when this socket is its picture, (H,W)."""
    tree = compositor()
    tree.links.new(socket, output(tree).inputs[0])
    for layer in bpy.context.scene.view_layers:
        layer.use = False
    return render(bpy.context.scene, path, frame)[..., 0]


def normalized(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(depth > 0, np.clip((1 / depth - 1 / far) / (1 / near - 1 / far), 0, 1), 0)


def nearest(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every pixel of the new size takes the value of the pixel its center falls into."""
    (height, width), (columns, rows) = picture.shape, size
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    return picture[y][:, x]


# --- The values ------------------------------------------------------------------------------------------------------

def test_z_is_the_file_bit_for_bit(import_here, tmp_path):
    import_here()
    node = add_group()
    for index in range(EXAMPLE.frame_count):
        assert np.array_equal(shown(node.outputs["Z"], tmp_path / "z.exr", 3 + index), depth_of(EXAMPLE, index))


def test_z_at_the_plates_size_is_the_file_of_that_size(import_here, tmp_path):
    imported = import_here(PLATE)
    node = add_group()
    assert tuple(sequence_node().image.size) == (128, 72)
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 128, 72
    assert np.array_equal(shown(node.outputs["Z"], tmp_path / "z.exr", 5),
                          trace_depth(PLATE, 2, (128, 72))[0].astype(np.float32))
    sampled = {each.image for group in bpy.data.node_groups if group.bl_idname == "GeometryNodeTree"
               for each in group.nodes if getattr(each, "image", None)}
    assert imported.images["plate_depth"] not in sampled, "the mesh plays as lightly as ever"


def test_an_import_without_plate_depth_takes_the_working_size_again(import_here, tmp_path):
    import_here(PLATE)
    node = add_group()
    import_here(replace(PLATE, has_plate_depth=False, has_edges=False, job_id="again"), "again")
    picture = sequence_node()
    assert tuple(picture.image.size) == (64, 36) and "again" in picture.image.filepath
    assert add_group() == node and sequence_node().image == picture.image


def write_files_from(socket: bpy.types.NodeSocket, folder) -> None:
    """A File Output node of one float, at the full depth of the format."""
    writer = compositor().nodes.new("CompositorNodeOutputFile")
    if SINCE_5:
        writer.directory, writer.file_name, writer.format.media_type = str(folder), "z_####", "IMAGE"
        writer.file_output_items.clear()
        writer.file_output_items.new("FLOAT", "Depth")
    else:
        writer.base_path = str(folder)
        writer.file_slots[0].path = "z_####"
    writer.format.file_format, writer.format.color_depth = "OPEN_EXR", "32"
    compositor().links.new(socket, writer.inputs[0])


@pytest.mark.parametrize("example", [EXAMPLE, HALF])
def test_file_output_writes_the_same(import_here, tmp_path, example):
    import_here(example)
    write_files_from(add_group().outputs["Z"], tmp_path / "out")
    scene = bpy.context.scene
    prepare_render(scene, tmp_path / "frame.exr")
    scene.view_layers[0].use = False
    scene.frame_set(5)
    bpy.ops.render.render()
    written = read_linear(next((tmp_path / "out").glob("z_0005*.exr")))[..., 0]
    assert np.array_equal(written, nearest(depth_of(example, 2), (64, 36)))


def laid_across(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As wide as the render and in the middle of its height, as the solved camera has it; 0 above and below."""
    (height, width), (across, up) = depth.shape, size
    rows = ((np.arange(up) + 0.5) / up - 0.5) * (width / height) / (across / up) + 0.5
    columns = ((np.arange(across) + 0.5) / across * width).astype(int)
    picked = depth[np.clip((rows * height).astype(int), 0, height - 1)][:, columns]
    return np.where(((rows >= 0) & (rows < 1))[:, None], picked, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 36), (96, 54), (320, 180), (1920, 1080)])
def test_larger_renders_show_the_nearest_depth(import_here, tmp_path, size):
    import_here(HALF)
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = size
    z = shown(add_group().outputs["Z"], tmp_path / "z.exr", 4)
    assert np.array_equal(z, nearest(depth_of(HALF, 1), size))


@pytest.mark.parametrize("raster", [(32, 18), (33, 19)])
@pytest.mark.parametrize("size", [(75, 43), (200, 36), (64, 37)])
def test_no_size_invents_depths_at_edges(import_here, tmp_path, raster, size):
    """Each value is one of the file's (some versions round it), from beside the pixel's center at the most."""
    example = replace(HALF, raster=raster)
    import_here(example)
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = size
    z = shown(add_group().outputs["Z"], tmp_path / "z.exr", 4)
    depth = depth_of(example, 1)
    assert z.shape == size[::-1]
    assert (np.abs(z[..., None] - np.unique(depth)).min(axis=-1) <= 1e-4).all()
    edges = np.abs(z - laid_across(depth, size)) > 0.1 * depth.max()
    assert edges.mean() < 0.1


@pytest.mark.parametrize(("start", "first_frame", "first_number"), [(1, 1, 1), (50, 1, 1), (50, 4, 1), (101, 3, 101),
                                                                    (-20, 2, 7)])
def test_every_frame_shows_its_own_file(import_here, tmp_path, start, first_frame, first_number):
    example = replace(HALF, first_frame=first_frame, first_number=first_number)
    write_job_folder(tmp_path / "job", example, clip_folder=tmp_path / "clip")
    clip = bpy.data.movieclips.load(str(tmp_path / "clip" / f"plate_{first_number:04d}.png"))
    clip.frame_start = start
    import_here(example)
    z = add_group().outputs["Z"]
    for index in (0, 2, 5):
        picture = shown(z, tmp_path / "z.exr", start - 1 + first_frame + index)
        assert np.array_equal(picture, nearest(depth_of(example, index), (64, 36)))


def test_clip_trimmed_by_its_offset(scene_module, tmp_path):
    """The clip begins two pictures further on, which the solve knows as its frame 1."""
    example = replace(EXAMPLE, first_frame=2, first_number=13)
    write_job_folder(tmp_path / "job", example, clip_folder=tmp_path / "clip")
    for number in (11, 12):
        (tmp_path / "clip" / f"plate_{number:04d}.png").write_bytes(
            (tmp_path / "clip" / "plate_0013.png").read_bytes())
    clip = bpy.data.movieclips.load(str(tmp_path / "clip" / "plate_0011.png"))
    clip.frame_offset, clip.frame_start = 2, 30
    scene_module.import_result(bpy.context.scene, tmp_path / "job")
    z = add_group().outputs["Z"]
    assert np.array_equal(shown(z, tmp_path / "z.exr", 31), depth_of(example, 0))
    assert np.array_equal(shown(z, tmp_path / "z.exr", 35), depth_of(example, 4))


def test_normalized_fog_and_defocus(import_here, tmp_path):
    import_here()
    node = add_group()
    near, far, focus = 2.0, 6.0, 3.0
    for name, value in (("Near", near), ("Far", far), ("Focus", focus)):
        node.inputs[name].default_value = value
    depth = depth_of(EXAMPLE, 1)
    even = normalized(depth, near, far)
    fog = np.where(depth > 0, np.clip((depth - near) / (far - near), 0, 1), 1)
    blur = np.abs(even - normalized(np.array(focus), near, far))
    for name, expected in (("Normalized", even), ("Fog", fog), ("Defocus", blur)):
        assert np.abs(shown(node.outputs[name], tmp_path / "out.exr", 4) - expected).max() < 1e-5, name
    assert fog[-1, -1] == 1 and even[-1, -1] == 0 and np.ptp(blur) > 0.3 < np.ptp(even)


def test_a_flat_wall_is_all_near(import_here, tmp_path):
    import_here()
    node = add_group()
    node.inputs["Near"].default_value = node.inputs["Far"].default_value = float(depth_of(EXAMPLE, 0).max())
    flat = shown(node.outputs["Normalized"], tmp_path / "n.exr")
    assert np.all(np.isfinite(flat)) and flat[:-3].max() == 1


def test_hold_out_is_where_the_footage_is_in_front(import_here, tmp_path):
    import_here()
    node = add_group()
    depth = depth_of(EXAMPLE, 0)
    distance = float(np.median(depth))
    node.inputs["CG Z"].default_value = distance
    mask = shown(node.outputs["Hold-Out"], tmp_path / "mask.exr")
    assert np.array_equal(mask, (depth > 0) & (depth < np.float32(distance)))
    assert 0.3 < mask.mean() < 0.7 and mask[-1, -1] == 0


@pytest.mark.parametrize("example", [EXAMPLE, HALF])
def test_hold_out_against_a_picture_of_depths(import_here, tmp_path, example):
    """At the render's own detail, also where the depth is coarser."""
    import_here(example)
    node = add_group()
    cg = np.linspace(2.0, 6.0, 64 * 36, dtype=np.float32).reshape(36, 64)
    image = bpy.data.images.new("cg", 64, 36, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.repeat(cg[::-1].ravel(), 4))
    image.pack()
    source = compositor().nodes.new("CompositorNodeImage")
    source.image = image
    compositor().links.new(source.outputs[0], node.inputs["CG Z"])
    depth = nearest(depth_of(example, 0), (64, 36))
    mask = shown(node.outputs["Hold-Out"], tmp_path / "mask.exr")
    assert np.array_equal(mask, (depth > 0) & (depth < cg))
    assert 0.2 < mask.mean() < 0.8


def test_scene_z_follows_the_root(import_here, tmp_path):
    imported = import_here()
    node = add_group()
    depth = depth_of(EXAMPLE, 2)
    for scale in (2.0, 0.25):
        imported.root.scale = (scale,) * 3
        assert np.allclose(shown(node.outputs["Scene Z"], tmp_path / "z.exr", 5), depth * scale, rtol=1e-6)
        assert np.array_equal(shown(node.outputs["Z"], tmp_path / "z.exr", 5), depth)


def test_defocus_node_takes_the_defocus(import_here, tmp_path):
    """What is in focus stays, what is not is mixed with its neighbors."""
    import_here()
    node, tree = add_group(), compositor()
    depth = depth_of(EXAMPLE, 0)
    node.inputs["Focus"].default_value = float(np.median(depth[:, :6]))
    blurred = tree.nodes.new("CompositorNodeDefocus")
    blurred.use_zbuffer, blurred.z_scale, blurred.blur_max = False, 4.0, 8.0
    plate = tree.nodes.new("CompositorNodeMovieClip")
    plate.clip = bpy.data.movieclips[0]
    tree.links.new(plate.outputs["Image"], blurred.inputs["Image"])
    tree.links.new(node.outputs["Defocus"], blurred.inputs["Z"])
    blur = shown(node.outputs["Defocus"], tmp_path / "blur.exr")
    change = np.abs(shown(blurred.outputs[0], tmp_path / "blurred.exr") - shown(plate.outputs[0], tmp_path / "p.exr"))
    assert change[blur < 0.02].max() < 0.01 < change[blur > 0.3].mean()


# --- The old way in ----------------------------------------------------------------------------------------------

def test_pass_is_normalized_disparity_of_its_own_frame(scene_module, import_here, tmp_path):
    imported = import_here()
    socket = scene_module.add_depth_pass(bpy.context.scene, imported, connect=True)
    for index in (0, 5):
        expected = normalized(depth_of(EXAMPLE, index), *imported.result.depth_range)
        assert np.abs(shown(socket, tmp_path / "pass.exr", 3 + index) - expected).max() < 1e-5
    assert expected[-1, -1] == 0 and expected.max() > 0.9


def test_without_depth_there_is_no_pass(scene_module, import_here):
    imported = import_here(replace(EXAMPLE, camera_kind="static"))
    with pytest.raises(ValueError, match="no depth"):
        scene_module.add_depth_pass(bpy.context.scene, imported)
    with pytest.raises(RuntimeError, match="no depth"):
        bpy.ops.stereodiff.add_depth_group()
    assert compositor() is None


# --- Beside what is there --------------------------------------------------------------------------------------------

def test_nothing_to_add_without_an_import():
    with pytest.raises(RuntimeError, match="Import a result first"):
        bpy.ops.stereodiff.add_depth_group()


def test_the_compositors_picture_stays(import_here, tmp_path):
    scene = bpy.context.scene
    import_here()
    without = render(scene, tmp_path / "without.exr", 4)
    add_group()
    assert np.allclose(render(scene, tmp_path / "with.exr", 4), without, atol=1e-6)


def test_what_the_artist_has_stays(import_here):
    import_here()
    add_group()
    tree = compositor()
    tree.nodes.remove(depth_node())
    blur = tree.nodes.new("CompositorNodeBlur")
    source = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers")
    tree.links.new(source.outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs["Image"], output(tree).inputs[0])
    nodes, links = {node.name for node in tree.nodes}, wiring(tree)
    node = add_group()
    assert {n.name for n in tree.nodes} == nodes | {node.name} and wiring(tree) == links
    assert node.label == "StereoDiff Depth: plate_0001" and node.node_tree.name == "StereoDiff Depth"
    assert node.location.y < min(n.location.y for n in tree.nodes if n != node)


def framing_of(group: bpy.types.NodeTree) -> list:
    """All that the group's nodes have set."""
    return [(node.bl_idname, getattr(node, "frame_method", ""), [value(socket) for socket in node.inputs])
            for node in group.nodes]


def value(socket: bpy.types.NodeSocket):
    found = getattr(socket, "default_value", None)
    return tuple(found) if hasattr(found, "__len__") and not isinstance(found, str) else found


def test_depth_that_nothing_has_loaded_is_laid_by_its_own_shape(import_here):
    """The mesh plays from another picture. Pixels of the raster are square, those of the clip are not."""
    squeezed = replace(EXAMPLE, clip=(128, 72), raster=(128, 36), pixel_aspect=2.0)
    found = []
    for name, has_one in (("job", True), ("earlier", False)):
        import_here(replace(squeezed, has_mesh_depth=has_one, job_id=name), name)
        group = add_group().node_tree
        found.append(framing_of(group))
    assert found[0] == found[1]


def test_a_switched_off_compositor_stays_off(import_here):
    if SINCE_5:
        pytest.skip("there is no switch since 5.0")
    import_here()
    scene = bpy.context.scene
    scene.use_nodes = True
    scene.use_nodes = False
    add_group()
    assert not scene.use_nodes


def test_depth_of_the_render_is_plugged_in(import_here):
    import_here()
    bpy.context.view_layer.use_pass_z = True
    links = add_group().inputs["CG Z"].links
    assert [link.from_node.bl_idname for link in links] == ["CompositorNodeRLayers"]


def test_adding_twice_updates(import_here):
    import_here()
    first = add_group()
    count, groups = len(compositor().nodes), len(bpy.data.node_groups)
    assert add_group() == first
    assert (len(compositor().nodes), len(bpy.data.node_groups)) == (count, groups)


def test_values_come_from_the_depth_range(import_here):
    near, far = import_here().result.depth_range
    node = add_group()
    values = [node.inputs[name].default_value for name in ("Near", "Far", "Focus")]
    assert values == pytest.approx([near, far, 2 * near * far / (near + far)])


def test_another_import_brings_the_node_up_to_date(import_here, tmp_path):
    import_here()
    node, tree = add_group(), compositor()
    blur = tree.nodes.new("CompositorNodeBlur")
    tree.links.new(node.outputs["Fog"], blur.inputs["Image"])
    node.inputs["Focus"].default_value = 1.25
    node.location = (11, 22)
    before = wiring(tree)
    longer = replace(EXAMPLE, frame_count=9, first_frame=2, job_id="longer", depth_scale=3.0)
    again = import_here(longer, "again")
    picture = sequence_node()
    assert (picture.frame_start, picture.frame_duration, picture.frame_offset) == (2, 9, 1)
    assert "again" in picture.image.filepath
    assert [node.inputs[name].default_value for name in ("Near", "Far")] == pytest.approx(again.result.depth_range)
    assert node.inputs["Focus"].default_value == 1.25 and tuple(node.location) == (11, 22)
    assert wiring(tree) == before and orphans() == []
    assert np.array_equal(shown(node.outputs["Z"], tmp_path / "z.exr", 10), depth_of(longer, 8))


def test_another_import_finds_copies_and_a_new_root(import_here, tmp_path):
    imported = import_here()
    tree, node = compositor(), add_group()
    tree = compositor()
    copy = tree.nodes.new("CompositorNodeGroup")
    copy.node_tree = node.node_tree
    bpy.data.objects.remove(imported.root)
    again = import_here(replace(EXAMPLE, depth_scale=2.0, job_id="again"), "again")
    again.root.scale = (4.0, 4.0, 4.0)
    assert copy.inputs["Far"].default_value == pytest.approx(again.result.depth_range[1])
    example = replace(EXAMPLE, depth_scale=2.0)
    assert np.allclose(shown(copy.outputs["Scene Z"], tmp_path / "z.exr"), 4 * depth_of(example, 0), rtol=1e-6)


def test_depth_that_went_leaves_nothing_unused(import_here):
    import_here()
    add_group()
    compositor().nodes.remove(depth_node())
    import_here(replace(EXAMPLE, camera_kind="rotation", job_id="turn"), "turn")
    assert [tree.name for tree in bpy.data.node_groups] == ([compositor().name] if SINCE_5 else [])
    assert [image for image in bpy.data.images if "stereodiff" in image] == [] == list(bpy.data.textures)


def test_two_clips_have_a_node_each(scene_module, tmp_path):
    for name, scale in (("one", 1.0), ("two", 5.0)):
        example = replace(HALF, depth_scale=scale, job_id=name, knows_footage=False)  # their pictures are the same
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / f"{name}_clip")
        imported = scene_module.import_result(bpy.context.scene, tmp_path / name)
        bpy.context.view_layer.objects.active = imported.mesh
        add_group()
    nodes = [node for node in compositor().nodes if node.bl_idname == "CompositorNodeGroup"]
    far = [shown(node.outputs["Z"], tmp_path / "z.exr").max() for node in nodes]
    assert len(nodes) == 2 and far[1] == pytest.approx(5 * far[0], rel=1e-6)


def test_undo_takes_the_node_away(import_here):
    import_here()
    groups = len(bpy.data.node_groups)
    bpy.ops.ed.undo_push(message="imported")
    add_group()
    bpy.ops.ed.undo_push(message="added")
    bpy.ops.ed.undo()
    assert len(bpy.data.node_groups) == groups and compositor() is None
    add_group()
