"""How the displaced mesh looks: the plate as filmed, or its depth."""

from __future__ import annotations

import bpy

from .depth_images import play_plate, play_product
from .nodes import add_node, feed
from .ownership import claim, find
from .shot import Shot

RELIGHT = "Relight"


def plate_material(shot: Shot, plate: bpy.types.Image, clip: bpy.types.MovieClip) -> bpy.types.Material:
    """The footage projected onto the mesh: it glows with the plate's own colour; Relight 1 lets lights fall on it."""
    amount = _relight_of(find(bpy.data.materials, shot, "plate material"))
    material, tree = _claim_material(shot, "plate material")
    picture = _add_picture(tree, plate, (-500, 0), "Linear", "Plate")
    play_plate(picture.image_user, shot, clip)
    relight = add_node(tree, "ShaderNodeValue", (-500, 140), RELIGHT)
    relight.outputs[0].default_value = amount
    emission = add_node(tree, "ShaderNodeEmission", (-160, 40))
    feed(tree, emission, picture.outputs["Color"], 1.0)
    surface = add_node(tree, "ShaderNodeBsdfDiffuse", (-160, -120))
    feed(tree, surface, picture.outputs["Color"])
    mix = add_node(tree, "ShaderNodeMixShader", (80, 60))
    feed(tree, mix, relight.outputs[0], emission.outputs[0], surface.outputs[0])
    _add_output(tree, mix.outputs[0])
    tree.nodes.active = picture
    return material


def _relight_of(material: bpy.types.Material | None) -> float:
    """What the artist has set on an earlier import; 0 without one."""
    nodes = material.node_tree.nodes if material is not None else ()
    return next((node.outputs[0].default_value for node in nodes if node.label == RELIGHT), 0.0)


def depth_material(shot: Shot, images: dict[str, bpy.types.Image]) -> bpy.types.Material:
    """Normalised disparity over the clip's one depth range, near is white; the other products wait beside it."""
    material, tree = _claim_material(shot, "depth material")
    pictures = {}
    for row, (product, image) in enumerate(images.items()):
        pictures[product] = _add_picture(tree, image, (-900, -300 * row), "Closest", product.replace("_", " ").title())
        play_product(pictures[product].image_user, shot)
    near, far = shot.result.depth_range
    disparity = add_node(tree, "ShaderNodeMath", (-580, 0), "Disparity", operation="DIVIDE")
    feed(tree, disparity, 1.0, pictures["depth"].outputs["Color"])
    normalized = add_node(tree, "ShaderNodeMapRange", (-400, 0), "Near is 1", clamp=True)
    feed(tree, normalized, disparity.outputs[0], *disparity_range(near, far))
    ramp = add_node(tree, "ShaderNodeValToRGB", (-220, 0), "Look")
    feed(tree, ramp, normalized.outputs[0])
    emission = add_node(tree, "ShaderNodeEmission", (80, 0))
    feed(tree, emission, ramp.outputs["Color"], 1.0)
    _add_output(tree, emission.outputs[0])
    tree.nodes.active = pictures["depth"]
    return material


def disparity_range(near: float, far: float) -> tuple[float, float]:
    """Farthest and nearest disparity, apart enough to divide by: a flat wall shows as all near."""
    return min(1.0 / far, (1.0 - 1e-6) / near), 1.0 / near


def _claim_material(shot: Shot, part: str) -> tuple[bpy.types.Material, bpy.types.NodeTree]:
    material = claim(bpy.data.materials, shot, part, bpy.data.materials.new)
    if bpy.app.version < (5, 0, 0):  # later ones always have nodes, and warn
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material, material.node_tree


def _add_picture(tree: bpy.types.NodeTree, image: bpy.types.Image, location, interpolation: str, label: str):
    return add_node(tree, "ShaderNodeTexImage", location, label, image=image, interpolation=interpolation,
                    extension="EXTEND")


def _add_output(tree: bpy.types.NodeTree, shader: bpy.types.NodeSocket) -> None:
    output = add_node(tree, "ShaderNodeOutputMaterial", (380, 60))
    feed(tree, output, shader)
