"""What the depth mesh shows: the plate, or one of the measurements."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.contract import StereoDiffError
from ..data import TAG, SceneImport, has_input, set_input
from .depth_mesh import depth_modifier
from .displacement import SHOW
from .material import COLOR_RAMP, slider_of


@dataclass(frozen=True)
class View:
    """part: the material that shows it. color_ramp: what the depth material's slider has to be."""

    key: str
    label: str
    description: str
    part: str
    color_ramp: float | None = None


VIEWS = (
    View("PLATE", "Plate", "The footage as filmed", "plate material"),
    View("NORMALIZED", "Depth", "Even in 1 / depth over the range of the clip, near is white", "depth material", 0.0),
    View("RAMP", "Depth in Colors", "The same through a color ramp", "depth material", 1.0),
    View("CONFIDENCE", "Confidence", "White where depth was measured surely", "confidence material"),
    View("MOTION_MASK", "Motion Mask", "White where things move by themselves", "motion_mask material"),
)


def show_view(found: SceneImport, key: str) -> None:
    """Show a view on the footage's mesh.

    Parameters
    ----------
    found : SceneImport
        The import.
    key : str
        Of one of VIEWS.

    Raises
    ------
    StereoDiffError
        "depth_missing": the mesh or its modifier was removed, or the result lacks this product.
    """
    view = next(view for view in VIEWS if view.key == key)
    modifier = depth_modifier(found.mesh)
    if modifier is None or not has_input(modifier, SHOW):
        raise StereoDiffError("depth_missing", "The depth mesh was removed or its modifier applied; import again.")
    slot = _slot(found, view)
    slider = slider_of(found.mesh.data.materials[slot], COLOR_RAMP)
    if view.color_ramp is not None and slider is not None:
        slider.default_value = view.color_ramp
    set_input(modifier, SHOW, slot)


def _slot(found: SceneImport, view: View) -> int:
    for slot, material in enumerate(found.mesh.data.materials):
        mark = material.get(TAG) if material is not None else None
        if mark is not None and mark["part"] == view.part:
            return slot
    raise StereoDiffError("depth_missing", f"The mesh has no {view.label.lower()} material; import again.")
