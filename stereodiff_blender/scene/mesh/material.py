"""How the displaced mesh looks: the plate as filmed, or one of its measurements.

A later import brings picture, timing and range up to date and leaves the rest of the nodes to the artist.
"""

from __future__ import annotations

import bpy

from ..data import add_node, claim, feed, find_node, play_plate, play_product, tag
from ..result import ImportedResult

MEASUREMENTS = ("depth", "confidence", "motion_mask")
"""Products that the mesh can show."""
RELIGHT = "Relight"
COLOR_RAMP = "Color Ramp"
DEPTH_STOPS = ((0.0, (0.01, 0.01, 0.06)), (0.3, (0.10, 0.03, 0.30)), (0.55, (0.55, 0.06, 0.22)),
               (0.8, (0.95, 0.35, 0.05)), (1.0, (1.0, 0.92, 0.60)))  # far to near, each brighter than the one before


def plate_material(shot: ImportedResult, plate: bpy.types.Image, clip: bpy.types.MovieClip) -> bpy.types.Material:
    """The footage projected onto the mesh: it glows with the plate's own color; Relight 1 lets lights fall on it.

    Parameters
    ----------
    shot : ImportedResult
        Says the footage and its timing.
    plate : bpy.types.Image
        The footage, as import_plate() gives it.
    clip : bpy.types.MovieClip
        The footage; its duration counts.

    Returns
    -------
    bpy.types.Material
        Found or made.
    """
    material, picture = _claim_material(shot, "plate material", _build_plate)
    picture.image = plate
    play_plate(picture.image_user, shot, clip)
    return material


def measurement_materials(shot: ImportedResult, images: dict[str, bpy.types.Image]) -> list[bpy.types.Material]:
    """A material for each of MEASUREMENTS: the depth view, and confidence and motion mask as they are.

    Parameters
    ----------
    shot : ImportedResult
        Says the footage, its timing and its depth range.
    images : dict of str to bpy.types.Image
        By product, as import_depth_images() gives them.

    Returns
    -------
    list of bpy.types.Material
        Found or made, in the order of images.
    """
    return [depth_material(shot, images["depth"]) if product == "depth" else product_material(shot, product, image)
            for product, image in images.items() if product in MEASUREMENTS]


def depth_material(shot: ImportedResult, depth: bpy.types.Image) -> bpy.types.Material:
    """Normalized disparity over the clip's one depth range, near is white; Color Ramp 1 shows it in colors."""
    material, picture = _claim_material(shot, "depth material", _build_depth)
    _play_measurement(picture, shot, depth)
    normalized = find_node(material.node_tree, shot, "depth range")
    if normalized is not None:
        feed(material.node_tree, normalized, None, *disparity_range(*shot.result.depth_range))
    return material


def product_material(shot: ImportedResult, product: str, image: bpy.types.Image) -> bpy.types.Material:
    """A product such as confidence as gray, 1 is white."""
    material, picture = _claim_material(shot, f"{product} material", _build_product)
    _play_measurement(picture, shot, image)
    return material


def disparity_range(near: float, far: float) -> tuple[float, float]:
    """Farthest and nearest disparity, apart enough to divide by: a flat wall shows as all near."""
    return min(1.0 / far, (1.0 - 1e-6) / near), 1.0 / near


def slider_of(material: bpy.types.Material | None, label: str) -> bpy.types.NodeSocket | None:
    """The value behind Relight or Color Ramp; None if the material is not there or was rebuilt without it.

    Parameters
    ----------
    material : bpy.types.Material or None
        Of the plate or of the depth view; None if it is not there.
    label : str
        RELIGHT or COLOR_RAMP.

    Returns
    -------
    bpy.types.NodeSocket or None
        Its default_value is the slider's, 0..1.
    """
    nodes = material.node_tree.nodes if material is not None else ()
    return next((node.outputs[0] for node in nodes if node.label == label), None)


