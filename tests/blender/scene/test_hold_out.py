"""CG in the footage: hidden behind near things, seen in front of them, its shadow caught, and all of it taken back."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from compositors import empty_tree, tree_of
from job_folder import Example, plate_file, rewrite, write_job_folder
from scene_checks import evaluated_mesh, prepare_render, read_linear, set_input, show_frame

EXAMPLE = Example(raster=(64, 36), clip=(64, 36), zoom=1.0, invalid_corner=False)
SINCE_5 = bpy.app.version >= (5, 0, 0)
BOX = slice(14, 20), slice(18, 26)  # rows and columns of the picture that lie on the near box, all of them


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    """import_here(example, name): write a job folder and import it, ready for Cycles; all are of the same footage."""

    def run(example: Example = EXAMPLE, name: str = "job"):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        imported = scene_module.import_result(bpy.context.scene, tmp_path / name)
        bpy.context.scene.render.engine = "CYCLES"
        return imported

    return run


def add_cube(imported, depth: float, size: float = 0.25) -> bpy.types.Object:
    """A CG cube on the box's line of sight at frame 1, at a depth, filling about a fifth of the picture's height."""
    bpy.ops.mesh.primitive_cube_add(size=size * depth)
    cube = bpy.context.object
    cube.parent = imported.camera
    cube.location = (-0.165 * depth, 0.0, -depth)
    return cube


def add_lamp(imported) -> None:
    lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "SUN"))
    lamp.data.energy = 3.0
    lamp.parent = imported.camera
    lamp.rotation_euler = (0.0, 0.5, 0.0)
    bpy.context.scene.collection.objects.link(lamp)


def set_up(**options) -> None:
    assert bpy.ops.stereodiff.set_up_hold_out(**options) == {"FINISHED"}


def render_rgba(path, frame: int = 1) -> np.ndarray:
    """(H,W,4) scene-linear, row 0 at the top."""
    scene = bpy.context.scene
    prepare_render(scene, path)
    scene.cycles.samples = 16
    scene.render.image_settings.color_mode = "RGBA"
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path), check_existing=False)
    pixels = np.empty(4 * image.size[0] * image.size[1], np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(image.size[1], image.size[0], 4)[::-1]
    bpy.data.images.remove(image)
    return pixels


def alpha_with_cube_at(imported, depth: float, path) -> np.ndarray:
    cube = add_cube(imported, depth)
    alpha = render_rgba(path)[..., 3]
    bpy.data.objects.remove(cube)
    return alpha


# --- What is hidden and what is seen ---------------------------------------------------------------------------------

@pytest.mark.parametrize("shadows", [False, True])
def test_cg_is_hidden_behind_the_near_surface_and_seen_in_front_of_it(import_here, tmp_path, shadows):
    """The box's front stands at depth 2.6, its back at 3.4, the wall behind them at about 5."""
    imported = import_here()
    set_up(shadows=shadows, plate=False)
    assert alpha_with_cube_at(imported, 1.6, tmp_path / "front.exr")[BOX].min() > 0.99
    assert alpha_with_cube_at(imported, 3.8, tmp_path / "behind.exr")[BOX].max() < 0.01
    assert alpha_with_cube_at(imported, 9.0, tmp_path / "wall.exr").max() < 0.01


def test_cg_beside_the_near_surface_is_cut_at_its_edge(import_here, tmp_path):
    """A large cube between box and wall shows around the box only."""
    imported = import_here()
    set_up(shadows=False, plate=False)
    cube = add_cube(imported, 4.0, size=0.5)
    alpha = render_rgba(tmp_path / "a.exr")[..., 3]
    assert alpha[BOX].max() < 0.01 and 0.2 < (alpha > 0.99).mean() < 0.5
    bpy.data.objects.remove(cube)


@pytest.mark.slow
def test_shadows_fall_on_the_footage(import_here, tmp_path):
    imported = import_here()
    add_lamp(imported)
    cube = add_cube(imported, 1.6, size=0.15)
    set_up(shadows=False, plate=False)
    without = render_rgba(tmp_path / "without.exr")
    set_up(state="ON", shadows=True, plate=False)
    caught = render_rgba(tmp_path / "with.exr")
    shade = (caught[..., 3] > 0.5) & (without[..., 3] < 0.01)
    assert shade.mean() > 0.01 and caught[shade][:, :3].max() < 0.1
    assert ((without[..., 3] > 0.01) <= (caught[..., 3] > 0.01)).all()
    cube.hide_render = True
    assert render_rgba(tmp_path / "empty.exr")[..., 3].max() < 0.05


