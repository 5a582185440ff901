"""The engine's cameras in Blender's terms: matrices, lens, rays. NumPy only, no bpy.

The engine's camera looks along +z with y down (OpenCV); Blender's looks along -z with y up, in a world whose z is up.
Intrinsics are (fx, fy, cx, cy) in pixels, with x = 0 at the left edge and y = 0 at the top edge of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...engine.contract import Distortion
from ...engine.lens import distorted, undistorted

__all__ = [
    "FLIP_CAMERA_AXES", "SAME_SHAPE", "WORLD_TO_Z_UP", "camera_rays", "fps_and_base", "ideal_places",
    "intrinsics_from_projection", "lens_from_intrinsics", "matrix_world_from_camera_to_world", "picture_framing",
    "plate_pixels", "points_in_blender_world", "sensor_size", "step_for_density",
]

FLIP_CAMERA_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
WORLD_TO_Z_UP = np.array([[1.0, 0.0, 0.0, 0.0],
                          [0.0, 0.0, 1.0, 0.0],
                          [0.0, -1.0, 0.0, 0.0],
                          [0.0, 0.0, 0.0, 1.0]])
LARGEST_MISS_PX = 0.02
SAME_SHAPE = 1e-5
"""Relative; two shapes that differ by less differ by no pixel."""


@dataclass(frozen=True)
class Lens:
    """Blender's camera lens: focal length in mm, shifts in lengths of the side that the sensor is fitted to."""

    focal_mm: float
    shift_x: float
    shift_y: float


def matrix_world_from_camera_to_world(camera_to_world) -> np.ndarray:
    """Matrices (...,4,4) for Blender's camera object, z up.

    The engine's first camera (the identity) becomes one at the origin that looks along +y.

    Parameters
    ----------
    camera_to_world : array_like
        (...,4,4), OpenCV axes.

    Returns
    -------
    ndarray
        (...,4,4) float64; the camera looks along its own -z with y up.
    """
    return WORLD_TO_Z_UP @ np.asarray(camera_to_world, dtype=np.float64) @ FLIP_CAMERA_AXES


def points_in_blender_world(points) -> np.ndarray:
    """World points (...,3) of the engine on Blender's axes.

    Parameters
    ----------
    points : array_like
        (...,3), OpenCV axes: x right, y down, z forward at the first frame's camera.

    Returns
    -------
    ndarray
        (...,3) float64, z up, in the same units.
    """
    return np.asarray(points, dtype=np.float64) @ WORLD_TO_Z_UP[:3, :3].T


def scale_intrinsics(intrinsics, from_size, to_size) -> np.ndarray:
    """Intrinsics (...,4) of the same camera on another raster. Sizes are (width, height) in pixels."""
    across, down = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.asarray(intrinsics, dtype=np.float64) * [across, down, across, down]


def render_pixel_aspect(intrinsics, size, clip_pixel_aspect: float) -> float:
    """Width / height of one pixel that makes Blender's one focal length serve both fx and fy.

    intrinsics: (fx, fy, cx, cy) on the clip's raster, size (width, height). It is the clip's own pixel aspect wherever
    that moves no point by more than LARGEST_MISS_PX; a working raster that was rounded to whole pixels can need
    slightly more, and then the camera's own fy / fx holds.
    """
    fx, fy, _, cy = intrinsics
    farthest_row = max(abs(cy), abs(size[1] - cy))
    miss_px = abs(1.0 - clip_pixel_aspect * fx / fy) * farthest_row
    return float(clip_pixel_aspect) if miss_px <= LARGEST_MISS_PX else float(fy / fx)


def is_fitted_across(sensor_fit: str, size, pixel_aspect: float) -> bool:
    """Whether Blender fits the sensor to the picture's width; else to its height. sensor_fit: Blender's own word."""
    return sensor_fit == "HORIZONTAL" or (sensor_fit == "AUTO" and size[0] * pixel_aspect >= size[1])


