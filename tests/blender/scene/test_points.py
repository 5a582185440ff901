"""Points in the scene: the solve's own and those fused from depth, where they belong and in their colors."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from job_folder import (
    BOX_HIGH,
    BOX_LOW,
    WALL_NORMAL,
    WALL_OFFSET,
    Example,
    depth_of,
    rewrite,
    trace_depth,
    write_job_folder,
)
from mathutils import Matrix
from scene_checks import datablocks, orphans, read_linear, render, set_input

from stereodiff_blender.engine.contract import Distortion, JobFolder

SMALL = Example(raster=(32, 18), clip=(64, 36), focal=30.0)
COLORS = np.array([[255, 0, 0], [10, 200, 30], [0, 0, 255], [128, 128, 128]], np.uint8)
POINTS = np.array([[0.5, -0.25, 3.0], [-1.0, 0.5, 4.0], [0.0, 0.0, 2.5], [1.5, 1.0, 5.0]], np.float32)


def ply(count: int | str = 4, points: np.ndarray = POINTS, colors: np.ndarray = COLORS) -> bytes:
    """A point file as the engine writes it, whose header may lie about the count."""
    table = np.empty(len(points), [("position", "<f4", 3), ("color", "u1", 3)])
    table["position"], table["color"] = points, colors
    names = [*(f"property float {axis}" for axis in "xyz"), *(f"property uchar {c}" for c in ("red", "green", "blue"))]
    lines = ["ply", "format binary_little_endian 1.0", "comment axes: x right, y down, z forward",
             f"element vertex {count}", *names, "end_header", ""]
    return "\n".join(lines).encode() + table.tobytes()


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, contract, tmp_path):
    """import_here(example, data): an import of a job whose points.ply holds data; None: a job without points."""

    def run(example: Example = SMALL, data: bytes | None = None, folder: str = "job"):
        result = write_job_folder(tmp_path / folder, example, clip_folder=tmp_path / "clip")
        if data is not None:
            (tmp_path / folder / "points.ply").write_bytes(data)
            contract.JobFolder(tmp_path / folder).write_result(replace(result, points="points.ply"))
        return scene_module.import_result(bpy.context.scene, tmp_path / folder)

    return run


def points_object(part: str = "points") -> bpy.types.Object:
    return next(o for o in bpy.context.scene.objects if o.name.endswith(f" {part}"))


def read(thing: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N,3) in the object's own space and colors (N,3), scene-linear."""
    attributes = thing.data.attributes
    positions = np.empty((len(attributes["position"].data), 3), np.float32)
    colors = np.empty((len(positions), 4), np.float32)
    attributes["position"].data.foreach_get("vector", positions.ravel())
    attributes["Color"].data.foreach_get("color", colors.ravel())
    return positions, colors[:, :3]


def linear(colors) -> np.ndarray:
    value = np.asarray(colors) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


# --- Solved points -------------------------------------------------------------------------------------------------

def test_solved_points_stand_below_the_root_on_blenders_axes_in_their_colors(import_here):
    imported = import_here(data=ply())
    imported.root.matrix_world = Matrix.Translation((5, 0, 0)) @ Matrix.Scale(2.0, 4)
    assert bpy.ops.stereodiff.import_points() == {"FINISHED"}
    thing = points_object()
    assert thing.type == ("POINTCLOUD" if bpy.app.version >= (5, 2, 0) else "MESH")
    assert thing.parent == imported.root and imported.collection in thing.users_collection
    positions, colors = read(thing)
    x, y, z = POINTS.T
    assert np.allclose(positions, np.stack([x, z, -y], axis=-1))  # x right, y forward, z up
    assert np.allclose(colors, linear(COLORS), atol=1e-6)
    bpy.context.view_layer.update()
    assert np.allclose(thing.matrix_world @ thing.matrix_local.inverted(), imported.root.matrix_world)


