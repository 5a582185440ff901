"""The artist's matte on the working raster: footage or outlines in, (T,H,W) marks out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from ..contract import (
    MAX_PIXELS,
    ClipSource,
    Job,
    JobFolder,
    Matte,
    MatteDrawing,
    MatteLayer,
    StereoDiffError,
    as_matte_error,
    read_shapes,
)
from ..report import Report
from .color import NO_COLOR, SRGB
from .frames import ClipInfo, Raster, check_files, probe_clip, read_frames

__all__ = ["examine_matte", "read_matte", "read_plate_matte"]

MID_GRAY = 128
FULL_SHARE = 0.9
"""Share of the picture, in the typical frame, beyond which a matte leaves too little to track."""
FINER = 4
"""Outlines are drawn this many times finer than the raster, so that a pixel knows how much of it is inside."""
LUMINANCE = (0.2126, 0.7152, 0.0722)

_BLENDS = {
    "merge_add": lambda below, layer: below + layer * (1.0 - below),
    "merge_subtract": lambda below, layer: below * (1.0 - layer),
    "add": lambda below, layer: below + layer,
    "subtract": lambda below, layer: below - layer,
    "lighten": np.maximum,
    "darken": np.minimum,
    "mul": lambda below, layer: below * layer,
    "difference": lambda below, layer: np.abs(below - layer),
}


# --- At the door -----------------------------------------------------------------------------------------------

def examine_matte(matte: Matte, clip_frames: range, clip: ClipInfo, max_pixels: int = MAX_PIXELS, *,
                  told_from: int | None = None) -> None:
    """Refuse footage that cannot serve for these frames of the clip, before any work.

    Shapes are not looked at.

    Parameters
    ----------
    matte : Matte
        The job's.
    clip_frames : range
        Clip frames that are solved, 1 is the first.
    clip : ClipInfo
        The clip, whose proportions the matte has to have.
    max_pixels : int
        Of one of the matte's pictures; a larger one is not decoded.
    told_from : int or None
        The first of these frames in what is said to people; None: the same.

    Raises
    ------
    StereoDiffError
        "matte_missing", "matte_unreadable", "matte_incomplete", "matte_wrong_size" or "picture_too_large";
        "job_invalid" for footage that contradicts itself.
    """
    if matte.footage is None:
        return
    info = _probe(matte, max_pixels)
    _check_length(matte, clip_frames, info, 0 if told_from is None else told_from - clip_frames[0])
    try:
        check_files(matte.footage, matte.footage_frames(clip_frames))
    except StereoDiffError as error:
        raise as_matte_error(error) from error
    if not _have_same_shape(info, clip):
        raise StereoDiffError("matte_wrong_size", f"The matte has {info.width} x {info.height} pixels, the clip "
                                                  f"{clip.width} x {clip.height}.")


def _probe(matte: Matte, max_pixels: int) -> ClipInfo:
    try:
        return probe_clip(matte.footage, max_pixels)
    except StereoDiffError as error:
        raise as_matte_error(error) from error


def _check_length(matte: Matte, clip_frames: range, info: ClipInfo, told_later: int) -> None:
    """told_later: what is added to a clip frame where people read it."""
    own = matte.footage_frames(clip_frames)
    if own[0] < 1 or own[-1] > info.frame_count:
        asked = range(clip_frames[0] + told_later, clip_frames[-1] + told_later + 1)
        first = matte.first_frame + told_later
        raise StereoDiffError("matte_incomplete", f"Frames {asked[0]} to {asked[-1]} are solved, the matte covers "
                                                  f"{first} to {first + info.frame_count - 1} of the clip.")


def _have_same_shape(matte: ClipInfo, clip: ClipInfo) -> bool:
    """Whether the sides fit one scale up to a pixel; stored pixels, or as displayed where a matte was unsqueezed."""
    return (_fits_one_scale(matte.width / clip.width, matte.height / clip.height, clip.width, clip.height)
            or _fits_one_scale(matte.width * matte.pixel_aspect / (clip.width * clip.pixel_aspect),
                               matte.height / clip.height, clip.width * clip.pixel_aspect, clip.height))


def _fits_one_scale(across: float, down: float, width: float, height: float) -> bool:
    """Both scales are known up to one pixel of the matte: 1 / width, 1 / height of the clip."""
    return abs(across - down) <= 1.0 / width + 1.0 / height


# --- Reading ---------------------------------------------------------------------------------------------------

def read_matte(job: Job, folder: JobFolder, raster: Raster, marks: np.ndarray, report: Report) -> None:
    """Fill marks with what the job's matte says: 1 where something moves.

    Warns "matte_empty".

    Parameters
    ----------
    job : Job
        One that has a matte.
    folder : JobFolder
        The job's folder, where outlines lie.
    raster : Raster
        That the clip is solved on.
    marks : ndarray
        (T,H,W) uint8 of the raster, one for each frame of the job; written to.
    report : Report
        Told the progress in frames; the stage is the caller's.

    Raises
    ------
    StereoDiffError
        "matte_missing", "matte_unreadable", "matte_incomplete", "matte_invalid" (outlines) or "matte_full" (it marks
        nearly everything); "picture_too_large" or "job_invalid" as examine_matte.
    """
    _mark(job, folder, raster, marks, report)
    _judge([float(one.mean()) for one in marks], report)


def read_plate_matte(job: Job, folder: JobFolder, raster: Raster, marks: np.ndarray, report: Report) -> None:
    """The same as finely as the plate shows it; nothing is warned of again.

    Parameters
    ----------
    job : Job
        One whose matte read_matte has read.
    folder : JobFolder
        The job's folder, where outlines lie.
    raster : Raster
        That the clip is solved on; its plate_size counts.
    marks : ndarray
        (T,H,W) uint8 of that size, one for each frame of the job; written to.
    report : Report
        Told the progress in frames; the stage is the caller's.

    Raises
    ------
    StereoDiffError
        As read_matte, but for "matte_full".
    """
    width, height = raster.plate_size
    _mark(job, folder, replace(raster, width=width, height=height), marks, report)


def _mark(job: Job, folder: JobFolder, raster: Raster, marks: np.ndarray, report: Report) -> None:
    for index, inside in enumerate(_insides(job, folder, raster)):
        marks[index] = inside != job.matte.invert
        report.progress(index + 1)


def _judge(shares: list[float], report: Report) -> None:
    typical = float(np.median(shares))
    if typical > FULL_SHARE:
        raise StereoDiffError("matte_full", f"The matte marks {100 * typical:.0f} % of the picture as moving.")
    if not any(shares):
        report.warn("matte_empty", "The matte marks nothing in these frames.")


def _insides(job: Job, folder: JobFolder, raster: Raster) -> Iterator[np.ndarray]:
    """What is white, or inside, in every frame of the job, (H,W) bool each."""
    if job.matte.kind == "pictures":
        return _from_footage(job.matte, job.frame_numbers, raster, job.settings.max_pixels)
    return _from_shapes(folder, job.frame_numbers, raster)


def _from_footage(matte: Matte, frames: range, raster: Raster, max_pixels: int) -> Iterator[np.ndarray]:
    info = _probe(matte, max_pixels)
    own = Raster(raster.width, raster.height, info.width, info.height, info.pixel_aspect)
    try:
        for picture in read_frames(_as_values(matte.footage), matte.footage_frames(frames), own, max_pixels=max_pixels):
            yield picture.astype(np.float32) @ np.array(LUMINANCE, np.float32) >= MID_GRAY
    except StereoDiffError as error:
        raise as_matte_error(error) from error


def _as_values(footage: ClipSource) -> ClipSource:
    """Numbers that are no color are taken as they are stored: half of them is the middle."""
    return replace(footage, color_space=SRGB) if footage.color_space == NO_COLOR else footage


def _from_shapes(folder: JobFolder, frames: range, raster: Raster) -> Iterator[np.ndarray]:
    shapes = read_shapes(folder.matte_file)
    drawn = inside = None
    for frame in frames:
        drawing = shapes.at(frame)
        if drawing is not drawn:
            drawn, inside = drawing, draw(drawing, raster.height, raster.width)
        yield inside


# --- Drawing ---------------------------------------------------------------------------------------------------

def draw(drawing: MatteDrawing, height: int, width: int) -> np.ndarray:
    """Inside of a drawing, (H,W) bool: where its layers, laid over each other, come to one half or more."""
    value = np.zeros((height, width), np.float32)
    for layer in drawing.layers:
        cover = _cover(layer, height, width)
        if layer.invert:
            cover = 1.0 - cover
        if layer.blend == "replace":
            value += (cover - value) * layer.opacity
        else:
            value = np.clip(_BLENDS[layer.blend](value, cover * np.float32(layer.opacity)), 0.0, 1.0)
    return value >= 0.5


def _cover(layer: MatteLayer, height: int, width: int) -> np.ndarray:
    """Share of every pixel that lies inside the layer's outlines, (H,W) float32."""
    inside = np.zeros((height * FINER, width * FINER), np.uint8)
    scale = np.array([inside.shape[1], inside.shape[0]])
    outlines = [np.reshape(outline, (-1, 2)) * scale for outline in layer.outlines]
    for group in [outlines] if layer.fill == "winding" and outlines else [[outline] for outline in outlines]:
        box, corner = _box_around(np.concatenate(group), *inside.shape)
        size = inside[box].shape
        if 0 in size:  # all of it lies outside the picture
            continue
        part = (winding([outline - corner for outline in group], *size) != 0).astype(np.uint8) * 255
        if layer.fill == "even_odd":
            inside[box] ^= part
        else:
            inside[box] |= _silhouette(part) if layer.fill == "union" else part
    return cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


