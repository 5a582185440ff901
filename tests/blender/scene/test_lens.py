"""A result whose lens bends the picture: mesh, points, tracks, exports and Blender's own tools agree about it."""

from __future__ import annotations

import importlib
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from job_folder import Example, depth_of, intrinsics, trace_depth, write_job_folder
from mathutils import Quaternion, Vector
from scene_checks import evaluated_mesh, projected, render, set_input, show_frame
from solved_points import surface_points, write_points

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.lens import distorted

RADIAL, BROWN = Distortion(-0.25, 0.08), Distortion(-0.25, 0.08, -0.01, 0.002, -0.003)
FISHEYE = Distortion(-0.05, 0.01, is_fisheye=True)
WHOLE = Example(frame_count=3, invalid_corner=False)
HD = 1920 / WHOLE.clip[0]  # pixels of a picture 1920 wide in one of the clip
LENSES = {
    "radial": RADIAL, "brown": BROWN, "strong barrel": Distortion(-0.3), "strong pincushion": Distortion(0.3),
    "hardly any": Distortion(1e-4), "none": Distortion(), "fisheye": FISHEYE,
    "fisheye of four": Distortion(0.03, -0.01, 0.004, k4=-0.001, is_fisheye=True),
    "equidistant": Distortion(is_fisheye=True),
}


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def bring_in(scene_module, tmp_path):
    """Import an example."""
    def bring(example: Example, folder: str = "job", points: np.ndarray | None = None, **options):
        write_job_folder(tmp_path / folder, example, clip_folder=tmp_path / "clip")
        if points is not None:
            write_points(tmp_path / folder, points)
        return scene_module.import_result(bpy.context.scene, tmp_path / folder, **options)
    return bring


def linear(color: np.ndarray) -> np.ndarray:
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


# --- The mesh ------------------------------------------------------------------------------------------------------

def places(size: int, step: int) -> np.ndarray:
    """Where a grid has its vertices, in pixels: the two edges, the centers of every step-th pixel and of the last."""
    return np.array([0.0, *(pixel + 0.5 for pixel in sorted({*range(0, size, step), size - 1})), size])


def grid_on_plate(example: Example, step: int = 1) -> np.ndarray:
    """(N,2) pixels of the clip, in the mesh's order: column by column, from the bottom up."""
    columns, rows = (places(size, step) for size in example.raster)
    grid = np.stack(np.meshgrid(columns, rows[::-1], indexing="ij"), axis=-1).reshape(-1, 2)
    return grid * np.divide(example.clip, example.raster)


def seen_on_plate(example: Example, index: int, imported, vertices: np.ndarray) -> np.ndarray:
    """(N,2) pixels of the clip: through Blender's own camera, and then as the lens bends the picture."""
    scene, place = bpy.context.scene, imported.mesh.matrix_world
    views = np.array([world_to_camera_view(scene, imported.camera, place @ Vector(v)) for v in vertices])
    ideal = np.stack([views[:, 0], 1.0 - views[:, 1]], axis=-1) * example.clip
    focal, center = np.split(intrinsics(example, index) * np.tile(np.divide(example.clip, example.raster), 2), 2)
    return distorted((ideal - center) / focal, example.distortion) * focal + center


def whole(imported):
    """Neither torn nor filled, so that the mesh is the whole grid."""
    set_input(imported.mesh, "Tear at Depth Edges", False)
    set_input(imported.mesh, "Fill Seams", False)
    return imported


@pytest.mark.parametrize("zoom", [1.0, 1.25])
@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_vertices_stand_on_their_pixels_of_the_plate(bring_in, lens, zoom):
    """Undistorted by nodes, held against the lens's formula the other way: to a twentieth of a pixel of 1920."""
    example = replace(WHOLE, distortion=lens, zoom=zoom)
    imported = whole(bring_in(example))
    worst_px = 0.0
    for index in range(example.frame_count):
        show_frame(1 + index)
        vertices, _ = evaluated_mesh(imported.mesh)
        off = np.abs(seen_on_plate(example, index, imported, vertices) - grid_on_plate(example))
        worst_px = max(worst_px, off.max() * HD)
    assert worst_px < (0.01 if lens.is_radial else 0.05)


