"""Stage 1's results as a later run finds them: cameras and depth of a clip, with the warnings they came with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..report import Report
from ..solution import CameraSolution, StereoResult
from ..storage import Scratch, as_text_array, from_text_array

PLAIN = ("camera_to_world", "intrinsics", "solved", "reprojection_px", "points", "point_parallax_deg")
FRAMES = {"depth": np.float32, "confidence": np.float32, "motion_mask": np.uint8}


@dataclass(frozen=True)
class StereoStage:
    """cameras: of all T frames of the clip. stereo: of the D measured ones; None unless the camera moves.
    reprojection_before_px: as of contract.Quality."""

    cameras: CameraSolution
    stereo: StereoResult | None = None
    reprojection_before_px: float | None = None


class Witness(Report):
    """Passes everything on, and remembers the warnings."""

    def __init__(self, report: Report):
        self.warnings: list[tuple[str, str]] = []
        self._report = report
        self.stage, self.progress, self.note = report.stage, report.progress, report.note

    def warn(self, code: str, message: str) -> None:
        self.warnings.append((code, message))
        self._report.warn(code, message)


def kept_cameras(name: str, solve: Callable[[Report], CameraSolution], scratch: Scratch,
                 report: Report) -> CameraSolution:
    """What an earlier run has solved under this name, or what solve(report) finds now."""
    stored = scratch.load(name)
    if stored is None:
        witness = Witness(report)
        cameras = solve(witness)
        scratch.save(name, {**_packed("", cameras), "warnings": as_text_array(witness.warnings)})
        return cameras
    _warn_again(stored, report)
    return _unpacked("", stored)


def kept_stage(name: str, compute: Callable[[Report], StereoStage], scratch: Scratch, report: Report) -> StereoStage:
    """What an earlier run has left under this name, or what compute(report) finds now, in arrays that nobody changes.
    """
    stored = scratch.load(name)
    if stored is not None:
        frames = _kept_frames(name, tuple(stored["shape"].tolist()), scratch)
        if frames is not None:
            _warn_again(stored, report)
            return _stage_from(stored, frames)
    witness = Witness(report)
    stage = compute(witness)
    kept = replace(stage, stereo=_keep_frames(name, stage.stereo, scratch)) if stage.stereo else stage
    scratch.save(name, {**_stage_as_arrays(kept), "warnings": as_text_array(witness.warnings)})
    return kept


def files_of(name: str) -> tuple[str, ...]:
    """Everything that a stage is kept in, by the names of the scratch."""
    return (name, *(f"{name}_{part}" for part in FRAMES))


# --- Frames ----------------------------------------------------------------------------------------------------

def _keep_frames(name: str, stereo: StereoResult, scratch: Scratch) -> StereoResult:
    arrays = {part: scratch.open_array(f"{name}_{part}", stereo.depth.shape, dtype) for part, dtype in FRAMES.items()}
    scratch.drop_journal(name)
    journal = scratch.journal(name, lambda index: [array[index] for array in arrays.values()])
    for index in range(len(stereo.depth)):
        for part, array in arrays.items():
            array[index] = getattr(stereo, part)[index]
        journal.note(index)
    return replace(stereo, **arrays)


def _kept_frames(name: str, shape: tuple[int, ...], scratch: Scratch) -> dict[str, np.ndarray] | None:
    """None if not all of it is whole. Of a stage without depth, whose shape is empty: nothing."""
    if not shape:
        return {}
    arrays = {part: scratch.open_whole(f"{name}_{part}", shape, dtype) for part, dtype in FRAMES.items()}
    if any(array is None for array in arrays.values()):
        return None
    journal = scratch.journal(name, lambda index: [array[index] for array in arrays.values()])
    return arrays if journal.done == shape[0] else None


# --- Packing ---------------------------------------------------------------------------------------------------

def _stage_as_arrays(stage: StereoStage) -> dict[str, np.ndarray]:
    before = np.nan if stage.reprojection_before_px is None else stage.reprojection_before_px
    shape = () if stage.stereo is None else stage.stereo.depth.shape
    scene = {} if stage.stereo is None else _packed("scene_", stage.stereo.cameras)
    return {**_packed("", stage.cameras), **scene, "shape": np.array(shape, np.int64), "before_px": np.array(before)}


def _stage_from(stored: dict[str, np.ndarray], frames: dict[str, np.ndarray]) -> StereoStage:
    before = float(stored["before_px"])
    stereo = StereoResult(_unpacked("scene_", stored), **frames) if frames else None
    return StereoStage(_unpacked("", stored), stereo, None if np.isnan(before) else before)


def _packed(prefix: str, cameras: CameraSolution) -> dict[str, np.ndarray]:
    """Observations of all frames one after the other; seen_ends says where each frame's end."""
    seen = cameras.observations
    points = [np.asarray(indices, np.int64) for indices, _ in seen]
    pixels = [np.asarray(places, np.float64).reshape(-1, 2) for _, places in seen]
    arrays = {name: np.asarray(getattr(cameras, name)) for name in PLAIN}
    arrays |= {"plain": as_text_array([cameras.kind, bool(cameras.is_lens_contradicted)]),
               "seen_ends": np.cumsum([len(indices) for indices in points], dtype=np.int64),
               "seen_points": np.concatenate([np.empty(0, np.int64), *points]),
               "seen_pixels": np.concatenate([np.empty((0, 2)), *pixels])}
    return {prefix + name: array for name, array in arrays.items()}


def _unpacked(prefix: str, stored: dict[str, np.ndarray]) -> CameraSolution:
    arrays = {name: stored[prefix + name] for name in PLAIN}
    kind, is_contradicted = from_text_array(stored[prefix + "plain"])
    ends = stored[prefix + "seen_ends"]
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    observations = [(stored[prefix + "seen_points"][start:end], stored[prefix + "seen_pixels"][start:end])
                    for start, end in zip(starts, ends, strict=True)]
    return CameraSolution(kind, **arrays, observations=observations, is_lens_contradicted=is_contradicted)


def _warn_again(stored: dict[str, np.ndarray], report: Report) -> None:
    for code, message in from_text_array(stored["warnings"]):
        report.warn(code, message)
