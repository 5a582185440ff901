"""How a picture of the clip is laid into the render, so that it covers what the solved camera sees of the scene.

Blender's camera spans the sensor over the render's width or height, so in a render of another shape than the clip's the
picture must not be stretched over all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..result import camera_math


@dataclass(frozen=True)
class Framing:
    """method: "FIT", "CROP" or "STRETCH", as Blender calls them; or "PIXELS", pixel upon pixel in the middle.
    picture_shape, render_shape: width / height, as looked at, of the picture as Blender takes it and of the render.
    pixels: of "PIXELS", how often the picture's go into the render's, across and up."""

    method: str
    picture_shape: float
    render_shape: float
    pixels: tuple[float, float] = (1.0, 1.0)

    @property
    def is_across(self) -> bool:
        """Whether it is as wide as the render; else as high. Stretched it is both."""
        return self.method == "STRETCH" or (self.picture_shape >= self.render_shape) == (self.method == "FIT")

    @property
    def extent(self) -> tuple[float, float]:
        """How often the picture goes into the render, across and up."""
        if self.method == "PIXELS":
            return self.pixels
        if self.method == "STRETCH":
            return 1.0, 1.0
        ratio = self.render_shape / self.picture_shape
        return (1.0, 1.0 / ratio) if self.is_across else (ratio, 1.0)


def render_shape(scene: bpy.types.Scene) -> float:
    """Width / height of the render as it is looked at.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose render is meant.

    Returns
    -------
    float
        > 0.
    """
    render = scene.render
    return (render.resolution_x * render.pixel_aspect_x) / (render.resolution_y * render.pixel_aspect_y)


def frame_picture(scene: bpy.types.Scene, camera: bpy.types.Camera | None, clip_shape: float,
                  picture_shape: float) -> Framing:
    """The framing of a picture for a solved camera.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose render it is laid into.
    camera : bpy.types.Camera or None
        With the solved lens; None if it was deleted, then as a new one would have it.
    clip_shape : float
        Width / height of the clip as it was solved, as looked at.
    picture_shape : float
        Of the picture as Blender takes it.

    Returns
    -------
    Framing
        What covers the same as the mesh, or comes nearest to it.
    """
    shape = render_shape(scene)
    fit = camera.sensor_fit if camera is not None else fit_inside(scene, clip_shape)
    is_across = fit == "HORIZONTAL" or (fit == "AUTO" and shape >= 1.0)
    return Framing(camera_math.picture_framing(is_across, clip_shape, picture_shape, shape), picture_shape, shape)


def fit_inside(scene: bpy.types.Scene, clip_shape: float) -> str:
    """The Sensor Fit with which all of a clip lies inside the render.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose render is meant.
    clip_shape : float
        Width / height of the clip as looked at.

    Returns
    -------
    str
        "HORIZONTAL" or "VERTICAL".
    """
    return "VERTICAL" if clip_shape < render_shape(scene) * (1.0 - camera_math.SAME_SHAPE) else "HORIZONTAL"


def frame_pixels(scene: bpy.types.Scene, camera: bpy.types.Camera | None, clip_shape: float,
                 size: tuple[int, int]) -> Framing:
    """As frame_picture(), for the compositor, which takes a picture's pixels for those of the render.

    Parameters
    ----------
    scene, camera, clip_shape
        As of frame_picture().
    size : tuple of int
        (width, height) of the picture in pixels; 0 where it cannot be read, which is taken for the clip's shape.

    Returns
    -------
    Framing
        As of frame_picture().
    """
    width, height = size
    aspect = scene.render.pixel_aspect_x / scene.render.pixel_aspect_y
    return frame_picture(scene, camera, clip_shape, width * aspect / height if width and height else clip_shape)