@pytest.mark.parametrize("lens", [FISHEYE, Distortion(is_fisheye=True)])
def test_vertices_of_a_wide_fisheye_stand_on_their_pixels(bring_in, lens):
    """Its corners are 65 degrees or more off the axis."""
    example = replace(WHOLE, zoom=1.0, distortion=lens, focal=0.5 * WHOLE.raster[0])
    imported = whole(bring_in(example))
    show_frame(1)
    vertices, _ = evaluated_mesh(imported.mesh)
    corner = vertices[np.abs(vertices[:, 2]) > 0][0]
    assert np.degrees(np.arctan2(np.hypot(*corner[:2]), -corner[2])) > 60.0
    off = np.abs(seen_on_plate(example, 0, imported, vertices) - grid_on_plate(example))
    assert off.max() * HD < 0.05


def test_without_rounds_enough_they_would_not(bring_in, scene_module, monkeypatch):
    undistortion = importlib.import_module(f"{scene_module.__name__}.mesh.undistortion")
    monkeypatch.setattr(undistortion, "MOST_ROUNDS", 1)
    example = replace(WHOLE, distortion=RADIAL)
    imported = whole(bring_in(example))
    show_frame(1)
    vertices, _ = evaluated_mesh(imported.mesh)
    assert np.abs(seen_on_plate(example, 0, imported, vertices) - grid_on_plate(example)).max() * HD > 1.0


def test_a_coarse_torn_and_filled_mesh_stands_on_the_plate_too(bring_in):
    example = replace(WHOLE, distortion=BROWN)
    imported = bring_in(example, step=3)
    show_frame(2)
    vertices, _ = evaluated_mesh(imported.mesh)
    grid = grid_on_plate(example, 3)
    assert len(vertices) > len(grid), "seams are there"
    seen = seen_on_plate(example, 1, imported, vertices)
    off = np.abs(seen[:, None] - grid[None]).max(axis=-1).min(axis=-1)
    assert off.max() * HD < 0.05


def test_depth_and_plate_are_read_where_the_plate_has_them(bring_in):
    """Its UVs are places of the plate as shot, and the depth is that of the pixel there."""
    example = replace(WHOLE, distortion=RADIAL)
    imported = whole(bring_in(example))
    show_frame(2)
    evaluated = imported.mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh, grid = evaluated.to_mesh(), grid_on_plate(example)
    for loop, uv in zip(mesh.loops, mesh.uv_layers["UVMap"].data, strict=True):
        assert tuple(uv.uv) == pytest.approx(grid[loop.vertex_index] / example.clip * [1, -1] + [0, 1], abs=1e-5)
    depth, size = depth_of(example, 1), np.array(example.raster)
    columns, rows = np.minimum(grid / example.clip * size, size - 1).astype(int).T
    assert -np.array([vertex.co.z for vertex in mesh.vertices]) == pytest.approx(depth[rows, columns], rel=1e-5)
    evaluated.to_mesh_clear()


def test_a_mesh_cache_holds_the_same_vertices(bring_in, tmp_path):
    imported = bring_in(replace(WHOLE, distortion=RADIAL))
    shown = []
    for thing in ("depth mesh", "baked mesh"):
        if thing == "baked mesh":
            bpy.ops.stereodiff.bake_mesh(filepath=str(tmp_path / "mesh.pc2"), file_format="PC2")
        mesh = next(o for o in bpy.data.objects if o.name.endswith(thing))
        show_frame(3)
        shown.append(evaluated_mesh(mesh)[0])
    assert imported.mesh.hide_render and np.allclose(*shown, atol=1e-5)


def test_through_the_camera_the_mesh_shows_what_an_ideal_lens_would_have_shot(bring_in, tmp_path):
    """The same scene traced for a pinhole; the plate as shot is another picture."""
    example = replace(WHOLE, raster=(128, 72), focal=120.0, distortion=Distortion(-0.4, 0.2))
    bring_in(example, step=1)
    shown = render(bpy.context.scene, tmp_path / "shown.exr", 2)[..., 0]
    ideal, shot = (linear(trace_depth(lens, 1, example.clip)[1])[..., 0]
                   for lens in (replace(example, distortion=None), example))
    assert np.abs(shown - ideal).mean() < 0.5 * np.abs(shown - shot).mean()


