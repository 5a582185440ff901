"""Build, render and measure the sample clip: a handheld walk into a small courtyard.

Usage: python make_sample_clip.py OUT     (an environment with bpy 5.0.1, av and numpy)

Writes OUT/clip.mp4 (48 frames, 640x360, 24 fps) and OUT/truth.npz:
    depth             (48,180,320) float16 z-depth at the centres of 2x2 pixel blocks, metres; inf where sky
    dynamic           (48,180,320) bool, True where a moving thing is seen
    camera_to_world   (48,4,4) float64, OpenCV axes
    K, size           (3,3) camera matrix of the 640x360 raster; (640, 360)
Rendered frames are kept in OUT/frames, so that a second run goes on where the first stopped.
"""

from __future__ import annotations

import math
import random
import sys
from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector

WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 24, 48
FOCAL_MM, SENSOR_MM = 28.0, 36.0
OPENCV_FROM_BLENDER = Matrix.Diagonal((1.0, -1.0, -1.0, 1.0))
MOVING = "moving"


# --- Materials: procedural, with detail at every scale, so that there is something to track everywhere ----------

def new_material(name: str):
    material = bpy.data.materials.new(name)
    nodes = material.node_tree.nodes
    return material, nodes, material.node_tree.links, nodes["Principled BSDF"]


def coordinates(nodes, links, scale: float):
    source, mapping = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
    mapping.inputs["Scale"].default_value = (scale, scale, scale)
    links.new(source.outputs["Object"], mapping.inputs["Vector"])
    return mapping.outputs["Vector"]


def speckled(nodes, links, colour, vector, *, scale: float, amount: float):
    """colour (socket or rgb) darkened and lightened by two octaves of noise."""
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
    if isinstance(colour, tuple):
        mix.inputs[6].default_value = (*colour, 1)
    else:
        links.new(colour, mix.inputs[6])
    links.new(ramp.outputs["Color"], mix.inputs[7])
    return mix.outputs[2]


def plain_material(name, colour, *, scale=9.0, amount=0.45, roughness=0.8):
    material, nodes, links, surface = new_material(name)
    vector = coordinates(nodes, links, 1.0)
    links.new(speckled(nodes, links, colour, vector, scale=scale, amount=amount), surface.inputs["Base Color"])
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


# --- Things ----------------------------------------------------------------------------------------------------

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


def animate(root, joints, rolling) -> None:
    for frame in range(1, FRAMES + 1):
        t = (frame - 1) / FPS
        root.location = (-1.7 + 1.05 * t, 6.1 - 0.25 * t, 0.0)
        root.rotation_euler = (0, 0, -0.23)
        root.keyframe_insert("location", frame=frame)
        root.keyframe_insert("rotation_euler", frame=frame)
        for joint, phase in joints:
            joint.rotation_euler = (0, 0.5 * phase * math.sin(2 * math.pi * 0.95 * t), 0)
            joint.keyframe_insert("rotation_euler", frame=frame)
        travelled = 1.1 * t
        rolling.location = (0.75 - 0.15 * t, 8.2 - travelled, 0.24)
        rolling.rotation_euler = (travelled / 0.24, 0, 0)
        rolling.keyframe_insert("location", frame=frame)
        rolling.keyframe_insert("rotation_euler", frame=frame)


def build_camera(scene):
    """A walk of 1.6 m forwards and sideways; hands and steps shake it."""
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.sensor_fit = FOCAL_MM, SENSOR_MM, "HORIZONTAL"
    camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.rotation_mode = "QUATERNION"
    for frame in range(1, FRAMES + 1):
        t = (frame - 1) / FPS
        step = math.sin(2 * math.pi * 1.7 * t)
        place = Vector((-0.85 + 0.62 * t + 0.012 * math.sin(5.1 * t), -1.2 + 0.55 * t, 1.55 + 0.018 * step))
        aim = Vector((0.25 + 0.1 * t, 7.0, 1.25)) - place
        shake = Euler((0.006 * math.sin(7.3 * t + 1) + 0.004 * step, 0.006 * math.sin(4.1 * t),
                       0.008 * math.sin(5.7 * t + 2)))
        camera.location = place
        camera.rotation_quaternion = (aim.to_track_quat("-Z", "Y").to_matrix() @ shake.to_matrix()).to_quaternion()
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
    return camera


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


def build_scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    materials = make_materials()
    build_walls(materials)
    build_things(materials)
    rolling = ball(materials["ball"], 0.24, (0, 0, 0))
    rolling[MOVING] = True
    root, joints = build_robot(materials)
    animate(root, joints, rolling)
    build_light(scene)
    return scene, build_camera(scene)


# --- Render and truth ------------------------------------------------------------------------------------------

def set_up_render(scene) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.fps, render.use_persistent_data = FPS, True
    render.image_settings.file_format = "PNG"
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 20, True
    scene.cycles.max_bounces, scene.cycles.seed = 3, 1
    scene.view_settings.exposure = 0.4


def render_frames(scene, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(1, FRAMES + 1):
        path = folder / f"{frame:04d}.png"
        if path.exists():
            continue
        scene.frame_set(frame)
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)


def encode(folder: Path, path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "22", "preset": "veryslow", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1  # BT.709, limited
        for number in range(1, FRAMES + 1):
            with av.open(str(folder / f"{number:04d}.png")) as still:
                picture = next(still.decode(video=0)).reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = number - 1, Fraction(1, FPS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def measure_frame(scene, camera, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """z-depth and moving flag by one ray through the centre of each pixel of a height x width raster."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    pose = camera.matrix_world.copy()
    origin, rotation = pose.translation, pose.to_3x3()
    focal = FOCAL_MM / SENSOR_MM * width
    depth, dynamic = np.full((height, width), np.inf), np.zeros((height, width), bool)
    for row in range(height):
        for col in range(width):
            ray = Vector(((col + 0.5 - width / 2) / focal, (height / 2 - row - 0.5) / focal, -1.0))
            hit, place, _, _, thing, _ = scene.ray_cast(depsgraph, origin, rotation @ ray)
            if hit:
                depth[row, col] = -(pose.inverted() @ place).z
                dynamic[row, col] = bool(thing.get(MOVING))
    return depth, dynamic


def measure_truth(scene, camera, path: Path) -> None:
    depth, dynamic, poses = [], [], []
    for frame in range(1, FRAMES + 1):
        scene.frame_set(frame)
        frame_depth, frame_dynamic = measure_frame(scene, camera, HEIGHT // 2, WIDTH // 2)
        depth.append(frame_depth.astype(np.float16))
        dynamic.append(frame_dynamic)
        poses.append(np.array(camera.matrix_world @ OPENCV_FROM_BLENDER, np.float64))
    focal = FOCAL_MM / SENSOR_MM * WIDTH
    matrix = np.array([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    np.savez_compressed(path, depth=np.array(depth), dynamic=np.array(dynamic), camera_to_world=np.array(poses),
                        K=matrix, size=np.array([WIDTH, HEIGHT]))


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    scene, camera = build_scene()
    set_up_render(scene)
    measure_truth(scene, camera, out / "truth.npz")
    render_frames(scene, out / "frames")
    encode(out / "frames", out / "clip.mp4")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
