"""Render short shots of situations that people find hard, for tests/tools/whole_clips.py.

Usage: python make_situations.py OUT [NAME ...]     (an environment with bpy)

    nadir         a drone looks straight down on flat ground and flies on at constant height
    nadir_houses  the same with a few low houses
    nadir_snow    the same houses on ground without texture
    green_screen  crosses on green walls, a figure that sways in front, the camera dollies
    walk_swing    the camera walks forward, then swings round on the spot
    locked_crowd  a locked camera; a figure that fills two thirds of the picture walks through
    turntable     a still camera, a thing on a turning disc before black

Writes OUT/NAME/plate_1001.png ... (480x270), OUT/NAME/truth.json (camera to world, OpenCV axes; focal length in
pixels) and OUT/NAME/expected.json, what the camera has to be found to be.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

WIDTH, HEIGHT, FOCAL_PX = 480, 270, 420.0
FIRST_NUMBER = 1001
Color = tuple[float, float, float]
SAND: tuple[Color, Color] = ((0.05, 0.04, 0.03), (0.9, 0.8, 0.6))
UPRIGHT = (math.pi / 2, 0.0, 0.0)
SIDEWAYS = (math.pi / 2, 0.0, math.pi / 2)


# --- Things ----------------------------------------------------------------------------------------------------

def glowing(name: str) -> tuple[bpy.types.Material, bpy.types.NodeSocket]:
    """A material that needs no lamp, and where its color goes in."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    out, glow = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeEmission")
    tree.links.new(glow.outputs[0], out.inputs[0])
    return material, glow.inputs[0]


def plain(name: str, color: Color) -> bpy.types.Material:
    material, socket = glowing(name)
    socket.default_value = (*color, 1.0)
    return material


def textured(name: str, scale: float, colors: tuple[Color, Color] = SAND) -> bpy.types.Material:
    """Noise times cells, from coarse to fine, fixed to the object."""
    material, socket = glowing(name)
    tree = material.node_tree
    place, noise, cells = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "TexNoise", "TexVoronoi"))
    ramp, product = tree.nodes.new("ShaderNodeValToRGB"), tree.nodes.new("ShaderNodeMath")
    product.operation = "MULTIPLY"
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = scale, 6.0
    cells.inputs["Scale"].default_value = 1.5 * scale
    for side, node in enumerate((noise, cells)):
        tree.links.new(place.outputs["Object"], node.inputs["Vector"])
        tree.links.new(node.outputs[0], product.inputs[side])
    tree.links.new(product.outputs[0], ramp.inputs[0])
    tree.links.new(ramp.outputs[0], socket)
    for element, position, color in zip(ramp.color_ramp.elements, (0.05, 0.35), colors, strict=True):
        element.position, element.color = position, (*color, 1.0)
    return material


def put(kind: str, material: bpy.types.Material, place, scale=(1, 1, 1), turn=(0, 0, 0), **options) -> bpy.types.Object:
    """A primitive of Blender's, such as a plane or a cube."""
    getattr(bpy.ops.mesh, f"primitive_{kind}_add")(location=place, rotation=turn, **options)
    thing = bpy.context.object
    thing.scale = scale
    thing.data.materials.append(material)
    return thing


def key(thing: bpy.types.Object, index: int, *paths: str) -> None:
    for path in paths:
        thing.keyframe_insert(path, frame=1 + index)


def aim(camera: bpy.types.Object, index: int, place, target) -> None:
    turn = (Vector(target) - Vector(place)).to_track_quat("-Z", "Y")
    camera.location, camera.rotation_mode, camera.rotation_quaternion = place, "QUATERNION", turn
    key(camera, index, "location", "rotation_quaternion")


# --- Situations: each builds its set and keys the camera over a number of frames --------------------------------

