"""The stages of stage 1, run one after the other, and kept so that a later run goes on after the last that was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from ..contract import LensResult
from ..contract.strict_json import from_dict, to_dict
from ..report import Report
from ..shutter import RollingShutter
from ..solution import CameraSolution, StereoResult
from ..storage import KEPT, RunContext, Scratch, as_text_array, from_text_array

STAGES = ("cameras", "measured", "settled")
PLAIN = ("camera_to_world", "intrinsics", "solved", "reprojection_px", "points", "point_parallax_deg")
FRAMES = {"depth": np.float32, "confidence": np.float32, "motion_mask": np.uint8}


@dataclass(frozen=True)
class SolvedClip:
    """cameras: of all T frames of the clip."""

    cameras: CameraSolution

    @property
    def to_measure(self) -> np.ndarray:
        """(T,) bool: frames with a camera of their own, which depth can be measured in."""
        return self.cameras.solved


@dataclass(frozen=True)
class MeasuredClip(SolvedClip):
    """A clip whose camera moves.

    stereo: of its D measured frames. reprojection_before_px: as of contract.Quality. measured: (T,) bool, to_measure
    as it was before the cameras were refined; None: as it is.
    """

    stereo: StereoResult
    reprojection_before_px: float | None = None
    measured: np.ndarray | None = None

    @property
    def to_measure(self) -> np.ndarray:
        return self.cameras.solved if self.measured is None else self.measured


Clip = TypeVar("Clip", bound=SolvedClip)


class WarningRecorder(Report):
    """Passes everything on, and notes the warnings."""

    def __init__(self, report: Report):
        self.warnings: list[tuple[str, str]] = []
        self._report = report
        self.stage, self.progress, self.show, self.note = report.stage, report.progress, report.show, report.note

    def warn(self, code: str, message: str) -> None:
        self.warnings.append((code, message))
        self._report.warn(code, message)


class Stages:
    """Runs stages in the order of STAGES.

    What a stage gives holds all that is wanted of those before it. So as soon as it is kept they are removed, with
    everything they have worked on; and a run that finds it there need not run them again.
    """

    def __init__(self, context: RunContext):
        """Finds the last stage that an earlier run has left whole, and gives the warnings up to there again."""
        self._scratch = context.scratch
        self._recorder = WarningRecorder(context.report)
        self._context = replace(context, report=self._recorder)
        self._done, self._clip = 0, None
        for place, name in reversed(list(enumerate(STAGES))):
            stored = _stored(name, self._scratch)
            clip = None if stored is None else _clip_from(name, stored, self._scratch)
            if clip is not None:
                self._done, self._clip = place + 1, clip
                self._scratch.remove(_superseded(stored))
                for code, message in from_text_array(stored["warnings"]):
                    self._recorder.warn(code, message)
                return

    def run(self, name: str, compute: Callable[..., Clip], *arguments) -> Clip:
        """What compute(*arguments, context=...) gives, in arrays that nobody changes.

        If an earlier run has kept this stage or a later one, then what the later one gave; nothing is computed.
        """
        place = STAGES.index(name)
        if place >= self._done:
            self._clip = self._kept(name, compute(*arguments, context=self._context))
            self._done = place + 1
        return self._clip

    def _kept(self, name: str, clip: Clip) -> Clip:
        if isinstance(clip, MeasuredClip):
            clip = replace(clip, stereo=_keep_frames(name, clip.stereo, self._scratch))
        superseded = self._scratch.contents() - _contents_of(name)
        self._scratch.save(name, {**_as_arrays(clip), "warnings": as_text_array(self._recorder.warnings),
                                  "superseded": as_text_array(sorted(superseded))})
        self._scratch.remove(superseded)
        return clip


def remove_superseded(scratch: Scratch) -> None:
    """Remove what could not be removed before the last stage because it was in use, as Windows has it.

    Parameters
    ----------
    scratch : Scratch
        Of stage 1; what its last stage has superseded is removed from it.
    """
    stored = next(filter(None, (_stored(name, scratch) for name in reversed(STAGES))), None)
    if stored is not None:
        scratch.remove(_superseded(stored))


def _stored(name: str, scratch: Scratch) -> dict[str, np.ndarray] | None:
    """None for a stage that is not there, or is as an older version kept it."""
    stored = scratch.load(name)
    return stored if stored is not None and {"superseded", "lens"} <= stored.keys() else None


def _superseded(stored: dict[str, np.ndarray]) -> frozenset[str]:
    return frozenset(from_text_array(stored["superseded"]))


def _contents_of(name: str) -> frozenset[str]:
    """Everything that a stage is kept in, by the scratch's names of its contents."""
    return frozenset([f"{KEPT}{name}", *(f"{KEPT}{name}_{part}" for part in FRAMES)])


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
    """None if not all of it is whole."""
    arrays = {part: scratch.open_whole(f"{name}_{part}", shape, dtype) for part, dtype in FRAMES.items()}
    if any(array is None for array in arrays.values()):
        return None
    journal = scratch.journal(name, lambda index: [array[index] for array in arrays.values()])
    return arrays if journal.done == shape[0] else None


