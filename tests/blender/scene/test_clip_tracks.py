"""Solved points as tracks of the movie clip: markers, bundles, and nothing of the artist's touched."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from job_folder import Example, camera_to_world, depth_of, intrinsics, write_job_folder
from mathutils import Matrix, Vector
from scene_checks import projected
from solved_points import surface_points, write_points

from stereodiff_blender.engine.contract import Distortion

LONG = Example(zoom=1.0, frame_count=12)
SHAPES = {
    "landscape": LONG,
    "portrait": Example(raster=(36, 64), clip=(54, 96), zoom=1.0, frame_count=12),
    "off center": Example(principal=(7.0, -4.0), zoom=1.0, frame_count=12),
    "wide pixels": Example(raster=(64, 36), clip=(80, 60), pixel_aspect=64 / 36 * 60 / 80, zoom=1.0, frame_count=12),
    "late": Example(zoom=1.0, frame_count=8, first_frame=5, first_number=21),
    "barrel": replace(LONG, distortion=Distortion(-0.25, 0.08)),
    "tangential": replace(LONG, distortion=Distortion(-0.2, 0.05, -0.01, 0.002, -0.003)),
}


@pytest.fixture
def parts(addon):
    names = ("scene", "scene.export.clip_tracks", "scene.export.observations", "scene.data.imports")
    return {name.rpartition(".")[2]: importlib.import_module(f"{addon.__name__}.{name}") for name in names}


@pytest.fixture
def bring_in(parts, tmp_path):
    """Import an example with points on its surfaces. Returns what was imported, the clip and the points (N,3)."""
    def bring(example: Example, count: int = 120, points: np.ndarray | None = None):
        write_job_folder(tmp_path / "job", example, clip_folder=tmp_path / "clip")
        points = surface_points(example, count) if points is None else points
        write_points(tmp_path / "job", points)
        imported = parts["scene"].import_result(bpy.context.scene, tmp_path / "job")
        return imported, parts["imports"].chosen_import(bpy.context).clip, points
    return bring


def ours(clip) -> bpy.types.MovieTrackingObject:
    return clip.tracking.objects["StereoDiff"]


def aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points (N,3) after the similarity that brings them nearest to target (N,3)."""
    a, b = points - points.mean(axis=0), target - target.mean(axis=0)
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    scale = (s * sign).sum() / (a ** 2).sum()
    return scale * a @ (u @ np.diag(sign) @ v).T + target.mean(axis=0)


def index_of(track) -> int:
    return int(track.name.removeprefix("Point "))


@pytest.mark.slow
@pytest.mark.parametrize("example", SHAPES.values(), ids=SHAPES.keys())
def test_markers_lie_where_the_solved_cameras_see_the_points(bring_in, example):
    _, clip, points = bring_in(example)
    assert bpy.ops.stereodiff.write_tracks() == {"FINISHED"}
    assert len(ours(clip).tracks) > 30
    for track in ours(clip).tracks:
        for marker in (m for m in track.markers if not m.mute):
            index = marker.frame - example.first_frame
            expected = projected(example, index, points[[index_of(track)]])[0]
            seen = np.array([marker.co[0], 1.0 - marker.co[1]]) * example.clip
            assert np.abs(seen - expected).max() < 1e-3


@pytest.mark.parametrize("lens", [None, Distortion(-0.25, 0.08)])
def test_markers_lie_on_the_plate_of_a_rolling_shutter(bring_in, lens):
    """By the cameras of the middle rows they are off it; and our own tracks are the points they were. The first and the
    last frame have a neighbor on one side alone, which tells less of how they move."""
    example = replace(LONG, readout=0.8, distortion=lens)
    imported, clip, points = bring_in(example)
    bpy.ops.stereodiff.write_tracks()
    miss = [np.multiply((marker.co[0], 1.0 - marker.co[1]), example.clip)
            - projected(example, marker.frame - 1, points[[index_of(track)]])[0]
            for track in ours(clip).tracks for marker in track.markers
            if not marker.mute and 1 < marker.frame < example.frame_count]
    assert len(miss) > 300 and np.abs(miss).max() < 0.01
    for track in ours(clip).tracks:
        track.select = False
    chosen = list(ours(clip).tracks)[:2]
    for track in chosen:
        track.select = True
    bpy.ops.stereodiff.set_scale("EXEC_DEFAULT", source="TRACKS", distance=12.0)
    bpy.context.view_layer.update()
    one, other = (points[index_of(track)] for track in chosen)
    assert np.linalg.norm(one - other) * imported.root.matrix_world.median_scale == pytest.approx(12.0, rel=2e-3)


