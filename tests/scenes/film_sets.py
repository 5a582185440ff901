"""The places of the test scenes besides the courtyard: a street, a table with a still life, a white room."""

from __future__ import annotations

import math
import random

import bpy
from film_materials import brick_material, plain_material
from film_pieces import MOVING, ball, box, build_light, build_robot, build_things, build_walls, cylinder, window
from mathutils import Vector


def clear_scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def build_courtyard(scene, materials) -> None:
    build_walls(materials)
    build_things(materials)
    build_light(scene)


def lamp(scene, place, watt: float, *, color=(1.0, 0.86, 0.68), size=0.1) -> None:
    data = bpy.data.lights.new("lamp", "POINT")
    data.energy, data.color, data.shadow_soft_size = watt, color, size
    thing = bpy.data.objects.new("lamp", data)
    thing.location = place
    scene.collection.objects.link(thing)


def sky(scene, color, strength: float) -> None:
    scene.world = bpy.data.worlds.new("sky")
    background = scene.world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value, background.inputs["Strength"].default_value = (*color, 1), strength


# --- Movers ----------------------------------------------------------------------------------------------------

def walker(materials, *, shirt="robot", size=1.0):
    """A figure whose upper body has the named material. Returns what walk() moves."""
    root, joints = build_robot({**materials, "robot": materials[shirt]})
    root.scale = (size, size, size)
    return root, joints


def walk(figure, film, start, velocity, *, phase=0.0) -> None:
    """From start (x, y) at velocity (x, y) meters a second, facing where it goes; feet on the ground."""
    root, joints = figure
    for frame in range(film.frames + 2):
        t = (frame - 1) / film.fps
        root.location = (start[0] + velocity[0] * t, start[1] + velocity[1] * t, 0.0)
        root.rotation_euler = (0, 0, math.atan2(velocity[1], velocity[0]))
        root.keyframe_insert("location", frame=frame)
        root.keyframe_insert("rotation_euler", frame=frame)
        for joint, side in joints:
            joint.rotation_euler = (0, 0.5 * side * math.sin(2 * math.pi * 0.95 * t + phase), 0)
            joint.keyframe_insert("rotation_euler", frame=frame)


def roll(thing, film, radius: float, start, velocity) -> None:
    """A ball along the y axis."""
    thing[MOVING] = True
    for frame in range(film.frames + 2):
        t = (frame - 1) / film.fps
        thing.location = (start[0], start[1] + velocity * t, radius)
        thing.rotation_euler = (-velocity * t / radius, 0, 0)
        thing.keyframe_insert("location", frame=frame)
        thing.keyframe_insert("rotation_euler", frame=frame)


def build_car(materials):
    """A car 4 m long, its front towards -x."""
    bpy.ops.object.empty_add(location=(0, 0, 0))
    root = bpy.context.object
    parts = [box(materials["poster_rose"], (4.0, 1.7, 0.6), (0, 0, 0.62), parent=root, bevel=0.1),
             box(materials["glass"], (2.1, 1.5, 0.55), (0.25, 0, 1.15), parent=root, bevel=0.12),
             box(materials["poster_rose"], (1.8, 1.4, 0.08), (0.25, 0, 1.45), parent=root, bevel=0.02)]
    for x in (-1.25, 1.25):
        for y in (-0.78, 0.78):
            wheel = cylinder(materials["iron"], 0.33, 0.22, (x, y, 0.33), parent=root, rotation=(math.pi / 2, 0, 0))
            parts.append(wheel)
    for part in parts:
        part[MOVING] = True
    return root


def drive(root, film, start, velocity) -> None:
    for frame in range(film.frames + 2):
        root.location = (start[0] + velocity * (frame - 1) / film.fps, start[1], 0.0)
        root.keyframe_insert("location", frame=frame)


# --- Street ----------------------------------------------------------------------------------------------------

def build_street(scene, materials) -> None:
    """Houses in a row behind y = 9, a pavement with posts and a tree or two, a road; the sky above."""
    box(materials["stone"], (60, 8, 0.2), (0, 2, -0.1), bevel=0)
    box(materials["cobbles"], (60, 3.4, 0.32), (0, 7.6, -0.04), bevel=0)
    draw = random.Random(3)
    fronts = ("brick_front", "plaster", "poster_teal", "brick_front", "stone", "plaster")
    for number, (front, x) in enumerate(zip(fronts, range(-13, 17, 5), strict=True)):
        height, back = 4.4 + 0.8 * (number % 3), 0.35 * (number % 2)
        box(materials[front], (4.9, 4, height), (x, 11.3 + back, height / 2), bevel=0)
        box(materials["wood_red"], (5.1, 4.3, 0.3), (x, 11.3 + back, height + 0.15), bevel=0)
        for offset in (-1.5, 1.5):
            for z in (1.7, 3.6):
                window(materials, x + offset, 9.3 + back, z, on_side=False)
        box(materials["wood"], (0.9, 0.12, 2.1), (x, 9.27 + back, 1.17))
    for x in (-9.5, -4.2, 0.6, 4.9, 9.0):
        cylinder(materials["iron"], 0.05, 3.6, (x, 6.2, 1.9))
        box(materials["glass"], (0.3, 0.3, 0.4), (x, 6.2, 3.8))
    for x in (-6.6, 2.6, 7.3):
        cylinder(materials["wood"], 0.12, 2.0, (x, 7.0, 1.1))
        for _ in range(30):
            place = (x + draw.gauss(0, 0.5), 7.0 + draw.gauss(0, 0.4), 2.6 + draw.gauss(0, 0.4))
            ball(materials["leaf"], draw.uniform(0.15, 0.35), place)
    for x in (-2.3, -1.5, 5.9):
        box(materials["wood_green"], (0.6, 0.6, 0.9), (x, 8.3, 0.57), turn_deg=draw.uniform(-20, 20))
    build_light(scene)


