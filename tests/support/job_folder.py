"""An exact, small job folder for tests: a slanted wall and a box, ray-traced from a moving camera.

Depth, poses, lens and plate are the same analytic scene, so whatever stands on them can be checked to rounding.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import OpenEXR

from stereodiff_blender.engine.contract import (
    ClipSource,
    Distortion,
    FrameResult,
    Job,
    JobFolder,
    LensResult,
    Quality,
    Result,
    Settings,
)
from stereodiff_blender.engine.contract.footage_fingerprint import fingerprint
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.media.exr import read_exr, write_exr
from stereodiff_blender.engine.worker.lens_maps import (
    common_overscan,
    overscan_of,
    write_frame_maps,
    write_lens_maps,
)
from stereodiff_blender.engine.worker.mesh_depth import mesh_channels

WALL_NORMAL, WALL_OFFSET = np.array([0.25, -0.1, 1.0]), 5.0
BOX_LOW, BOX_HIGH = np.array([-0.9, -0.5, 2.6]), np.array([0.3, 0.6, 3.4])


@dataclass(frozen=True)
class Example:
    """What the folder holds. Sizes are (width, height) in pixels; principal: off the raster's middle, in pixels.

    first_frame: of the solve, in clip frames; the footage is longer by lead frames at its end and starts at file
    first_number. files_by_clip_frame: as earlier versions numbered the files they wrote. zoom: focal length of the last
    frame over that of the first. knows_footage: False for a job of an earlier version, which knows the path of its
    footage alone. distortion: of the lens that shot the footage; None of a pinhole. Its ST maps are the engine's own.
    has_plate_depth: depth at the clip's size, too. has_edges: and the share of the nearer surface there. readout: of a
    rolling shutter, in frames. has_mesh_depth: False for a job of an earlier version. has_frame_maps: ST maps of every
    frame, as a zoom has them.
    """

    raster: tuple[int, int] = (64, 36)
    clip: tuple[int, int] = (128, 72)
    pixel_aspect: float = 1.0
    frame_count: int = 6
    plate_stem: str = "plate"
    first_frame: int = 1
    first_number: int = 1
    files_by_clip_frame: bool = False
    focal: float = 60.0
    zoom: float = 1.25
    principal: tuple[float, float] = (1.5, -0.75)
    camera_kind: str = "moving"
    invalid_corner: bool = True
    job_id: str = "example"
    depth_scale: float = 1.0
    quality: str = "standard"
    knows_footage: bool = True
    distortion: Distortion | None = None
    has_plate_depth: bool = False
    has_edges: bool = False
    readout: float = 0.0
    has_mesh_depth: bool = True
    has_frame_maps: bool = False

    @property
    def lens(self) -> LensResult:
        if self.distortion is None:
            return LensResult(readout=self.readout)
        model = "radial" if self.distortion.is_radial else "brown"
        model = "fisheye" if self.distortion.is_fisheye else model
        return LensResult(model, self.distortion, zooms=self.zoom != 1.0, readout=self.readout,
                          undistort="lens/undistort.exr", redistort="lens/redistort.exr",
                          overscan=common_overscan(self.distortion, all_clip_intrinsics(self), self.clip)
                          if self.has_frame_maps else overscan_of(self.distortion, clip_intrinsics(self), self.clip))


EXAMPLE = Example()


def write_job_folder(folder: Path, example: Example = EXAMPLE, clip_folder: Path | None = None) -> Result:
    """Write a finished job and its footage (a PNG sequence, in clip_folder or folder/clip). Returns its result."""
    job_folder = JobFolder(folder)
    footage = clip_folder or Path(folder) / "clip"
    for path in (job_folder.path, footage):
        path.mkdir(parents=True, exist_ok=True)
    _write_footage(footage, example)
    clip = ClipSource("sequence", str(plate_file(footage, example, 1).absolute()), example.first_number, *example.clip,
                      example.pixel_aspect, 24.0)
    solved = range(example.first_frame, example.first_frame + example.frame_count)
    clip = replace(clip, fingerprint=fingerprint(clip, solved) if example.knows_footage else "")
    job_folder.write_job(Job(example.job_id, clip, solved[0], solved[-1], Settings(quality=example.quality)))
    frames = tuple(_write_frame(job_folder, example, index) for index in range(example.frame_count))
    lens, numbers = example.lens, [file_number(example, index) for index in range(example.frame_count)]
    write_lens_maps(job_folder, lens, clip_intrinsics(example), example.clip, {}, lens.overscan)
    if example.has_frame_maps:
        maps = write_frame_maps(job_folder, lens, all_clip_intrinsics(example), example.clip, numbers, {})
        frames = tuple(replace(frame, **own) for frame, own in zip(frames, maps, strict=True))
    result = _result(example, clip, frames)
    job_folder.write_result(result)
    return result


def plate_file(footage: Path, example: Example, clip_frame: int) -> Path:
    return footage / f"{example.plate_stem}_{example.first_number + clip_frame - 1:04d}.png"


def file_number(example: Example, index: int) -> int:
    """Of the files of a frame's products: the plate's own."""
    before = 0 if example.files_by_clip_frame else example.first_number - 1
    return example.first_frame + index + before


def intrinsics(example: Example, index: int) -> np.ndarray:
    """(fx, fy, cx, cy) on the raster. Its pixels are as square as the clip's size and pixel aspect make them."""
    (width, height), (clip_width, clip_height) = example.raster, example.clip
    fx = example.focal * example.zoom ** (index / max(example.frame_count - 1, 1))
    squash = (height / clip_height) / (width / clip_width) * example.pixel_aspect
    return np.array([fx, fx * squash, width / 2 + example.principal[0], height / 2 + example.principal[1]])


