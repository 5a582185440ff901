"""The matte that the artist chose, as the worker needs it: a mask's outlines, or the footage of another clip.

A mask is animated in frames of the timeline and lies over the clip as the Movie Clip Editor shows it: its square
spans the picture's longer side, y upwards. Feather is left out: the outline itself counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..engine.contract import Matte, MatteDrawing, MatteLayer, MatteShapes, StereoDiffError, as_matte_error
from . import clip as clips

__all__ = ["chosen_matte"]

TOLERANCE = 0.0002
"""How far a straight piece may run beside its curve, as a share of the picture's longer side."""
MAX_PIECES = 64
DECIMALS = 5


def chosen_matte(scene: bpy.types.Scene, clip: bpy.types.MovieClip, first_frame: int,
                 last_frame: int) -> tuple[Matte | None, MatteShapes | None]:
    """What the scene's settings name as matte of these frames of the clip, and its shapes if it has any.

    Parameters
    ----------
    scene : bpy.types.Scene
        Its settings choose a mask, the footage of another clip, or no matte.
    clip : bpy.types.MovieClip
        The clip to be solved.
    first_frame, last_frame : int
        Clip frames that are solved, both included.

    Returns
    -------
    matte : Matte or None
        None if no matte is chosen.
    shapes : MatteShapes or None
        The outlines of a mask, from the picture's top left corner (0, 0) to its bottom right one (1, 1); None for a
        matte of pictures.

    Raises
    ------
    StereoDiffError
        "matte_missing": no mask or clip is chosen, or the footage is not there. "matte_unreadable": the footage is
        empty, or Blender finds no picture in it. "matte_incomplete": it does not cover the frames, is a single picture,
        or has a Frame Offset below 0. "matte_invalid": it is the clip itself, or the mask has no closed, filled spline
        or has points that are parented to a track.
    """
    group = scene.stereodiff
    if group.matte == "NONE":
        return None, None
    if group.matte == "MASK":
        shapes = mask_shapes(_there(group.matte_mask, "mask"), clip, range(first_frame, last_frame + 1))
        return Matte("shapes", invert=group.matte_invert), shapes
    footage = _there(group.matte_clip, "footage")
    return _footage_matte(footage, clip, first_frame, last_frame, group.matte_invert), None


def _there(chosen, what: str):
    if chosen is None:
        raise StereoDiffError("matte_missing", f"No {what} is chosen for the matte.")
    return chosen


# --- Footage ---------------------------------------------------------------------------------------------------

def _footage_matte(footage: bpy.types.MovieClip, clip: bpy.types.MovieClip, first_frame: int, last_frame: int,
                   invert: bool) -> Matte:
    if footage == clip:
        raise StereoDiffError("matte_invalid", f"{clip.name} is the clip itself.")
    try:
        source = clips.clip_source(footage)
    except StereoDiffError as error:
        raise as_matte_error(error) from error
    begins = footage.frame_start - clip.frame_start + 1
    ends = begins + clips.footage_range(footage)[1] - 1
    if ends < begins:
        raise StereoDiffError("matte_unreadable", f"Blender finds no picture in {footage.name}.")
    if first_frame < begins or last_frame > ends:
        raise StereoDiffError("matte_incomplete", f"Frames {first_frame} to {last_frame} are solved, {footage.name} "
                                                  f"covers {begins} to {ends} of the clip.")
    return Matte("pictures", source, begins, invert)


# --- Mask ------------------------------------------------------------------------------------------------------

def mask_shapes(mask: bpy.types.Mask, clip: bpy.types.MovieClip, frames: range) -> MatteShapes:
    """The mask's closed, filled splines as polygons, for frames of the clip. Changes nothing in the file.

    Raises StereoDiffError "matte_invalid": no closed spline, or points that are parented to a track.
    """
    _check_mask(mask)
    drawings: list[MatteDrawing] = []
    with _timeline() as timeline:
        for frame in frames:
            timeline.frame_set(clips.scene_frame_from_clip_frame(clip, frame))
            evaluated = mask.evaluated_get(timeline.view_layers[0].depsgraph)
            layers = tuple(_layer(layer, _proportions(clip)) for layer in evaluated.layers if not layer.hide_render)
            if not drawings or layers != drawings[-1].layers:
                drawings.append(MatteDrawing(frame, layers))
    return MatteShapes(tuple(drawings))


