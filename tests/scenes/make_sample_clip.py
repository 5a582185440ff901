"""Build, render and measure the sample clip: a handheld walk into a small courtyard.

Usage: python make_sample_clip.py OUT     (an environment with bpy 5.0.1, av and numpy)

Writes OUT/clip.mp4 (48 frames, 640x360, 24 fps) and OUT/truth.npz:
    depth             (48,180,320) float16 z-depth at the centers of 2x2 pixel blocks, meters; inf where sky
    dynamic           (48,180,320) bool, True where a moving thing is seen
    camera_to_world   (48,4,4) float64, OpenCV axes
    K, size           (3,3) camera matrix of the 640x360 raster; (640, 360)
Rendered frames are kept in OUT/frames, so that a second run goes on where the first stopped.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import bpy
from film_materials import make_materials
from film_pieces import MOVING, ball, build_light, build_robot, build_things, build_walls
from film_render import Film, encode, measure_truth, new_camera, render_frames, set_up_render
from mathutils import Euler, Vector

FILM = Film(width=640, height=360, fps=24, frames=48, focal_mm=28.0)


def animate(root, joints, rolling) -> None:
    for frame in range(1, FILM.frames + 1):
        t = (frame - 1) / FILM.fps
        root.location = (-1.7 + 1.05 * t, 6.1 - 0.25 * t, 0.0)
        root.rotation_euler = (0, 0, -0.23)
        root.keyframe_insert("location", frame=frame)
        root.keyframe_insert("rotation_euler", frame=frame)
        for joint, phase in joints:
            joint.rotation_euler = (0, 0.5 * phase * math.sin(2 * math.pi * 0.95 * t), 0)
            joint.keyframe_insert("rotation_euler", frame=frame)
        traveled = 1.1 * t
        rolling.location = (0.75 - 0.15 * t, 8.2 - traveled, 0.24)
        rolling.rotation_euler = (traveled / 0.24, 0, 0)
        rolling.keyframe_insert("location", frame=frame)
        rolling.keyframe_insert("rotation_euler", frame=frame)


def build_camera(scene):
    """A walk of 1.6 m forwards and sideways; hands and steps shake it."""
    camera = new_camera(scene, FILM)
    for frame in range(1, FILM.frames + 1):
        t = (frame - 1) / FILM.fps
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


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    scene, camera = build_scene()
    set_up_render(scene, FILM)
    measure_truth(scene, camera, FILM, out / "truth.npz")
    render_frames(scene, FILM, out / "frames")
    encode(sorted((out / "frames").glob("*.png")), FILM, out / "clip.mp4")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
