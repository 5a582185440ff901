"""The scene's compositor, on every Blender since 4.2: where its tree is, which nodes it takes, where there is room."""

from __future__ import annotations

import bpy

from ..data import Framing, add_node, claim, feed, tag
from ..result import ImportedResult

SHARES_SHADER_NODES = (5, 0, 0)  # from here on also the tree is a node group of its own
SCALES_TO_NEAREST = (4, 5, 0)
PASS_THROUGH = {"CompositorNodeRLayers", "CompositorNodeComposite", "CompositorNodeViewer", "NodeReroute",
                "NodeGroupInput", "NodeGroupOutput"}
ROOM = 500.0
LOOK_UP_PARTS = ("depth place across", "depth place up")
"""In 4.2, the nodes that say where in the picture a pixel of the render looks."""


def existing_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """The scene's compositor, if it has one; of several effects the last that is on, which gives the picture."""
    if has_effects(scene):
        on = [effect.node_group for effect in scene.compositor_effects if effect.enable_for_render]
        return next((tree for tree in reversed(on) if tree is not None), None)
    return scene.compositing_node_group if bpy.app.version >= SHARES_SHADER_NODES else scene.node_tree


def has_effects(scene: bpy.types.Scene) -> bool:
    """Whether this Blender's scenes have a list of compositor trees, each an effect on what the one before gives."""
    return hasattr(scene, "compositor_effects")


def scene_trees(scene: bpy.types.Scene) -> list[bpy.types.NodeTree]:
    """Every tree of the scene's compositor, those that are off included."""
    trees = [effect.node_group for effect in scene.compositor_effects] if has_effects(scene) else [existing_tree(scene)]
    return [tree for tree in trees if tree is not None]


def compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The scene's compositor; a new one passes the render through, as without a compositor."""
    if existing_tree(scene) is not None:
        return existing_tree(scene)
    if bpy.app.version < SHARES_SHADER_NODES:
        scene.use_nodes = True
    elif has_effects(scene):
        scene.compositor_effects.new(name="Compositor").node_group = _new_effect_tree()
    else:
        scene.compositing_node_group = _new_tree()
    return existing_tree(scene)


def has_tree_on(scene: bpy.types.Scene) -> bool:
    """Whether there is a tree that is switched on; from 5.0 on one that is there is on."""
    return existing_tree(scene) is not None if bpy.app.version >= SHARES_SHADER_NODES else scene.use_nodes


def is_on(scene: bpy.types.Scene) -> bool:
    """Whether the compositor has a say in the render.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose compositor is meant.

    Returns
    -------
    bool
        True if Compositing is on in the scene's output and there is a tree that is switched on.
    """
    return scene.render.use_compositing and has_tree_on(scene)


def switch_on(scene: bpy.types.Scene, on: bool = True) -> None:
    """Let the tree have its say, or not; from 5.0 on there is no such switch."""
    if bpy.app.version < SHARES_SHADER_NODES:
        scene.use_nodes = on


def is_bare(tree: bpy.types.NodeTree) -> bool:
    """Whether it only passes the render through, as a new one does."""
    return all(node.bl_idname in PASS_THROUGH for node in tree.nodes)


def drop_tree(scene: bpy.types.Scene, tree: bpy.types.NodeTree) -> None:
    """Go back to no compositor; where the tree cannot go it is switched off, other effects stay."""
    if bpy.app.version < SHARES_SHADER_NODES:
        scene.use_nodes = False
        return
    if has_effects(scene):
        for effect in [effect for effect in scene.compositor_effects if effect.node_group == tree]:
            scene.compositor_effects.remove(effect)
    else:
        scene.compositing_node_group = None
    if tree.users == 0:
        bpy.data.node_groups.remove(tree)


def all_trees() -> list[bpy.types.NodeTree]:
    """Every compositor tree of the file, groups included."""
    own = [] if bpy.app.version >= SHARES_SHADER_NODES else [scene.node_tree for scene in bpy.data.scenes]
    groups = [tree for tree in bpy.data.node_groups if tree.bl_idname == "CompositorNodeTree"]
    return [tree for tree in own if tree is not None] + groups


