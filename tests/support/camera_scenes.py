"""Shots with a known camera: textured boards in space, or a far wall, rendered by homographies; and bare tracks."""

from __future__ import annotations

import cv2
import numpy as np

from stereodiff_blender.engine.geometry import align_similarity, exp_so3
from stereodiff_blender.engine.stereo.mapping import BundleState, Observations

WIDTH, HEIGHT, FOCAL_PX = 320, 180, 300.0

# Origin, and the two sides, of each board; far ones first, since they are painted in this order.
BOARDS = (
    ((-9.0, -5.0, 12.0), (18.0, 0.0, 2.0), (0.0, 10.0, 0.0)),
    ((-4.0, 1.2, 9.0), (9.0, 0.0, 0.0), (0.0, 0.8, -6.0)),
    ((-3.6, -1.6, 8.0), (2.4, 0.0, -1.5), (0.0, 2.6, 0.0)),
    ((1.1, -1.3, 5.5), (1.7, 0.0, 0.9), (0.0, 2.3, 0.0)),
    ((-0.9, -0.3, 4.0), (1.0, 0.0, 0.2), (0.0, 1.1, 0.0)),
)


def texture(seed: int, size: int = 512) -> np.ndarray:
    """(size,size,3) uint8 with corners at several scales."""
    generator = np.random.default_rng(seed)
    total = np.zeros((size, size, 3), np.float32)
    for cells, weight in ((16, 1.0), (48, 0.8), (128, 0.5)):
        total += weight * cv2.resize(generator.random((cells, cells, 3), np.float32), (size, size),
                                     interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(total, [1, 99])
    return np.clip(255 * (total - low) / (high - low), 0, 255).astype(np.uint8)


def camera_path(count: int, *, travel: float = 1.0, turn_deg: float = 3.0) -> np.ndarray:
    """camera_to_world (T,4,4): sideways and forward with a slow sway, identity at the first frame."""
    share = np.linspace(0.0, 1.0, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = travel * np.stack([0.9 * share, 0.15 * np.sin(3 * share), 0.5 * share**2], axis=1)
    poses[:, :3, :3] = turned(np.stack([0.4 * np.sin(4 * share), -share, 0.2 * share], axis=1) * turn_deg)
    return poses


def turned(angles_deg: np.ndarray) -> np.ndarray:
    return exp_so3(np.radians(np.asarray(angles_deg, float)))


def path_error(found: np.ndarray, true: np.ndarray) -> float:
    """Root mean square distance of places (T,3) after similarity alignment, as a share of the true path's length."""
    scale, rotation, shift = align_similarity(found, true)
    off = np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1)
    return float(np.sqrt((off**2).mean()) / np.linalg.norm(np.diff(true, axis=0), axis=1).sum())


def _paint(image: np.ndarray, picture: np.ndarray, homography: np.ndarray) -> None:
    """Warp picture into image; homography: picture pixels to image pixels, both with centers at +0.5."""
    center = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(center) @ homography @ center
    size = image.shape[1::-1]
    covered = cv2.warpPerspective(np.full(picture.shape[:2], 255, np.uint8), matrix, size, flags=cv2.INTER_LINEAR)
    warped = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    image[covered > 127] = warped[covered > 127]


def render_boards(poses: np.ndarray, *, focal_px: float = FOCAL_PX, width: int = WIDTH, height: int = HEIGHT,
                  moving=None, noise: float = 1.5) -> np.ndarray:
    """(T,H,W,3) uint8. mover: function of the frame index to the (x, y) of a patch pasted over, or None."""
    textures = [texture(seed) for seed in range(len(BOARDS))]
    matrix = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    frames = np.zeros((len(poses), height, width, 3), np.uint8)
    for frame, pose in zip(frames, poses, strict=True):
        to_camera = pose[:3, :3].T
        for (origin, across, down), picture in zip(BOARDS, textures, strict=True):
            plane = np.stack([across, down, np.subtract(origin, pose[:3, 3])], axis=1)
            shrink = np.diag([1 / picture.shape[1], 1 / picture.shape[0], 1.0])
            _paint(frame, picture, matrix @ to_camera @ plane @ shrink)
    return _finished(frames, moving, noise)


def render_wall(rotations: np.ndarray, *, focal_px: float = FOCAL_PX, width: int = WIDTH, height: int = HEIGHT,
                moving=None, noise: float = 1.5) -> np.ndarray:
    """A wall at infinity seen by a camera that only turns; rotations (T,3,3) camera to world."""
    picture = np.vstack([np.hstack([texture(1), texture(2)]), np.hstack([texture(3), texture(4)])])
    matrix = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    half = picture.shape[0] / 2
    wall = np.linalg.inv(np.array([[1.6 * focal_px, 0, half], [0, 1.6 * focal_px, half], [0, 0, 1]]))
    frames = np.zeros((len(rotations), height, width, 3), np.uint8)
    for frame, rotation in zip(frames, rotations, strict=True):
        _paint(frame, picture, matrix @ rotation.T @ wall)
    return _finished(frames, moving, noise)


def _finished(frames: np.ndarray, moving, noise: float) -> np.ndarray:
    generator = np.random.default_rng(9)
    patch = texture(77, 96)[:60, :50]
    for index, frame in enumerate(frames):
        if moving is not None:
            x, y = moving(index)
            frame[y:y + 60, x:x + 50] = patch
        grain = generator.normal(0.0, noise, frame.shape)
        frame[:] = np.clip(frame + grain, 0, 255).astype(np.uint8)
    return frames


def point_scene(cameras: int = 12, points: int = 300, seed: int = 0) -> tuple[BundleState, Observations]:
    """A scene of random points and its exact observations, in square pixels from the principal point."""
    generator = np.random.default_rng(seed)
    world = generator.uniform((-4, -3, 4), (4, 3, 12), (points, 3))
    poses = camera_path(cameras, travel=3.0, turn_deg=8.0)
    rotations = np.swapaxes(poses[:, :3, :3], 1, 2)
    scene = BundleState(rotations, -np.einsum("nij,nj->ni", rotations, poses[:, :3, 3]), world, FOCAL_PX)
    first = generator.integers(0, cameras - 4, points)
    length = generator.integers(4, cameras + 1, points)
    camera, point = np.meshgrid(np.arange(cameras), np.arange(points), indexing="ij")
    visible = (camera >= first) & (camera < first + length)
    camera, point = camera[visible], point[visible]
    nothing = np.zeros((len(camera), 2))
    in_camera = scene.in_camera(Observations(camera, point, nothing))
    return scene, Observations(camera, point, FOCAL_PX * in_camera[:, :2] / in_camera[:, 2:])