PINHOLE_TREES = {True: 1528420499, False: 3756524196}
"""Of results whose mesh plays from one picture, and of earlier ones."""


def digest(tree: bpy.types.NodeTree) -> int:
    """Of its nodes in their places, and of their links: the same in every Blender."""
    nodes = list(tree.nodes)
    drawn = [(n.bl_idname, n.label, *map(round, n.location), getattr(n, "operation", "")) for n in nodes]
    links = sorted((nodes.index(link.from_node), nodes.index(link.to_node)) for link in tree.links)
    return zlib.crc32(repr((drawn, links)).encode())


@pytest.mark.parametrize("has_mesh_depth", [True, False])
@pytest.mark.parametrize("zoom", [1.0, 1.25])
def test_a_pinhole_has_the_nodes_it_always_had(bring_in, zoom, has_mesh_depth):
    """Also after a result of the same shot whose lens bends the picture."""
    plain, its_tree = replace(WHOLE, zoom=zoom, has_mesh_depth=has_mesh_depth), PINHOLE_TREES[has_mesh_depth]
    modifier = bring_in(plain).mesh.modifiers[0]
    assert digest(modifier.node_group) == its_tree
    bring_in(replace(plain, distortion=BROWN, job_id="bent"), "bent", replace_better=True)
    assert digest(modifier.node_group) != its_tree
    bring_in(replace(plain, job_id="again"), "again", replace_better=True)
    assert digest(modifier.node_group) == its_tree


# --- Points and tracks ---------------------------------------------------------------------------------------------

@pytest.fixture
def observations(scene_module):
    return importlib.import_module(f"{scene_module.__name__}.export.observations")


@pytest.mark.parametrize("lens", [RADIAL, BROWN])
def test_points_are_seen_where_the_plate_shows_them_and_come_back_from_there(bring_in, observations, lens):
    example = replace(WHOLE, distortion=lens)
    shot, point = bring_in(example).shot, np.array([[1.5, -0.8, 3.5]])
    expected = [projected(example, index, point)[0] for index in range(3)]
    seen = [observations.project(shot, index, point)[0][0] for index in range(3)]
    pinhole = replace(example, distortion=None)
    assert np.abs(np.array(seen) - expected).max() < 1e-9
    assert np.abs(projected(pinhole, 0, point)[0] - expected[0]).max() * HD > 20.0, "the lens counts there"
    assert np.allclose(observations.triangulate(shot, np.arange(3), np.array(seen)), point, atol=1e-7)


def test_what_a_barrel_would_fold_back_into_the_picture_is_not_seen(bring_in, observations):
    """At 1.7 focal lengths from the axis the formula of k1 = -0.3 gives 0.23, well inside the picture."""
    example = replace(WHOLE, distortion=Distortion(-0.3))
    shot, points = bring_in(example).shot, np.array([[1.7, 0.0, 1.0], [0.2, 0.0, 1.0]])
    inside = projected(example, 0, points)
    assert (inside > 0).all() and (inside < example.clip).all()
    assert observations.observe(shot, points)[1][0].tolist() == [False, True]


# --- The clip's camera and the plate behind ours -------------------------------------------------------------------

def the_clip() -> bpy.types.MovieClip:
    return bpy.data.movieclips[0]


def open_clip(tmp_path, example: Example) -> bpy.types.MovieClip:
    """The footage, open as the artist has it before the import."""
    write_job_folder(tmp_path / "before", example, clip_folder=tmp_path / "clip")
    return bpy.data.movieclips.load(str(tmp_path / "clip" / "plate_0001.png"))


def lens_of(clip: bpy.types.MovieClip) -> dict:
    camera = clip.tracking.camera
    names = [known.identifier for known in camera.bl_rna.properties if known.identifier != "rna_type"]
    values = {name: getattr(camera, name) for name in names}
    return {name: value if isinstance(value, (str, float)) else tuple(value) for name, value in values.items()}


BENT = replace(WHOLE, zoom=1.0, distortion=RADIAL)


