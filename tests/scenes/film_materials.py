"""Procedural materials of the rendered test clips, with detail at every scale, so that there is something to track."""

from __future__ import annotations

import math

import bpy


def new_material(name: str):
    material = bpy.data.materials.new(name)
    nodes = material.node_tree.nodes
    return material, nodes, material.node_tree.links, nodes["Principled BSDF"]


def coordinates(nodes, links, scale: float):
    source, mapping = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
    mapping.inputs["Scale"].default_value = (scale, scale, scale)
    links.new(source.outputs["Object"], mapping.inputs["Vector"])
    return mapping.outputs["Vector"]


def speckled(nodes, links, color, vector, *, scale: float, amount: float):
    """color (socket or rgb) darkened and lightened by two octaves of noise."""
    noise, ramp, mix = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeValToRGB"), nodes.new("ShaderNodeMix")
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = scale, 9.0
    noise.inputs["Roughness"].default_value = 0.68
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.36, 0.64
    ramp.color_ramp.elements[0].color = (1 - amount, 1 - amount, 1 - amount, 1)
    ramp.color_ramp.elements[1].color = (1 + amount, 1 + amount, 1 + amount, 1)
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs["Factor"].default_value = 1.0
    links.new(vector, noise.inputs["Vector"])
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    if isinstance(color, tuple):
        mix.inputs[6].default_value = (*color, 1)
    else:
        links.new(color, mix.inputs[6])
    links.new(ramp.outputs["Color"], mix.inputs[7])
    return mix.outputs[2]


def plain_material(name, color, *, scale=9.0, amount=0.45, roughness=0.8):
    material, nodes, links, surface = new_material(name)
    vector = coordinates(nodes, links, 1.0)
    links.new(speckled(nodes, links, color, vector, scale=scale, amount=amount), surface.inputs["Base Color"])
    surface.inputs["Roughness"].default_value = roughness
    return material


def brick_material(name, first, second, mortar, *, scale, rotation=(0, 0, 0)):
    material, nodes, links, surface = new_material(name)
    vector = coordinates(nodes, links, 1.0)
    nodes["Mapping"].inputs["Rotation"].default_value = rotation
    brick = nodes.new("ShaderNodeTexBrick")
    brick.inputs["Color1"].default_value, brick.inputs["Color2"].default_value = (*first, 1), (*second, 1)
    brick.inputs["Mortar"].default_value, brick.inputs["Scale"].default_value = (*mortar, 1), scale
    brick.inputs["Mortar Size"].default_value = 0.014
    links.new(vector, brick.inputs["Vector"])
    links.new(speckled(nodes, links, brick.outputs["Color"], vector, scale=6, amount=0.4),
              surface.inputs["Base Color"])
    surface.inputs["Roughness"].default_value = 0.9
    return material


def cobble_material():
    material, nodes, links, surface = new_material("cobbles")
    vector = coordinates(nodes, links, 1.0)
    cells, ramp = nodes.new("ShaderNodeTexVoronoi"), nodes.new("ShaderNodeValToRGB")
    edge, edge_ramp = nodes.new("ShaderNodeTexVoronoi"), nodes.new("ShaderNodeValToRGB")
    mix = nodes.new("ShaderNodeMix")
    edge.feature = "DISTANCE_TO_EDGE"
    for texture in (cells, edge):
        texture.inputs["Scale"].default_value = 4.5
        links.new(vector, texture.inputs["Vector"])
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (0.13, 0.12, 0.11, 1), (0.42, 0.38, 0.33, 1)
    edge_ramp.color_ramp.elements[0].color, edge_ramp.color_ramp.elements[1].position = (0.25, 0.25, 0.25, 1), 0.06
    links.new(cells.outputs["Color"], ramp.inputs["Fac"])
    links.new(edge.outputs["Distance"], edge_ramp.inputs["Fac"])
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs["Factor"].default_value = 1.0
    links.new(ramp.outputs["Color"], mix.inputs[6])
    links.new(edge_ramp.outputs["Color"], mix.inputs[7])
    links.new(speckled(nodes, links, mix.outputs[2], vector, scale=14, amount=0.5), surface.inputs["Base Color"])
    return material


def wood_material(name, dark, light, *, scale=3.0):
    material, nodes, links, surface = new_material(name)
    vector = coordinates(nodes, links, scale)
    wave, ramp = nodes.new("ShaderNodeTexWave"), nodes.new("ShaderNodeValToRGB")
    wave.bands_direction = "Z"
    wave.inputs["Scale"].default_value, wave.inputs["Distortion"].default_value = 2.2, 7.0
    wave.inputs["Detail"].default_value = 5.0
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (*dark, 1), (*light, 1)
    links.new(vector, wave.inputs["Vector"])
    links.new(wave.outputs["Fac"], ramp.inputs["Fac"])
    links.new(speckled(nodes, links, ramp.outputs["Color"], vector, scale=5, amount=0.35), surface.inputs["Base Color"])
    return material


def make_materials() -> dict:
    quarter = math.pi / 2
    return {
        "cobbles": cobble_material(),
        "brick_side": brick_material("brick_side", (0.36, 0.13, 0.08), (0.24, 0.09, 0.06), (0.42, 0.39, 0.35),
                                     scale=2.6, rotation=(0, -quarter, -quarter)),
        "brick_front": brick_material("brick_front", (0.50, 0.40, 0.26), (0.40, 0.31, 0.20), (0.24, 0.22, 0.2),
                                      scale=2.0, rotation=(-quarter, 0, 0)),
        "plaster": plain_material("plaster", (0.50, 0.36, 0.20), scale=3.0, amount=0.5),
        "stone": plain_material("stone", (0.36, 0.35, 0.33), scale=7.0, amount=0.55),
        "wood": wood_material("wood", (0.12, 0.06, 0.03), (0.42, 0.25, 0.12)),
        "wood_red": wood_material("wood_red", (0.16, 0.03, 0.02), (0.45, 0.10, 0.06)),
        "wood_green": wood_material("wood_green", (0.03, 0.09, 0.06), (0.10, 0.30, 0.20)),
        "leaf": plain_material("leaf", (0.10, 0.24, 0.05), scale=16.0, amount=0.7),
        "iron": plain_material("iron", (0.06, 0.06, 0.07), scale=20.0, amount=0.5, roughness=0.5),
        "glass": plain_material("glass", (0.10, 0.14, 0.18), scale=2.5, amount=0.6, roughness=0.2),
        "robot": plain_material("robot", (0.75, 0.42, 0.06), scale=12.0, amount=0.35, roughness=0.5),
        "robot_dark": plain_material("robot_dark", (0.10, 0.16, 0.24), scale=12.0, amount=0.4, roughness=0.5),
        "ball": brick_material("ball", (0.7, 0.06, 0.05), (0.75, 0.70, 0.62), (0.05, 0.08, 0.3), scale=5.0),
        "poster_blue": plain_material("poster_blue", (0.10, 0.24, 0.50), scale=5.0, amount=0.9),
        "poster_teal": plain_material("poster_teal", (0.08, 0.36, 0.32), scale=6.0, amount=0.9),
        "poster_rose": plain_material("poster_rose", (0.55, 0.12, 0.20), scale=5.5, amount=0.9),
    }