@pytest.mark.parametrize("example", SHAPES.values(), ids=SHAPES.keys())
def test_bundles_are_the_points_up_to_a_similarity(bring_in, example):
    _, clip, points = bring_in(example)
    bpy.ops.stereodiff.write_tracks()
    reconstruction = ours(clip).reconstruction
    assert reconstruction.is_valid and reconstruction.average_error < 0.01
    assert len(reconstruction.cameras) == example.frame_count
    solved = [track for track in ours(clip).tracks if track.has_bundle]
    assert len(solved) > 0.9 * len(ours(clip).tracks)
    wanted = points[[index_of(track) for track in solved]]
    assert np.abs(aligned(np.array([track.bundle for track in solved]), wanted) - wanted).max() < 0.01


@pytest.mark.slow
def test_what_is_covered_has_no_marker_and_the_track_ends_there(bring_in):
    """The box hides parts of the wall from some frames. Truth is the analytic depth at the point's very place."""
    example = replace(LONG, raster=(128, 72), focal=120.0)
    depths = [depth_of(example, index) for index in range(example.frame_count)]
    _, clip, points = bring_in(example, 600)
    bpy.ops.stereodiff.write_tracks(count=600)
    hidden = shown = 0
    for track in ours(clip).tracks:
        point = points[[index_of(track)]]
        marked = {marker.frame: marker for marker in track.markers}
        for index in range(example.frame_count):
            truth = is_seen(example, index, depths[index], point)
            marker = marked.get(1 + index)
            is_marked = marker is not None and not marker.mute
            if truth is False:
                hidden += 1
                assert not is_marked
                assert index == 0 or marked.get(index) is None or marked[index].mute or marker.mute
            elif truth:
                shown += 1
                assert is_marked
    assert hidden > 20 and shown > 2000


def is_seen(example: Example, index: int, depth: np.ndarray, point: np.ndarray) -> bool | None:
    """None near a border of depth or of the picture, where a pixel's depth does not say."""
    pixel = projected(example, index, point)[0] * np.divide(example.raster, example.clip)
    column, row = np.floor(pixel).astype(int)
    if not (1 <= column < example.raster[0] - 1 and 1 <= row < example.raster[1] - 1):
        return None
    around = depth[row - 1:row + 2, column - 1:column + 2]
    if around.min() == 0 or around.max() > 1.04 * around.min():
        return None
    pose = camera_to_world(example, index)
    return bool(((point - pose[:3, 3]) @ pose[:3, :3])[0, 2] < around.max() * 1.05)


def test_a_second_click_replaces_ours_only(bring_in):
    _, clip, _ = bring_in(LONG)
    mine = clip.tracking.tracks.new(name="mine", frame=1)
    mine.markers.insert_frame(1, co=(0.3, 0.4))
    mine.markers.insert_frame(2, co=(0.31, 0.41))
    table = clip.tracking.objects.new("Table")
    table.tracks.new(name="corner", frame=3)
    for count in (40, 20):
        bpy.ops.stereodiff.write_tracks(count=count)
        assert [thing.name for thing in clip.tracking.objects] == ["Camera", "Table", "StereoDiff"]
        assert len(ours(clip).tracks) == count
    kept = clip.tracking.objects["Camera"].tracks
    assert [track.name for track in kept] == ["mine"]
    assert np.allclose([m.co for m in kept["mine"].markers], [(0.3, 0.4), (0.31, 0.41)])
    assert [track.name for track in clip.tracking.objects["Table"].tracks] == ["corner"]


def test_the_clip_gets_the_solved_lens(bring_in):
    example = SHAPES["off center"]
    imported, clip, _ = bring_in(example)
    bpy.ops.stereodiff.write_tracks()
    camera = clip.tracking.camera
    fx, _, cx, cy = intrinsics(example, 0) * np.tile(np.divide(example.clip, example.raster), 2)
    assert camera.focal_length_pixels == pytest.approx(fx, rel=1e-5)
    assert camera.focal_length == pytest.approx(imported.camera.data.lens, rel=1e-5)
    assert tuple(camera.principal_point_pixels) == pytest.approx((cx, example.clip[1] - cy), abs=1e-3)