def test_plate_shows_through_where_there_is_no_cg(import_here, tmp_path):
    imported = import_here()
    set_up(shadows=False)
    cube = add_cube(imported, 2.0)
    picture = render_rgba(tmp_path / "seen.exr", 3)
    plate = read_linear(plate_file(tmp_path / "clip", EXAMPLE, 3))
    outside = np.ones(plate.shape[:2], bool)
    outside[6:30, 6:38] = False
    assert np.abs(picture[..., :3] - plate)[outside].max() < 1e-3
    assert np.abs(picture[..., :3] - plate)[BOX].max() > 0.1
    cube.location = (-0.165 * 3.8, 0.0, -3.8)
    hidden = render_rgba(tmp_path / "hidden.exr", 1)[..., :3]
    first = read_linear(plate_file(tmp_path / "clip", EXAMPLE, 1))
    assert np.abs(hidden - first)[BOX].max() < 1e-3


# --- What was only guessed -------------------------------------------------------------------------------------------

def import_guessed_left(import_here, folder):
    """An import whose left half nobody can vouch for at frame 2, which is shown."""
    imported = import_here()
    confidence = np.where(np.arange(64) < 32, 0.1, 0.9) * np.ones((36, 1))
    rewrite(folder / "job", "confidence", 2, confidence.astype(np.float32))
    rewrite(folder / "job", "motion_mask", 2, np.zeros((36, 64), np.float32))
    show_frame(2)
    return imported


def shows_left(mesh: bpy.types.Object) -> bool:
    """Whether the mesh reaches the left half of the picture, or begins in its middle."""
    vertices = evaluated_mesh(mesh)[0]
    across = vertices[:, 0] / -vertices[:, 2]
    return bool(across.min() < -0.5 * across.max())


def test_what_was_only_guessed_holds_out_too_and_is_left_out_of_view_again(import_here, tmp_path):
    mesh = import_guessed_left(import_here, tmp_path).mesh
    assert not shows_left(mesh)
    for _ in range(2):
        set_up(state="ON", plate=False)
        assert shows_left(mesh)
    set_input(mesh, "Hold-Out Confidence", 0.5)
    assert not shows_left(mesh)
    set_up(state="OFF")
    set_input(mesh, "Least Confidence", 0.0)
    assert shows_left(mesh)


def test_a_hold_out_of_the_artists_own_stays_one(import_here, tmp_path):
    mesh = import_guessed_left(import_here, tmp_path).mesh
    set_input(mesh, "Hold-Out", True)
    set_up(plate=False)
    set_up(plate=False)
    assert shows_left(mesh)


@pytest.mark.parametrize("lacks", ["modifier", "input"])
def test_a_mesh_without_the_input_is_held_out_as_it_is(import_here, lacks):
    mesh = import_here().mesh
    modifier = mesh.modifiers[0]
    if lacks == "modifier":
        mesh.modifiers.clear()
    else:  # as of an earlier version
        tree = modifier.node_group
        tree.interface.remove(next(item for item in tree.interface.items_tree if item.name == "Hold-Out"))
    set_up(shadows=False, plate=False)
    assert mesh.is_holdout
    set_up(state="OFF")
    assert not mesh.is_holdout


# --- Switching it on and off -----------------------------------------------------------------------------------------

def compositor() -> bpy.types.NodeTree | None:
    return tree_of(bpy.context.scene)


def output(tree) -> bpy.types.Node:
    return next(node for node in tree.nodes if node.bl_idname in ("CompositorNodeComposite", "NodeGroupOutput"))


def relight() -> float:
    material = next(material for material in bpy.data.materials if material.name.endswith("plate material"))
    return next(node for node in material.node_tree.nodes if node.label == "Relight").outputs[0].default_value


def state(imported) -> tuple:
    """All that the set-up may change."""
    scene, tree = bpy.context.scene, compositor()
    nodes = {node.name for node in tree.nodes} if tree else set()
    links = {(link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier)
             for link in tree.links} if tree else set()
    return (scene.render.film_transparent, scene.render.use_compositing, not SINCE_5 and scene.use_nodes,
            imported.mesh.is_holdout, imported.mesh.is_shadow_catcher, relight(), nodes, links,
            {"stereodiff_hold_out", "stereodiff_compositor_was_off"} & set(scene.keys()))


def build_comp() -> None:
    """A comp of the artist's: the render through a blur."""
    tree, picture = empty_tree(bpy.context.scene)
    blur = tree.nodes.new("CompositorNodeBlur")
    tree.links.new(tree.nodes.new("CompositorNodeRLayers").outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs["Image"], picture)


@pytest.mark.parametrize("off", [{}, {"state": "OFF"}])
@pytest.mark.parametrize("has_comp", [False, True])
def test_clicking_again_or_off_restores(import_here, off, has_comp):
    imported = import_here()
    if has_comp:
        build_comp()
    before, groups = state(imported), len(bpy.data.node_groups)
    set_up()
    assert bpy.context.scene.render.film_transparent and imported.mesh.is_shadow_catcher and relight() == 1.0
    assert output(compositor()).inputs[0].links[0].from_node.bl_idname == "CompositorNodeAlphaOver"
    set_up(**off)
    if has_comp or SINCE_5:
        assert state(imported) == before and len(bpy.data.node_groups) == groups
    else:  # before 5.0 a tree stays once it was made; it is off
        assert state(imported)[:6] == before[:6]
    set_up(state="OFF")
    assert state(imported)[:6] == before[:6]


