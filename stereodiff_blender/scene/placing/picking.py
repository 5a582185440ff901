"""Points that an artist means: clicked on the mesh, marked by empties, selected, or under the 3D cursor.

All are places in world space. Markers are small empties under the root, so they stay on the mesh when the root moves.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector

from ...engine.contract import StereoDiffError
from ..data import TAG, SceneImport, parts
from ..result import camera_math
from .orientation import transformed, world_from_result

__all__ = ["MARKS", "hit_mesh", "marked_points", "place_marks", "selected_points"]

MARKS = {"FLOOR": ("Floor A", "Floor B", "Floor C"), "ORIGIN": ("Origin",), "AXIS": ("Axis A", "Axis B"),
         "SCALE": ("Scale A", "Scale B")}
MARK_OVER_DEPTH = 0.05
MOST_OBJECTS_BEFORE = 20


def hit_mesh(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, found: SceneImport, origin, direction):
    """The place that is meant by a ray (world space): where it first meets what hangs under the import's root.

    Whatever else stands in the way is looked through. The depth mesh stands as the camera of the middle row saw it;
    what is met on it is placed as its own row's camera did, which is where it is in all frames.

    Parameters
    ----------
    scene : bpy.types.Scene
        What the ray goes through.
    depsgraph : bpy.types.Depsgraph
        Of the view layer that is seen, evaluated.
    found : SceneImport
        The import.
    origin, direction : sequence of float
        Three each; world space. The direction may have any length but 0.

    Returns
    -------
    ndarray or None
        (3,); world space. None also if MOST_OBJECTS_BEFORE surfaces of other things stand in the way.
    """
    start, way = Vector(origin), Vector(direction).normalized()
    for _ in range(MOST_OBJECTS_BEFORE):
        is_hit, place, _, _, thing, _ = scene.ray_cast(depsgraph, start, way)
        if not is_hit:
            return None
        if _is_under(thing, found.root):
            place = np.array(place)
            return _seen_by_its_row(scene, found, place) if thing.original == found.mesh else place
        start = place + way * max(1e-4, 1e-5 * (place - start).length)
    return None


def _seen_by_its_row(scene: bpy.types.Scene, found: SceneImport, place: np.ndarray) -> np.ndarray:
    """A place (3,) of the depth mesh, in world space, as the row that shows it in the scene's frame saw it."""
    if found.readout == 0.0:
        return place
    shot, world = found.read_imported_result(), world_from_result(found)
    index = int(np.clip(scene.frame_current - shot.scene_frames[0], 0, shot.frame_count - 1))
    camera = world @ camera_math.matrix_world_from_camera_to_world(shot.result.frames[index].camera_to_world)
    local = transformed(np.linalg.inv(camera), place)
    return transformed(world, shot.placed(index, local[None])[0]) if local[2] < 0.0 else place


def place_marks(found: SceneImport, role: str, points) -> list[bpy.types.Object]:
    """Put the markers of a role of MARKS at points (N,3); as many of them, in order, as there are points.

    Parameters
    ----------
    found : SceneImport
        The import, whose root carries the markers; those that are there are moved.
    role : str
        A key of MARKS.
    points : array_like
        (N,3), no more than the role has markers; world space.

    Returns
    -------
    list of bpy.types.Object
        N empties.

    Raises
    ------
    StereoDiffError
        "import_missing": without root.
    """
    local = np.linalg.inv(world_from_result(found))
    names = MARKS[role][:len(points)]
    return [_place_mark(found, name, transformed(local, point)) for name, point in zip(names, points, strict=True)]


def marked_points(scene: bpy.types.Scene, found: SceneImport, role: str) -> list[np.ndarray]:
    """Where a role's markers are now.

    Parameters
    ----------
    scene : bpy.types.Scene
        Where the markers are looked for.
    found : SceneImport
        The import.
    role : str
        A key of MARKS.

    Returns
    -------
    list of ndarray
        (3,) each, in the order of MARKS; world space.

    Raises
    ------
    StereoDiffError
        "points_missing": one is not there.
    """
    there = parts(scene.objects, found.footage)
    missing = [name for name in MARKS[role] if name.lower() not in there]
    if missing:
        raise StereoDiffError("points_missing", f"There is no marker {', '.join(missing)} of {found.name}.")
    return [np.array(there[name.lower()].matrix_world.translation) for name in MARKS[role]]


def selected_points(context: bpy.types.Context) -> list[np.ndarray]:
    """In Edit Mode the selected vertices, in the order of clicking; else the selected objects, the active one last.

    Parameters
    ----------
    context : bpy.types.Context
        Its mode, and what is selected.

    Returns
    -------
    list of ndarray
        (3,) each; world space. Vertices that were not clicked one by one come after those that were; objects are in the
        order of their names.
    """
    if context.mode == "EDIT_MESH":
        return _selected_vertices(context.edit_object)
    things = sorted(context.selected_objects, key=lambda thing: (thing == context.active_object, thing.name))
    return [np.array(thing.matrix_world.translation) for thing in things]


def _selected_vertices(thing: bpy.types.Object) -> list[np.ndarray]:
    mesh = bmesh.from_edit_mesh(thing.data)
    clicked = [v for v in mesh.select_history if isinstance(v, bmesh.types.BMVert)]
    vertices = clicked + [v for v in mesh.verts if v.select and v not in clicked]
    return [np.array(thing.matrix_world @ v.co) for v in vertices]


def _is_under(thing: bpy.types.Object, root: bpy.types.Object) -> bool:
    while thing is not None and thing.original != root:
        thing = thing.parent
    return thing is not None


def _place_mark(found: SceneImport, name: str, place: np.ndarray) -> bpy.types.Object:
    mark = _find_mark(found, name) or _new_mark(found, name)
    mark.parent = found.root
    mark.matrix_parent_inverse = Matrix.Identity(4)
    mark.matrix_basis = Matrix.Translation(place)
    return mark


def _find_mark(found: SceneImport, name: str) -> bpy.types.Object | None:
    return parts(found.collection.all_objects, found.footage).get(name.lower())


def _new_mark(found: SceneImport, name: str) -> bpy.types.Object:
    mark = bpy.data.objects.new(f"{found.name} {name}", None)
    found.collection.objects.link(mark)
    mark[TAG] = {"footage": found.footage, "job": found.root[TAG]["job"], "part": name.lower()}
    mark.empty_display_type = "SPHERE"
    mark.empty_display_size = found.root.empty_display_size * MARK_OVER_DEPTH
    mark.show_in_front = mark.show_name = True
    return mark