def fly_over(camera: bpy.types.Object, frames: int, ground: float, with_houses: bool) -> None:
    """ground: how fine its texture is."""
    put("plane", textured("ground", ground), (0, 0, 0), (60, 60, 1))
    roof = textured("roof", 1.2, ((0.2, 0.05, 0.04), (0.8, 0.5, 0.4)))
    for x, y, height in ((-6, 2, 2.5), (3, -3, 3.5), (8, 4, 2.0), (0, 5, 3.0), (-3, -5, 2.0)) if with_houses else ():
        put("cube", roof, (x, y, height / 2), (1.5, 1.2, height / 2))
    camera.rotation_mode = "QUATERNION"
    for index in range(frames):
        camera.location, camera.rotation_quaternion = (-5 + 0.5 * index, 0.15 * index, 30), (1, 0, 0, 0)
        key(camera, index, "location", "rotation_quaternion")


def nadir(camera: bpy.types.Object, frames: int) -> None:
    fly_over(camera, frames, 40.0, with_houses=False)


def nadir_houses(camera: bpy.types.Object, frames: int) -> None:
    fly_over(camera, frames, 40.0, with_houses=True)


def nadir_snow(camera: bpy.types.Object, frames: int) -> None:
    fly_over(camera, frames, 0.5, with_houses=True)


def green_screen(camera: bpy.types.Object, frames: int) -> None:
    green, mark = plain("green", (0.05, 0.5, 0.08)), plain("mark", (0.5, 0.9, 0.55))
    put("plane", green, (0, 3, 1.5), (5, 3, 1), UPRIGHT)
    put("plane", green, (0, 0, 0), (5, 5, 1))
    put("plane", green, (-3.2, 0, 1.5), (5, 3, 1), SIDEWAYS)
    heights = (0.5, 1.4, 2.3)
    crosses = [((x, 2.99, z), UPRIGHT) for x in (-2.4, -1.2, 0, 1.2, 2.4) for z in heights]
    crosses += [((-3.19, y, z), SIDEWAYS) for y in (-0.5, 0.8, 2.0) for z in heights]
    crosses += [((x, 1.5, 0.01), (0, 0, 0.3)) for x in (-2, -0.7, 0.7, 2)]
    for place, turn in crosses:
        for scale in ((0.10, 0.022, 1), (0.022, 0.10, 1)):
            put("plane", mark, place, scale, turn, size=1)
    cloth = textured("cloth", 5, ((0.1, 0.02, 0.02), (0.8, 0.6, 0.5)))
    actor = put("uv_sphere", cloth, (0.6, 1.0, 0.9), (0.28, 0.2, 0.9))
    for index in range(frames):
        actor.location.x = 0.6 + 0.08 * math.sin(0.5 * index)
        key(actor, index, "location")
        aim(camera, index, (-0.6 + 0.09 * index, -3.0 + 0.02 * index, 1.5), (-0.3, 2, 1.2))


def walk_swing(camera: bpy.types.Object, frames: int) -> None:
    brick = textured("brick", 14, ((0.15, 0.05, 0.03), (0.8, 0.55, 0.4)))
    put("plane", textured("floor", 40), (0, 0, 0), (8, 8, 1))
    for x, y, turn in ((0, 7, 0), (7, 0, math.pi / 2), (-7, 0, math.pi / 2)):
        put("plane", brick, (x, y, 2.5), (8, 2.5, 1), (math.pi / 2, 0, turn))
    crates = ((-2, 3), (1.5, 4), (3.5, 2.5), (4.5, 0.2), (2.8, 5.5), (-1, 5.5), (5.2, -2))
    for number, (x, y) in enumerate(crates):
        wood = textured(f"crate {number}", 4, ((0.05, 0.1, 0.05), (0.6, 0.75, 0.5)))
        put("cube", wood, (x, y, 0.6), (0.5, 0.5, 0.6 + 0.1 * number))
    for index in range(frames):
        walked, turn = min(index, 8), math.radians(6.0 * max(0, index - 8))
        place = (0.02 * walked, -4 + 0.14 * walked, 1.6)
        aim(camera, index, place, (place[0] + math.sin(turn), place[1] + math.cos(turn), 1.5))