# --- Packing ---------------------------------------------------------------------------------------------------

def _as_arrays(clip: SolvedClip) -> dict[str, np.ndarray]:
    arrays = _packed("", clip.cameras)
    if isinstance(clip, MeasuredClip):
        before, far = (np.nan if value is None else value for value in (clip.reprojection_before_px,
                                                                        clip.stereo.far_limit))
        arrays |= {**_packed("scene_", clip.stereo.cameras), "shape": np.array(clip.stereo.depth.shape, np.int64),
                   "before_px": np.array(before), "far_limit": np.array(far),
                   "to_measure": np.asarray(clip.to_measure, bool)}
    return arrays


def _clip_from(name: str, stored: dict[str, np.ndarray], scratch: Scratch) -> SolvedClip | None:
    """None if its frames are not whole."""
    cameras = _unpacked("", stored)
    if "shape" not in stored:
        return SolvedClip(cameras)
    frames = _kept_frames(name, tuple(stored["shape"].tolist()), scratch)
    if frames is None:
        return None
    before, far = (None if np.isnan(stored[part]) else float(stored[part]) for part in ("before_px", "far_limit"))
    return MeasuredClip(cameras, StereoResult(_unpacked("scene_", stored), **frames, far_limit=far), before,
                        stored["to_measure"])


def _packed(prefix: str, cameras: CameraSolution) -> dict[str, np.ndarray]:
    """Observations of all frames one after the other; seen_ends says where each frame's end."""
    seen = cameras.observations
    points = [np.asarray(indices, np.int64) for indices, _ in seen]
    pixels = [np.asarray(places, np.float64).reshape(-1, 2) for _, places in seen]
    arrays = {name: np.asarray(getattr(cameras, name)) for name in PLAIN}
    arrays |= {"plain": as_text_array([cameras.kind, bool(cameras.is_focal_unreliable), float(cameras.unit)]),
               "lens": as_text_array([to_dict(cameras.lens)]),
               "seen_ends": np.cumsum([len(indices) for indices in points], dtype=np.int64),
               "seen_points": np.concatenate([np.empty(0, np.int64), *points]),
               "seen_pixels": np.concatenate([np.empty((0, 2)), *pixels])}
    if cameras.shutter is not None:
        arrays |= {f"shutter_{part.name}": np.asarray(getattr(cameras.shutter, part.name))
                   for part in fields(RollingShutter) if getattr(cameras.shutter, part.name) is not None}
    return {prefix + name: array for name, array in arrays.items()}


def _unpacked(prefix: str, stored: dict[str, np.ndarray]) -> CameraSolution:
    arrays = {name: stored[prefix + name] for name in PLAIN}
    kind, is_contradicted, unit = from_text_array(stored[prefix + "plain"])
    lens, = from_text_array(stored[prefix + "lens"])
    ends = stored[prefix + "seen_ends"]
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    observations = [(stored[prefix + "seen_points"][start:end], stored[prefix + "seen_pixels"][start:end])
                    for start, end in zip(starts, ends, strict=True)]
    return CameraSolution(kind, **arrays, observations=observations, is_focal_unreliable=is_contradicted,
                          unit=unit, lens=from_dict(LensResult, lens),
                          shutter=_unpacked_shutter(prefix + "shutter_", stored))


def _unpacked_shutter(prefix: str, stored: dict[str, np.ndarray]) -> RollingShutter | None:
    parts = {part.name: stored[prefix + part.name] for part in fields(RollingShutter) if prefix + part.name in stored}
    if "bend" in parts:
        parts["bend"] = tuple(parts["bend"].tolist())
    return RollingShutter(**parts) if parts else None