@contextmanager
def _timeline() -> Iterator[bpy.types.Scene]:
    """A timeline to go through. The artist's own would evaluate all of the scene at every frame, and would have to be
    put back; in an empty scene the masks are evaluated alone, and only as copies."""
    scene = bpy.data.scenes.new("StereoDiff Matte")
    try:
        yield scene
    finally:
        bpy.data.scenes.remove(scene)


def _check_mask(mask: bpy.types.Mask) -> None:
    filled = [(layer, spline) for layer in mask.layers if not layer.hide_render for spline in layer.splines
              if _is_filled(spline)]
    if not filled:
        raise StereoDiffError("matte_invalid", f"{mask.name} has no closed, filled spline in a layer that renders.")
    for layer, spline in filled:
        # Where a parented point ends up is known to Blender's rasterizer alone.
        if any(point.parent.id is not None for point in spline.points):
            raise StereoDiffError("matte_invalid", f"In layer {layer.name} of {mask.name}, points are parented to a "
                                                   "track; clear the parent and key the shape instead.")


def _is_filled(spline: bpy.types.MaskSpline) -> bool:
    return spline.use_cyclic and spline.use_fill and len(spline.points) > 1


def _proportions(clip: bpy.types.MovieClip) -> tuple[float, float]:
    """Width and height of the picture as displayed, the longer one 1."""
    width, height = (size * aspect for size, aspect in zip(clip.size, clip.display_aspect, strict=True))
    return width / max(width, height), height / max(width, height)


def _layer(layer: bpy.types.MaskLayer, proportions: tuple[float, float]) -> MatteLayer:
    curves = [_outline(spline.points, proportions) for spline in layer.splines if _is_filled(spline)]
    return MatteLayer(tuple(curve for curve in curves if len(curve) >= 6), layer.blend.lower(), layer.alpha,
                      layer.invert, _fill(layer))


def _fill(layer: bpy.types.MaskLayer) -> str:
    """Blender's newer solver, chosen by a property that 4.2 to 5.1 lack, makes holes by the sense of the splines."""
    if not layer.use_fill_holes:
        return "union"
    return "winding" if getattr(layer, "fill_solver", "SWEEP_LINE") == "CDT" else "even_odd"


def _outline(points: bpy.types.MaskSplinePoints, proportions: tuple[float, float]) -> tuple[float, ...]:
    """One spline as a polygon: x0, y0, x1, y1, ... from the picture's top left corner, (1, 1) bottom right."""
    curve = _flattened(*(_coordinates(points, name) for name in ("co", "handle_left", "handle_right")))
    x, y = ((curve[:, axis] - 0.5) / proportions[axis] for axis in (0, 1))
    return tuple(np.round(np.stack([0.5 + x, 0.5 - y], axis=-1), DECIMALS).ravel().tolist())


def _coordinates(points: bpy.types.MaskSplinePoints, name: str) -> np.ndarray:
    """(N,2) float64 in the mask's square."""
    values = np.empty(2 * len(points), np.float32)
    points.foreach_get(name, values)
    return values.reshape(-1, 2).astype(np.float64)


def _flattened(corners: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A closed cubic Bezier spline, (N,2) each, as straight pieces, (M,2). Each segment gets as many as the second
    differences of its control points ask for (Wang's formula)."""
    a, b, c, d = corners, right, np.roll(left, -1, axis=0), np.roll(corners, -1, axis=0)
    bend = np.maximum(np.linalg.norm(a - 2 * b + c, axis=1), np.linalg.norm(b - 2 * c + d, axis=1))
    # The handles of a straight side only set the pace along it.
    bend[(_off_chord(b, a, d) < TOLERANCE) & (_off_chord(c, a, d) < TOLERANCE)] = 0.0
    pieces = np.clip(np.ceil(np.sqrt(0.75 * bend / TOLERANCE)), 1, MAX_PIECES).astype(int)
    segment = np.repeat(np.arange(len(pieces)), pieces)
    t = ((np.arange(len(segment)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[segment])[:, None]
    a, b, c, d = (control[segment] for control in (a, b, c, d))
    return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d


def _off_chord(points: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Distance (N,) of points from the straight lines between starts and ends; (N,2) each."""
    along = ends - starts
    share = ((points - starts) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-12)
    return np.linalg.norm(points - starts - np.clip(share, 0, 1)[:, None] * along, axis=1)