def solve_as_an_artist(clip, parts) -> list:
    """Tracks and a solve in the clip's own camera object. Returns the bundles."""
    own = clip.tracking.objects["Camera"]
    for track in ours(clip).tracks:
        copy = own.tracks.new(name=track.name, frame=track.markers[0].frame)
        for marker in track.markers:
            copy.markers.insert_frame(marker.frame, co=marker.co).mute = marker.mute
    own.keyframe_a, own.keyframe_b = ours(clip).keyframe_a, ours(clip).keyframe_b
    clip.tracking.objects.active = own
    with parts["clip_tracks"]._clip_editor(bpy.context, clip):
        bpy.ops.clip.solve_camera()
    assert own.reconstruction.is_valid
    return [tuple(track.bundle) for track in own.tracks]


def test_an_artists_own_solve_and_lens_stay(bring_in, parts):
    _, clip, _ = bring_in(LONG)
    bpy.ops.stereodiff.write_tracks()
    camera = clip.tracking.camera
    bundles = solve_as_an_artist(clip, parts)
    camera.sensor_width, camera.focal_length = 30.0, 50.0
    camera.distortion_model, camera.k1 = "POLYNOMIAL", 0.02
    bpy.ops.stereodiff.write_tracks()
    own = clip.tracking.objects["Camera"]
    assert own.reconstruction.is_valid and [tuple(track.bundle) for track in own.tracks] == bundles
    assert (camera.focal_length, camera.sensor_width, camera.k1) == pytest.approx((50.0, 30.0, 0.02))
    assert ours(clip).reconstruction.is_valid and ours(clip).reconstruction.average_error < 0.01


def test_a_lens_that_an_artist_has_set_stays_without_a_solve_too(bring_in, parts):
    """Blender's solver has the solved one meanwhile."""
    imported, clip, _ = bring_in(SHAPES["barrel"])
    camera = clip.tracking.camera
    camera.focal_length, camera.k1 = 50.0, 0.02
    kept = (camera.focal_length, camera.focal_length_pixels, camera.k1, camera.k2)
    written = parts["clip_tracks"].write_tracks(bpy.context, imported.shot, clip)
    assert not written.has_lens and ours(clip).reconstruction.average_error < 0.01
    assert (camera.focal_length, camera.focal_length_pixels, camera.k1, camera.k2) == kept


def test_an_import_leaves_the_lens_of_an_artists_solve(bring_in, parts, tmp_path):
    """Though it is, to the last bit, what was written here before."""
    _, clip, _ = bring_in(LONG)
    bpy.ops.stereodiff.write_tracks()
    solve_as_an_artist(clip, parts)
    bent = replace(LONG, distortion=Distortion(-0.25, 0.08), job_id="bent")
    write_job_folder(tmp_path / "bent", bent, clip_folder=tmp_path / "clip")
    imported = parts["scene"].import_result(bpy.context.scene, tmp_path / "bent", replace_better=True)
    assert clip.tracking.camera.k1 == 0.0 and "you set or solved" in imported.clip_note


def test_solver_settings_and_editors_are_as_before(bring_in):
    _, clip, _ = bring_in(LONG)
    settings = clip.tracking.settings
    settings.use_keyframe_selection = settings.use_tripod_solver = True
    settings.refine_intrinsics_focal_length = True
    areas = [area.type for area in bpy.context.window_manager.windows[0].screen.areas]
    bpy.ops.stereodiff.write_tracks()
    assert settings.use_keyframe_selection and settings.use_tripod_solver and settings.refine_intrinsics_focal_length
    assert [area.type for area in bpy.context.window_manager.windows[0].screen.areas] == areas


def test_tracks_are_spread_and_long(parts):
    """Out of many in one corner and few elsewhere, those elsewhere are taken too."""
    rng = np.random.default_rng(0)
    elsewhere = [(x * 12.5 + 6, y * 16.6 + 8) for x in range(2, 8) for y in range(1, 6)]
    places = np.concatenate([rng.uniform(0, 20, (300, 2)), elsewhere])
    pixels, seen = np.broadcast_to(places, (10, 330, 2)), np.ones((10, 330), bool)
    seen[5:, 320:] = False
    chosen = parts["clip_tracks"].choose_points(pixels, seen, (100, 100), 40)
    assert len(chosen) == 40 and np.count_nonzero(chosen >= 300) == 30
    few = parts["clip_tracks"].choose_points(pixels[:, 300:], seen[:, 300:], (100, 100), 20)
    assert np.count_nonzero(few >= 20) <= 10


def test_without_points_it_says_so(parts, tmp_path):
    write_job_folder(tmp_path, Example(camera_kind="rotation"))
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    with pytest.raises(RuntimeError, match="no depth or points"):
        bpy.ops.stereodiff.write_tracks()