def test_solved_points_are_seen_by_the_camera_where_the_solve_has_them(import_here):
    """Rendered big enough to be hit: each pixel shows the color of the point that projects there."""
    (fx, fy, cx, cy), pixels = (30.0, 30.0, 17.5, 8.25), ((4, 4), (27, 5), (10, 14), (28, 12))
    points = np.array([[(c + 0.5 - cx) / fx, (r + 0.5 - cy) / fy, 1.0] for c, r in pixels]) * 2.0
    imported = import_here(data=ply(points=points))
    imported.mesh.hide_render = True
    bpy.ops.stereodiff.import_points()
    set_input(points_object(), "Radius", 0.1)
    picture = render(bpy.context.scene, Path(bpy.app.tempdir) / "points.exr", 1)
    for (column, row), color in zip(pixels, linear(COLORS), strict=True):
        shown = picture[2 * row:2 * row + 2, 2 * column:2 * column + 2].reshape(-1, 3)
        assert np.abs(shown - color).max(axis=1).min() < 0.02


def test_importing_points_again_brings_them_up_to_date(import_here, addon):
    inputs = importlib.import_module(f"{addon.__name__}.scene.data.modifier_inputs")
    import_here(data=ply())
    bpy.ops.stereodiff.import_points()
    thing, before = points_object(), datablocks()
    set_input(thing, "Radius", 0.5)
    bpy.ops.stereodiff.import_points()
    assert datablocks() == before and orphans() == []
    import_here(replace(SMALL, job_id="again"), ply(2, POINTS[:2], COLORS[:2]), "again")
    assert datablocks() == before and points_object() == thing
    assert len(read(thing)[0]) == 2 and inputs.get_input(thing.modifiers[0], "Radius") == 0.5


def test_points_that_another_result_does_not_have_are_taken_away(import_here):
    import_here(data=ply())
    bpy.ops.stereodiff.import_points()
    import_here(replace(SMALL, job_id="again"), None, "again")
    assert "plate_0001 points" not in {thing.name for thing in bpy.context.scene.objects}


def test_a_result_without_depth_takes_all_points_away(import_here):
    import_here(data=ply())
    bpy.ops.stereodiff.import_points()
    bpy.ops.stereodiff.import_points(source="DENSE")
    import_here(replace(SMALL, camera_kind="static", job_id="again"), None, "again")
    assert {thing.type for thing in bpy.context.scene.objects} == {"EMPTY", "CAMERA"}
    assert orphans() == []


def test_undo_takes_points_back(import_here):
    import_here(data=ply())
    bpy.ops.ed.undo_push(message="imported")
    bpy.ops.stereodiff.import_points()
    bpy.ops.ed.undo_push(message="points")
    bpy.ops.ed.undo()
    assert "plate_0001 points" not in {thing.name for thing in bpy.context.scene.objects}


def test_a_result_without_points_says_so(import_here):
    assert not bpy.ops.stereodiff.import_points.poll()
    import_here()
    with pytest.raises(RuntimeError, match="no points"):
        bpy.ops.stereodiff.import_points()


# --- Files that lie ------------------------------------------------------------------------------------------------

DAMAGED = {
    "more than there are": ply(5),
    "fewer than there are": ply(3),
    "no number": ply("four"),
    "negative": ply(-1),
    "huge": ply(10**11),
    "a number to choke on": ply("9" * 1500),
    "other digits": ply("٤"),
    "cut off": ply()[:-7],
    "no header": b"\x00" * 4096,
    "empty": b"ply\n",
    "text": ply().replace(b"binary_little_endian", b"ascii"),
    "other properties": ply().replace(b"property float x", b"property double x"),
    "a list": ply().replace(b"property uchar red", b"property list uchar int red"),
    "another element": ply().replace(b"end_header", b"element face 1\nend_header"),
    "not a number": ply(points=np.where(POINTS == 3.0, np.nan, POINTS)),
    "infinite": ply(points=np.where(POINTS == 3.0, np.inf, POINTS)),
    "out of this world": ply(points=POINTS * np.float32(1e20)),
}


@pytest.mark.slow
@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_not_as_the_engine_writes_it_is_refused(import_here, data):
    import_here(data=data)
    before = datablocks()
    with pytest.raises(RuntimeError, match="points.ply was not read"):
        bpy.ops.stereodiff.import_points()
    assert datablocks() == before


def test_a_file_without_any_point_is_none(import_here):
    import_here(data=ply(0, POINTS[:0], COLORS[:0]))
    with pytest.raises(RuntimeError, match="has found no points"):
        bpy.ops.stereodiff.import_points()


# --- Dense points --------------------------------------------------------------------------------------------------

