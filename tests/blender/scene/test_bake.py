"""Baking the depth mesh: what a file holds, read back, is what the live mesh shows."""

from __future__ import annotations

import importlib
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from job_folder import Example, depth_of, intrinsics, rewrite, write_job_folder
from mathutils import Matrix
from scene_checks import datablocks, evaluated_mesh, orphans, set_input, show_frame

SMALL = Example(raster=(32, 18), clip=(64, 36), focal=30.0, first_frame=3)
FRAMES = (3, 5, 8)
SUFFIXES = {"ALEMBIC": ".abc", "USD": ".usdc", "PC2": ".pc2", "MDD": ".mdd"}


@pytest.fixture
def import_here(addon, tmp_path):
    """import_here(): an import whose root is moved, turned and scaled."""
    scene_module = importlib.import_module(f"{addon.__name__}.scene")

    def run(example: Example = SMALL):
        write_job_folder(tmp_path / "job", example)
        imported = scene_module.import_result(bpy.context.scene, tmp_path / "job")
        imported.root.matrix_world = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.5, 4, "Z") @ Matrix.Scale(2, 4)
        return imported

    return run


def in_world(thing: bpy.types.Object) -> np.ndarray:
    """Evaluated vertices (N,3) in the world, at the frame shown."""
    matrix = np.array(thing.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)
    return evaluated_mesh(thing)[0] @ matrix[:3, :3].T + matrix[:3, 3]


def over_frames(thing: bpy.types.Object, frames=FRAMES) -> list[tuple[np.ndarray, int]]:
    """Vertices in the world and the number of faces, at each frame."""
    shown = []
    for frame in frames:
        show_frame(frame)
        shown.append((in_world(thing), len(evaluated_mesh(thing)[1])))
    return shown


def bake(path: Path, file_format: str, **options) -> set[str]:
    return bpy.ops.stereodiff.bake_mesh(filepath=str(path), file_format=file_format, **options)


def read_back(path: Path) -> bpy.types.Object:
    """The mesh that Blender's own importer makes of a file."""
    before = set(bpy.data.objects)
    if path.suffix == ".abc":
        bpy.ops.wm.alembic_import(filepath=str(path), as_background_job=False, set_frame_range=False)
    else:
        bpy.ops.wm.usd_import(filepath=str(path), set_frame_range=False)
    return next(thing for thing in set(bpy.data.objects) - before if thing.type == "MESH")


@pytest.mark.parametrize("file_format", ["ALEMBIC", "USD"])
def test_files_for_other_programs_hold_the_mesh_as_shown(import_here, tmp_path, file_format):
    mesh = import_here().mesh
    if file_format == "ALEMBIC" or bpy.app.version >= (4, 5, 0):  # 4.2 reads USD of such rates a frame late at times
        bpy.context.scene.render.fps_base = 1.001
    expected = over_frames(mesh)
    path = tmp_path / f"mesh{SUFFIXES[file_format]}"
    assert bake(path, file_format) == {"FINISHED"}
    baked = over_frames(read_back(path))
    assert len({len(vertices) for vertices, _ in expected}) > 1  # torn otherwise in every frame
    for (vertices, faces), (wanted, wanted_faces) in zip(baked, expected, strict=True):
        assert vertices.shape == wanted.shape and faces == wanted_faces
        assert np.abs(vertices - wanted).max() <= 1e-4


@pytest.mark.parametrize("file_format", ["PC2", "MDD"])
def test_a_mesh_cache_plays_the_same_vertices_without_the_depth(import_here, tmp_path, file_format):
    imported = import_here()
    set_input(imported.mesh, "Tear Threshold", 0.02)
    expected = over_frames(imported.mesh)
    assert bake(tmp_path / f"mesh{SUFFIXES[file_format]}", file_format) == {"FINISHED"}
    assert imported.mesh.hide_render and imported.mesh.hide_viewport
    for file in (tmp_path / "job" / "depth").iterdir():
        file.unlink()
    baked = next(o for o in imported.collection.objects if o.name.endswith("baked mesh"))
    assert baked.parent == imported.camera and list(baked.data.materials) == list(imported.mesh.data.materials)
    assert [layer.name for layer in baked.data.uv_layers] == ["UVMap"]
    for (vertices, faces), (wanted, wanted_faces) in zip(over_frames(baked), expected, strict=True):
        assert vertices.shape == wanted.shape and faces == wanted_faces
        assert np.abs(vertices - wanted).max() <= 1e-4


def test_a_mesh_cache_can_be_read_by_its_format_alone(import_here, tmp_path):
    """Every vertex of the grid, in the camera's space, frame after frame; compared with the pinhole formula."""
    example = replace(SMALL, invalid_corner=False)
    import_here(example)
    bpy.context.scene.render.fps_base = 1.001
    bake(tmp_path / "mesh.pc2", "PC2", first_frame=4, last_frame=6)
    bake(tmp_path / "mesh.mdd", "MDD", first_frame=4, last_frame=6)
    data = (tmp_path / "mesh.pc2").read_bytes()
    assert struct.unpack("<12siiffi", data[:32]) == (b"POINTCACHE2\0", 1, 34 * 20, 0.0, 1.0, 3)
    samples = np.frombuffer(data[32:], "<f4").reshape(3, 34, 20, 3)
    for index, sample in zip((1, 2, 3), samples, strict=True):
        fx, fy, cx, cy = intrinsics(example, index)
        x, y = np.meshgrid(np.arange(32) + 0.5, np.arange(18) + 0.5)
        rays = np.stack([(x - cx) / fx, (cy - y) / fy, -np.ones_like(x)], axis=-1)
        inner = sample.transpose(1, 0, 2)[::-1][1:-1, 1:-1]
        assert np.allclose(inner, rays * depth_of(example, index)[..., None], rtol=1e-4, atol=1e-4)
    data = (tmp_path / "mesh.mdd").read_bytes()
    assert struct.unpack(">ii", data[:8]) == (3, 34 * 20)
    assert np.allclose(np.frombuffer(data[8:20], ">f4"), np.arange(3) * 1.001 / 24)
    assert np.array_equal(np.frombuffer(data[20:], ">f4").reshape(samples.shape), samples)