@pytest.mark.parametrize(("lens", "model", "coefficients"), [
    (RADIAL, "POLYNOMIAL", {"k1": -0.25, "k2": 0.08, "k3": 0.0}),
    (BROWN, "BROWN", {"brown_k1": -0.25, "brown_k2": 0.08, "brown_k3": -0.01, "brown_k4": 0.0, "brown_p1": -0.003,
                      "brown_p2": -0.002})])
def test_the_clip_takes_the_lens_and_is_shown_without_its_bending(bring_in, lens, model, coefficients):
    imported, clip = bring_in(replace(BENT, distortion=lens)), the_clip()
    fx, _, cx, cy = intrinsics(BENT, 0) * 2
    camera = clip.tracking.camera
    assert camera.distortion_model == model
    assert {name: getattr(camera, name) for name in coefficients} == pytest.approx(coefficients)
    assert (camera.focal_length_pixels, camera.pixel_aspect) == pytest.approx((fx, 1.0))
    assert tuple(camera.principal_point_pixels) == pytest.approx((cx, 72 - cy), abs=1e-3)
    assert camera.focal_length == pytest.approx(imported.camera.data.lens, rel=1e-5)
    background = imported.camera.data.background_images[0]
    assert background.clip == clip and background.clip_user.use_render_undistorted
    assert background.clip_user.proxy_render_size == "FULL", "so Blender undistorts it as it draws"
    assert imported.clip_note == ""


def test_a_camera_that_only_turns_has_its_lens_too(bring_in):
    """Without depth there is no mesh, but the clip, the picture behind the camera and the compositor go by the lens."""
    imported, clip = bring_in(replace(BENT, camera_kind="rotation")), the_clip()
    camera, background = clip.tracking.camera, imported.camera.data.background_images[0]
    assert imported.mesh is None and camera.distortion_model == "POLYNOMIAL"
    assert (camera.k1, camera.k2) == pytest.approx((-0.25, 0.08)) and background.clip_user.use_render_undistorted
    assert bpy.ops.stereodiff.add_lens_groups(overscan=True) == {"FINISHED"}


@pytest.mark.parametrize("lens", [Distortion(is_fisheye=True), FISHEYE])
def test_the_clip_takes_for_a_fisheye_what_follows_it_best(bring_in, lens):
    """By Blender's formula of its Nuke model, in half lengths of the longer side: to 0.1 pixels of a picture 640 wide,
    126 degrees across the corners."""
    focal = 0.52 * WHOLE.raster[0]
    bring_in(replace(BENT, distortion=lens, focal=focal))
    camera = the_clip().tracking.camera
    assert camera.distortion_model == "NUKE" and camera.k1 == camera.brown_k1 == 0.0
    ideal = np.linspace(0.01, np.tan(np.radians(62.0)), 50)
    expected, plate = distorted(np.stack([ideal, 0 * ideal], -1), lens)[:, 0], np.linspace(0.0, 1.4, 200000)
    halves = plate * camera.focal_length_pixels / (0.5 * max(WHOLE.clip))
    straight = plate / (1.0 + camera.nuke_k1 * halves**2 + camera.nuke_k2 * halves**4)
    assert np.abs(np.interp(ideal, straight, plate) - expected).max() * 0.52 * 640 < 0.1


def test_a_pinhole_leaves_clip_and_plate_as_they_are(bring_in, tmp_path):
    before = lens_of(open_clip(tmp_path, WHOLE))
    imported = bring_in(WHOLE)
    assert lens_of(the_clip()) == before and not the_clip().keys()
    assert not imported.camera.data.background_images[0].clip_user.use_render_undistorted


@pytest.mark.parametrize("own", [
    {"focal_length": 50.0}, {"k1": 0.02}, {"distortion_model": "DIVISION"}, {"nuke_k1": -0.1}, {"pixel_aspect": 2.0},
    {"principal_point": (0.1, 0.0)}])
def test_a_lens_of_the_artists_stays_and_that_is_said(bring_in, tmp_path, own):
    clip = open_clip(tmp_path, BENT)
    for name, value in own.items():
        setattr(clip.tracking.camera, name, value)
    before = lens_of(clip)
    imported = bring_in(BENT)
    assert lens_of(clip) == before
    assert imported.clip_note.startswith("The clip keeps the lens") and imported.clip_note in imported.notes


