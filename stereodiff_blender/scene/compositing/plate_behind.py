"""The clip behind the render, as the last step of the scene's compositor, and out again without a trace.

The clip is the plate as it was shot. Where its lens has distortion, the render goes through "Redistort CG" on its way,
unless it comes from a camera that has the lens itself. What comes from the overscan camera is read with its overscan;
in a render of just that size, the plate lies in the middle, pixel upon pixel.
"""

from __future__ import annotations

import bpy

from ..data import TAG, SceneImport, add_node, imports_in, part_of, parts
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
from .depth_cut import CUT, CUT_PARTS, add_depth_cut, drop_unused_depth_group
from .lens_groups import claim_redistort_group, drop_unused_group
from .st_maps import plate_framing, sees_overscan

FITS = {"plate fit": "plate crop", "plate CG fit": "plate CG crop"}
"""What lays a picture into the render, with the node before it that 4.2 needs."""
REDISTORT = "plate redistort"
PLATE_PARTS = ("plate frame", "plate clip", "plate over", REDISTORT, *FITS, *FITS.values(), *CUT_PARTS)
WAS_OFF = "stereodiff_compositor_was_off"


def put_plate_behind(scene: bpy.types.Scene, found: SceneImport, shot: ImportedResult | None = None, *,
                     cuts: bool = False, catches: bool = False) -> None:
    """Lay what is now the compositor's picture over the clip; a compositor that was off is switched on.

    shot: the import's result, if its lens has distortion, or if it cuts by depth. catches: as of add_depth_cut().
    """
    if not is_on(scene):
        scene[WAS_OFF] = {"use_compositing": scene.render.use_compositing, "has_tree_on": has_tree_on(scene)}
    tree = compositor_tree(scene)
    switch_on(scene)
    scene.render.use_compositing = True
    render = picture_of(tree)
    left, top = free_corner(tree)
    frame = add_node(tree, "NodeFrame", (left, top), f"StereoDiff Plate: {found.name}")
    clip = add_node(tree, "CompositorNodeMovieClip", (left, top), "Plate", clip=found.clip)
    fitted = add_fitted(tree, (left + 260, top), clip.outputs["Image"], plate_framing(scene, found))
    over = add_over(tree, (left + 460, top), fitted, render)
    tree.links.new(over.outputs[0], output_node(tree).inputs[0])
    own = {"plate frame": frame, "plate clip": clip, "plate fit": fitted.node, "plate over": over,
           "plate crop": crop_before(fitted.node)}
    _mark(found, frame, own)
    if shot is not None and shot.result.lens.redistort is not None:
        _redistort(scene, found, shot, tree)
    if shot is not None and cuts:
        add_depth_cut(scene, found, shot, tree, catches=catches)


def _mark(found: SceneImport, frame: bpy.types.Node | None, own: dict[str, bpy.types.Node | None]) -> None:
    """own: nodes by their parts; None where this Blender needs none."""
    for part, node in own.items():
        if node is None:
            continue
        node[TAG] = {"footage": found.footage, "job": found.collection[TAG]["job"], "part": part}
        if node != frame:
            node.parent = frame


def _redistort(scene: bpy.types.Scene, found: SceneImport, shot: ImportedResult, tree: bpy.types.NodeTree) -> None:
    """Lead what is laid over the plate through the lens first; once is enough."""
    own = parts(tree.nodes, found.footage)
    over = own.get("plate over")
    entry = _entry(own)
    if over is None or entry is None or REDISTORT in own or not entry.links or has_lens_itself(scene, found):
        return
    render = entry.links[0].from_socket
    node = add_node(tree, "CompositorNodeGroup", (0, 0), "Redistort CG")
    node.node_tree = claim_redistort_group(scene, shot)
    node.inputs["Overscan"].default_value = float(sees_overscan(scene, found))
    tree.links.new(render, node.inputs["Image"])
    if "plate fit" in own:
        give_framing(own["plate fit"], plate_framing(scene, found))  # the group knows the overscan's size
    fitted = add_fitted(tree, (0, 0), node.outputs["Image"], plate_framing(scene, found))
    tree.links.new(fitted, entry)
    added = {REDISTORT: node, "plate CG fit": fitted.node, "plate CG crop": crop_before(fitted.node)}
    _mark(found, own.get("plate frame"), added)
    for column, one in enumerate(filter(None, added.values())):  # after they joined the frame, whose corner counts
        one.location = (over.location.x - 460 + 230 * column, over.location.y - 320)