# --- Still life ------------------------------------------------------------------------------------------------

def build_still_life(scene, materials) -> None:
    """A table 0.75 m high at the origin, things up to half a meter tall on it, walls some three meters away."""
    box(materials["cobbles"], (9, 9, 0.2), (0, 0, -0.1), bevel=0)
    box(materials["brick_front"], (9, 0.3, 3.4), (0, 3.4, 1.7), bevel=0)
    box(materials["brick_side"], (0.3, 9, 3.4), (-3.8, 0, 1.7), bevel=0)
    box(materials["plaster"], (0.3, 9, 3.4), (3.8, 0, 1.7), bevel=0)
    box(materials["poster_teal"], (1.2, 0.05, 0.9), (-1.3, 3.22, 1.7), bevel=0)
    box(materials["wood_green"], (0.9, 0.5, 1.3), (1.7, 3.0, 0.65))
    table = 0.75
    box(materials["wood"], (1.7, 1.1, 0.06), (0, 0, table - 0.03))
    for x in (-0.75, 0.75):
        for y in (-0.45, 0.45):
            box(materials["wood"], (0.08, 0.08, 0.7), (x, y, 0.35))
    cylinder(materials["poster_blue"], 0.09, 0.36, (-0.28, 0.12, table + 0.18))
    cylinder(materials["poster_rose"], 0.06, 0.16, (0.05, -0.22, table + 0.08))
    ball(materials["ball"], 0.11, (0.3, -0.1, table + 0.11))
    ball(materials["leaf"], 0.07, (0.12, 0.16, table + 0.07))
    box(materials["wood_red"], (0.3, 0.22, 0.09), (-0.45, -0.2, table + 0.045), turn_deg=24)
    box(materials["poster_teal"], (0.26, 0.2, 0.07), (-0.44, -0.19, table + 0.125), turn_deg=8)
    box(materials["stone"], (0.2, 0.2, 0.3), (0.52, 0.22, table + 0.15), turn_deg=-15)
    for x, y in ((0.0, 0.33), (0.2, -0.35), (-0.12, -0.1), (0.62, -0.2)):
        cylinder(materials["iron"], 0.008, 0.5, (x, y, table + 0.25))
        cylinder(materials["iron"], 0.04, 0.015, (x, y, table + 0.008))
    sky(scene, (0.7, 0.8, 1.0), 0.5)
    lamp(scene, (-1.2, -1.6, 2.9), 160, size=0.25)
    lamp(scene, (2.2, 0.4, 2.7), 70, color=(0.8, 0.9, 1.0), size=0.3)


# --- White room ------------------------------------------------------------------------------------------------

def build_white_room(scene) -> None:
    """Plain painted walls, floor and ceiling; a door, a sofa of one color and one picture on the wall."""
    white = plain_material("white", (0.8, 0.8, 0.79), scale=2.0, amount=0.0)
    floor = plain_material("floor", (0.45, 0.43, 0.41), scale=3.0, amount=0.02)
    gray = plain_material("gray", (0.30, 0.31, 0.33), scale=6.0, amount=0.02)
    door = plain_material("door", (0.62, 0.6, 0.56), scale=4.0, amount=0.01)
    picture = brick_material("picture", (0.1, 0.2, 0.4), (0.6, 0.3, 0.1), (0.7, 0.7, 0.65), scale=9.0,
                             rotation=(-math.pi / 2, 0, 0))
    box(floor, (5, 7, 0.2), (0, 1, -0.1), bevel=0)
    box(white, (5, 7, 0.2), (0, 1, 2.7), bevel=0)
    for x in (-2.5, 2.5):
        box(white, (0.2, 7, 2.8), (x, 1, 1.3), bevel=0)
    box(white, (5, 0.2, 2.8), (0, 4.5, 1.3), bevel=0)
    box(white, (5, 0.2, 2.8), (0, -2.5, 1.3), bevel=0)
    box(door, (0.9, 0.06, 2.0), (1.4, 4.38, 1.0))
    box(picture, (0.5, 0.04, 0.36), (-1.0, 4.38, 1.6), bevel=0)
    box(gray, (0.9, 2.0, 0.42), (-1.9, 2.4, 0.21), bevel=0.08)
    box(gray, (0.25, 2.0, 0.5), (-2.25, 2.4, 0.6), bevel=0.08)
    sky(scene, (1, 1, 1), 0.2)
    for place in (Vector((0.6, 0.4, 2.3)), Vector((-0.8, 3.0, 2.3))):
        lamp(scene, place, 45, color=(1, 0.97, 0.92), size=0.3)
