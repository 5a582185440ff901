"""CG stands in the footage: the depth mesh hides what is behind it and catches shadows, the plate shows through.

A hold-out must have no holes, however sure its depth is: the mesh goes by its own least confidence meanwhile. Where the
result has depth at the plate's size, the plate's own depth hides CG in the compositor, and the mesh is left out of the
render, unless it catches shadows.

Everything that is changed is noted where it was changed, so that it can be put back as it was.
"""

from __future__ import annotations

import bpy

from ...engine.contract import StereoDiffError
from ..data import SceneImport, get_input, has_input, parts, set_input
from ..mesh import HOLD_OUT, RELIGHT, depth_modifier, slider_of
from .depth_cut import can_cut
from .plate_behind import has_lens_itself, put_plate_behind, remove_plate, uses_plate

MARK = "stereodiff_hold_out"
SURFACES = ("depth mesh", "baked mesh")
SWITCHES = ("is_holdout", "is_shadow_catcher", "hide_render")
DEPTH_PASSES = "use_pass_z"


def set_up_hold_out(scene: bpy.types.Scene, found: SceneImport, *, shadows: bool = True, plate: bool = True) -> bool:
    """Let the footage's mesh hide CG behind it, leave the rest of the render transparent, and put the plate behind.

    Parameters
    ----------
    scene : bpy.types.Scene
        Where the import is, and what is rendered.
    found : SceneImport
        The import; its depth mesh and its baked mesh are the surfaces.
    shadows : bool
        Also catch them; Cycles alone can, and then lights fall on the mesh instead of its glowing by itself.
    plate : bool
        Lay the render over the clip in the compositor, as its last step. The clip stays as it was shot: where its lens
        has distortion, the render is redistorted to it, unless the scene's camera has that lens itself.

    Returns
    -------
    bool
        Whether shadows are caught.

    Raises
    ------
    StereoDiffError
        Before anything is changed. "depth_missing": without a mesh. "import_missing": a plate is wanted, and the camera
        that shows it, or the clip behind it, was deleted. Of a lens with distortion, as read_imported_result() does.
    """
    surfaces = _surfaces(scene, found)
    if not surfaces:
        raise StereoDiffError("depth_missing", f"{found.name} has no mesh in this scene.")
    if plate and found.clip is None:
        raise StereoDiffError("import_missing", f"The camera of {found.name}, or the clip behind it, was deleted.")
    cuts = plate and cuts_by_depth(scene, found)
    shot = found.read_imported_result() if plate and (found.has_lens_maps or cuts) else None
    remove_hold_out(scene, found)
    catches = shadows and scene.render.engine == "CYCLES"
    for surface in surfaces:
        surface[MARK] = {name: getattr(surface, name) for name in SWITCHES}
        surface.is_holdout, surface.is_shadow_catcher = not catches, catches
        surface.hide_render = surface.hide_render or (cuts and not catches)
        _close(surface)
    if catches:
        _light(found)
    if MARK not in scene:
        scene[MARK] = {"film_transparent": scene.render.film_transparent,
                       DEPTH_PASSES: {layer.name: layer.use_pass_z for layer in scene.view_layers}}
    scene.render.film_transparent = True
    if plate:
        put_plate_behind(scene, found, shot, cuts=cuts, catches=catches)
    return catches


def cuts_by_depth(scene: bpy.types.Scene, found: SceneImport) -> bool:
    """Whether set_up_hold_out() cuts CG by depth at the plate's size, rather than by the mesh.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose camera counts: through that of the import which has the lens's distortion it is the mesh that hides CG.
    found : SceneImport
        The import.

    Returns
    -------
    bool
        True if its result has such depth.
    """
    return can_cut(scene, found) and not has_lens_itself(scene, found)


def remove_hold_out(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Put back what set_up_hold_out() changed for this footage; nothing happens if there is nothing to put back.

    Parameters
    ----------
    scene : bpy.types.Scene
        Its Film Transparent is put back with the last footage of the scene that is held out.
    found : SceneImport
        The import.
    """
    for surface in _surfaces(scene, found):
        before = dict(surface.pop(MARK, {}))
        _reopen(surface, before.pop(HOLD_OUT, None))
        for name, value in before.items():
            setattr(surface, name, bool(value))
    _unlight(found)
    remove_plate(scene, found)
    if MARK in scene and not any(MARK in thing for thing in scene.objects):
        before = scene.pop(MARK)
        scene.render.film_transparent = bool(before["film_transparent"])
        for layer, had_depth in before.get(DEPTH_PASSES, {}).items():
            if layer in scene.view_layers:
                scene.view_layers[layer].use_pass_z = bool(had_depth)


def has_hold_out(scene: bpy.types.Scene, found: SceneImport) -> bool:
    """Whether set_up_hold_out() has changed something for this footage.

    Parameters
    ----------
    scene : bpy.types.Scene
        Where the import is.
    found : SceneImport
        The import.

    Returns
    -------
    bool
        True if one of its meshes is held out or catches shadows by us, or its plate's nodes are in the compositor.
    """
    return any(MARK in surface for surface in _surfaces(scene, found)) or uses_plate(scene, found)


def _surfaces(scene: bpy.types.Scene, found: SceneImport) -> list[bpy.types.Object]:
    own = parts(scene.objects, found.footage)
    return [own[part] for part in SURFACES if part in own]


def _close(surface: bpy.types.Object) -> None:
    """Go by the hold-out's own confidence. A baked mesh, and one of an earlier version, has no such input."""
    modifier = depth_modifier(surface)
    if modifier is not None and has_input(modifier, HOLD_OUT):
        surface[MARK][HOLD_OUT] = get_input(modifier, HOLD_OUT)
        set_input(modifier, HOLD_OUT, True)


def _reopen(surface: bpy.types.Object, before: bool | None) -> None:
    """Go by the confidence of before; None if that was not changed."""
    modifier = depth_modifier(surface)
    if before is not None and modifier is not None and has_input(modifier, HOLD_OUT):
        set_input(modifier, HOLD_OUT, bool(before))


def _plate_material(found: SceneImport) -> bpy.types.Material | None:
    return parts(bpy.data.materials, found.footage).get("plate material")


def _light(found: SceneImport) -> None:
    """What glows shows no shadow."""
    relight = slider_of(_plate_material(found), RELIGHT)
    if relight is not None:
        _plate_material(found)[MARK] = relight.default_value
        relight.default_value = 1.0


def _unlight(found: SceneImport) -> None:
    material = _plate_material(found)
    if material is None or MARK not in material:
        return
    before = material.pop(MARK)
    relight = slider_of(material, RELIGHT)
    if relight is not None:
        relight.default_value = before
