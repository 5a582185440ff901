"""True accuracy of a finished job against the truth of its clip: python accuracy.py JOB TRUTH [--json | --markdown]

JOB is a job folder, or a folder of job folders, of which the newest finished one counts. TRUTH is what truth.py reads.
A solve has no unit of length, so cameras are aligned to the truth by a similarity (Umeyama 1991) and depth by its
median ratio, one for the whole clip, before they are compared. accuracy_table.py measures many clips.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from truth import Compared, Truth, compare, newest_finished, read_truth

from stereodiff_blender.engine.contract import Distortion, JobFolder, Result
from stereodiff_blender.engine.geometry import invert_rigid
from stereodiff_blender.engine.lens import distorted
from stereodiff_blender.engine.quality.static_points import world_points
from stereodiff_blender.engine.shutter import RollingShutter, RowCamera
from stereodiff_blender.engine.solution import TRUSTED

RIGHT = 0.10
"""Depth off by less, relatively, counts as right."""
BORDER_STEP, BORDER_PX = 1.08, 8.0
"""Neighbors whose true depths differ by this factor are an object's border, whose band has this reach in the clip."""
SAME_SURFACE = 0.02
"""A point whose depth agrees this well with the next frame's truth is seen there."""
DRIFT_FRAMES, DRIFT_STEP_PX = 8, 6


@dataclass(frozen=True)
class Accuracy:
    """What a job is worth. None: does not apply to this shot, or the truth does not tell.

    ate_percent: RMS distance of aligned camera positions, of the true path's length. rotation_deg: mean error of the
    turn from frame to frame. focal_percent: of the frame that is furthest off, signed.
    Depth, mean |depth - true| / true: absrel_static, absrel_moving, absrel_border (static pixels within 8 pixels of
    an object's border). within_25_percent: share of pixels whose ratio to the truth is below 1.25. coverage: share of
    pixels with depth; trusted: with trusted depth; right: within 10 % of the truth; trusted_right: of the trusted
    ones. alignment_percent (temporal alignment error): mean |change of ln depth - true change| from frame to frame
    along the true motion of static pixels that stay visible. drift_px: how far a static trusted point is from where
    it should be when depth and cameras carry it up to 8 frames on, mean, pixels of the job's raster; beside it
    reprojection_px, what the job itself reports. mask_iou, mask_recall: motion mask against the truth's.
    """

    frames: int
    kind: str
    warnings: tuple[str, ...]
    ate_percent: float | None
    rotation_deg: float
    focal_percent: float
    reprojection_px: float | None
    absrel_static: float | None = None
    absrel_moving: float | None = None
    absrel_border: float | None = None
    within_25_percent: float | None = None
    coverage: float | None = None
    trusted: float | None = None
    right: float | None = None
    trusted_right: float | None = None
    alignment_percent: float | None = None
    drift_px: float | None = None
    mask_iou: float | None = None
    mask_recall: float | None = None


def measure(folder: Path, truth_path: Path) -> Accuracy:
    """Raises StereoDiffError "result_invalid" if the folder holds no finished job, "job_missing" without a truth."""
    result, truth = JobFolder(folder).read_result(), read_truth(truth_path)
    used = [frame for frame in result.frames if frame.frame <= len(truth.camera_to_world)]
    indices = [frame.frame - 1 for frame in used]
    solved, true = np.array([frame.camera_to_world for frame in used]), truth.camera_to_world[indices]
    travels = result.camera_kind == "moving" and truth.path_length > 0
    depth = depth_accuracy(folder, result, truth) if result.depth_range and truth.depth else {}
    return Accuracy(len(used), result.camera_kind, tuple(warning.code for warning in result.warnings),
                    trajectory_error(solved, true) if travels else None, rotation_error(solved, true),
                    focal_error(np.array([frame.fx for frame in used]) / result.width,
                                truth.intrinsics[indices, 0] / truth.size[0]),
                    result.quality.reprojection_mean_px, **depth)


# --- Cameras ---------------------------------------------------------------------------------------------------

def trajectory_error(solved: np.ndarray, true: np.ndarray) -> float:
    """Percent of the path's length; solved, true: (T,4,4)."""
    source, target = solved[:, :3, 3], true[:, :3, 3]
    path = np.linalg.norm(np.diff(target, axis=0), axis=1).sum()
    distances = np.linalg.norm(similarity_aligned(source, target) - target, axis=1)
    return float(100 * np.sqrt(np.mean(distances**2)) / path)