def _box_around(points: np.ndarray, height: int, width: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of the picture that (N,2) points span, and its top left corner as x, y."""
    left, top = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(int)
    return (slice(top, bottom), slice(left, right)), np.array([left, top])


def _silhouette(part: np.ndarray) -> np.ndarray:
    """A part (H,W) uint8 with all that it encloses filled, 255."""
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(part), contours, -1, 255, cv2.FILLED)


def winding(outlines: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """How often closed polygons, (N,2) each in pixels, run around the center of every pixel, (H,W) int16.

    Every crossing of a row with a side changes the number for all that lies right of it.
    """
    change = np.zeros((height, width + 1), np.int16)
    for outline in outlines:
        start, end = outline, np.roll(outline, -1, axis=0)
        first, last = (np.clip(np.ceil(side(start[:, 1], end[:, 1]) - 0.5), 0, height).astype(int)
                       for side in (np.minimum, np.maximum))
        count = last - first
        side = np.repeat(np.arange(len(outline)), count)
        row = np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count) + first[side]
        (x, y), (to_x, to_y) = start[side].T, end[side].T
        column = np.ceil(x + (row + 0.5 - y) * (to_x - x) / (to_y - y) - 0.5)
        np.add.at(change, (row, np.clip(column, 0, width).astype(int)), np.where(to_y > y, 1, -1))
    return np.cumsum(change[:, :width], axis=1, dtype=np.int16)