def test_the_artists_comp_stays_between_render_and_plate(import_here):
    imported = import_here()
    build_comp()
    before = state(imported)
    set_up()
    tree = compositor()
    over = output(tree).inputs[0].links[0].from_node
    assert {link.from_node.bl_idname for socket in over.inputs for link in socket.links} \
        == {"CompositorNodeBlur", "CompositorNodeScale"}
    glare = tree.nodes.new("CompositorNodeGlare")
    tree.links.new(over.outputs[0], glare.inputs["Image"])
    tree.links.new(glare.outputs["Image"], output(tree).inputs[0])
    set_up()
    assert glare.inputs["Image"].links[0].from_node.bl_idname == "CompositorNodeBlur"
    assert output(tree).inputs[0].links[0].from_node == glare
    assert state(imported)[:6] == before[:6]


def test_what_was_set_before_comes_back(import_here):
    imported = import_here()
    scene = bpy.context.scene
    scene.render.film_transparent = imported.mesh.is_holdout = True
    scene.render.use_compositing = False
    slider = next(node for material in bpy.data.materials for node in material.node_tree.nodes
                  if node.label == "Relight")
    slider.outputs[0].default_value = 0.25
    before = state(imported)
    set_up()
    set_up(state="ON", shadows=False)
    assert imported.mesh.is_holdout and not imported.mesh.is_shadow_catcher and scene.render.use_compositing
    set_up()
    assert state(imported)[:6] == before[:6]


def test_on_again_changes_nothing(import_here):
    imported = import_here()
    set_up()
    before = state(imported)
    names = len(before[6]), len(before[7])
    set_up(state="ON")
    after = state(imported)
    assert after[:6] == before[:6] and (len(after[6]), len(after[7])) == names


def test_without_cycles_it_is_a_hold_out(import_here):
    imported = import_here()
    bpy.context.scene.render.engine = "BLENDER_EEVEE" if SINCE_5 else "BLENDER_EEVEE_NEXT"
    set_up()
    assert imported.mesh.is_holdout and not imported.mesh.is_shadow_catcher and relight() == 0.0


def test_another_import_keeps_it(import_here):
    imported = import_here()
    before = state(imported)
    set_up()
    during = state(imported)
    again = import_here(replace(EXAMPLE, job_id="again", frame_count=8), "again")
    assert state(again) == during
    set_up()
    assert state(again)[:6] == before[:6]


def test_it_goes_also_after_depth_went(import_here):
    import_here()
    set_up()
    import_here(replace(EXAMPLE, camera_kind="rotation", job_id="turn"), "turn")
    set_up()
    assert not bpy.context.scene.render.film_transparent
    assert compositor() is None or not any("stereodiff" in node for node in compositor().nodes)
    with pytest.raises(RuntimeError, match="no depth"):
        set_up()


def test_two_clips_share_the_film(scene_module, tmp_path):
    meshes = []
    for name, zoom in (("one", 1.25), ("two", 1.5)):
        example = replace(EXAMPLE, job_id=name, zoom=zoom)
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / f"{name}_clip")
        meshes.append(scene_module.import_result(bpy.context.scene, tmp_path / name).mesh)
    bpy.context.scene.render.engine = "CYCLES"
    for mesh in (*meshes, meshes[0]):
        bpy.context.view_layer.objects.active = mesh
        set_up()
    assert [mesh.is_shadow_catcher for mesh in meshes] == [False, True]
    assert bpy.context.scene.render.film_transparent
    bpy.context.view_layer.objects.active = meshes[1]
    set_up()
    assert not bpy.context.scene.render.film_transparent


def test_undo_takes_it_back(import_here):
    before = state(import_here())
    bpy.ops.ed.undo_push(message="imported")
    set_up()
    bpy.ops.ed.undo_push(message="set up")
    bpy.ops.ed.undo()
    mesh = next(thing for thing in bpy.context.scene.objects if thing.type == "MESH")
    scene = bpy.context.scene
    assert (scene.render.film_transparent, mesh.is_holdout, mesh.is_shadow_catcher) == (before[0], before[3], before[4])
    assert relight() == before[5] and compositor() is None


def test_refused_in_words(import_here):
    with pytest.raises(RuntimeError, match="Import a result first"):
        bpy.ops.stereodiff.set_up_hold_out()
    imported = import_here()
    before = state(imported)
    bpy.data.objects.remove(imported.camera)
    with pytest.raises(RuntimeError, match="camera of plate_0001"):
        bpy.ops.stereodiff.set_up_hold_out()
    assert state(imported) == before
    set_up(plate=False)