def picture_framing(is_across: bool, clip_shape: float, shown_shape: float, render_shape: float) -> str:
    """How Blender has to lay a clip's picture into the render's, so that it covers what the solved camera sees.

    The lens spans the clip's width or height over the render's; the rest follows from the shapes, each a picture's
    width / height as it is looked at.

    Parameters
    ----------
    is_across : bool
        Whether the sensor is fitted to the width, see is_fitted_across().
    clip_shape : float
        Of the clip as it was solved.
    shown_shape : float
        Of the clip as Blender takes it; another one if it does not know the shape of its pixels.
    render_shape : float
        Of the render.

    Returns
    -------
    str
        "FIT", "CROP" or "STRETCH", as Blender calls them; where none of them is exact, the nearest.
    """
    if abs(shown_shape / clip_shape - 1.0) > SAME_SHAPE and abs(render_shape / clip_shape - 1.0) <= SAME_SHAPE:
        return "STRETCH"
    is_wider = shown_shape >= render_shape * (1.0 - SAME_SHAPE)
    is_narrower = shown_shape <= render_shape * (1.0 + SAME_SHAPE)
    return "FIT" if (is_wider if is_across else is_narrower) else "CROP"


def sensor_size(sensor_fit: str, size, pixel_aspect: float, sensor_mm: float) -> tuple[float, float]:
    """Blender's sensor_width and sensor_height for a sensor of sensor_mm across the picture.

    AUTO measures the longer side by sensor_width, whichever it is.

    Parameters
    ----------
    sensor_fit : str
        Blender's own word: "AUTO", "HORIZONTAL" or "VERTICAL".
    size : tuple of int
        (width, height) of the render in pixels.
    pixel_aspect : float
        Width / height of a pixel of the render.
    sensor_mm : float
        Width of the sensor in mm.

    Returns
    -------
    tuple of float
        sensor_width and sensor_height in mm.
    """
    height_mm = sensor_mm * size[1] / size[0] / pixel_aspect
    is_upright = sensor_fit == "AUTO" and not is_fitted_across(sensor_fit, size, pixel_aspect)
    return (height_mm if is_upright else sensor_mm), height_mm


def lens_from_intrinsics(intrinsics, size, pixel_aspect: float, sensor_mm: float,
                         sensor_fit: str = "HORIZONTAL") -> Lens:
    """Lens and shifts for a sensor of sensor_mm across the picture.

    The focal length is the same for every sensor_fit, because sensor_size() keeps the sensor's proportions.

    Parameters
    ----------
    intrinsics : array_like
        (4,): fx, fy, cx, cy in pixels of the raster that is rendered. fy is not looked at: the pixel aspect stands for
        it.
    size : tuple of int
        (width, height) of that raster in pixels.
    pixel_aspect : float
        Width / height of a pixel of that render.
    sensor_mm : float
        Width of the sensor in mm.
    sensor_fit : str
        Blender's own word: "AUTO", "HORIZONTAL" or "VERTICAL".

    Returns
    -------
    Lens
        Focal length in mm, shifts in lengths of the side that the sensor is fitted to.
    """
    fx, _, cx, cy = (float(value) for value in intrinsics)
    width, height = size
    fitted_px = width if is_fitted_across(sensor_fit, size, pixel_aspect) else height / pixel_aspect
    return Lens(fx * sensor_mm / width, (width / 2 - cx) / fitted_px, (cy - height / 2) / fitted_px / pixel_aspect)


def intrinsics_from_projection(projection, size) -> np.ndarray:
    """Intrinsics from Blender's projection matrix.

    Parameters
    ----------
    projection : ndarray
        (4,4), as Object.calc_matrix_camera() gives it.
    size : tuple of int
        (width, height) of the picture in pixels.

    Returns
    -------
    ndarray
        (4,) float64: fx, fy, cx, cy in pixels of the picture.
    """
    width, height = size
    return np.array([projection[0, 0] * width / 2, projection[1, 1] * height / 2,
                     (1.0 - projection[0, 2]) * width / 2, (1.0 + projection[1, 2]) * height / 2])