def off_the_scene(points: np.ndarray) -> np.ndarray:
    """How far points on Blender's axes are from the wall or the box that were drawn."""
    x, z, y = points[:, 0], points[:, 1], -points[:, 2]
    engine = np.stack([x, y, z], axis=-1)
    wall = np.abs(engine @ WALL_NORMAL - WALL_OFFSET) / np.linalg.norm(WALL_NORMAL)
    outside = np.maximum(np.maximum(BOX_LOW - engine, engine - BOX_HIGH), 0.0)
    inside = np.minimum(engine - BOX_LOW, BOX_HIGH - engine).min(axis=1)
    box = np.where((outside == 0).all(axis=1), np.abs(inside), np.linalg.norm(outside, axis=1))
    return np.minimum(wall, box)


def write_all_still(folder: Path, example: Example) -> None:
    for frame in range(1, 1 + example.frame_count):
        rewrite(folder, "motion_mask", frame, np.zeros(example.raster[::-1], np.float32))


@pytest.mark.parametrize("lens", [None, Distortion(-0.25, 0.08), Distortion(-0.25, 0.08, -0.01, 0.002, -0.003)])
def test_dense_points_lie_on_the_scene_from_all_frames_at_the_spacing(import_here, tmp_path, lens):
    imported = import_here(replace(SMALL, distortion=lens))
    write_all_still(tmp_path / "job", SMALL)
    assert bpy.ops.stereodiff.import_points(source="DENSE", spacing=0.05, frame_count=6) == {"FINISHED"}
    thing = points_object("dense points")
    positions, _ = read(thing)
    assert thing.parent == imported.root
    assert len(positions) > 2 * (depth_of(SMALL, 0) > 0).sum()  # several frames
    assert off_the_scene(positions.astype(float)).max() < 0.01
    cells = np.floor(positions.astype(float) / 0.05)
    assert len(np.unique(cells, axis=0)) > 0.995 * len(cells)


@pytest.mark.parametrize("lens", [None, Distortion(-0.25, 0.08)])
def test_dense_points_lie_on_the_scene_whenever_their_rows_were_read(import_here, tmp_path, lens):
    """Taken for those of the middle row, they would lie off it."""
    example = replace(SMALL, distortion=lens, readout=0.8)
    import_here(example)
    write_all_still(tmp_path / "job", example)
    assert bpy.ops.stereodiff.import_points(source="DENSE", spacing=0.02, frame_count=6) == {"FINISHED"}
    positions, _ = read(points_object("dense points"))
    assert off_the_scene(positions.astype(float)).max() < 0.02
    result = JobFolder(tmp_path / "job").read_result()
    JobFolder(tmp_path / "job").write_result(replace(result, lens=replace(result.lens, readout=0.0)))
    bpy.ops.stereodiff.import_points(source="DENSE", spacing=0.02, frame_count=6)
    as_at_once, _ = read(points_object("dense points"))
    assert off_the_scene(as_at_once.astype(float)).max() > 0.04


def test_spacing_is_measured_in_the_scene(import_here, tmp_path):
    imported = import_here()
    counts = []
    for scale, spacing in ((1.0, 0.3), (10.0, 3.0), (10.0, 0.3)):
        imported.root.scale = (scale,) * 3
        bpy.context.view_layer.update()
        bpy.ops.stereodiff.import_points(source="DENSE", spacing=spacing)
        counts.append(len(read(points_object("dense points"))[0]))
    assert counts[0] == counts[1] < counts[2]


def test_dense_points_leave_out_what_moves_and_what_is_unsure(import_here, tmp_path):
    """The example marks the box as moving; depth of the lower half of the picture is made unsure."""
    import_here()
    for frame in range(1, 7):
        sure = np.ones((18, 32), np.float32)
        sure[9:] = 0.4
        rewrite(tmp_path / "job", "confidence", frame, sure)
    bpy.ops.stereodiff.import_points(source="DENSE", frame_count=1, least_confidence=0.5)
    positions, _ = read(points_object("dense points"))
    assert len(positions) > 100
    assert (positions[:, 1] > 3.0).all()  # the wall is behind the box
    assert (positions[:, 2] > -(9 - 8.25) / 30.0 * positions[:, 1]).all()
    bpy.ops.stereodiff.import_points(source="DENSE", frame_count=1, least_confidence=0.3)
    assert len(read(points_object("dense points"))[0]) > 1.5 * len(positions)