def similarity_aligned(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """source (N,3) after the scale, rotation and shift that bring it nearest to target (N,3)."""
    source, center = source - source.mean(0), target.mean(0)
    left, singular, right = np.linalg.svd((target - center).T @ source)
    mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = np.trace(np.diag(singular) @ mirror) / max(np.sum(source**2), 1e-18)
    return scale * source @ (left @ mirror @ right).T + center


def rotation_error(solved: np.ndarray, true: np.ndarray) -> float:
    """Mean angle in degrees between the solved and the true turn from each frame to the next.

    By the sine as well as the cosine of the angle: the cosine alone cannot tell small angles from rounding.
    """
    turns = [np.swapaxes(c[:-1, :3, :3], 1, 2) @ c[1:, :3, :3] for c in (solved, true)]
    between = np.swapaxes(turns[0], 1, 2) @ turns[1]
    axis = between[:, (2, 0, 1), (1, 2, 0)] - between[:, (1, 2, 0), (2, 0, 1)]
    angles = np.arctan2(np.linalg.norm(axis, axis=1), np.trace(between, axis1=1, axis2=2) - 1)
    return float(np.degrees(angles).mean())


def focal_error(solved: np.ndarray, true: np.ndarray) -> float:
    """Signed percent of the frame that is furthest off; solved, true: (T,) focal length over width."""
    errors = 100 * (solved / true - 1)
    return float(errors[np.abs(errors).argmax()])


# --- Depth -----------------------------------------------------------------------------------------------------

def depth_accuracy(folder: Path, result: Result, truth: Truth) -> dict[str, float | None]:
    """The fields of Accuracy about depth and mask, by name."""
    frames, scale = compare(folder, result, truth)
    both, dynamic = (np.stack([getattr(frame, name) for frame in frames]) for name in ("both", "dynamic"))
    exists = np.stack([frame.exists for frame in frames])
    error = np.stack([frame.error for frame in frames])
    border = np.stack([near_border(frame.true, BORDER_PX * frame.true.shape[1] / truth.size[0]) for frame in frames])
    trusted = np.stack([frame.confidence > TRUSTED for frame in frames]) & exists
    right, static = both & (error < RIGHT), both & ~dynamic
    return {"absrel_static": mean_of(error[static]), "absrel_moving": mean_of(error[both & dynamic]),
            "absrel_border": mean_of(error[static & border]), "within_25_percent": within_25_percent(frames),
            "coverage": float(both.sum() / exists.sum()), "trusted": float(trusted.sum() / exists.sum()),
            "right": float(right.sum() / exists.sum()), "trusted_right": mean_of(right[trusted]),
            "alignment_percent": alignment_error(frames, truth, [frame.frame - 1 for frame in result.frames]),
            "drift_px": drift(frames, scale, result, truth), **mask_accuracy(frames)}


def mean_of(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def within_25_percent(frames: list[Compared]) -> float:
    ratios = [np.maximum(f.depth[f.both] / f.true[f.both], f.true[f.both] / f.depth[f.both]) for f in frames]
    return float((np.concatenate(ratios) < 1.25).mean())


def mask_accuracy(frames: list[Compared]) -> dict[str, float | None]:
    marked, moving = (np.stack([getattr(f, name) for f in frames]) for name in ("motion_mask", "dynamic"))
    if not moving.any():
        return {"mask_iou": None, "mask_recall": None}
    return {"mask_iou": float((marked & moving).sum() / (marked | moving).sum()),
            "mask_recall": float(marked[moving].mean())}


def near_border(true: np.ndarray, reach_px: float) -> np.ndarray:
    """Where an (h,w) depth jumps between neighbors, and around it; the sky's edge is a border, a hole's is not."""
    known, log_depth = true > 0, np.log(np.clip(true, 1e-3, 1e6))
    edge = np.zeros(true.shape, np.uint8)
    for one, other in (((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
                       ((slice(None), slice(1, None)), (slice(None), slice(None, -1)))):
        jump = (np.abs(log_depth[one] - log_depth[other]) > np.log(BORDER_STEP)) & known[one] & known[other]
        edge[one] |= jump
        edge[other] |= jump
    return cv2.distanceTransform(1 - edge, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) < reach_px


# --- Along the motion ------------------------------------------------------------------------------------------

def alignment_error(frames: list[Compared], truth: Truth, indices: list[int]) -> float | None:
    """Percent: see Accuracy.alignment_percent."""
    errors = []
    for here, there, index, after in zip(frames, frames[1:], indices, indices[1:], strict=False):
        rows, cols = np.nonzero(here.both & ~here.dynamic)
        points = lifted(here.true, rows, cols, true_camera(index, truth, here.true.shape))
        pixels, z = projected(points, true_camera(after, truth, there.true.shape))
        seen = is_seen(there, pixels, z)
        found = looked_up(there.depth, pixels[seen])
        change = np.log(found / here.depth[rows, cols][seen]) - np.log(z[seen] / here.true[rows, cols][seen])
        errors.append(np.abs(change[found > 0]))
    every = np.concatenate(errors) if errors else np.empty(0)
    return 100 * mean_of(every) if every.size else None


def drift(frames: list[Compared], scale: float, result: Result, truth: Truth) -> float | None:
    """Pixels: see Accuracy.drift_px. scale: of the job's unit of length in the truth's."""
    errors = []
    for start in range(0, len(frames) - 1, DRIFT_FRAMES // 2):
        here, first = frames[start], result.frames[start]
        shape = here.true.shape
        grid = np.zeros(shape, bool)
        grid[::DRIFT_STEP_PX, ::DRIFT_STEP_PX] = True
        rows, cols = np.nonzero(grid & here.both & ~here.dynamic & (here.confidence > TRUSTED))
        true_points = lifted(here.true, rows, cols, true_camera(first.frame - 1, truth, shape))
        solved_as = solved_cameras(result, shape)
        points = lifted(here.depth / scale, rows, cols, solved_as[start])
        for k, there in enumerate(frames[start + 1:start + 1 + DRIFT_FRAMES], start + 1):
            other = result.frames[k]
            pixels, z = projected(true_points, true_camera(other.frame - 1, truth, shape))
            solved, _ = projected(points, solved_as[k])
            seen = is_seen(there, pixels, z)
            errors.append(np.linalg.norm(solved[seen] - pixels[seen], axis=1) * result.width / shape[1])
    every = np.concatenate(errors) if errors else np.empty(0)
    return mean_of(every)


class Camera(NamedTuple):
    """intrinsics (4,) on a raster of some shape, camera_to_world (4,4), the lens's distortion, and the same camera row
    by row if it has a rolling shutter."""

    intrinsics: np.ndarray
    camera_to_world: np.ndarray
    distortion: Distortion | None
    rows: RowCamera | None

    @classmethod
    def of_frame(cls, index: int, intrinsics: np.ndarray, camera_to_world: np.ndarray, distortion: Distortion | None,
           shutter: RollingShutter | None) -> Camera:
        rows = None if shutter is None else shutter.camera(index, invert_rigid(camera_to_world), intrinsics)
        return cls(intrinsics, camera_to_world, distortion, rows)


def true_camera(index: int, truth: Truth, shape: tuple[int, int]) -> Camera:
    """On a raster of shape."""
    return Camera.of_frame(index, truth.intrinsics_on(index, shape), truth.camera_to_world[index], truth.distortion,
                     truth.shutter)


def solved_cameras(result: Result, shape: tuple[int, int]) -> list[Camera]:
    """The same as the job solved it, of all its frames."""
    poses = np.array([frame.camera_to_world for frame in result.frames])
    intrinsics = np.array([(frame.fx, frame.fy, frame.cx, frame.cy) for frame in result.frames])
    is_solved = ~np.isin([frame.frame for frame in result.frames], result.quality.unsolved_frames)
    shutter = RollingShutter.of_cameras(poses, intrinsics, is_solved, result.lens, (result.width, result.height))
    on_raster = intrinsics * np.tile((shape[1] / result.width, shape[0] / result.height), 2)
    return [Camera.of_frame(index, on_raster[index], pose, result.lens.distortion, shutter)
            for index, pose in enumerate(poses)]


def lifted(depth: np.ndarray, rows: np.ndarray, cols: np.ndarray, camera: Camera) -> np.ndarray:
    """World points (n,3) of pixels of an (h,w) depth on the plate as it was shot."""
    return world_points(depth, rows, cols, camera.camera_to_world, camera.intrinsics, camera.distortion, camera.rows)


def projected(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) of the plate and z-depth (n,) of world points (n,3); behind the camera: NaN and a z of 0 or less.
    NaN also where the lens shows nothing."""
    pose = invert_rigid(camera.camera_to_world)
    local = points @ pose[:3, :3].T + pose[:3, 3] if camera.rows is None else camera.rows.shown(points)
    z = local[:, 2]
    places = local[:, :2] / np.where(z > 1e-9, z, np.nan)[:, None]
    if camera.distortion is not None:
        is_shown = np.hypot(*places.T) < camera.distortion.ideal_fold_radius()
        places = np.where(is_shown[:, None], distorted(places, camera.distortion), np.nan)
    return places * camera.intrinsics[:2] + camera.intrinsics[2:], z


def is_seen(frame: Compared, pixels: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Which points at these pixels and depths the truth shows there, on something that does not move."""
    surface = looked_up(np.where(frame.exists & ~frame.dynamic, frame.true, 0.0), pixels)
    return (surface > 0) & (np.abs(surface - z) < SAME_SURFACE * np.abs(z))


def looked_up(depth: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Depth (n,) at pixels (n,2), linear in disparity, which a plane is; 0 outside and beside pixels without depth."""
    height, width = depth.shape
    x, y = np.nan_to_num(pixels - 0.5, nan=-1.0).T
    inside = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    col, row = np.floor(x[inside]).astype(int), np.floor(y[inside]).astype(int)
    across, down = x[inside] - col, y[inside] - row
    corners = np.stack([depth[row + i, col + j] for i in (0, 1) for j in (0, 1)])
    weights = np.stack([v * u for v in (1 - down, down) for u in (1 - across, across)])
    known = (corners > 0).all(axis=0)
    found = np.zeros(len(pixels))
    found[inside] = np.where(known, 1 / (weights / np.where(known, corners, 1)).sum(axis=0), 0.0)
    return found


# --- In words --------------------------------------------------------------------------------------------------

COLUMNS = {"kind": ("camera", "{}"), "ate_percent": ("path", "{:.2f} %"), "rotation_deg": ("turn", "{:.3f} deg"),
           "focal_percent": ("focal", "{:+.1f} %"), "absrel_static": ("static", "{:.1%}"),
           "absrel_moving": ("moving", "{:.0%}"), "absrel_border": ("border", "{:.1%}"),
           "alignment_percent": ("flicker", "{:.2f} %"), "trusted": ("trusted", "{:.0%}"), "right": ("right", "{:.0%}"),
           "trusted_right": ("trusted is right", "{:.0%}"), "reprojection_px": ("reported", "{:.2f} px"),
           "drift_px": ("drift", "{:.2f} px")}


def table_head(first: tuple[str, ...], last: tuple[str, ...] = ()) -> str:
    names = [*first, *(title for title, _ in COLUMNS.values()), "warnings", *last]
    return "\n".join((row_of(names), row_of(["---"] * len(names))))


def cells(accuracy: Accuracy) -> list[str]:
    """One line of the Markdown table, from the camera's kind to the warnings."""
    values = ((getattr(accuracy, name), layout) for name, (_, layout) in COLUMNS.items())
    return [*("-" if value is None else layout.format(value) for value, layout in values),
            ", ".join(accuracy.warnings) or "-"]


def row_of(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def sentences(accuracy: Accuracy) -> list[str]:
    path = accuracy.ate_percent
    lines = [f"camera          {accuracy.kind}" if path is None else
             f"camera path     {path:.2f} % of its length off (RMS, {accuracy.frames} frames)",
             f"camera turn     {accuracy.rotation_deg:.3f} degrees off per frame",
             f"focal length    {accuracy.focal_percent:+.2f} %"]
    if accuracy.absrel_static is not None:
        lines += [f"static depth    {accuracy.absrel_static:.2%} off on average"]
    if accuracy.absrel_moving is not None:
        lines += [f"moving depth    {accuracy.absrel_moving:.2%} off on average"]
    if accuracy.coverage is not None:
        lines += [f"depth overall   {accuracy.within_25_percent:.1%} of pixels within 25 %, "
                  f"{accuracy.coverage:.1%} covered",
                  f"trust           {accuracy.trusted:.1%} of pixels are trusted, {accuracy.right:.1%} are right"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("truth", type=Path)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    accuracy = measure(newest_finished(options.job), options.truth)
    if options.json:
        print(json.dumps(asdict(accuracy)))
    elif options.markdown:
        print(table_head(("clip",)), row_of([options.job.name, *cells(accuracy)]), sep="\n")
    else:
        print("\n".join("  " + line for line in sentences(accuracy)))


if __name__ == "__main__":
    main()
