"""Render and measure the test scenes: one shot for each thing that can go well or badly with a clip.

Usage: python make_test_scenes.py OUT [NAME ...]            (an environment with bpy 5.0.1, av and numpy)
       python make_test_scenes.py OUT --small [NAME ...]    the short, small versions of tests/data/scenes

Writes OUT/NAME/clip.mp4 (480x270, 24 fps; small: 384x216) and OUT/NAME/gt.npz, the truth as make_sample_clip.py has it
(small: at the centers of 4x4 pixel blocks); where the lens zooms it also has focal_px (T,), pixels of the clip.
Rendered frames are kept in OUT/NAME/frames, so that a second run goes on where the first stopped. A line in
OUT/DONE.txt says that a scene is whole.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from film_materials import make_materials
from film_pieces import ball
from film_render import Film, encode, measure_truth, new_camera, read_picture, render_frames, set_up_render
from film_sets import (
    build_car,
    build_courtyard,
    build_still_life,
    build_street,
    build_white_room,
    clear_scene,
    drive,
    lamp,
    roll,
    sky,
    walk,
    walker,
)
from mathutils import Euler, Vector

FILM = Film(width=480, height=270, fps=24, frames=32, focal_mm=30.0, samples=5, quality=20, fast_denoise=True)


@dataclass(frozen=True)
class Scene:
    """build(film) sets everything up and returns the scene and its camera. grain: of a 0-255 picture, see grainy()."""

    build: Callable
    film: Film = FILM
    grain: float = 0.0


# --- Cameras ---------------------------------------------------------------------------------------------------

def fly(scene, film: Film, place: Callable, aim: Callable, *, shake: float = 1.0, lens: Callable | None = None):
    """A camera at place(t) that looks at aim(t), t in seconds; shake 1 is a steady hand, 0 a tripod."""
    camera = new_camera(scene, film)
    last = None
    for frame in range(film.frames + 2):
        t = (frame - 1) / film.fps
        camera.location = place(t)
        look = (aim(t) - place(t)).to_track_quat("-Z", "Y").to_matrix()
        camera.rotation_quaternion = (look @ hand(t, shake).to_matrix()).to_quaternion()
        if last is not None:
            camera.rotation_quaternion.make_compatible(last)
        last = camera.rotation_quaternion.copy()
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
        if lens:
            camera.data.lens = lens(t)
            camera.data.keyframe_insert("lens", frame=frame)
    return camera


def hand(t: float, shake: float) -> Euler:
    """The small turns of a hand-held camera, radians."""
    return Euler((shake * (0.006 * math.sin(7.3 * t + 1) + 0.004 * math.sin(10.7 * t)),
                  shake * 0.006 * math.sin(4.1 * t), shake * 0.008 * math.sin(5.7 * t + 2)))


def line(start, velocity, *, bob: float = 0.0) -> Callable:
    """Along a line at velocity meters a second; bob: meters up and down with every step."""
    def place(t: float) -> Vector:
        return Vector(start) + t * Vector(velocity) + Vector((0, 0, bob * math.sin(2 * math.pi * 1.7 * t)))
    return place


# --- Scenes ----------------------------------------------------------------------------------------------------

def pan(film: Film):
    """A tripod in the middle of the courtyard turns 26 degrees to the right; a figure crosses in front."""
    scene, materials = clear_scene(), make_materials()
    build_courtyard(scene, materials)
    walk(walker(materials), film, (-1.5, 4.2), (1.0, 0.1))
    spot = Vector((0.3, 0.4, 1.5))

    def aim(t: float) -> Vector:
        angle = math.radians(-15 + 20 * t)
        return spot + Vector((math.sin(angle), math.cos(angle), -0.06 + 0.03 * t))
    return scene, fly(scene, film, lambda t: spot, aim, shake=0)


def locked(film: Film):
    """A camera that does not move at all; two figures and a ball do."""
    scene, materials = clear_scene(), make_materials()
    build_courtyard(scene, materials)
    walk(walker(materials), film, (-1.6, 5.2), (1.1, -0.2))
    walk(walker(materials, shirt="poster_blue"), film, (1.9, 7.0), (-0.9, 0.0), phase=1.0)
    roll(ball(materials["ball"], 0.24, (0, 0, 0)), film, 0.24, (0.9, 8.2), -1.1)
    spot = Vector((-0.5, -0.6, 1.5))
    return scene, fly(scene, film, lambda t: spot, lambda t: Vector((0.3, 7, 1.2)), shake=0)


def street(film: Film):
    """A sideways dolly past houses; a car comes the other way and a figure walks along the pavement."""
    scene, materials = clear_scene(), make_materials()
    build_street(scene, materials)
    walk(walker(materials, size=1.15), film, (-2.6, 5.4), (1.2, 0.0))
    drive(build_car(materials), film, (6.5, 3.4), -5.0)
    place = line((-1.6, -4.2, 1.6), (1.5, 0.25, 0), bob=0.01)
    return scene, fly(scene, film, place, lambda t: place(t) + Vector((0.15, 3.0, -0.03)), shake=0.5)


def orbit(film: Film):
    """Around a still life at close range: large parallax, thin poles."""
    scene = clear_scene()
    build_still_life(scene, make_materials())

    def place(t: float) -> Vector:
        angle = math.radians(-24 + 28 * t)
        return Vector((1.55 * math.sin(angle), -1.55 * math.cos(angle), 1.28 + 0.05 * t))
    return scene, fly(scene, film, place, lambda t: Vector((0.02, 0.1, 0.86)), shake=0.6)


def white_room(film: Film):
    """A walk through a room with bare walls."""
    scene = clear_scene()
    build_white_room(scene)
    place = line((0.9, -1.6, 1.5), (-0.5, 0.5, 0), bob=0.012)
    return scene, fly(scene, film, place, lambda t: Vector((-0.1, 4.4, 1.25)))


def crowd(film: Film):
    """A walk towards many walking figures, which fill more than a quarter of the picture."""
    scene, materials = clear_scene(), make_materials()
    build_courtyard(scene, materials)
    shirts = ("robot", "poster_blue", "poster_teal", "poster_rose", "wood_green", "ball")
    walks = ((-2.0, 3.5, 1.0, 0.0), (0.1, 3.3, -0.9, 0.1), (1.5, 3.7, -0.9, -0.1), (-0.9, 4.4, 0.9, 0.1),
             (2.2, 4.9, -1.0, 0.0), (0.6, 4.8, 0.8, 0.1), (-2.3, 5.7, 0.9, 0.0), (1.3, 6.0, -0.8, 0.1),
             (-0.5, 6.4, 1.0, 0.0), (0.8, 7.2, -0.9, 0.0))
    for number, (x, y, along, away) in enumerate(walks):
        figure = walker(materials, shirt=shirts[number % len(shirts)], size=1.1 + 0.04 * (number % 3))
        walk(figure, film, (x, y), (along, away), phase=1.3 * number)
    place = line((-0.7, -0.4, 1.5), (0.6, 0.5, 0), bob=0.015)
    return scene, fly(scene, film, place, lambda t: Vector((0.2 + 0.1 * t, 7.0, 1.15)))


def night(film: Film):
    """The courtyard by the light of two lamps, sideways and forwards, with strong grain."""
    scene, materials = clear_scene(), make_materials()
    build_courtyard(scene, materials)
    scene.objects["sun"].hide_render = True
    sky(scene, (0.25, 0.35, 0.7), 0.02)
    lamp(scene, (-0.9, 6.6, 3.2), 150)
    lamp(scene, (2.9, 2.2, 2.6), 45)
    walk(walker(materials), film, (-1.4, 6.0), (0.9, -0.1))
    place = line((-0.9, -1.0, 1.5), (0.7, 0.5, 0), bob=0.012)
    return scene, fly(scene, film, place, lambda t: Vector((0.2, 7.0, 1.2)))


def blur(film: Film):
    """A hasty hand: turns of up to two degrees a frame while walking, smeared by the shutter."""
    scene, materials = clear_scene(), make_materials()
    build_courtyard(scene, materials)
    walk(walker(materials), film, (-1.7, 6.1), (1.1, -0.2))
    place = line((-0.8, -1.0, 1.5), (0.9, 0.7, 0), bob=0.03)

    def aim(t: float) -> Vector:
        return Vector((0.2 + 1.2 * math.sin(4.2 * t), 7.0, 1.2 + 0.5 * math.sin(6.1 * t + 1)))
    return scene, fly(scene, film, place, aim, shake=2.0)


def rolling(film: Film):
    """A walking hand with a shutter that takes nearly half the frame time from the first row to the last."""
    scene, materials = clear_scene(), make_materials()
    build_street(scene, materials)
    walk(walker(materials, size=1.15), film, (-0.8, 4.6), (-1.0, 0.0))
    place = line((1.2, -3.2, 1.6), (-1.0, 0.7, 0), bob=0.02)
    return scene, fly(scene, film, place, lambda t: Vector((0.6 * math.sin(3.5 * t), 8.0, 1.6)), shake=1.5)


def zoom(film: Film):
    """The lens goes from 28 to 42 mm while the camera travels."""
    scene, materials = clear_scene(), make_materials()
    build_courtyard(scene, materials)
    walk(walker(materials), film, (-1.5, 6.2), (1.0, -0.2))
    place = line((-0.9, -1.2, 1.5), (0.8, 0.3, 0), bob=0.012)
    seconds = film.frames / film.fps
    return scene, fly(scene, film, place, lambda t: Vector((0.2, 7.0, 1.2)), lens=lambda t: 28 + 14 * t / seconds)


def short(film: Film):
    """Eight frames with little travel."""
    scene, materials = clear_scene(), make_materials()
    build_street(scene, materials)
    walk(walker(materials, size=1.15), film, (-0.8, 4.6), (1.0, 0.0))
    place = line((0.4, -3.0, 1.6), (0.5, 0.15, 0), bob=0.01)
    return scene, fly(scene, film, place, lambda t: place(t) + Vector((0.05, 3.0, -0.02)))


SCENES = {
    "pan": Scene(pan),
    "locked": Scene(locked),
    "street": Scene(street, replace(FILM, focal_mm=28.0)),
    "orbit": Scene(orbit, replace(FILM, focal_mm=32.0)),
    "white_room": Scene(white_room, replace(FILM, focal_mm=26.0)),
    "crowd": Scene(crowd, replace(FILM, focal_mm=28.0)),
    "night": Scene(night, replace(FILM, focal_mm=26.0, exposure=0.0), grain=7.0),
    "blur": Scene(blur, replace(FILM, shutter=0.6)),
    "rolling": Scene(rolling, replace(FILM, shutter=0.5, readout=0.45)),
    "zoom": Scene(zoom),
    "short": Scene(short, replace(FILM, frames=8)),
}


SMALL = {"pan": 20, "locked": 10, "street": 20, "white_room": 20, "crowd": 20, "zoom": 20, "short": 8}
"""Frames of the scenes that tests/data/scenes has."""


def small(name: str) -> Scene:
    scene = SCENES[name]
    film = replace(scene.film, width=384, height=216, frames=SMALL[name], quality=23, truth_step=4)
    return replace(scene, film=film)


# --- Shots -----------------------------------------------------------------------------------------------------

def grainy(picture: np.ndarray, grain: float, frame: int) -> np.ndarray:
    """(H,W,3) uint8 with Gaussian noise, new in every frame: of grain levels in the shadows, less where it is light."""
    noise = np.random.default_rng(frame).standard_normal(picture.shape)
    light = picture.mean(axis=2, keepdims=True) / 255
    noisy = picture + grain * (1 - 0.6 * light) * (0.8 * noise[..., :1] + 0.6 * noise)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def shoot(name: str, shot: Scene, out: Path) -> None:
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    scene, camera = shot.build(shot.film)
    set_up_render(scene, shot.film)
    measure_truth(scene, camera, shot.film, folder / "gt.npz")
    render_frames(scene, shot.film, folder / "frames")
    files = sorted((folder / "frames").glob("*.png"))
    pictures = (grainy(read_picture(file), shot.grain, number) for number, file in enumerate(files))
    encode(pictures if shot.grain else files, shot.film, folder / "clip.mp4")
    with (out / "DONE.txt").open("a", encoding="utf-8") as done:
        done.write(f"{name}: {len(files)} frames\n")


def main(out: Path, options: list[str]) -> None:
    is_small = "--small" in options
    for name in [option for option in options if option != "--small"] or (SMALL if is_small else SCENES):
        shoot(name, small(name) if is_small else SCENES[name], out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