def test_dense_points_have_the_plates_colors(import_here, tmp_path):
    example = replace(SMALL, raster=(64, 36), first_frame=2, first_number=101, frame_count=3, zoom=1.0)
    import_here(example)
    write_all_still(tmp_path / "job", replace(example, frame_count=4))
    bpy.ops.stereodiff.import_points(source="DENSE", frame_count=1, spacing=1e-4)
    positions, colors = read(points_object("dense points"))
    columns = np.floor(positions[:, 0] / positions[:, 1] * 30.0 + 33.5 + 1e-3).astype(int)
    rows = np.floor(-positions[:, 2] / positions[:, 1] * 30.0 + 17.25 + 1e-3).astype(int)
    plate = read_linear(tmp_path / "clip" / "plate_0102.png")
    assert len(positions) > 1500
    assert np.abs(colors - plate[rows, columns]).max() < 1e-3


@pytest.mark.slow
def test_a_movie_gives_its_colors_too(import_here, scene_module, contract, sample_folder, tmp_path):
    """With a frame offset; held against the picture of the movie that Blender itself renders there."""
    example = Example(raster=(64, 36), clip=(640, 360), invalid_corner=False)
    result = write_job_folder(tmp_path, example)
    movie = contract.ClipSource("movie", str(sample_folder / "clip.mp4"), 7, 640, 360, 1.0, 24.0)
    contract.JobFolder(tmp_path).write_result(replace(result, clip=movie))
    clip = bpy.data.movieclips.load(movie.path)
    clip.frame_offset = 7
    imported = scene_module.import_result(bpy.context.scene, tmp_path, clip=clip)
    plates = importlib.import_module(f"{scene_module.__name__}.points.plate_colors")
    picture = render(bpy.context.scene, tmp_path / "mesh.exr", 4)[5::10, 5::10]
    image = next(i for i in bpy.data.images if i.source == "MOVIE")
    before = datablocks()
    with plates.reading_plate(imported.shot, image) as plate:
        misses = [np.abs(plate.of_frame(frame) - picture).mean() for frame in (3, 4, 5)]
    assert datablocks() == before
    assert np.argmin(misses) == 1 and misses[1] < 0.03


def test_a_spacing_that_makes_too_many_points_is_refused(import_here):
    import_here()
    before = datablocks()
    with pytest.raises(RuntimeError, match="choose a wider one"):
        bpy.ops.stereodiff.import_points(source="DENSE", spacing=1e-6)
    assert datablocks() == before


def test_nothing_sure_is_said_in_words(import_here, tmp_path):
    import_here()
    with pytest.raises(RuntimeError, match="Nothing still is surer than 1"):
        bpy.ops.stereodiff.import_points(source="DENSE", least_confidence=1.0)


def test_pixels_on_depth_edges_are_left_out(import_here, tmp_path):
    """Made of two flat halves and a blurred column between them, as filtered depth has."""
    import_here(replace(SMALL, zoom=1.0, invalid_corner=False))
    write_all_still(tmp_path / "job", SMALL)
    depth = np.full((18, 32), 4.0, np.float32)
    depth[:, 16], depth[:, 17:] = 3.0, 2.0
    rewrite(tmp_path / "job", "depth", 1, depth)
    bpy.ops.stereodiff.import_points(source="DENSE", frame_count=1, spacing=1e-3)
    positions, _ = read(points_object("dense points"))
    assert set(np.round(positions[:, 1], 3)) == {2.0, 4.0} and len(positions) == 18 * (32 - 3)


def test_the_drawn_scene_is_what_the_points_are_held_against():
    """off_the_scene() is zero on traced depth, so that it can fail on anything else."""
    depth, _ = trace_depth(SMALL, 0)
    x, y = np.meshgrid((np.arange(32) + 0.5 - 17.5) / 30.0, (np.arange(18) + 0.5 - 8.25) / 30.0)
    points = np.stack([x * depth, depth, -y * depth], axis=-1).reshape(-1, 3)
    assert off_the_scene(points).max() < 1e-9 and np.median(off_the_scene(points * 1.1)) > 0.1
