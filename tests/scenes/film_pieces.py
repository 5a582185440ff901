"""Things to build the rendered clips from: boxes, a window, a walking figure, a courtyard. Meters, z is up."""

from __future__ import annotations

import math
import random

import bpy
from mathutils import Vector

MOVING = "moving"
"""Name of the custom property that marks what moves by itself."""


def finish(material, parent=None):
    thing = bpy.context.object
    thing.data.materials.append(material)
    thing.parent = parent
    return thing


def box(material, size, location, *, turn_deg=0.0, parent=None, bevel=0.015):
    bpy.ops.mesh.primitive_cube_add(size=1, location=location, rotation=(0, 0, math.radians(turn_deg)))
    thing = finish(material, parent)
    thing.scale = size
    bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
    if bevel and min(size) > 4 * bevel:
        modifier = thing.modifiers.new("bevel", "BEVEL")
        modifier.width, modifier.segments = bevel, 2
    return thing


def cylinder(material, radius, height, location, *, parent=None, rotation=(0, 0, 0)):
    bpy.ops.mesh.primitive_cylinder_add(radius=radius, depth=height, location=location, rotation=rotation, vertices=32)
    return finish(material, parent)


def ball(material, radius, location, *, parent=None):
    bpy.ops.mesh.primitive_ico_sphere_add(radius=radius, location=location, subdivisions=4)
    return finish(material, parent)


def window(materials, x, y, z, *, on_side: bool):
    size = (0.16, 1.0, 1.3) if on_side else (1.0, 0.16, 1.3)
    pane = (0.1, 0.8, 1.1) if on_side else (0.8, 0.1, 1.1)
    toward = Vector((0.06 if x < 0 else -0.06, 0, 0)) if on_side else Vector((0, -0.06, 0))
    box(materials["stone"], size, (x, y, z))
    box(materials["glass"], pane, Vector((x, y, z)) + toward, bevel=0)
    for offset in (-0.62, 0.62):
        shutter = (0.08, 0.42, 1.25) if on_side else (0.42, 0.08, 1.25)
        place = Vector((x, y + offset * 1.15, z)) if on_side else Vector((x + offset * 1.15, y, z))
        box(materials["wood_green"], shutter, place + toward)


def build_robot(materials):
    """A walking figure 1.5 m tall; limbs swing about their joints."""
    bpy.ops.object.empty_add(location=(0, 0, 0))
    root = bpy.context.object
    body = [box(materials["robot"], (0.36, 0.5, 0.55), (0, 0, 0.95), parent=root, bevel=0.05),
            box(materials["robot_dark"], (0.3, 0.34, 0.28), (0, 0, 1.39), parent=root, bevel=0.06)]
    joints = []
    for side in (-1, 1):
        for material, height, length, width in (("robot_dark", 0.68, 0.62, 0.15), ("robot", 1.16, 0.55, 0.11)):
            bpy.ops.object.empty_add(location=(0, side * (0.14 if height < 1 else 0.32), height))
            joint = bpy.context.object
            joint.parent = root
            body.append(box(materials[material], (width, width, length), (0, 0, -length / 2), parent=joint, bevel=0.03))
            if height < 1:
                body.append(box(materials["robot"], (0.26, 0.16, 0.08), (0.06, 0, -length), parent=joint, bevel=0.02))
            joints.append((joint, side if height < 1 else -side))
    for thing in body:
        thing[MOVING] = True
    return root, joints


# --- The courtyard ---------------------------------------------------------------------------------------------

def build_walls(materials) -> None:
    box(materials["cobbles"], (16, 26, 0.2), (0, 7, -0.1), bevel=0)
    box(materials["brick_side"], (0.4, 16, 4.6), (-3.4, 6.0, 2.3), bevel=0)
    box(materials["plaster"], (0.4, 16, 3.6), (3.8, 6.0, 1.8), bevel=0)
    box(materials["stone"], (0.55, 16, 0.5), (3.75, 6.0, 0.25))
    box(materials["brick_front"], (8.2, 0.4, 4.0), (0.2, 12.2, 2.0), bevel=0)
    box(materials["wood_red"], (1.3, 0.2, 2.3), (0.9, 11.98, 1.15))
    box(materials["stone"], (1.7, 0.3, 0.22), (0.9, 11.95, 2.42))
    for y in (3.2, 6.2, 9.2):
        window(materials, -3.18, y, 2.3, on_side=True)
    for x in (-1.9, 2.9):
        window(materials, x, 11.98, 2.2, on_side=False)
    posters = (("poster_blue", 3.6, 1.7), ("poster_rose", 4.6, 1.5), ("poster_teal", 6.4, 1.8),
               ("poster_blue", 8.6, 1.6))
    for material, y, z in posters:
        box(materials[material], (0.06, 0.75, 1.0), (3.58, y, z), bevel=0)


def build_things(materials) -> None:
    draw = random.Random(7)
    crates = ((-2.6, 4.4, 0.35, 0.7, 8), (-2.65, 5.25, 0.35, 0.7, -6), (-2.6, 4.8, 1.0, 0.6, 22),
              (-2.0, 5.0, 0.25, 0.5, 35),
              (2.7, 9.4, 0.4, 0.8, 12), (2.2, 10.2, 0.3, 0.6, -20))
    for x, y, z, size, turn in crates:
        box(materials["wood"], (size, size, size), (x, y, z), turn_deg=turn)
        box(materials["wood_red"], (size * 1.03, size * 0.16, size * 1.03), (x, y, z), turn_deg=turn)
    for x, y in ((2.9, 5.4), (2.35, 5.9), (3.0, 6.3)):
        cylinder(materials["wood"], 0.3, 0.9, (x, y, 0.45))
        for z in (0.18, 0.72):
            cylinder(materials["iron"], 0.312, 0.06, (x, y, z))
    for x, y in ((-1.5, 8.6), (1.6, 7.6)):
        box(materials["stone"], (0.7, 0.7, 0.55), (x, y, 0.275))
        for _ in range(14):
            place = (x + draw.gauss(0, 0.2), y + draw.gauss(0, 0.2), 0.75 + abs(draw.gauss(0, 0.28)))
            ball(materials["leaf"], draw.uniform(0.1, 0.2), place)
    cylinder(materials["iron"], 0.05, 3.2, (-0.9, 7.0, 1.6))
    cylinder(materials["iron"], 0.14, 0.3, (-0.9, 7.0, 0.15))
    box(materials["glass"], (0.26, 0.26, 0.36), (-0.9, 7.0, 3.3))
    box(materials["wood"], (1.5, 0.4, 0.08), (1.7, 3.9, 0.48), turn_deg=-14)
    for x in (1.15, 2.25):
        box(materials["iron"], (0.07, 0.36, 0.46), (x, 3.9 - (x - 1.7) * 0.25, 0.23), turn_deg=-14)


def build_light(scene) -> None:
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle, sun.color = 3.6, 0.03, (1.0, 0.93, 0.82)
    lamp = bpy.data.objects.new("sun", sun)
    lamp.rotation_euler = (math.radians(48), math.radians(8), math.radians(-38))
    scene.collection.objects.link(lamp)
    world = bpy.data.worlds.new("sky")
    scene.world = world
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (0.42, 0.60, 0.85, 1)
    background.inputs["Strength"].default_value = 0.75