def clip_intrinsics(example: Example) -> np.ndarray:
    """(fx, fy, cx, cy) of the middle frame, in pixels of the clip."""
    return all_clip_intrinsics(example)[example.frame_count // 2]


def all_clip_intrinsics(example: Example) -> np.ndarray:
    """(T,4) of every frame, in pixels of the clip."""
    to_clip = np.tile(np.divide(example.clip, example.raster), 2)
    return np.array([intrinsics(example, index) * to_clip for index in range(example.frame_count)])


def camera_to_world(example: Example, index: float) -> np.ndarray:
    """Sideways and forward, turning and rolling a little; the identity first. index: of a frame, or between two."""
    pose = np.eye(4)
    if example.camera_kind == "static":
        return pose
    pan, tilt, roll = 0.03 * index, -0.02 * index, 0.015 * index
    pose[:3, :3] = _rotation(pan, 1) @ _rotation(tilt, 0) @ _rotation(roll, 2)
    if example.camera_kind == "moving":
        pose[:3, 3] = np.array([0.09, -0.03, 0.06]) * index * example.depth_scale
    return pose


def camera_rays(example: Example, index: int, columns: np.ndarray, rows: np.ndarray,
                size: tuple[int, int] | None = None) -> np.ndarray:
    """(...,3), z = 1, OpenCV axes: through places of the plate as shot, in pixels of the raster or of another size."""
    width, height = size or example.raster
    fx, fy, cx, cy = intrinsics(example, index) * np.tile([width / example.raster[0], height / example.raster[1]], 2)
    places = np.stack([(columns - cx) / fx, (rows - cy) / fy], axis=-1)
    if example.distortion is not None:
        places = undistorted(places, example.distortion)
    return np.concatenate([places, np.ones_like(places[..., :1])], axis=-1)


def trace_depth(example: Example, index: int, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """z-depth (H,W) and color (H,W,3) in 0..1 of the scene from a frame's camera, on the raster or another size."""
    width, height = size or example.raster
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = camera_rays(example, index, columns, rows, size)
    times = example.readout * ((np.arange(height) + 0.5) / height - 0.5)
    poses = np.stack([camera_to_world(example, index + time) for time in times])
    origin, directions = poses[:, None, :3, 3] / example.depth_scale, rays @ np.swapaxes(poses[:, :3, :3], 1, 2)
    depth = np.minimum(_to_wall(origin, directions), _to_box(origin, directions))
    return depth * example.depth_scale, _color(origin + directions * depth[..., None])


def depth_of(example: Example, index: int) -> np.ndarray:
    """(H,W) float32 as written: the last pixels of the last rows are invalid."""
    depth = trace_depth(example, index)[0].astype(np.float32)
    if example.invalid_corner:
        depth[-3:, -5:] = 0.0
    return depth


def write_gray(path: Path, picture: np.ndarray) -> None:
    """One float32 channel, named V."""
    path.parent.mkdir(exist_ok=True)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"V": np.ascontiguousarray(picture, dtype=np.float32)}).write(str(path))


def write_png(path: Path, picture: np.ndarray) -> None:
    """picture: (H,W,3) uint8."""
    height, width, _ = picture.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                    for name, data in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _write_footage(footage: Path, example: Example) -> None:
    """All clip frames up to the last solved one; those before the solve look as its first."""
    for clip_frame in range(1, example.first_frame + example.frame_count):
        _, color = trace_depth(example, max(clip_frame - example.first_frame, 0), example.clip)
        write_png(plate_file(footage, example, clip_frame), np.rint(color * 255).astype(np.uint8))


