"""The camera solve beside COLMAP's on the same frames: python bench_peers.py OUT [FOLDER ...] [--max-side 640]

FOLDER holds a clip (a movie, or numbered pictures, also in a folder below) and its truth, as truth.py reads it; without
one, it is the sample clip. Every solver gets the same pictures, at the size that the engine solves at, one lens without
distortion that it does not know, and its axis in the middle. COLMAP (pycolmap) finds SIFT features, matches each frame
with those near it and, ever farther apart, with others, and maps by its incremental and by its global mapper; what
features and matches cost counts for both. Errors are of the frames that a solver registered, as in accuracy.py.

Prints a Markdown table and leaves OUT/peers.json. COLMAP is here to be compared with; the extension has none of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from accuracy import focal_error, rotation_error, row_of, trajectory_error
from truth import Truth, read_truth
from whole_clips import clips_below

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.media.frames import plan_raster, probe_clip, read_frames, source_from_path
from stereodiff_blender.engine.stereo.sfm import solve_cameras
from stereodiff_blender.engine.storage import RunContext

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
STANDARD_SIDE_PX = 640
OVERLAP = 10
"""Neighbors that a frame is matched with; beyond them COLMAP takes those 16, 32, 64 ... frames on."""
COLUMNS = ("clip", "solver", "frames", "path", "turn", "lens", "processor", "wall")


@dataclass(frozen=True)
class Cameras:
    """index (N,): frames that have a camera. camera_to_world (N,4,4), focal (N,): over the picture's width."""

    index: np.ndarray
    camera_to_world: np.ndarray
    focal: np.ndarray


@dataclass(frozen=True)
class Row:
    """What a solver made of a clip. None: it does not apply, or nothing was solved; said: why."""

    clip: str
    solver: str
    frames: int
    solved: int
    cpu_s: float
    wall_s: float
    path_percent: float | None = None
    turn_deg: float | None = None
    lens_percent: float | None = None
    said: str = ""


class Stopwatch:
    """Processor and wall seconds of what ran within it, threads included."""

    def __enter__(self) -> Stopwatch:
        self.began = time.process_time(), time.monotonic()
        return self

    def __exit__(self, *_) -> None:
        self.seconds = time.process_time() - self.began[0], time.monotonic() - self.began[1]


# --- The solvers -------------------------------------------------------------------------------------------------

def our_cameras(pictures: np.ndarray) -> Cameras:
    """Raises StereoDiffError if the engine refuses the clip."""
    found = solve_cameras(pictures, context=RunContext())
    index = np.flatnonzero(found.solved)
    return Cameras(index, found.camera_to_world[index], found.intrinsics[index, 0] / pictures.shape[2])


def match_by_sift(pictures: np.ndarray, folder: Path) -> None:
    """Leaves pictures and COLMAP's database in the folder."""
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / name_of(index)), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    reader = pycolmap.ImageReaderOptions(camera_model="SIMPLE_PINHOLE")
    pycolmap.extract_features(folder / "colmap.db", folder, camera_mode=pycolmap.CameraMode.SINGLE,
                              reader_options=reader, image_names=[name_of(index) for index in range(len(pictures))])
    pairing = pycolmap.SequentialPairingOptions(overlap=OVERLAP, quadratic_overlap=True)
    pycolmap.match_sequential(folder / "colmap.db", pairing_options=pairing)


def colmap_cameras(folder: Path, mapping: Callable) -> Cameras:
    """Of the largest of the models that one of COLMAP's mappers makes of the database; without any, of no frame."""
    target = folder / mapping.__name__
    target.mkdir()
    models = mapping(folder / "colmap.db", folder, target).values()
    best = max(models, key=lambda model: model.num_reg_images(), default=None)
    images = [] if best is None else sorted((image for image in best.images.values() if image.has_pose),
                                            key=lambda image: image.name)
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    for pose, image in zip(poses, images, strict=True):
        pose[:3] = image.cam_from_world().inverse().matrix()
    focal = [image.camera.focal_length / image.camera.width for image in images]
    return Cameras(np.array([int(Path(image.name).stem) for image in images], int), poses, np.array(focal))