def locked_crowd(camera: bpy.types.Object, frames: int) -> None:
    put("plane", textured("wall", 30, ((0.1, 0.12, 0.2), (0.8, 0.85, 0.9))), (0, 4, 1), (6, 4, 1), UPRIGHT)
    put("plane", textured("floor", 30), (0, 0, -0.6), (8, 8, 1))
    coat = textured("coat", 7, ((0.1, 0.03, 0.02), (0.8, 0.5, 0.3)))
    figure = put("cube", coat, (0, 0, 1), (0.85, 0.1, 1.5))
    for index in range(frames):
        figure.location.x = -0.35 + 0.05 * index
        key(figure, index, "location")
        aim(camera, index, (0, -2.2, 1.0), (0, 1, 1.0))


def turntable(camera: bpy.types.Object, frames: int) -> None:
    clay, turner = textured("clay", 6), bpy.data.objects.new("turner", None)
    bpy.context.collection.objects.link(turner)
    disc = textured("disc", 9, ((0.1, 0.1, 0.3), (0.7, 0.75, 0.9)))
    for thing in (put("uv_sphere", clay, (0, 0, 0.55), (0.5, 0.45, 0.55), segments=48, ring_count=24),
                  put("cylinder", disc, (0, 0, -0.03), (0.8, 0.8, 0.03)),
                  put("cube", clay, (0.45, 0, 0.35), (0.3, 0.08, 0.12))):
        thing.parent = turner
    for index in range(frames):
        turner.rotation_euler[2] = math.radians(3.0 * index)
        key(turner, index, "rotation_euler")
        aim(camera, index, (0, -3.2, 1.2), (0, 0, 0.4))


# --- Filming ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Situation:
    """kind: what the camera has to be found to be."""

    build: Callable[[bpy.types.Object, int], None]
    frames: int
    kind: str


SITUATIONS = {
    "nadir": Situation(nadir, 14, "moving"), "nadir_houses": Situation(nadir_houses, 14, "moving"),
    "nadir_snow": Situation(nadir_snow, 14, "moving"), "green_screen": Situation(green_screen, 16, "moving"),
    "walk_swing": Situation(walk_swing, 22, "moving"), "locked_crowd": Situation(locked_crowd, 16, "static"),
    "turntable": Situation(turntable, 16, "moving"),
}


def empty_scene() -> bpy.types.Object:
    """A scene with a camera alone, set up to be rendered quickly. Returns the camera."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("black")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0, 0, 0, 1)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.data.sensor_width, camera.data.lens, scene.camera = 36, FOCAL_PX * 36 / WIDTH, camera
    render = scene.render
    render.engine, scene.cycles.samples, scene.cycles.max_bounces = "CYCLES", 12, 0
    scene.cycles.use_denoising = False
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.use_persistent_data = True
    scene.view_settings.view_transform = "Standard"
    return camera


def film(name: str, folder: Path) -> None:
    situation, camera, scene = SITUATIONS[name], empty_scene(), bpy.context.scene
    folder.mkdir(parents=True, exist_ok=True)
    situation.build(camera, situation.frames)
    poses = []
    for index in range(situation.frames):
        scene.frame_set(1 + index)
        poses.append(np.array(camera.matrix_world @ Matrix.Diagonal((1, -1, -1, 1))).tolist())
        scene.render.filepath = str(folder / f"plate_{FIRST_NUMBER + index}.png")
        bpy.ops.render.render(write_still=True)
    (folder / "truth.json").write_text(json.dumps({"focal_px": FOCAL_PX, "camera_to_world": poses}))
    (folder / "expected.json").write_text(json.dumps({"kind": situation.kind}))


def main(out: str, *names: str) -> None:
    for name in names or SITUATIONS:
        film(name, Path(out).absolute() / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