def ideal_places(pixels, intrinsics, distortion: Distortion | None) -> np.ndarray:
    """Where the ideal camera sees what the plate shows at pixels.

    Parameters
    ----------
    pixels : array_like
        (...,2), from the picture's left and top edge.
    intrinsics : array_like
        (...,4): fx, fy, cx, cy in those pixels, of all or of each.
    distortion : Distortion or None
        Of the lens; None of a pinhole.

    Returns
    -------
    ndarray
        (...,2) float64, in focal lengths from the principal point, y down.
    """
    focal, center = np.split(np.asarray(intrinsics, np.float64), 2, axis=-1)
    places = (np.asarray(pixels) - center) / focal
    return places if distortion is None else undistorted(places, distortion)


def plate_pixels(places, intrinsics, size, distortion: Distortion | None) -> np.ndarray:
    """Where the plate shows what the ideal camera sees: the inverse of ideal_places.

    Parameters
    ----------
    places : array_like
        (N,2), in focal lengths from the principal point, y down.
    intrinsics : array_like
        (4,): fx, fy, cx, cy in pixels of the plate.
    size : tuple of int
        (width, height) of the plate in pixels.
    distortion : Distortion or None
        Of the lens; None of a pinhole.

    Returns
    -------
    ndarray
        (N,2) float64, from the picture's left and top edge. Not a number farther out than any corner of the picture,
        where the formula of a barrel folds back into it.
    """
    places = np.asarray(places, np.float64)
    focal, center = np.split(np.asarray(intrinsics, np.float64), 2)
    if distortion is None:
        return places * focal + center
    corners = ideal_places(np.multiply([(0, 0), (0, 1), (1, 0), (1, 1)], size), intrinsics, distortion)
    is_within = np.hypot(*places.T) <= np.hypot(*corners.T).max()
    return np.where(is_within[:, None], distorted(places, distortion) * focal + center, np.nan)


def camera_rays(x, y, intrinsics, distortion: Distortion | None) -> np.ndarray:
    """Rays of Blender's camera through a grid of places in the plate, scaled to z = -1.

    A ray times the z-depth seen there is the point, in the camera object's own space.

    Parameters
    ----------
    x, y : array_like
        (W,) and (H,), in pixels from the picture's left and top edge.
    intrinsics : array_like
        (4,): fx, fy, cx, cy in those pixels.
    distortion : Distortion or None
        Of the lens; None of a pinhole.

    Returns
    -------
    ndarray
        (H,W,3) float64: x right, y up, z = -1.
    """
    rays = np.full((len(y), len(x), 3), -1.0)
    rays[..., :2] = ideal_places(np.stack(np.meshgrid(x, y), axis=-1), intrinsics, distortion) * [1.0, -1.0]
    return rays


def grid_positions(length: int, step: int) -> np.ndarray:
    """Where a grid over length pixels has its vertices, in pixels: centers of pixels, and the two edges.

    The centers are those of every step-th pixel and of the last one, whatever the step.
    """
    pixels = np.unique(np.append(np.arange(0, length, step), length - 1))
    return np.concatenate([[0.0], pixels + 0.5, [length]])


def step_for_density(width: int, height: int, most_vertices: int) -> int:
    """Smallest step at which a grid over width x height pixels has at most most_vertices vertices.

    Parameters
    ----------
    width, height : int
        In pixels.
    most_vertices : int
        16 or more: the coarsest grid has as many.

    Returns
    -------
    int
        Pixels between neighboring vertices, 1 or more.
    """
    step = 1
    while len(grid_positions(width, step)) * len(grid_positions(height, step)) > most_vertices:
        step += 1
    return step


def fps_and_base(fps: float) -> tuple[int, float]:
    """Blender's whole frame rate and its divisor: 23.976 and 29.97 are the NTSC rates 24 / 1.001 and 30 / 1.001.

    Parameters
    ----------
    fps : float
        Frames per second, > 0.

    Returns
    -------
    fps : int
        The whole rate, 1 or more.
    fps_base : float
        Its divisor: the rate is fps / fps_base.
    """
    whole = max(1, round(fps))
    if abs(fps - whole) < 1e-4:
        return whole, 1.0
    if abs(fps - whole / 1.001) < 0.006:
        return whole, 1.001
    return whole, whole / fps