def name_of(index: int) -> str:
    return f"{index:06}.png"


# --- Compared ----------------------------------------------------------------------------------------------------

def scored(clip: str, solver: str, count: int, cameras: Cameras, truth: Truth, seconds: tuple[float, float]) -> Row:
    """count: of the clip's frames. seconds: of the processor, and by the wall's clock."""
    index, costs = cameras.index, (round(seconds[0], 1), round(seconds[1], 1))
    if len(index) < 3:
        return Row(clip, solver, count, len(index), *costs, said="nothing solved")
    true = truth.camera_to_world[index]
    beside = np.flatnonzero(np.diff(index) == 1)
    turns = [rotation_error(cameras.camera_to_world[[k, k + 1]], true[[k, k + 1]]) for k in beside]
    return Row(clip, solver, count, len(index), *costs, trajectory_error(cameras.camera_to_world, true),
               float(np.mean(turns)) if turns else None,
               focal_error(cameras.focal, truth.intrinsics[index, 0] / truth.size[0]))


def compared(folder: Path, max_side_px: int, scratch: Path) -> list[Row]:
    """Ours first. scratch: a folder for COLMAP's files, made anew."""
    clip, truth = folder.name, read_truth(folder)
    pictures = read_pictures(folder, max_side_px)[:len(truth.camera_to_world)]
    rows, count = [], len(pictures)
    with Stopwatch() as watch:
        try:
            cameras, said = our_cameras(pictures), ""
        except StereoDiffError as error:
            cameras, said = None, error.code
    rows.append(Row(clip, "ours", count, 0, *watch.seconds, said=said) if cameras is None else
                scored(clip, "ours", count, cameras, truth, watch.seconds))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    with Stopwatch() as matching:
        match_by_sift(pictures, scratch)
    for label, mapping in (("COLMAP", pycolmap.incremental_mapping), ("COLMAP global", pycolmap.global_mapping)):
        with Stopwatch() as watch:
            cameras = colmap_cameras(scratch, mapping)
        seconds = matching.seconds[0] + watch.seconds[0], matching.seconds[1] + watch.seconds[1]
        rows.append(scored(clip, label, count, cameras, truth, seconds))
    return rows


def read_pictures(folder: Path, max_side_px: int) -> np.ndarray:
    """(T,H,W,3) uint8. Raises StereoDiffError if there is no clip in the folder, or it cannot be read."""
    clips = clips_below(folder)
    if not clips:
        raise StereoDiffError("clip_missing", f"There is no clip in {folder}.")
    source = source_from_path(clips[0])
    info = probe_clip(source)
    return np.stack(list(read_frames(source, range(1, info.frame_count + 1), plan_raster(info, max_side_px))))


# --- In words ----------------------------------------------------------------------------------------------------

def line(row: Row) -> str:
    def told(value: float | None, layout: str) -> str:
        return row.said or "-" if value is None else layout.format(value)
    return row_of([row.clip, row.solver, f"{row.solved} of {row.frames}", told(row.path_percent, "{:.2f} %"),
                   told(row.turn_deg, "{:.3f} deg"), told(row.lens_percent, "{:+.1f} %"), f"{row.cpu_s:.0f} s",
                   f"{row.wall_s:.0f} s"])


def main(out: Path, folders: list[Path], max_side_px: int) -> None:
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    rows: list[Row] = []
    print(row_of(list(COLUMNS)), row_of(["---"] * len(COLUMNS)), sep="\n", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    for folder in folders or [SAMPLE]:
        found = compared(folder.resolve(), max_side_px, out / "colmap")
        rows += found
        print("\n".join(line(row) for row in found), flush=True)
        (out / "peers.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(out / "colmap", ignore_errors=True)
    print(f"\n{out / 'peers.json'}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--max-side", type=int, default=STANDARD_SIDE_PX, help="pixels (640)")
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    try:
        main(given.out, given.folders, given.max_side)
    except StereoDiffError as error:
        sys.exit(f"{error.code}: {error.message}")