def test_a_lens_that_the_artist_knew_is_bent_and_not_touched_otherwise(bring_in, tmp_path):
    """The solve kept the focal length that was given, so only what the artist has not set is added."""
    clip = open_clip(tmp_path, BENT)
    camera = clip.tracking.camera
    camera.sensor_width = 23.5
    camera.focal_length = BENT.focal / BENT.raster[0] * 23.5
    before = lens_of(clip)
    assert bring_in(BENT).clip_note == ""
    now = lens_of(clip)
    assert (now["k1"], now["k2"]) == pytest.approx((-0.25, 0.08))
    kept = ("focal_length", "focal_length_pixels", "sensor_width", "units", "pixel_aspect", "distortion_model")
    assert [now[name] for name in kept] == [before[name] for name in kept]


def test_a_sensor_alone_is_no_lens(bring_in, tmp_path):
    clip = open_clip(tmp_path, BENT)
    clip.tracking.camera.sensor_width = 23.5
    bring_in(BENT)
    now = lens_of(clip)
    assert now["sensor_width"] == 23.5 and now["focal_length_pixels"] == pytest.approx(2 * BENT.focal)


def test_a_later_result_brings_its_own_lens_until_the_artist_changes_something(bring_in):
    bring_in(BENT)
    bring_in(replace(BENT, distortion=BROWN, focal=62.0, job_id="b"), "b", replace_better=True)
    now = lens_of(the_clip())
    assert (now["distortion_model"], now["k1"], now["brown_k1"]) == ("BROWN", 0.0, pytest.approx(-0.25))
    assert now["focal_length_pixels"] == pytest.approx(124.0)
    bring_in(replace(BENT, distortion=None, job_id="c"), "c", replace_better=True)
    now = lens_of(the_clip())
    assert (now["distortion_model"], now["brown_k1"]) == ("POLYNOMIAL", 0.0), "this shot has none any more"
    bring_in(replace(BENT, job_id="d"), "d", replace_better=True)
    the_clip().tracking.camera.k1 = -0.2
    bring_in(replace(BENT, distortion=BROWN, job_id="e"), "e", replace_better=True)
    now = lens_of(the_clip())
    assert (now["distortion_model"], now["k1"], now["brown_k1"]) == ("POLYNOMIAL", pytest.approx(-0.2), 0.0)


def test_blenders_own_solver_nearly_agrees_with_a_fisheye(bring_in):
    """By the Nuke model; the same markers through no distortion at all are off by pixels."""
    example = replace(BENT, distortion=FISHEYE, frame_count=12)
    bring_in(example, points=surface_points(example, 120))
    assert bpy.ops.stereodiff.write_tracks() == {"FINISHED"}
    ours = the_clip().tracking.objects["StereoDiff"]
    assert the_clip().tracking.camera.distortion_model == "NUKE"
    assert ours.reconstruction.is_valid and ours.reconstruction.average_error < 0.02


def test_another_shot_of_the_clip_without_bending_takes_none_away(bring_in):
    example = replace(BENT, frame_count=6, first_frame=1)
    bring_in(replace(example, frame_count=3))
    bring_in(replace(example, frame_count=3, first_frame=4, distortion=None, job_id="late"), "late")
    assert len(bpy.context.scene.collection.children) == 2 and the_clip().tracking.camera.k1 == pytest.approx(-0.25)


@pytest.mark.parametrize("note", [3, "k1", {"k1": [1.0, 2.0], "sensor_width": {"a": 1}}])
def test_a_note_on_the_clip_that_is_not_ours_does_no_harm(bring_in, tmp_path, note):
    clip = open_clip(tmp_path, BENT)
    clip["stereodiff_lens"] = note
    bring_in(BENT)
    assert clip.tracking.camera.k1 == pytest.approx(-0.25)


