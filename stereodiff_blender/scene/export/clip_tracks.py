"""The solved points as tracks of the movie clip, so that an artist sees them stick to the plate.

Blender lets nobody write bundles. So the points are projected through the solved cameras into markers, and Blender's
own solver, given the solved lens, finds the bundles again. All of it stays in a tracking object of its own: the tracks
and the solve of an artist are not touched, and writing again replaces that object. Two shots of one clip have one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from ...engine.contract import StereoDiffError
from ..camera import TRACKING_OBJECT, holding_lens
from ..data import SceneImport
from ..placing.orientation import transformed, world_from_result
from ..result import ImportedResult, camera_math, read_points
from .observations import observe, triangulate

__all__ = ["COUNT", "FEWEST_TRACKS", "selected_track_points", "write_tracks"]

COUNT = 150
FEWEST_FRAMES = 5  # that a point must be seen in, to become a track
FEWEST_TRACKS = 8  # Blender's solver needs them in both of its key frames
CELLS = (8, 6)  # places in the picture that share the tracks
MOST_ZOOM = 0.02  # of the focal length; Blender's solver has one for all frames, and is a pixel of 1920 off beyond it
ENOUGH_PARALLAX = 0.15  # of the median depth; a longer base makes the solver no surer
_REFINE = tuple(f"refine_intrinsics_{what}" for what in
                ("focal_length", "principal_point", "radial_distortion", "tangential_distortion"))
_SOLVER = ("use_keyframe_selection", "use_tripod_solver", *_REFINE)


@dataclass(frozen=True)
class WrittenTracks:
    """tracks: written. bundles: of them, solved by Blender. cameras: frames that it solved, normally all.

    has_lens: whether the clip's camera now has the solved lens; not if the artist has a solve or a lens of their own.
    zoom: how much longer the longest focal length is than the shortest, where one lens for all frames is too wrong for
    that; else 0.
    """

    tracks: int
    bundles: int
    cameras: int
    has_lens: bool
    zoom: float


def write_tracks(context: bpy.types.Context, shot: ImportedResult, clip: bpy.types.MovieClip,
                 count: int = COUNT) -> WrittenTracks:
    """Write up to count solved points into the clip as tracks with bundles, in place of those written before.

    Parameters
    ----------
    context : bpy.types.Context
        An area of its window shows the clip for a moment, because Blender's solver asks for that.
    shot : ImportedResult
        The result; the depth of every frame is read, to see which points are hidden.
    clip : bpy.types.MovieClip
        The footage. Its camera takes the solved lens, unless the artist has a solve or a lens of their own there.
    count : int
        How many tracks at most, FEWEST_TRACKS or more.

    Returns
    -------
    WrittenTracks
        How many tracks, bundles and cameras there are now, and whether the clip's camera holds the solved lens.

    Raises
    ------
    StereoDiffError
        "depth_missing": without points, or fewer than FEWEST_TRACKS of them are seen long enough. "result_invalid": the
        file of the points or of a frame's depth is damaged. Both leave the clip as it is. "tracks_unsolved": the solver
        fails; the clip then has no tracks of ours.
    """
    points, _ = read_points(shot)
    pixels, seen = observe(shot, points)
    chosen = choose_points(pixels, seen, shot.clip_size, count)
    if len(chosen) < FEWEST_TRACKS:
        raise StereoDiffError("depth_missing", f"Only {len(chosen)} points are seen long enough.")
    remove_tracks(clip, shot)
    ours = clip.tracking.objects.new(TRACKING_OBJECT)
    for point in chosen:
        _write_track(ours, f"Point {point}", shot, pixels[:, point], seen[:, point])
    ours.keyframe_a, ours.keyframe_b = _key_frames(shot, seen[:, chosen])
    clip.tracking.objects.active = ours
    with holding_lens(clip, shot) as has_lens:
        _solve(context, clip, shot)
    return _judge(clip, shot, has_lens)


def remove_tracks(clip: bpy.types.MovieClip, shot: ImportedResult) -> None:
    """Take away what write_tracks() wrote for these frames; another shot of the clip keeps its own."""
    for ours in list(_written(clip, shot)):
        clip.tracking.objects.remove(ours)


def _written(clip: bpy.types.MovieClip, shot: ImportedResult) -> Iterator[bpy.types.MovieTrackingObject]:
    frames = range(shot.first_frame, shot.first_frame + shot.frame_count)
    for thing in clip.tracking.objects:
        if not thing.is_camera and thing.name.startswith(TRACKING_OBJECT):
            marked = [marker.frame in frames for track in thing.tracks for marker in track.markers if not marker.mute]
            if any(marked) or not marked:
                yield thing


def choose_points(pixels, seen, size, count: int) -> np.ndarray:
    """Indices of at most count points: long ones, spread over the picture and over time.

    pixels (T,N,2), seen (T,N), size (width, height) of the pixels' picture.
    """
    lengths = seen.sum(axis=0)
    usable = np.flatnonzero(lengths >= min(FEWEST_FRAMES, len(seen)))
    order = usable[np.argsort(-lengths[usable], kind="stable")]
    middle = _middle_frames(seen[:, order])
    columns, rows = (pixels[middle, order] / size * CELLS).astype(int).T
    cell = (middle * 4 // len(seen) * CELLS[1] + rows) * CELLS[0] + columns
    rank = np.empty(len(order), int)
    for own in np.unique(cell):
        members = np.flatnonzero(cell == own)
        rank[members] = np.arange(len(members))
    return np.sort(order[np.argsort(rank, kind="stable")][:count])


def _middle_frames(seen: np.ndarray) -> np.ndarray:
    """(N,): the frame in the middle of those that see a point."""
    passed = np.cumsum(seen, axis=0)
    return np.argmax(passed >= (passed[-1] + 1) // 2, axis=0)


def _write_track(ours: bpy.types.MovieTrackingObject, name: str, shot: ImportedResult, pixels: np.ndarray,
                 seen: np.ndarray) -> None:
    """Markers where the point is seen; after each stretch a disabled one ends it."""
    frames = np.flatnonzero(seen)
    track = ours.tracks.new(name=name, frame=int(shot.first_frame + frames[0]))
    places = pixels / shot.clip_size
    for index in frames:
        _insert(track, shot, index, places[index])
    for index in frames[np.diff(frames, append=len(seen) + 1) > 1] + 1:
        _insert(track, shot, index, places[index - 1]).mute = True


def _insert(track: bpy.types.MovieTrackingTrack, shot: ImportedResult, index: int, place: np.ndarray):
    return track.markers.insert_frame(int(shot.first_frame + index), co=(place[0], 1.0 - place[1]))


def _key_frames(shot: ImportedResult, seen: np.ndarray) -> tuple[int, int]:
    """Two clip frames that share many tracks and see them from different places: where the solver begins."""
    centers = np.array([frame.camera_to_world for frame in shot.result.frames])[:, :3, 3]
    base = np.linalg.norm(centers[:, None] - centers[None], axis=-1) / np.mean(shot.result.depth_range)
    shared = seen.astype(np.float32) @ seen.T.astype(np.float32)
    worth = np.where(shared >= FEWEST_TRACKS, shared * np.minimum(base, ENOUGH_PARALLAX), 0.0)
    a, b = sorted(np.unravel_index(np.argmax(worth), worth.shape))
    return int(shot.first_frame + a), int(shot.first_frame + b)


# --- Blender's solver ----------------------------------------------------------------------------------------------

def _solve(context: bpy.types.Context, clip: bpy.types.MovieClip, shot: ImportedResult) -> None:
    settings = clip.tracking.settings
    with _kept(settings, _SOLVER):
        for name in _SOLVER:
            setattr(settings, name, False)
        try:
            with _clip_editor(context, clip):
                bpy.ops.clip.solve_camera()
        except RuntimeError as error:  # how Blender hands on what an operator reports as an error
            remove_tracks(clip, shot)
            raise StereoDiffError("tracks_unsolved", str(error).strip()) from error


def _judge(clip: bpy.types.MovieClip, shot: ImportedResult, has_lens: bool) -> WrittenTracks:
    ours = clip.tracking.objects.active
    bundles = sum(track.has_bundle for track in ours.tracks)
    if not ours.reconstruction.is_valid or bundles < FEWEST_TRACKS:
        remove_tracks(clip, shot)
        raise StereoDiffError("tracks_unsolved", f"Blender solved {bundles} of the tracks.")
    return WrittenTracks(len(ours.tracks), bundles, len(ours.reconstruction.cameras), has_lens, _zoom(shot))


def _zoom(shot: ImportedResult) -> float:
    focal = shot.clip_intrinsics[:, 0]
    zoom = float(focal.max() / focal.min() - 1.0)
    return zoom if zoom > MOST_ZOOM else 0.0


@contextmanager
def _kept(thing: bpy.types.bpy_struct, names: tuple[str, ...]) -> Iterator[None]:
    """Put properties back to what they were."""
    before = {name: value if isinstance(value := getattr(thing, name), (str, bool, int, float)) else tuple(value)
              for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)


@contextmanager
def _clip_editor(context: bpy.types.Context, clip: bpy.types.MovieClip) -> Iterator[None]:
    """A Movie Clip Editor that shows the clip, for operators that work in none other; for a moment, if need be."""
    window = context.window or context.window_manager.windows[0]
    areas = sorted(window.screen.areas, key=lambda area: (area.type == "CLIP_EDITOR", area.width * area.height))
    area = areas[-1]
    kind, area.type = area.type, "CLIP_EDITOR"
    space = area.spaces.active
    shown, space.clip = space.clip, clip
    region = next(region for region in area.regions if region.type == "WINDOW")
    try:
        with context.temp_override(window=window, screen=window.screen, area=area, region=region, space_data=space):
            yield
    finally:
        space.clip = shown
        area.type = kind


# --- Tracks as points ----------------------------------------------------------------------------------------------

def selected_track_points(found: SceneImport, shot: ImportedResult, clip: bpy.types.MovieClip) -> list[np.ndarray]:
    """World positions of the selected tracks, ours or the artist's, by the solved cameras that see their markers.

    The tracks are those of the tracking object that the clip shows.

    Parameters
    ----------
    found : SceneImport
        The import; its root says where the solve stands in the world.
    shot : ImportedResult
        Its solved cameras.
    clip : bpy.types.MovieClip
        The footage, with the tracks.

    Returns
    -------
    list of ndarray
        (3,) each, world space, z up, scene units; empty if no track is selected.

    Raises
    ------
    StereoDiffError
        "points_unusable": a track has markers in fewer than two solved frames, or the rays through them are so parallel
        that they meet nowhere in particular. "import_missing": the root was deleted.
    """
    matrix = world_from_result(found)
    tracks = [track for track in clip.tracking.objects.active.tracks if track.select]
    points = [triangulate(shot, *_marked(track, shot)) for track in tracks]
    return [transformed(matrix, camera_math.points_in_blender_world(point)) for point in points]


def _marked(track: bpy.types.MovieTrackingTrack, shot: ImportedResult) -> tuple[np.ndarray, np.ndarray]:
    """Indices (M,) of the solved frames in which a track has a marker, and its pixels (M,2) there."""
    markers = [(marker.frame - shot.first_frame, marker.co) for marker in track.markers if not marker.mute]
    inside = [(index, (co[0], 1.0 - co[1])) for index, co in markers if 0 <= index < shot.frame_count]
    indices = np.array([index for index, _ in inside], int)
    return indices, np.array([co for _, co in inside]).reshape(-1, 2) * shot.clip_size
