"""The clip behind the render, as the last step of the scene's compositor, and out again without a trace."""

from __future__ import annotations

import bpy

from ..data import TAG, Framing, SceneImport, add_node, frame_pixels, imports_in, part_of, parts, render_shape
from ..result import ImportedResult
from .compositor import (
    add_fitted,
    add_over,
    all_trees,
    compositor_tree,
    crop_before,
    drop_tree,
    free_corner,
    give_framing,
    has_tree_on,
    is_bare,
    is_on,
    output_node,
    over_inputs,
    picture_of,
    scene_trees,
    switch_on,
)

PLATE_PARTS = ("plate frame", "plate clip", "plate fit", "plate over", "plate crop")
WAS_OFF = "stereodiff_compositor_was_off"


def put_plate_behind(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Lay what is now the compositor's picture over the clip; a compositor that was off is switched on."""
    if not is_on(scene):
        scene[WAS_OFF] = {"use_compositing": scene.render.use_compositing, "has_tree_on": has_tree_on(scene)}
    tree = compositor_tree(scene)
    switch_on(scene)
    scene.render.use_compositing = True
    render = picture_of(tree)
    left, top = free_corner(tree)
    frame = add_node(tree, "NodeFrame", (left, top), f"StereoDiff Plate: {found.name}")
    clip = add_node(tree, "CompositorNodeMovieClip", (left, top), "Plate", clip=found.clip)
    fitted = add_fitted(tree, (left + 260, top), clip.outputs["Image"], _framing(scene, found))
    over = add_over(tree, (left + 460, top), fitted, render)
    tree.links.new(over.outputs[0], output_node(tree).inputs[0])
    for part, node in zip(PLATE_PARTS, (frame, clip, fitted.node, over, crop_before(fitted.node)), strict=True):
        if node is None:
            continue
        node[TAG] = {"footage": found.footage, "job": found.collection[TAG]["job"], "part": part}
        if node != frame:
            node.parent = frame


def remove_plate(scene: bpy.types.Scene, found: SceneImport) -> None:
    """What went through the plate's nodes goes straight on, wherever the artist has led it."""
    tree = _tree_with_plate(scene, found)
    if tree is None:
        return
    own = parts(tree.nodes, found.footage)
    if "plate over" in own:
        _bridge(tree, own["plate over"])
    for part in set(PLATE_PARTS) & set(own):
        tree.nodes.remove(own[part])
    if WAS_OFF in scene and not any(TAG in node for node in tree.nodes):
        before = scene.pop(WAS_OFF)
        scene.render.use_compositing = bool(before["use_compositing"])
        if is_bare(tree) and not before["has_tree_on"]:
            drop_tree(scene, tree)


def uses_plate(scene: bpy.types.Scene, found: SceneImport) -> bool:
    return _tree_with_plate(scene, found) is not None


def reframe_plate(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Lay the plate anew, after the shape of the render has changed.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose compositor and render are meant.
    found : SceneImport
        The import; nothing is done if its plate is not in the compositor, or its camera shows no clip any more.
    """
    tree = _tree_with_plate(scene, found)
    fit = parts(tree.nodes, found.footage).get("plate fit") if tree is not None else None
    if fit is not None and found.clip is not None:
        give_framing(fit, _framing(scene, found))


def _framing(scene: bpy.types.Scene, found: SceneImport) -> Framing:
    width, height = found.clip.size
    camera = found.camera.data if found.camera is not None else None
    shape = found.clip_shape or render_shape(scene)  # an earlier version's lies over all of the render
    return frame_pixels(scene, camera, shape, (width, height))


def refresh_plate(scene: bpy.types.Scene, shot: ImportedResult, clip: bpy.types.MovieClip) -> None:
    """After another import: show the clip that it found, laid as the camera needs it.

    Parameters
    ----------
    scene : bpy.types.Scene
        Holds the import.
    shot : ImportedResult
        Says the footage whose nodes are meant, in every compositor tree of the file.
    clip : bpy.types.MovieClip
        The clip they show from now on.
    """
    for node in (node for tree in all_trees() for node in tree.nodes if part_of(node, shot) == "plate clip"):
        node.clip = clip
    for found in (found for found in imports_in(scene) if found.footage == shot.key):
        reframe_plate(scene, found)


def _tree_with_plate(scene: bpy.types.Scene, found: SceneImport) -> bpy.types.NodeTree | None:
    return next((tree for tree in scene_trees(scene) if set(PLATE_PARTS) & set(parts(tree.nodes, found.footage))), None)


def _bridge(tree: bpy.types.NodeTree, over: bpy.types.Node) -> None:
    incoming = over_inputs(over)[1].links
    source = incoming[0].from_socket if incoming else None
    for target in [link.to_socket for link in over.outputs[0].links]:
        if source is not None:
            tree.links.new(source, target)
