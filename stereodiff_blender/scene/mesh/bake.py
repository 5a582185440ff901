"""The displaced mesh as a file of its own: Alembic and USD for renderers and other programs, PC2 and MDD for Blender.

Alembic and USD hold the mesh as it is shown, torn, in the world's space; its faces change from frame to frame. A mesh
cache cannot do that: it holds every vertex of the grid in the camera's space, and an object beside the live one plays
and tears it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ...engine.contract import StereoDiffError, write_refusal
from ..data import SceneImport, blend_path, claim_object, find, get_input, set_input, tag
from ..result import ImportedResult
from .depth_mesh import MODIFIER, depth_modifier
from .displacement import FILL, SHOW, TEAR, TEAR_AT, build_tearing, untorn_copy
from .mesh_cache import CACHE_WRITERS

FORMATS = {"ALEMBIC": ".abc", "USD": ".usdc", "PC2": ".pc2", "MDD": ".mdd"}
CACHE_MODIFIER = "StereoDiff Mesh Cache"
TEAR_INPUTS = (TEAR, TEAR_AT, FILL, SHOW)
OnFrame = Callable[[int], None]


def bake_mesh(scene: bpy.types.Scene, found: SceneImport, path: Path, file_format: str, frames: range,
              on_frame: OnFrame) -> None:
    """Write the depth mesh of an import over a range of scene frames.

    PC2 and MDD also put an object into the import's collection that plays the file, and hide the live mesh.

    Parameters
    ----------
    scene : bpy.types.Scene
        Gives the rate.
    found : SceneImport
        The import.
    path : Path
        Of the file, which is replaced only by a complete one.
    file_format : str
        A key of FORMATS.
    frames : range
        Consecutive frames of the scene, all of them solved.
    on_frame : callable
        Told each scene frame as the bake comes to it; of PC2 and MDD the first one again before and after the others.

    Raises
    ------
    StereoDiffError
        "depth_missing": without a displaced mesh. "frame_range_invalid": there are no frames, or not all of them are
        solved ones. "exporter_missing": this Blender was built without the format. "output_not_writable" or
        "disk_full". For PC2 and MDD also "settings_invalid": Step is animated, or as read_imported_result() does.
    """
    if depth_modifier(found.mesh) is None:
        raise StereoDiffError("depth_missing", "The import has no displaced mesh.")
    solved = found.scene_frames
    if not frames or frames[0] not in solved or frames[-1] not in solved:
        raise StereoDiffError("frame_range_invalid", f"The solved frames are {solved[0]} to {solved[-1]} of the scene.")
    if file_format not in CACHE_WRITERS:
        check_built_with(file_format, bpy.app)
        with _replacing(path) as part:
            _export(scene, found.mesh, part, file_format, frames, on_frame)
        return
    shot = found.read_imported_result()
    with _replacing(path) as part:
        grid = _bake_cache(scene, found, part, file_format, frames, on_frame)
    _play_cache(found, shot, grid, path, file_format, frames[0])


# --- Alembic and USD -----------------------------------------------------------------------------------------------

def _export(scene: bpy.types.Scene, mesh: bpy.types.Object, path: Path, file_format: str, frames: range,
            on_frame: OnFrame) -> None:
    write = {"ALEMBIC": _write_alembic, "USD": _write_usd}[file_format]
    with _stage(scene, mesh, frames) as stage, _telling(stage, on_frame):
        try:
            write(path, frames)
        except RuntimeError as error:  # how operators report
            raise StereoDiffError("output_not_writable", f"{path} was not written: {error}".strip()) from error


def check_built_with(file_format: str, app) -> None:
    """Raises StereoDiffError "exporter_missing" if a Blender lacks the library. app: its bpy.app."""
    library, name = {"ALEMBIC": (app.alembic, "Alembic"), "USD": (app.usd, "USD")}[file_format]
    if not library.supported:
        raise StereoDiffError("exporter_missing", f"This Blender was built without {name}.")


def _write_alembic(path: Path, frames: range) -> None:
    bpy.ops.wm.alembic_export(filepath=str(path), check_existing=False, start=frames[0], end=frames[-1], flatten=True,
                              uvs=True, normals=True, face_sets=False, export_hair=False, export_particles=False,
                              as_background_job=False)


def _write_usd(path: Path, frames: range) -> None:
    bpy.ops.wm.usd_export(filepath=str(path), check_existing=False, export_animation=True, export_materials=False,
                          export_uvmaps=True, evaluation_mode="RENDER")


@contextmanager
def _stage(scene: bpy.types.Scene, mesh: bpy.types.Object, frames: range, tree: bpy.types.NodeTree | None = None
           ) -> Iterator[bpy.types.Scene]:
    """A scene that shows a copy of the mesh and nothing else, hidden or not, and is the context's meanwhile.

    tree: what displaces the copy; None: as the mesh itself.
    """
    stage = bpy.data.scenes.new("StereoDiff bake")
    actor = mesh.copy()
    try:
        if tree is not None:
            actor.modifiers[MODIFIER].node_group = tree
        actor.hide_render = actor.hide_viewport = False
        stage.collection.objects.link(actor)
        stage.frame_start, stage.frame_end = frames[0], frames[-1]
        stage.render.fps, stage.render.fps_base = scene.render.fps, scene.render.fps_base
        with bpy.context.temp_override(scene=stage, view_layer=stage.view_layers[0]):
            yield stage
    finally:
        bpy.data.objects.remove(actor)
        bpy.data.scenes.remove(stage)


@contextmanager
def _telling(stage: bpy.types.Scene, on_frame: OnFrame) -> Iterator[None]:
    """Tell every frame that an exporter steps to; the exporters themselves say nothing until they are done."""
    def tell(changed, *_):
        if changed.name == stage.name:
            on_frame(changed.frame_current)

    bpy.app.handlers.frame_change_post.append(tell)
    try:
        yield
    finally:
        bpy.app.handlers.frame_change_post.remove(tell)


# --- Mesh cache ----------------------------------------------------------------------------------------------------

def _bake_cache(scene: bpy.types.Scene, found: SceneImport, part: Path, file_format: str, frames: range,
                on_frame: OnFrame) -> bpy.types.Mesh:
    """Write the cache. Returns the whole grid as a mesh, for the object that plays it."""
    tree = untorn_copy(depth_modifier(found.mesh).node_group)
    try:
        with _stage(scene, found.mesh, frames, tree) as stage, _telling(stage, on_frame), open(part, "wb") as stream:
            actor = stage.collection.objects[0]
            count = len(_shown(stage, actor, frames[0], vertices_of))
            samples = (_sample(stage, actor, frame, count) for frame in frames)
            CACHE_WRITERS[file_format](stream, samples, len(frames), count, scene.render.fps / scene.render.fps_base)
            return _shown(stage, actor, frames[0], bpy.data.meshes.new_from_object)
    finally:
        bpy.data.node_groups.remove(tree)


def _shown(stage: bpy.types.Scene, actor: bpy.types.Object, frame: int, take: Callable):
    """take(the evaluated actor) at a frame."""
    stage.frame_set(frame)
    return take(actor.evaluated_get(bpy.context.evaluated_depsgraph_get()))


def _sample(stage: bpy.types.Scene, actor: bpy.types.Object, frame: int, count: int) -> np.ndarray:
    """The grid's vertices (count,3) at a frame, in the actor's own space."""
    vertices = _shown(stage, actor, frame, vertices_of)
    if len(vertices) != count:
        raise StereoDiffError("settings_invalid", "Step is animated, but a mesh cache needs the same vertices "
                                                  "in all frames.")
    return vertices


def vertices_of(evaluated: bpy.types.Object) -> np.ndarray:
    """(N,3) float32 of an evaluated object, in its own space."""
    mesh = evaluated.to_mesh()
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    evaluated.to_mesh_clear()
    return vertices


def _play_cache(found: SceneImport, shot: ImportedResult, grid: bpy.types.Mesh, path: Path, file_format: str,
                start: int) -> None:
    """Make or update the object that plays a mesh cache in place of the live mesh, which is hidden."""
    live = found.mesh
    thing = claim_object(found.collection, shot, "baked mesh", _claim_grid(shot, grid, live.data.materials))
    thing.parent, thing.matrix_parent_inverse = live.parent, live.matrix_parent_inverse
    thing.matrix_basis = live.matrix_basis
    cache = thing.modifiers.get(CACHE_MODIFIER) or thing.modifiers.new(CACHE_MODIFIER, "MESH_CACHE")
    cache.cache_format, cache.filepath = file_format, blend_path(path)
    cache.frame_start, cache.interpolation = start, "NONE"
    tear = thing.modifiers.get(MODIFIER) or thing.modifiers.new(MODIFIER, "NODES")
    tear.node_group = build_tearing(shot)
    for name in TEAR_INPUTS:
        set_input(tear, name, get_input(depth_modifier(live), name))
    live.hide_viewport = live.hide_render = True


def _claim_grid(shot: ImportedResult, grid: bpy.types.Mesh, materials) -> bpy.types.Mesh:
    """The grid in place of that of an earlier bake."""
    before = find(bpy.data.meshes, shot, "baked mesh")
    if before is not None:
        before.user_remap(grid)
        bpy.data.meshes.remove(before)
    grid.name = f"{shot.name} baked mesh"
    tag(grid, shot, "baked mesh")
    grid.materials.clear()
    for material in materials:
        grid.materials.append(material)
    grid.uv_layers.active_index = 0
    return grid


# --- The file ------------------------------------------------------------------------------------------------------

@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes path when all went well and is gone otherwise."""
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        with open(part, "wb"):
            pass
        yield part
        os.replace(part, path)
    except OSError as error:
        raise write_refusal(error, path) from error
    finally:
        part.unlink(missing_ok=True)