@pytest.mark.parametrize("is_held_out", [False, True])
def test_what_was_only_guessed_is_baked_if_the_mesh_shows_it(import_here, tmp_path, is_held_out):
    mesh = import_here(replace(SMALL, invalid_corner=False)).mesh
    rewrite(tmp_path / "job", "confidence", 5, np.full((18, 32), 0.1, np.float32))
    rewrite(tmp_path / "job", "motion_mask", 5, np.zeros((18, 32), np.float32))
    set_input(mesh, "Hold-Out", is_held_out)
    bake(tmp_path / "mesh.pc2", "PC2", first_frame=5, last_frame=6)
    guessed, sure = np.frombuffer((tmp_path / "mesh.pc2").read_bytes()[32:], "<f4").reshape(2, -1, 3)
    assert (guessed[:, 2] < 0).all() == is_held_out and (sure[:, 2] < 0).all()
    assert is_held_out or not guessed.any()


def test_a_part_of_the_range_can_be_baked(import_here, tmp_path):
    mesh = import_here().mesh
    (wanted, _), = over_frames(mesh, [6])
    bake(tmp_path / "mesh.abc", "ALEMBIC", first_frame=5, last_frame=6)
    baked = read_back(tmp_path / "mesh.abc")
    (vertices, _), (after, _) = over_frames(baked, [6, 8])
    assert np.abs(vertices - wanted).max() <= 1e-4 and np.array_equal(after, vertices)


@pytest.mark.parametrize("file_format", SUFFIXES)
def test_what_the_artist_hides_is_baked_and_the_scene_stays_as_it_is(import_here, tmp_path, file_format):
    mesh = import_here().mesh
    mesh.hide_render = True
    mesh.hide_set(True)
    bpy.context.scene.frame_set(7)
    bake(tmp_path / "first", file_format)
    before = datablocks()
    bake(tmp_path / "second", file_format)
    assert datablocks() == before and orphans() == []
    assert (bpy.context.scene.frame_current, mesh.hide_render, len(bpy.app.handlers.frame_change_post)) == (7, True, 0)
    sizes = [(tmp_path / f"{name}{SUFFIXES[file_format]}").stat().st_size for name in ("first", "second")]
    assert sizes[0] > 1000 and sizes[0] == pytest.approx(sizes[1], rel=0.05)
    assert {path.name for path in tmp_path.iterdir()} == {f"first{SUFFIXES[file_format]}", "job",
                                                          f"second{SUFFIXES[file_format]}"}


def test_frames_that_were_not_solved_are_refused(import_here, tmp_path):
    import_here()
    for first, last in ((2, 5), (4, 9), (6, 5)):
        with pytest.raises(RuntimeError, match="The solved frames are 3 to 8"):
            bake(tmp_path / "mesh.abc", "ALEMBIC", first_frame=first, last_frame=last)
    assert not (tmp_path / "mesh.abc").exists()


@pytest.mark.parametrize("file_format", SUFFIXES)
def test_a_place_that_cannot_be_written_to_is_said_in_words(import_here, tmp_path, file_format):
    import_here()
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="cannot be written"):
        bake(tmp_path / "file" / "mesh", file_format)


@pytest.mark.parametrize(("file_format", "name"), [("ALEMBIC", "Alembic"), ("USD", "USD")])
def test_a_blender_that_lacks_an_exporter_says_which(addon, file_format, name):
    module = importlib.import_module(f"{addon.__name__}.scene.mesh.bake")
    lacking = SimpleNamespace(**{library: SimpleNamespace(supported=False) for library in ("alembic", "usd")})
    with pytest.raises(module.StereoDiffError, match=f"built without {name}") as caught:
        module.check_built_with(file_format, lacking)
    assert caught.value.code == "exporter_missing"


def test_an_animated_step_is_refused_by_a_mesh_cache_and_leaves_nothing(import_here, addon, tmp_path):
    inputs = importlib.import_module(f"{addon.__name__}.scene.data.modifier_inputs")
    mesh = import_here().mesh
    for frame, step in ((3, 2), (8, 6)):
        set_input(mesh, "Step", step)
        mesh.keyframe_insert(inputs.input_path(mesh.modifiers[0], "Step"), frame=frame)
    (tmp_path / "mesh.pc2").write_text("an earlier bake")
    before = datablocks()
    with pytest.raises(RuntimeError, match="Step is animated"):
        bake(tmp_path / "mesh.pc2", "PC2")
    assert datablocks() == before
    assert (tmp_path / "mesh.pc2").read_text() == "an earlier bake" and not list(tmp_path.glob("*.part.*"))


def test_a_mesh_without_its_modifier_is_refused(import_here, tmp_path):
    import_here().mesh.modifiers.clear()
    with pytest.raises(RuntimeError, match="no displaced mesh"):
        bake(tmp_path / "mesh.abc", "ALEMBIC")


def test_importing_again_keeps_a_bake(import_here, tmp_path):
    imported = import_here()
    bake(tmp_path / "mesh.pc2", "PC2")
    before = datablocks()
    import_here()
    assert datablocks() == before and imported.mesh.hide_render