def _claim_material(shot: ImportedResult, part: str, build) -> tuple[bpy.types.Material, bpy.types.Node]:
    """This footage's material and the node of its picture. build(tree, shot) makes the nodes and returns the picture's;
    it is asked only if that node is not there."""
    material = claim(bpy.data.materials, shot, part, bpy.data.materials.new)
    if bpy.app.version < (5, 0, 0):  # later ones always have nodes, and warn
        material.use_nodes = True
    tree = material.node_tree
    picture = find_node(tree, shot, "picture")
    if picture is None:
        tree.nodes.clear()
        picture = build(tree, shot)
        tag(picture, shot, "picture")
        tree.nodes.active = picture
    return material, picture


def _play_measurement(picture: bpy.types.Node, shot: ImportedResult, image: bpy.types.Image) -> None:
    picture.image = image
    play_product(picture.image_user, shot)


def _build_plate(tree: bpy.types.NodeTree, shot: ImportedResult) -> bpy.types.Node:
    picture = _add_picture(tree, "Linear", "Plate")
    emission = add_node(tree, "ShaderNodeEmission", (-160, 40))
    feed(tree, emission, picture.outputs["Color"], 1.0)
    surface = add_node(tree, "ShaderNodeBsdfDiffuse", (-160, -120))
    feed(tree, surface, picture.outputs["Color"])
    _add_output(tree, _add_blend(tree, RELIGHT, emission, surface))
    return picture


def _build_depth(tree: bpy.types.NodeTree, shot: ImportedResult) -> bpy.types.Node:
    picture = _add_picture(tree, "Closest", "Depth")
    disparity = add_node(tree, "ShaderNodeMath", (-680, 0), "Disparity", operation="DIVIDE")
    feed(tree, disparity, 1.0, picture.outputs["Color"])
    normalized = add_node(tree, "ShaderNodeMapRange", (-500, 0), "Near is 1", clamp=True)
    tag(normalized, shot, "depth range")
    feed(tree, normalized, disparity.outputs[0])
    ramp = add_node(tree, "ShaderNodeValToRGB", (-320, -160), "Look")
    _fill_ramp(ramp.color_ramp)
    feed(tree, ramp, normalized.outputs[0])
    gray, colored = (add_node(tree, "ShaderNodeEmission", (-20, top)) for top in (40, -120))
    feed(tree, gray, normalized.outputs[0], 1.0)
    feed(tree, colored, ramp.outputs["Color"], 1.0)
    _add_output(tree, _add_blend(tree, COLOR_RAMP, gray, colored))
    return picture


def _build_product(tree: bpy.types.NodeTree, shot: ImportedResult) -> bpy.types.Node:
    picture = _add_picture(tree, "Closest", "Measurement")
    emission = add_node(tree, "ShaderNodeEmission", (-160, 40))
    feed(tree, emission, picture.outputs["Color"], 1.0)
    _add_output(tree, emission)
    return picture


def _fill_ramp(ramp: bpy.types.ColorRamp) -> None:
    stops = ramp.elements
    while len(stops) < len(DEPTH_STOPS):
        stops.new(0.5)
    for stop, (position, color) in zip(stops, DEPTH_STOPS, strict=True):
        stop.position, stop.color = position, (*color, 1.0)


def _add_picture(tree: bpy.types.NodeTree, interpolation: str, label: str) -> bpy.types.Node:
    return add_node(tree, "ShaderNodeTexImage", (-980, 0), label, interpolation=interpolation, extension="EXTEND")


def _add_blend(tree: bpy.types.NodeTree, label: str, *shaders: bpy.types.Node) -> bpy.types.Node:
    """From the first shader to the second with a slider of that name."""
    amount = add_node(tree, "ShaderNodeValue", (-20, 180), label)
    mix = add_node(tree, "ShaderNodeMixShader", (180, 60))
    feed(tree, mix, amount.outputs[0], *(shader.outputs[0] for shader in shaders))
    amount.outputs[0].default_value = 0.0
    return mix


def _add_output(tree: bpy.types.NodeTree, shader: bpy.types.Node) -> None:
    output = add_node(tree, "ShaderNodeOutputMaterial", (380, 60))
    feed(tree, output, shader.outputs[0])
