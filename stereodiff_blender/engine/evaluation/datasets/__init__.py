"""Data sets that depth and cameras are evaluated on, each in its official layout.

clips     what any of them hands out
layout    what their folders have in common
rgbd, kitti, scannet, sintel, folder     one reader each; rgbd reads both TUM and Bonn
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import folder, kitti, rgbd, scannet, sintel
from .clips import TruthClip
from .layout import missing

__all__ = ["DATASETS", "Dataset", "TruthClip", "choose_clips"]

ALL = "all"


@dataclass(frozen=True)
class Dataset:
    """list_clips(root): names of what is there. open_clip(root, name): one of them.

    farthest: depth from here on is not scored, as published evaluations have it. clips: what is evaluated unless
    others are asked for; none = all that are there. remark: what should be known about that choice.
    """

    title: str
    list_clips: Callable[[Path], list[str]]
    open_clip: Callable[[Path, str], TruthClip]
    farthest: float
    clips: tuple[str, ...] = ()
    remark: str = ""


DATASETS = {
    "bonn": Dataset(
        "Bonn RGB-D Dynamic", rgbd.list_bonn, rgbd.open_bonn, 10.0,
        ("balloon", "balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous"),
        "The paper does not name its six clips. These are the one it times (balloon) and the five that depth from "
        "video is usually evaluated on; choose others with --clips."),
    "kitti": Dataset(
        "KITTI depth, validation", kitti.list_kitti, kitti.open_kitti, 80.0, (),
        "The paper does not name its 12 drives; these are all that are there. Cut to 1216x352."),
    "scannet": Dataset(
        "ScanNetV2", scannet.list_scannet, scannet.open_scannet, 10.0,
        ("scene0078_00", "scene0192_01", "scene0348_00", "scene0556_01"),
        "The paper's four scenes, at the size of their depth. Its text has 1024x448 here and 1280x960 for Sintel, "
        "which look exchanged: they have each other's proportions."),
    "sintel": Dataset(
        "MPI Sintel, final", sintel.list_sintel, sintel.open_sintel, 70.0, (),
        "All clips of the training half, at their own size (23 in the paper)."),
    "tum": Dataset("TUM RGB-D", rgbd.list_tum, rgbd.open_tum, 10.0),
    "folder": Dataset("Clips of one's own", folder.list_folder, folder.open_folder, 1000.0),
}


def choose_clips(dataset: Dataset, root: Path, asked: list[str]) -> list[str]:
    """Names to evaluate. asked: none for the data set's usual ones, "all", or names.

    Raises StereoDiffError "dataset_missing" naming what is not there, or "dataset_invalid".
    """
    there = dataset.list_clips(root)
    if not there:
        raise missing(f"There is no clip of {dataset.title} in {root}.")
    wanted = there if asked == [ALL] else list(dict.fromkeys(asked or dataset.clips or there))
    absent = [name for name in wanted if name not in there]
    if absent:
        raise missing(f"{root} lacks {', '.join(absent)}; it has {', '.join(there)}.")
    return wanted