@pytest.mark.parametrize("lens", [RADIAL, BROWN])
def test_blenders_own_solver_agrees_with_the_lens(bring_in, lens):
    """It gets markers on the plate as shot, so it would miss by much with another lens: held against none at all."""
    example = replace(BENT, distortion=lens, frame_count=12)
    bring_in(example, points=surface_points(example, 120))
    assert bpy.ops.stereodiff.write_tracks() == {"FINISHED"}
    tracking = the_clip().tracking
    ours = tracking.objects["StereoDiff"]
    assert ours.reconstruction.is_valid and ours.reconstruction.average_error < 0.001
    name = "brown_k1" if lens is BROWN else "k1"
    assert getattr(tracking.camera, name) == pytest.approx(-0.25)
    assert tracking.camera.distortion_model == ("BROWN" if lens is BROWN else "POLYNOMIAL")


# --- Exports -------------------------------------------------------------------------------------------------------

def words_of(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(("lens", "kind", "zoom"), [(RADIAL, "OPENCV", 1.0), (RADIAL, "OPENCV", 1.25),
                                                    (BROWN, "FULL_OPENCV", 1.0), (FISHEYE, "OPENCV_FISHEYE", 1.0),
                                                    (FISHEYE, "OPENCV_FISHEYE", 1.25)])
def test_colmap_sees_the_points_where_the_plate_shows_them(bring_in, tmp_path, lens, kind, zoom):
    """By COLMAP's own formulas of these models, written down here once more."""
    example = replace(WHOLE, distortion=lens, zoom=zoom)
    points = surface_points(example, 60)
    bring_in(example, points=points)
    assert bpy.ops.stereodiff.export_camera(kind="COLMAP", filepath=str(tmp_path / "model")) == {"FINISHED"}
    cameras = {words[0]: words for words in words_of(tmp_path / "model" / "cameras.txt")}
    stored = np.array([words[1:4] for words in words_of(tmp_path / "model" / "points3D.txt")], float)
    for index, words in enumerate(words_of(tmp_path / "model" / "images.txt")):
        _, model, _, _, *values = cameras[words[8]]
        if kind == "OPENCV_FISHEYE":
            values[4:] = *values[4:6], 0.0, 0.0, *values[6:]
        fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, *_ = (*map(float, values), 0.0, 0.0)
        x, y, z = np.array(Quaternion([float(q) for q in words[1:5]]).to_matrix()) @ stored.T \
            + np.array(words[5:8], float)[:, None]
        u, v = x / z, y / z
        r2 = u * u + v * v
        radial = k1 * r2 + k2 * r2 ** 2 + k3 * r2 ** 3
        du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
        dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v)
        if kind == "OPENCV_FISHEYE":
            angle = np.arctan(np.sqrt(r2))
            stretch = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8) / np.sqrt(r2) - 1
            du, dv = u * stretch, v * stretch
        seen = np.stack([fx * (u + du) + cx, fy * (v + dv) + cy], axis=-1)
        assert model == kind and len(values) == {"OPENCV": 8, "OPENCV_FISHEYE": 10, "FULL_OPENCV": 12}[kind]
        assert np.abs(seen - projected(example, index, points)).max() * HD < 0.05


@pytest.mark.parametrize(("kind", "is_told"), [("CHAN", True), ("FBX", True), ("ALEMBIC", True), ("USD", True),
                                               ("TUM", False), ("COLMAP", False)])
def test_formats_without_distortion_say_for_which_plate_they_are(addon, bring_in, tmp_path, kind, is_told):
    module = importlib.import_module(f"{addon.__name__}.ui.operators.placing")
    base = importlib.import_module(f"{addon.__name__}.ui.operators.base")
    told = []
    for example in (BENT, replace(BENT, distortion=None, job_id="pinhole")):
        bring_in(example, example.job_id, replace_better=True)
        asked = SimpleNamespace(kind=kind, filepath=str(tmp_path / "camera"), overscan=True)
        found = base.chosen_import(bpy.context)
        told.append("ST maps" in module.STEREODIFF_OT_export_camera.act(asked, bpy.context, found))
    assert told == [is_told, False]


def test_a_chan_names_the_lens_that_it_cannot_hold(bring_in, tmp_path):
    bring_in(BENT)
    bpy.ops.stereodiff.export_camera(kind="CHAN", filepath=str(tmp_path / "camera.chan"))
    comment = next(line for line in (tmp_path / "camera.chan").read_text().splitlines() if line.startswith("# Lens"))
    assert "k1 -0.25 k2 0.08 k3 0 p1 0 p2 0" in comment and "undistorted plate" in comment