def output_node(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The node whose first input becomes the picture: the active one, or a new one."""
    kind = "NodeGroupOutput" if bpy.app.version >= SHARES_SHADER_NODES else "CompositorNodeComposite"
    outputs = [node for node in tree.nodes if node.bl_idname == kind]
    if outputs:
        return next((node for node in outputs if getattr(node, "is_active_output", True)), outputs[0])
    if kind == "NodeGroupOutput" and not _has_output(tree):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return add_node(tree, kind, (300, 0))


def picture_of(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """What the compositor gives as picture now: the socket that feeds its output, or else the render."""
    links = output_node(tree).inputs[0].links
    return links[0].from_socket if links else render_node(tree).outputs["Image"]


def render_node(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The first node that gives the render, or a new one."""
    found = next((node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers"), None)
    return found or add_node(tree, "CompositorNodeRLayers", free_corner(tree))


def free_corner(tree: bpy.types.NodeTree) -> tuple[float, float]:
    """Below everything that is there."""
    nodes = [node for node in tree.nodes if node.parent is None]
    if not nodes:
        return 0.0, 0.0
    return min(node.location.x for node in nodes), min(node.location.y for node in nodes) - ROOM


def _has_output(tree: bpy.types.NodeTree) -> bool:
    return any(item.in_out == "OUTPUT" for item in tree.interface.items_tree if item.item_type == "SOCKET")


def _new_tree() -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
    render = add_node(tree, "CompositorNodeRLayers", (-300, 0))
    tree.links.new(render.outputs["Image"], output_node(tree).inputs[0])
    return tree


def _new_effect_tree() -> bpy.types.NodeTree:
    """Passes on what the effects before it give, which a switched-off one may do again one day."""
    tree = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="INPUT", socket_type="NodeSocketColor")
    entry = add_node(tree, "NodeGroupInput", (-300, 0))
    add_node(tree, "CompositorNodeRLayers", (-300, -200))  # for its passes
    tree.links.new(entry.outputs[0], output_node(tree).inputs[0])
    return tree


# --- Nodes that are called otherwise, or missing, in some version ----------------------------------------------------

def add_math(tree: bpy.types.NodeTree, location: tuple[float, float], operation: str, *sources,
             label: str = "", clamp: bool = False) -> bpy.types.NodeSocket:
    """The result of one Math node; sources as in feed(). clamp: to 0..1."""
    node = add_node(tree, _kind("Math"), location, label, operation=operation, use_clamp=clamp)
    feed(tree, node, *sources)
    return node.outputs[0]


def add_value(tree: bpy.types.NodeTree, location: tuple[float, float], label: str, value: float) -> bpy.types.Node:
    node = add_node(tree, _kind("Value"), location, label)
    node.outputs[0].default_value = value
    return node


def _kind(name: str) -> str:
    """Node type of Math and Value: 5.0 shares the shader's, 4.2 has only its own."""
    return f"{'ShaderNode' if bpy.app.version >= SHARES_SHADER_NODES else 'CompositorNode'}{name}"


def add_over(tree: bpy.types.NodeTree, location: tuple[float, float], background: bpy.types.NodeSocket,
             foreground: bpy.types.NodeSocket) -> bpy.types.Node:
    """An Alpha Over node of the two."""
    node = add_node(tree, "CompositorNodeAlphaOver", location)
    tree.links.new(background, over_inputs(node)[0])
    tree.links.new(foreground, over_inputs(node)[1])
    return node


def over_inputs(node: bpy.types.Node) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """Background and foreground of an Alpha Over node; before 5.0 the factor comes first."""
    first = 0 if bpy.app.version >= SHARES_SHADER_NODES else 1
    return node.inputs[first], node.inputs[first + 1]


def add_fitted(tree: bpy.types.NodeTree, location: tuple[float, float], picture: bpy.types.NodeSocket,
               framing: Framing) -> bpy.types.NodeSocket:
    """The picture laid into the render, smoothly; see give_framing()."""
    node = add_node(tree, "CompositorNodeScale", location, "Fit to Render")
    if bpy.app.version < SCALES_TO_NEAREST:
        left, top = location
        crop = add_node(tree, "CompositorNodeCrop", (left - 20, top - 200), "Crop to Render", relative=True,
                        use_crop_size=True)
        tree.links.new(picture, crop.inputs["Image"])
        picture = crop.outputs["Image"]
    tree.links.new(picture, node.inputs["Image"])
    give_framing(node, framing)
    return node.outputs[0]


def give_framing(node: bpy.types.Node, framing: Framing) -> None:
    """How a Scale node of add_fitted() lays its picture into the render; what it leaves free is empty."""
    as_it_is, crop = framing.method == "PIXELS", crop_before(node)
    if bpy.app.version >= SHARES_SHADER_NODES:
        node.inputs["Type"].default_value = "Scene Size" if as_it_is else "Render Size"
    else:
        node.space = "SCENE_SIZE" if as_it_is else "RENDER_SIZE"  # the former goes by the render's percentage alone
    if crop is not None:
        across, up = (0.5 if as_it_is else 0.5 * min(often, 1.0) for often in framing.extent)
        crop.rel_min_x, crop.rel_max_x = 0.5 - across, 0.5 + across
        crop.rel_min_y, crop.rel_max_y = 0.5 + up, 0.5 - up  # Blender calls the upper one the least
    if as_it_is:
        return
    if bpy.app.version < SHARES_SHADER_NODES:
        node.frame_method = "STRETCH" if framing.method == "CROP" and crop is not None else framing.method
        return
    node.inputs["Frame Type"].default_value = framing.method.capitalize()
    for axis, often in zip("XY", framing.extent, strict=True):  # else another parity leaves the outermost pixels empty
        node.inputs[f"Extension {axis}"].default_value = "Extend" if often <= 1.0 else "Clip"


def crop_before(node: bpy.types.Node) -> bpy.types.Node | None:
    """4.2's Scale node never writes one line of pixels at the edge where it crops, so that a node before it does."""
    links = node.inputs["Image"].links
    before = links[0].from_node if links else None
    return before if before is not None and getattr(before, "relative", False) else None


def add_fitted_to_nearest(tree: bpy.types.NodeTree, location: tuple[float, float], picture: bpy.types.NodeSocket,
                          shot: ImportedResult, framing: Framing) -> bpy.types.NodeSocket:
    """As add_fitted, every value one of the picture's own: numbers such as depth must not be mixed."""
    if bpy.app.version < SCALES_TO_NEAREST:
        return _look_up(tree, location, picture, shot, framing)
    fitted = add_fitted(tree, location, picture, framing)
    if bpy.app.version >= SHARES_SHADER_NODES:
        fitted.node.inputs["Interpolation"].default_value = "Nearest"
    else:
        fitted.node.interpolation = "NEAREST"
    return fitted


def _look_up(tree: bpy.types.NodeTree, location: tuple[float, float], picture: bpy.types.NodeSocket,
             shot: ImportedResult, framing: Framing) -> bpy.types.NodeSocket:
    """4.2 scales by mixing, but can look every pixel up by its place, which two ramps over the render give."""
    left, top = location
    node = add_node(tree, "CompositorNodeMapUV", location, "Fit to Render", filter_type="NEAREST")
    place = add_node(tree, "CompositorNodeCombineXYZ", (left - 180, top - 160), "Place")
    place.inputs["Z"].default_value = 1.0  # the look-up takes it for the alpha of what it finds
    for row, (part, axis) in enumerate((("raster across", "HORIZONTAL"), ("raster up", "VERTICAL"))):
        ramp = add_node(tree, "CompositorNodeTexture", (left - 360, top - 160 - 200 * row), part.title(),
                        texture=_claim_ramp(shot, part, axis))
        part = LOOK_UP_PARTS[row]
        placed = add_math(tree, (left - 270, top - 160 - 200 * row), "MULTIPLY_ADD", ramp.outputs["Value"])
        tag(placed.node, shot, part)
        give_place(placed.node, framing.extent[row])
        tree.links.new(placed, place.inputs[row])
    feed(tree, node, picture, place.outputs[0])
    return node.outputs[0]


def give_place(node: bpy.types.Node, often: float) -> None:
    """Where in the picture a place of the render lies, along one side; both 0..1. often: as of Framing.extent."""
    node.inputs[1].default_value, node.inputs[2].default_value = often, 0.5 - 0.5 * often


def _claim_ramp(shot: ImportedResult, part: str, axis: str) -> bpy.types.Texture:
    """From 0 to 1 over the render, at pixel centers."""
    texture = claim(bpy.data.textures, shot, part, lambda name: bpy.data.textures.new(name, "BLEND"))
    texture.progression, texture.use_flip_axis = "LINEAR", axis
    return texture