def _write_frame(folder: JobFolder, example: Example, index: int) -> FrameResult:
    frame = example.first_frame + index
    fx, fy, cx, cy = (float(value) for value in intrinsics(example, index))
    solved = FrameResult(frame, fx, fy, cx, cy, tuple(map(tuple, camera_to_world(example, index).tolist())),
                         reprojection_px=0.0)
    if example.camera_kind != "moving":
        return solved
    depth = depth_of(example, index)
    products = {"depth": depth, "confidence": (depth > 0) * 0.9, "motion_mask": (depth < 3.0) & (depth > 0)}
    if example.has_plate_depth:
        products["plate_depth"] = trace_depth(example, index, example.clip)[0]
    if example.has_edges:
        products["edge"] = np.ones(example.clip[::-1])
    for product, picture in products.items():
        write_gray(folder.product_file(product, file_number(example, index)), picture)
    if example.has_mesh_depth:
        write_mesh_depth(folder, file_number(example, index))
    return replace(solved, **{p: folder.relative(folder.product_file(p, file_number(example, index)))
                              for p in (*products, *["mesh_depth"] * example.has_mesh_depth)})


def rewrite(folder: Path, product: str, number: int, picture: np.ndarray) -> None:
    """Another depth, confidence or motion mask of one frame of a job, and what its mesh reads of that."""
    job_folder = JobFolder(folder)
    write_gray(job_folder.product_file(product, number), picture)
    if job_folder.product_file("mesh_depth", number).exists():
        write_mesh_depth(job_folder, number)


def write_mesh_depth(folder: JobFolder, number: int, sky: np.ndarray | None = None) -> None:
    """What the engine makes of depth, confidence and motion mask, as they are in the folder. sky: (H,W) bool."""
    pictures = [read_exr(folder.product_file(product, number))["V"]
                for product in ("depth", "confidence", "motion_mask")]
    folder.product_file("mesh_depth", number).parent.mkdir(exist_ok=True)
    write_exr(folder.product_file("mesh_depth", number),
              mesh_channels(*pictures, np.zeros(pictures[0].shape, bool) if sky is None else sky))


def _result(example: Example, clip: ClipSource, frames: tuple[FrameResult, ...]) -> Result:
    depth_range = None
    if example.camera_kind == "moving":
        depths = np.stack([depth_of(example, index) for index in range(example.frame_count)])
        depth_range = (float(depths[depths > 0].min()), float(depths.max()))
    return Result(job_id=example.job_id, clip=clip, width=example.raster[0], height=example.raster[1],
                  clip_width=example.clip[0], clip_height=example.clip[1], clip_pixel_aspect=example.pixel_aspect,
                  fps=24.0, stereo="geometric", refine="guided", camera_kind=example.camera_kind, frames=frames,
                  quality=Quality(solved_share=1.0), depth_range=depth_range, lens=example.lens,
                  plate_size=example.clip if example.has_plate_depth else None)


def _rotation(angle: float, axis: int) -> np.ndarray:
    matrix, (a, b) = np.eye(3), [k for k in range(3) if k != axis]
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def _to_wall(origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return (WALL_OFFSET - origin @ WALL_NORMAL) / (directions @ WALL_NORMAL)


def _to_box(origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Distance along each direction to the box; infinite where it is missed. Slab method."""
    with np.errstate(divide="ignore"):
        low, high = (BOX_LOW - origin) / directions, (BOX_HIGH - origin) / directions
    enter, leave = np.minimum(low, high).max(axis=-1), np.maximum(low, high).min(axis=-1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def _color(points: np.ndarray) -> np.ndarray:
    """A checker in space with a slow tint, so that every place looks like itself."""
    checker = (np.floor(points * 4.0 + 0.5).astype(int).sum(axis=-1) % 2).astype(float)
    tint = 0.5 + 0.5 * np.sin(points * [1.3, 1.7, 0.9] + [0.0, 1.0, 2.0])
    return np.clip(0.15 + 0.55 * tint + 0.25 * (checker[..., None] - 0.5), 0.0, 1.0)


def write_sequence(folder: Path, *, first: int = 1, count: int = 6, stem: str = "plate_", size=(96, 72)) -> Path:
    """A numbered PNG sequence. Returns its first file."""
    import numpy as np
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        picture = np.full((size[1], size[0], 3), 20 + 5 * (number - first), np.uint8)
        write_png(folder / f"{stem}{number:04d}.png", picture)
    return folder / f"{stem}{first:04d}.png"
