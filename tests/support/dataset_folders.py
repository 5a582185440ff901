"""Small data sets in the official layouts, written from a shot whose depth and cameras are known exactly."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from depth_scenes import RayCastShot, ray_cast

from stereodiff_blender.engine.geometry import invert_rigid
from stereodiff_blender.engine.media.exr import write_gray

FRAMES = 4
TAG = struct.pack("<f", 202021.25)
FIRST_STAMP, RATE = 1548266469.88633, 30.0


@dataclass(frozen=True)
class Written:
    """A data set's root, the name of its one clip, and what is in it."""

    root: Path
    clip: str
    shot: RayCastShot


@cache
def shot_of(count: int = FRAMES, *, with_object: bool = False) -> RayCastShot:
    return ray_cast(count, with_object=with_object)


# --- TUM RGB-D and Bonn ------------------------------------------------------------------------------------------

def write_rgbd(root: Path, folder: str, poses: np.ndarray, shot: RayCastShot) -> Path:
    """Depth 5 ms after color, and poses at 90 a second, between whose own are others that belong to no frame."""
    clip = root / folder
    for name in ("rgb", "depth"):
        (clip / name).mkdir(parents=True)
    lists = {"rgb": ["# color images"], "depth": ["# depth maps"], "groundtruth": ["# timestamp tx ty tz qx qy qz qw"]}
    for index, (picture, depth, pose) in enumerate(zip(shot.frames, shot.depth, poses, strict=True)):
        stamp = FIRST_STAMP + index / RATE
        write_png(clip / "rgb" / f"{stamp:.5f}.png", picture[..., ::-1])
        write_png(clip / "depth" / f"{stamp + 0.005:.5f}.png", np.rint(5000 * depth).astype(np.uint16))
        lists["rgb"].append(f"{stamp:.5f} rgb/{stamp:.5f}.png")
        lists["depth"].append(f"{stamp + 0.005:.5f} depth/{stamp + 0.005:.5f}.png")
        numbers = (*pose[:3, 3], *quaternion_of(pose[:3, :3]))
        lists["groundtruth"].append(f"{stamp + 0.002:.5f} " + " ".join(f"{n:.9f}" for n in numbers))
        lists["groundtruth"].append(f"{stamp + 0.013:.5f} 9 9 9 0 0 0 1")
    for name, lines in lists.items():
        (clip / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return clip


def write_tum(root: Path) -> Written:
    shot = shot_of()
    write_rgbd(root, "rgbd_dataset_freiburg3_walking", shot.camera_to_world, shot)
    return Written(root, "rgbd_dataset_freiburg3_walking", shot)


def write_bonn(root: Path) -> Written:
    """Poses as the data set has them: of the markers on the sensor, in the recording system's axes."""
    shot = shot_of()
    axes = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    published = np.array([[1.0157, 0.1828, -0.2389, 0.0113], [0.0009, -0.8431, -0.6413, -0.0098],
                          [-0.3009, 0.6147, -0.8085, 0.0111], [0, 0, 0, 1]])
    to_camera = axes @ published
    left, _, right = np.linalg.svd(to_camera[:3, :3])
    to_camera[:3, :3] = left @ right
    stored = axes @ shot.camera_to_world @ np.linalg.inv(to_camera)
    write_rgbd(root, "rgbd_bonn_balloon", stored, shot)
    return Written(root, "balloon", shot)


def quaternion_of(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """x, y, z, w of a turn of less than 180 degrees, or of any other by its largest part."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    squares = np.array([1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i])
    largest = int(squares.argmax())
    products = {0: (squares[0], b + d, c + g, h - f), 1: (b + d, squares[1], f + h, c - g),
                2: (c + g, f + h, squares[2], d - b), 3: (h - f, c - g, d - b, squares[3])}[largest]
    return tuple(np.array(products) / (2 * np.sqrt(squares[largest])))


# --- KITTI -------------------------------------------------------------------------------------------------------

KITTI_SIZE = (1242, 375)
DRIVE = "2011_09_26_drive_0002_sync"


def write_kitti(root: Path) -> Written:
    """Six pictures, truth for the second to the fifth but not the fourth, as sparse as a laser's."""
    shot = shot_of()
    truth = root / "data_depth_annotated" / "val" / DRIVE / "proj_depth" / "groundtruth" / "image_02"
    pictures = root / "2011_09_26" / DRIVE / "image_02" / "data"
    truth.mkdir(parents=True)
    pictures.mkdir(parents=True)
    for number in range(6):
        picture = cv2.resize(shot.frames[min(number, 3)], KITTI_SIZE)
        write_png(pictures / f"{number:010d}.png", picture[..., ::-1])
    for number in (1, 2, 4):
        write_png(truth / f"{number:010d}.png", np.rint(256 * kitti_truth(shot, number)).astype(np.uint16))
    projection = "721.5377 0.0 609.5593 44.85728 0.0 721.5377 172.854 0.2163791 0.0 0.0 1.0 0.002745884"
    (root / "2011_09_26" / "calib_cam_to_cam.txt").write_text(
        f"calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\nP_rect_02: {projection}\n")
    return Written(root, DRIVE, shot)


def kitti_truth(shot: RayCastShot, number: int) -> np.ndarray:
    depth = cv2.resize(shot.depth[number - 1], KITTI_SIZE, interpolation=cv2.INTER_NEAREST)
    return np.where(np.add.outer(np.arange(375), np.arange(1242)) % 7 == 0, depth, 0.0)


# --- ScanNet -----------------------------------------------------------------------------------------------------

def write_scannet(root: Path) -> Written:
    """Numbers without leading zeros, 9 to 12; color twice as large as depth; the third pose was lost."""
    shot = shot_of()
    scene = root / "scene0078_00"
    for name in ("color", "depth", "pose", "intrinsic"):
        (scene / name).mkdir(parents=True)
    for index in range(FRAMES):
        number = 9 + index
        large = shot.frames[index].repeat(2, axis=0).repeat(2, axis=1)
        cv2.imwrite(str(scene / "color" / f"{number}.jpg"), large[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 98))
        write_png(scene / "depth" / f"{number}.png", np.rint(1000 * shot.depth[index]).astype(np.uint16))
        pose = shot.camera_to_world[index] if index != 2 else np.full((4, 4), -np.inf)
        np.savetxt(scene / "pose" / f"{number}.txt", pose, fmt="%.9f")
    fx, fy, cx, cy = 2 * shot.intrinsics[0]
    np.savetxt(scene / "intrinsic" / "intrinsic_color.txt",
               [[fx, 0, cx - 0.5, 0], [0, fy, cy - 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return Written(root, "scene0078_00", shot)


# --- Sintel ------------------------------------------------------------------------------------------------------

def write_sintel(root: Path) -> Written:
    shot = shot_of()
    for name in ("final", "depth", "camdata_left"):
        (root / "training" / name / "alley_1").mkdir(parents=True)
    for index in range(FRAMES):
        stem, half = f"frame_{index + 1:04d}", root / "training"
        write_png(half / "final" / "alley_1" / f"{stem}.png", shot.frames[index][..., ::-1])
        (half / "depth" / "alley_1" / f"{stem}.dpt").write_bytes(dpt_of(shot.depth[index]))
        (half / "camdata_left" / "alley_1" / f"{stem}.cam").write_bytes(
            cam_of(shot.camera_to_world[index], shot.intrinsics[index]))
    return Written(root, "alley_1", shot)


def dpt_of(depth: np.ndarray) -> bytes:
    return TAG + struct.pack("<ii", depth.shape[1], depth.shape[0]) + depth.astype("<f4").tobytes()


def cam_of(camera_to_world: np.ndarray, intrinsics: np.ndarray) -> bytes:
    """Lenses of Sintel count from the first pixel's center."""
    fx, fy, cx, cy = intrinsics
    lens = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    return TAG + lens.astype("<f8").tobytes() + invert_rigid(camera_to_world)[:3].astype("<f8").tobytes()


# --- Plain folder ------------------------------------------------------------------------------------------------

def write_folder(root: Path, name: str = "street", *, shot: RayCastShot | None = None, depth: str = "exr",
                 cameras: str = "json", first_number: int = 1) -> Written:
    """depth: "exr" or "png". cameras: "json", "poses" or "" for none."""
    shot = shot if shot is not None else shot_of(with_object=True)
    clip = root / name
    for folder in ("frames", "depth", "motion"):
        (clip / folder).mkdir(parents=True)
    numbers = range(first_number, first_number + len(shot.frames))
    for index, number in enumerate(numbers):
        write_png(clip / "frames" / f"{number:04d}.png", shot.frames[index][..., ::-1])
        write_png(clip / "motion" / f"{number:04d}.png", 255 * shot.motion_mask[index])
        if depth == "exr":
            write_gray(clip / "depth" / f"{number:04d}.exr", shot.depth[index])
        else:
            write_png(clip / "depth" / f"{number:04d}.png", np.rint(2000 * shot.depth[index]).astype(np.uint16))
    if depth == "png":
        (clip / "depth" / "scale.txt").write_text("2000  # of a meter\n")
    if cameras == "json":
        (clip / "cameras.json").write_text(json.dumps(cameras_of(shot, numbers)))
    elif cameras == "poses":
        rows = [f"{number} " + " ".join(f"{n:.9f}" for n in (*pose[:3, 3], *quaternion_of(pose[:3, :3])))
                for number, pose in zip(numbers, shot.camera_to_world, strict=True)]
        (clip / "poses.txt").write_text("\n".join(rows))
        (clip / "intrinsics.txt").write_text(" ".join(map(str, shot.intrinsics[0])))
    return Written(root, name, shot)


def cameras_of(shot: RayCastShot, numbers: range) -> dict:
    return {"frames": [{"number": number, "camera_to_world": pose.tolist(),
                        **dict(zip(("fx", "fy", "cx", "cy"), lens.tolist(), strict=True))}
                       for number, pose, lens in zip(numbers, shot.camera_to_world, shot.intrinsics, strict=True)]}


def write_png(path: Path, image: np.ndarray) -> Path:
    done, data = cv2.imencode(".png", image)
    assert done
    path.write_bytes(data.tobytes())
    return path


WRITERS = {"tum": write_tum, "bonn": write_bonn, "kitti": write_kitti, "scannet": write_scannet,
           "sintel": write_sintel, "folder": write_folder}
