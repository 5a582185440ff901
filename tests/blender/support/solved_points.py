"""Points on the surfaces of the example of job_folder.py, put into its job folder as a solve does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from job_folder import Example, camera_rays, camera_to_world, trace_depth

from stereodiff_blender.engine.contract import JobFolder


def surface_points(example: Example, count: int) -> np.ndarray:
    """(count,3) float64 of single precision, on the engine's axes; each is seen in the first, middle or last frame."""
    rng = np.random.default_rng(5)
    frames = (0, example.frame_count // 2, example.frame_count - 1)
    found = [_seen_points(example, index, count // 3, rng) for index in frames]
    return np.concatenate(found).astype(np.float32).astype(np.float64)


def _seen_points(example: Example, index: int, count: int, rng: np.random.Generator) -> np.ndarray:
    depth = trace_depth(example, index)[0]
    rows, columns = rng.integers(0, depth.shape[0], count), rng.integers(0, depth.shape[1], count)
    rays = camera_rays(example, index, columns + 0.5, rows + 0.5)
    times = example.readout * ((rows + 0.5) / depth.shape[0] - 0.5)
    poses = np.stack([camera_to_world(example, index + time) for time in times])
    return np.einsum("nij,nj->ni", poses[:, :3, :3], rays * depth[rows, columns, None]) + poses[:, :3, 3]


def colors_of(points: np.ndarray) -> np.ndarray:
    """(N,3) uint8, another for every point."""
    return np.random.default_rng(7).integers(0, 256, points.shape).astype(np.uint8)


def write_points(folder: Path, points: np.ndarray) -> None:
    """Write points.ply, in colors_of() them, and name it in the result."""
    table = np.empty(len(points), [("position", "<f4", 3), ("color", "u1", 3)])
    table["position"], table["color"] = points, colors_of(points)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}",
              *(f"property float {axis}" for axis in "xyz"),
              *(f"property uchar {color}" for color in ("red", "green", "blue")), "end_header", ""]
    (folder / "points.ply").write_bytes("\n".join(header).encode() + table.tobytes())
    job = JobFolder(folder)
    job.write_result(replace(job.read_result(), points="points.ply"))
