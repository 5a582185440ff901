"""Render a scene to frames and a clip, and measure its truth by rays: what the rendered test clips have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
from film_pieces import MOVING
from mathutils import Matrix, Vector

OPENCV_FROM_BLENDER = Matrix.Diagonal((1.0, -1.0, -1.0, 1.0))


@dataclass(frozen=True)
class Film:
    """How a scene is shot. Pixels, frames per second, millimeters; frames are numbered from 1.

    shutter: share of the frame time during which light comes in, centered on the frame; 0 = frozen. readout: share of
    the frame time from the first row to the last, 0 = all rows at once; needs a shutter longer than itself.
    quality: constant rate factor of H.264, lower is better. fast_denoise: half the render time, less clean.
    truth_step: the truth is measured at the centers of blocks of so many pixels a side.
    """

    width: int
    height: int
    fps: int
    frames: int
    focal_mm: float
    sensor_mm: float = 36.0
    samples: int = 20
    exposure: float = 0.4
    shutter: float = 0.0
    readout: float = 0.0
    quality: int = 22
    fast_denoise: bool = False
    truth_step: int = 2


def new_camera(scene, film: Film):
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.sensor_fit = film.focal_mm, film.sensor_mm, "HORIZONTAL"
    camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.rotation_mode = "QUATERNION"
    return camera


def set_up_render(scene, film: Film) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = film.width, film.height, 100
    render.fps, render.use_persistent_data = film.fps, True
    render.image_settings.file_format = "PNG"
    scene.frame_start, scene.frame_end = 1, film.frames
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", film.samples, True
    scene.cycles.max_bounces, scene.cycles.seed = 3, 1
    scene.view_settings.exposure = film.exposure
    if film.fast_denoise:
        scene.cycles.denoising_quality, scene.cycles.denoising_prefilter = "FAST", "NONE"
    if film.shutter:
        render.use_motion_blur, render.motion_blur_shutter = True, film.shutter
    if film.readout:
        scene.cycles.rolling_shutter_type = "TOP"
        scene.cycles.rolling_shutter_duration = 1 - film.readout / film.shutter


def render_frames(scene, film: Film, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(1, film.frames + 1):
        path = folder / f"{frame:04d}.png"
        if path.exists():
            continue
        scene.frame_set(frame)
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)


def read_picture(path: Path) -> np.ndarray:
    """(H,W,3) uint8."""
    with av.open(str(path)) as still:
        return next(still.decode(video=0)).to_ndarray(format="rgb24")


def encode(pictures, film: Film, path: Path) -> None:
    """pictures: an iterable of (H,W,3) uint8 or of files of pictures."""
    options = {"crf": str(film.quality), "preset": "veryslow", "threads": "1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=film.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1  # BT.709, limited
        for number, pixels in enumerate(pictures):
            picture = video_frame(pixels).reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = number, Fraction(1, film.fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def video_frame(picture: np.ndarray | Path) -> av.VideoFrame:
    if isinstance(picture, np.ndarray):
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    with av.open(str(picture)) as still:
        return next(still.decode(video=0))


# --- Truth -----------------------------------------------------------------------------------------------------

def set_time(scene, moment: float) -> None:
    """moment: in frames, with its fraction."""
    scene.frame_set(math.floor(moment), subframe=moment - math.floor(moment))


def measure_row(scene, camera, row: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """z-depth and moving flag (width,): one ray through each pixel center of a row of a height x width raster."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    pose = camera.matrix_world.copy()
    inverse, origin, rotation = pose.inverted(), pose.translation, pose.to_3x3()
    focal = camera.data.lens / camera.data.sensor_width * width
    depth, dynamic = np.full(width, np.inf), np.zeros(width, bool)
    for col in range(width):
        ray = Vector(((col + 0.5 - width / 2) / focal, (height / 2 - row - 0.5) / focal, -1.0))
        hit, place, _, _, thing, _ = scene.ray_cast(depsgraph, origin, rotation @ ray)
        if hit:
            depth[col] = -(inverse @ place).z
            dynamic[col] = bool(thing.get(MOVING))
    return depth, dynamic


def measure_frame(scene, camera, film: Film, frame: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth and moving flag (height,width), each row at the time at which the film reads it."""
    rows = []
    for row in range(height):
        if film.readout:
            set_time(scene, frame + film.readout * ((row + 0.5) / height - 0.5))
        rows.append(measure_row(scene, camera, row, height, width))
    depth, dynamic = (np.stack(part) for part in zip(*rows, strict=True))
    return depth, dynamic


def measure_truth(scene, camera, film: Film, path: Path) -> None:
    """Depth and moving flag at the centers of pixel blocks; camera and focal length of the frame's middle row."""
    shape = film.height // film.truth_step, film.width // film.truth_step
    depth, dynamic, poses, focal_px = [], [], [], []
    for frame in range(1, film.frames + 1):
        scene.frame_set(frame)
        poses.append(np.array(camera.matrix_world @ OPENCV_FROM_BLENDER, np.float64))
        focal_px.append(camera.data.lens / film.sensor_mm * film.width)
        frame_depth, frame_dynamic = measure_frame(scene, camera, film, frame, *shape)
        depth.append(frame_depth.astype(np.float16))
        dynamic.append(frame_dynamic)
    zoom = {"focal_px": np.array(focal_px)} if max(focal_px) > min(focal_px) else {}
    shutter = {"readout": np.array(film.readout)} if film.readout else {}
    np.savez_compressed(path, depth=np.array(depth), dynamic=np.array(dynamic), camera_to_world=np.array(poses),
                        K=camera_matrix(film, focal_px[0]), size=np.array([film.width, film.height]), **zoom, **shutter)


def camera_matrix(film: Film, focal: float) -> np.ndarray:
    return np.array([[focal, 0, film.width / 2], [0, focal, film.height / 2], [0, 0, 1]])