def _entry(own: dict[str, bpy.types.Node]) -> bpy.types.NodeSocket | None:
    """What takes the picture that is laid over the plate. own: our nodes by their parts."""
    if CUT in own:
        return own[CUT].inputs["Image"]
    return over_inputs(own["plate over"])[1] if "plate over" in own else None


def remove_plate(scene: bpy.types.Scene, found: SceneImport) -> None:
    """What went through the plate's nodes goes straight on, wherever the artist has led it."""
    tree = _tree_with_plate(scene, found)
    if tree is None:
        return
    own = parts(tree.nodes, found.footage)
    if "plate over" in own:
        _bridge(tree, own["plate over"], own.get(CUT), own.get("plate CG fit"), own.get(REDISTORT))
    for part in set(PLATE_PARTS) & set(own):
        tree.nodes.remove(own[part])
    drop_unused_group(found.footage)
    drop_unused_depth_group(found.footage)
    if WAS_OFF in scene and not any(TAG in node for node in tree.nodes):
        before = scene.pop(WAS_OFF)
        scene.render.use_compositing = bool(before["use_compositing"])
        if is_bare(tree) and not before["has_tree_on"]:
            drop_tree(scene, tree)


def uses_plate(scene: bpy.types.Scene, found: SceneImport) -> bool:
    return _tree_with_plate(scene, found) is not None


def has_lens_itself(scene: bpy.types.Scene, found: SceneImport) -> bool:
    """Whether the scene renders through the import's camera that has the lens's distortion.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose camera is meant.
    found : SceneImport
        The import.

    Returns
    -------
    bool
        True if its render lies on the plate as shot already.
    """
    return scene.camera is not None and scene.camera == found.part(scene, "lens camera")


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
    own = parts(tree.nodes, found.footage) if tree is not None else {}
    for fit in (own[part] for part in FITS if part in own and found.clip is not None):
        give_framing(fit, plate_framing(scene, found))


def refresh_plate(scene: bpy.types.Scene, shot: ImportedResult, clip: bpy.types.MovieClip) -> None:
    """After another import: show the clip that it found, laid as the camera needs it, and go by the new lens.

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
        tree = _tree_with_plate(scene, found)
        if tree is not None and shot.result.lens.redistort is not None and found.clip is not None:
            _redistort(scene, found, shot, tree)
        reframe_plate(scene, found)


def _tree_with_plate(scene: bpy.types.Scene, found: SceneImport) -> bpy.types.NodeTree | None:
    return next((tree for tree in scene_trees(scene) if set(PLATE_PARTS) & set(parts(tree.nodes, found.footage))), None)


def _bridge(tree: bpy.types.NodeTree, over: bpy.types.Node, *before: bpy.types.Node | None) -> None:
    """What fed the first of our nodes goes where the last one went. before: ours on the way to it, last one first."""
    source = _source_of(over_inputs(over)[1])
    for node in before:
        if node is not None and source is not None and source.node == node:
            crop = crop_before(node) if node.bl_idname == "CompositorNodeScale" else None
            source = _source_of((crop or node).inputs["Image"])
    for target in [link.to_socket for link in over.outputs[0].links]:
        if source is not None:
            tree.links.new(source, target)


def _source_of(socket: bpy.types.NodeSocket) -> bpy.types.NodeSocket | None:
    return socket.links[0].from_socket if socket.links else None
