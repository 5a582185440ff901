"""True accuracy of a finished job against a rendered truth: python accuracy.py JOB TRUTH.npz [--json]

JOB is a job folder, or a folder of job folders, of which the newest finished one counts. TRUTH.npz holds
    depth             (T,h,w) z-depth in metres, inf or 0 where nothing is; h, w a whole fraction of the clip's size
    dynamic           (T,h,w) True where a moving thing is seen
    camera_to_world   (T,4,4) OpenCV axes
    K, size           (3,3) camera matrix and (width, height) of the clip
and its first frame is the clip's frame 1. A solve has no unit of length, so cameras are aligned to the truth by a
similarity (Umeyama 1991) and depth by its median ratio, one for the whole clip, before they are compared.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import OpenEXR

from stereodiff_blender.engine.contract import JobFolder, Result, StereoDiffError


@dataclass(frozen=True)
class Accuracy:
    """ate_percent: RMS distance of aligned camera positions, of the true path's length. rotation_deg: mean error of
    the turn from frame to frame. focal_percent: signed. absrel: mean |depth - true| / true; within_25_percent: share
    of pixels whose ratio to the truth is below 1.25; coverage: share of pixels with depth. None: not in this shot.
    """

    frames: int
    ate_percent: float
    rotation_deg: float
    focal_percent: float
    absrel_static: float | None
    absrel_moving: float | None
    within_25_percent: float | None
    coverage: float | None


def measure(folder: Path, truth_file: Path) -> Accuracy:
    """Raises StereoDiffError "result_invalid" if the folder holds no finished job."""
    result = JobFolder(folder).read_result()
    with np.load(truth_file) as arrays:
        truth = dict(arrays)
    indices = [frame.frame - 1 for frame in result.frames]
    solved = np.array([frame.camera_to_world for frame in result.frames])
    true = truth["camera_to_world"][indices]
    focal = np.median([frame.fx for frame in result.frames]) / result.width
    true_focal = truth["K"][0, 0] / truth["size"][0]
    depth = depth_errors(folder, result, truth, indices) if result.depth_range else (None,) * 4
    return Accuracy(len(indices), trajectory_error(solved, true), rotation_error(solved, true),
                    float(100 * (focal / true_focal - 1)), *depth)


def trajectory_error(solved: np.ndarray, true: np.ndarray) -> float:
    """Percent of the path's length; solved, true: (T,4,4)."""
    source, target = solved[:, :3, 3], true[:, :3, 3]
    path = np.linalg.norm(np.diff(target, axis=0), axis=1).sum()
    distances = np.linalg.norm(similarity_aligned(source, target) - target, axis=1)
    return float(100 * np.sqrt(np.mean(distances**2)) / path)


def similarity_aligned(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """source (N,3) after the scale, rotation and shift that bring it nearest to target (N,3)."""
    source, centre = source - source.mean(0), target.mean(0)
    left, singular, right = np.linalg.svd((target - centre).T @ source)
    mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = np.trace(np.diag(singular) @ mirror) / max(np.sum(source**2), 1e-18)
    return scale * source @ (left @ mirror @ right).T + centre


def rotation_error(solved: np.ndarray, true: np.ndarray) -> float:
    """Mean angle in degrees between the solved and the true turn from each frame to the next."""
    turns = [np.swapaxes(c[:-1, :3, :3], 1, 2) @ c[1:, :3, :3] for c in (solved, true)]
    cosines = (np.einsum("nij,nij->n", *turns) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())


def depth_errors(folder: Path, result: Result, truth: dict, indices: list[int]) -> tuple[float | None, ...]:
    """absrel static, absrel moving, share within 25 percent, coverage."""
    depth = np.stack([sampled(read_channel(folder / frame.depth), truth["depth"].shape[1:]) for frame in result.frames])
    true = truth["depth"][indices].astype(np.float64)
    dynamic = truth["dynamic"][indices]
    exists = np.isfinite(true) & (true > 0) & (true < 1000)
    both = exists & (depth > 0)
    depth = depth * np.median(true[both] / depth[both])
    error = np.abs(depth - true, where=both, out=np.zeros_like(depth)) / np.where(both, true, 1)
    ratio = np.maximum(depth[both] / true[both], true[both] / depth[both])
    moving = both & dynamic
    return (float(error[both & ~dynamic].mean()), float(error[moving].mean()) if moving.any() else None,
            float((ratio < 1.25).mean()), float(both.sum() / exists.sum()))


def sampled(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image's values at the pixel centres of a raster of another size."""
    rows, columns = (((np.arange(n) + 0.5) * full / n).astype(int) for n, full in zip(shape, image.shape, strict=True))
    return image[rows][:, columns]


def read_channel(path: Path) -> np.ndarray:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        (channel,) = file.channels().values()
        return np.asarray(channel.pixels, dtype=np.float64)


def newest_finished(folder: Path) -> Path:
    if (folder / "job.json").exists():
        return folder
    finished = sorted(folder.glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise StereoDiffError("job_missing", f"no finished job in {folder}")
    return finished[-1].parent


def sentences(accuracy: Accuracy) -> list[str]:
    lines = [f"camera path     {accuracy.ate_percent:.2f} % of its length off (RMS, {accuracy.frames} frames)",
             f"camera turn     {accuracy.rotation_deg:.3f} degrees off per frame",
             f"focal length    {accuracy.focal_percent:+.2f} %"]
    if accuracy.absrel_static is not None:
        lines += [f"static depth    {100 * accuracy.absrel_static:.2f} % off on average",
                  f"depth overall   {100 * accuracy.within_25_percent:.1f} % of pixels within 25 %, "
                  f"{100 * accuracy.coverage:.1f} % covered"]
    if accuracy.absrel_moving is not None:
        lines.insert(4, f"moving depth    {100 * accuracy.absrel_moving:.2f} % off on average")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    accuracy = measure(newest_finished(options.job), options.truth)
    print(json.dumps(asdict(accuracy)) if options.json else "\n".join("  " + line for line in sentences(accuracy)))


if __name__ == "__main__":
    main()
