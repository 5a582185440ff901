"""A matte drawn as outlines: what matte.json of a job folder holds. Part of the contract.

Standard library only, because both programs import it. Layers are laid over each other as Blender's mask layers are,
so that the worker's matte is the one that the artist sees; feather alone is left out.
"""

from __future__ import annotations

import bisect
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import StereoDiffError
from .guarded_files import GuardedFolder
from .strict_json import as_json, from_dict

LAYER_BLENDS = ("merge_add", "merge_subtract", "add", "subtract", "lighten", "darken", "mul", "replace", "difference")
FILLS = ("union", "even_odd", "winding")
MAX_NUMBERS = 4_000_000
"""Coordinates in one matte: two thousand frames of a thousand points each."""
MAX_MATTE_BYTES = 64_000_000
MAX_COORDINATE = 50.0
"""Outlines may lie outside the picture, but not so far that their coordinates are a mistake."""


@dataclass(frozen=True)
class MatteLayer:
    """Filled outlines, and how they are laid over the layers below.

    outlines: each x0, y0, x1, y1, ... of a closed polygon; (0, 0) is the picture's top left corner, (1, 1) its bottom
    right one. fill: "union" (all that any outline encloses), "even_odd" (not where an even number of them overlap) or
    "winding" (not where outlines that run in opposite senses cancel each other). opacity: 0..1. invert: the layer's
    outside is what counts. blend: one of LAYER_BLENDS.
    """

    outlines: tuple[tuple[float, ...], ...]
    blend: str = "merge_add"
    opacity: float = 1.0
    invert: bool = False
    fill: str = "union"

    def validate(self) -> None:
        """Raises StereoDiffError "matte_invalid"."""
        if self.blend not in LAYER_BLENDS:
            raise invalid_matte(f"a layer's blend must be one of {', '.join(LAYER_BLENDS)}, got {self.blend!r}")
        if self.fill not in FILLS:
            raise invalid_matte(f"a layer's fill must be one of {', '.join(FILLS)}, got {self.fill!r}")
        if not 0 <= self.opacity <= 1:
            raise invalid_matte(f"a layer's opacity must be 0 to 1, got {self.opacity}")
        for outline in self.outlines:
            if len(outline) < 6 or len(outline) % 2:
                raise invalid_matte(f"an outline needs three points or more, each x and y; it has {len(outline)} "
                                    "numbers")
            if max(outline) > MAX_COORDINATE or min(outline) < -MAX_COORDINATE:
                raise invalid_matte("an outline lies far outside the picture")


@dataclass(frozen=True)
class MatteDrawing:
    """What holds from a clip frame on, until the next drawing. layers: the lowest first."""

    frame: int
    layers: tuple[MatteLayer, ...]


@dataclass(frozen=True)
class MatteShapes:
    """A matte over time. drawings: frames ascend; the first is not after the first frame it is asked for."""

    drawings: tuple[MatteDrawing, ...]
    schema_version: int = 1

    def validate(self) -> None:
        """Raises StereoDiffError "matte_invalid"."""
        frames = [drawing.frame for drawing in self.drawings]
        if not frames or any(later <= earlier for earlier, later in zip(frames, frames[1:], strict=False)):
            raise invalid_matte("its frames do not ascend, or there is none")
        layers = [layer for drawing in self.drawings for layer in drawing.layers]
        for layer in layers:
            layer.validate()
        if sum(len(outline) for layer in layers for outline in layer.outlines) > MAX_NUMBERS:
            raise invalid_matte(f"they have more than {MAX_NUMBERS // 2_000_000} million points")

    def at(self, frame: int) -> MatteDrawing:
        """The drawing that holds at a frame. Raises StereoDiffError "matte_incomplete" before the first one."""
        place = bisect.bisect_right([drawing.frame for drawing in self.drawings], frame)
        if place == 0:
            raise StereoDiffError("matte_incomplete", f"The matte begins at frame {self.drawings[0].frame}, frame "
                                                      f"{frame} was asked for.")
        return self.drawings[place - 1]


def invalid_matte(reason: str) -> StereoDiffError:
    return StereoDiffError("matte_invalid", f"The matte's outlines cannot be used: {reason}.")


def write_shapes(path: Path, shapes: MatteShapes) -> None:
    """Write a matte's outlines as matte.json, whole or not at all.

    Parameters
    ----------
    path : Path
        Of matte.json in a job folder.
    shapes : MatteShapes
        Validated before anything is written.

    Raises
    ------
    StereoDiffError
        "matte_invalid": the shapes do not validate.
    OSError
        The file cannot be written.
    """
    shapes.validate()
    drawings = [{"frame": drawing.frame, "layers": [vars(layer) for layer in drawing.layers]}
                for drawing in shapes.drawings]
    data = as_json({"drawings": drawings, "schema_version": shapes.schema_version}, indent=None)
    GuardedFolder(path.parent).replace(path.name, data)


def read_shapes(path: str | os.PathLike) -> MatteShapes:
    """Read a matte's outlines from matte.json, validated.

    Parameters
    ----------
    path : str or os.PathLike
        Of matte.json in a job folder.

    Returns
    -------
    MatteShapes
        Outlines from (0, 0), the picture's top left corner, to (1, 1), its bottom right one; frames as the clip counts.

    Raises
    ------
    StereoDiffError
        "matte_missing": there is no such file. "matte_invalid": it cannot be read, is of another schema, or does not
        validate.
    """
    path = Path(path)
    try:
        data = json.loads(GuardedFolder(path.parent).read_text(path.name, MAX_MATTE_BYTES))
        shapes = from_dict(MatteShapes, data)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StereoDiffError("matte_missing", f"{path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise invalid_matte(f"{path.name} is not what was written: {error}") from error
    if shapes.schema_version != 1:
        raise invalid_matte(f"{path.name} has schema {shapes.schema_version}, this version reads 1")
    shapes.validate()
    return shapes