def test_too_few_points_leave_the_clip_as_it_was(bring_in):
    _, clip, _ = bring_in(LONG, 6)
    with pytest.raises(RuntimeError, match="points are seen long enough"):
        bpy.ops.stereodiff.write_tracks()
    assert len(clip.tracking.objects) == 1


def test_tracks_that_blender_cannot_solve_are_taken_away_again(bring_in):
    """Seven points that the first frames see and seven others that the last ones do: no two frames share eight."""
    example = Example(zoom=1.0, frame_count=30, focal=240.0)
    points = surface_points(example, 90)
    _, clip, _ = bring_in(example, points=np.concatenate([points[:7], points[-7:]]))
    with pytest.raises(RuntimeError, match="could not solve the tracks"):
        bpy.ops.stereodiff.write_tracks()
    assert [thing.name for thing in clip.tracking.objects] == ["Camera"]


# --- Tracks as points ----------------------------------------------------------------------------------------------

def test_selected_tracks_of_the_artist_orient_the_floor(bring_in):
    """Markers placed by hand, in the clip's own camera object: their points come from the solved camera."""
    imported, clip, _ = bring_in(LONG)
    floor = np.array([[-1.0, 0.9, 4.0], [1.1, 0.9, 4.5], [0.2, 0.7, 5.5]])
    for number, point in enumerate(floor):
        track = clip.tracking.tracks.new(name=f"floor {number}", frame=1)
        for index in range(LONG.frame_count):
            x, y = projected(LONG, index, point[None])[0] / LONG.clip
            track.markers.insert_frame(1 + index, co=(x, 1.0 - y))
        track.select = True
    other = clip.tracking.tracks.new(name="elsewhere", frame=1)
    other.select = False
    imported.root.matrix_world = Matrix.Translation((1, 2, 3)) @ Matrix.Scale(3.0, 4)
    bpy.context.view_layer.update()
    assert bpy.ops.stereodiff.orient_floor(source="TRACKS") == {"FINISHED"}
    bpy.context.view_layer.update()
    placed = [imported.root.matrix_world @ Vector((x, z, -y)) for x, y, z in floor]
    assert max(abs(p.z) for p in placed) < 1e-3


def test_our_own_tracks_serve_as_points(bring_in):
    imported, clip, points = bring_in(LONG)
    bpy.ops.stereodiff.write_tracks()
    for track in ours(clip).tracks:
        track.select = False
    a, b = (track for track in list(ours(clip).tracks)[:2])
    a.select = b.select = True
    bpy.ops.stereodiff.set_scale("EXEC_DEFAULT", source="TRACKS", distance=12.0)
    bpy.context.view_layer.update()
    apart = np.linalg.norm(points[index_of(a)] - points[index_of(b)]) * imported.root.matrix_world.median_scale
    assert apart == pytest.approx(12.0, rel=1e-3)


def test_a_track_with_one_marker_is_no_point(bring_in):
    _, clip, _ = bring_in(LONG)
    clip.tracking.tracks.new(name="one", frame=1).select = True
    with pytest.raises(RuntimeError, match="two solved frames"):
        bpy.ops.stereodiff.set_origin(source="TRACKS")


def test_triangulation_needs_parallax(bring_in, parts):
    imported, _, _ = bring_in(LONG)
    far = np.array([[3000.0, 100.0, 60000.0]])
    pixels = np.array([projected(LONG, index, far)[0] for index in range(3)])
    with pytest.raises(Exception, match="one place only"):
        parts["observations"].triangulate(imported.shot, np.arange(3), pixels)
    near = np.array([[0.3, 0.1, 4.0]])
    pixels = np.array([projected(LONG, index, near)[0] for index in range(3)])
    assert np.allclose(parts["observations"].triangulate(imported.shot, np.arange(3), pixels), near[0], atol=1e-9)


@pytest.mark.parametrize(("zoom", "is_told"), [(1.0, False), (1.015, False), (1.03, True)])
def test_a_zoom_that_one_lens_cannot_stand_for_is_warned_about(addon, bring_in, zoom, is_told):
    """Blender's clip camera has one focal length for all frames."""
    bring_in(replace(LONG, zoom=zoom))
    operators = importlib.import_module(f"{addon.__name__}.ui.operators.placing")
    chosen = importlib.import_module(f"{addon.__name__}.ui.operators.base").chosen_import(bpy.context)
    told = []
    asked = SimpleNamespace(count=60, report=lambda kinds, words: told.extend((*kinds, words)))
    operators.STEREODIFF_OT_write_tracks.act(asked, bpy.context, chosen)
    assert told == ([] if not is_told else ["WARNING", told[-1]])
    assert not is_told or "zooms by 3%" in told[-1]
