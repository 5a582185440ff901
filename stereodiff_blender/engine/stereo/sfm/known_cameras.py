"""Cameras that somebody gives, in place of a solve: what the clip's tracks say of them, and where its points are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...contract import Distortion, LensResult, StereoDiffError
from ...geometry import fill_unsolved, invert_rigid, nearest_rotation, rebase, rescale_gauge
from ...lens import undistorted
from ...report import Report
from ...solution import CameraSolution, KnownCameras
from ...storage import RunContext
from ..mapping import BundleState, Observations, parallax_deg, triangulate_points
from ..tracking import Tracks
from .solutions import MIN_GAUGE_POINTS, mean_by_frame
from .solve import chosen_tracks, follow_tracks
from .warnings import warn_doubtful_cameras, warn_not_given, warn_rotation, warn_static, warn_used_cameras

GATE_PX = 4.0
"""Where tracks are beyond it, they are no static points of these cameras."""
MIN_EXPLAINED_SHARE, GOOD_EXPLAINED_SHARE = 0.25, 0.6
DOUBTFUL_RESIDUAL_PX = 0.6
"""Of the raster. Above it a lens or a path is off; own solves, which may adjust both, stay at .1 to .4 on good
footage."""
MIN_SHARE, MIN_VIEWS = 0.5, 3
MIN_PARALLAX_DEG, MIN_POINTS = 0.2, 40
"""Fewer points that are seen from clearly different places, and the camera is as good as on the spot."""
STILL = 1e-9
"""Distance between cameras over their distance from the world's origin: below it is what rounding leaves."""
STILL_TURN = 1e-7


def use_cameras(frames, known: KnownCameras, *, masks=None, context: RunContext) -> CameraSolution:
    """A solution of given cameras: they stay as they are, and the clip's tracks become points under them.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8 RGB, an array or memory map; read one frame at a time.
    known : KnownCameras
        Of the same frames and raster.
    masks : ndarray or None
        (T,H,W) bool-like, true where nothing may be tracked because it moves.
    context : RunContext
        Its scratch keeps the tracks for a later run. Its report is told the stages "track" and "solve".

    Returns
    -------
    CameraSolution
        The gauge is that of a solve; its unit is one of the given world.

    Raises
    ------
    StereoDiffError
        "cameras_do_not_fit": they explain next to nothing of what was tracked. "camera_unsolved": next to nothing could
        be tracked.

    Notes
    -----
    Warns "static_camera", "rotation_only", "frames_unsolved", "little_parallax", "low_texture" and "cameras_doubtful".
    """
    followed = follow_tracks(frames, masks, context)
    tracks = chosen_tracks(followed, context)
    if not len(tracks.frame):
        raise StereoDiffError("camera_unsolved", "No points could be followed through the clip.")
    context.report.stage("solve", 1)
    warn_not_given(context.report, known.known, context.first_frame)
    path = _Path.from_known(known)
    solution = _solution(tracks.select(known.known[tracks.frame]), path, context)
    context.report.progress(1)
    return solution


@dataclass(frozen=True)
class _Path:
    """Poses (T,4,4) from the first camera, which reach as far as 1, and intrinsics (T,4), all frames filled in.

    known: (T,) bool. unit: how long 1 is in the given world; 0 if the camera does not travel. distortion: of the lens;
    None of a pinhole.
    """

    poses: np.ndarray
    intrinsics: np.ndarray
    known: np.ndarray
    unit: float
    distortion: Distortion | None

    @classmethod
    def from_known(cls, known: KnownCameras) -> _Path:
        poses = known.camera_to_world.copy()
        poses[:, :3, :3] = nearest_rotation(poses[:, :3, :3])  # free of the rounding of whoever wrote them
        poses = rebase(poses)  # the first is known
        poses[:, :3, :3], poses[:, :3, 3] = fill_unsolved(poses[:, :3, :3], poses[:, :3, 3], known.known)
        index, given = np.arange(len(poses)), np.flatnonzero(known.known)
        lens = [np.interp(index, given, column) for column in known.intrinsics[given].T]
        reach = float(np.abs(poses[:, :3, 3]).max())
        unit = reach if reach > STILL * float(np.abs(known.camera_to_world[given, :3, 3]).max()) else 0.0
        poses[:, :3, 3] /= unit or np.inf
        return cls(poses, np.stack(lens, axis=-1), known.known, unit, known.distortion)


def _solution(tracks: Tracks, path: _Path, context: RunContext) -> CameraSolution:
    if not path.unit:
        return _on_the_spot(path, context.report)
    observations, focal = _in_one_lens(tracks, path.intrinsics, path.distortion)
    to_camera = invert_rigid(path.poses)
    rotations, translations = to_camera[:, :3, :3], to_camera[:, :3, 3]
    points = triangulate_points(rotations, translations, focal, observations, tracks.points)
    residual = BundleState(rotations, translations, points, focal).residual_px(observations)
    fits = _of_static_points(observations, residual, min(MIN_VIEWS, len(path.poses)))
    _refuse_contradiction(fits)
    angle = parallax_deg(rotations, translations, points, observations)
    seen_apart = fits & (angle > MIN_PARALLAX_DEG)[observations.point]
    if len(np.unique(observations.point[seen_apart])) < MIN_POINTS:
        return _on_the_spot(path, context.report)
    _warn(fits, residual, angle, observations, context)
    return _in_gauge(tracks, seen_apart, residual, points, angle, path)


def _on_the_spot(path: _Path, report: Report) -> CameraSolution:
    poses = rescale_gauge(path.poses, 0.0)
    turns = np.abs(poses[:, :3, :3] - np.eye(3)).max() > STILL_TURN
    if turns:
        warn_rotation(report, is_certain=not path.unit, tracks_per_frame=np.inf)
    else:
        warn_static(report)
    nothing = [(np.zeros(0, np.int64), np.zeros((0, 2))) for _ in poses]
    return CameraSolution("rotation" if turns else "static", poses, path.intrinsics, path.known,
                          np.full(len(poses), np.nan), np.zeros((0, 3)), np.zeros(0), nothing,
                          lens=LensResult.as_given(path.distortion))


def _in_one_lens(tracks: Tracks, intrinsics: np.ndarray, distortion: Distortion | None) -> tuple[Observations, float]:
    """The tracks as a pinhole would see them that all frames share: square pixels from its axis, and its focal length.
    """
    focal = float(np.median(intrinsics[:, 1]))
    lens = intrinsics[tracks.frame]
    places = (tracks.pixels - lens[:, 2:]) / lens[:, :2]
    ideal = places if distortion is None else undistorted(places, distortion)
    return Observations(tracks.frame, tracks.point, focal * ideal), focal


def _of_static_points(observations: Observations, residual: np.ndarray, min_views: int) -> np.ndarray:
    """(N,) observations near their projection, of points that fit in most of their frames."""
    fits = residual < GATE_PX
    views = np.bincount(observations.point[fits], minlength=int(observations.point.max()) + 1)
    total = np.bincount(observations.point)
    return fits & ((views >= min_views) & (views > MIN_SHARE * total))[observations.point]


def _refuse_contradiction(fits: np.ndarray) -> None:
    if fits.mean() < MIN_EXPLAINED_SHARE:
        raise StereoDiffError("cameras_do_not_fit", f"Only {100 * fits.mean():.0f} % of the tracked points agree with "
                                                    "the given cameras.")


def _warn(fits: np.ndarray, residual: np.ndarray, angle: np.ndarray, observations: Observations,
          context: RunContext) -> None:
    per_frame = np.bincount(observations.camera[fits])
    warn_used_cameras(context.report, tracks_per_frame=float(np.median(per_frame[per_frame > 0])),
                      parallax_deg=float(np.median(angle[np.unique(observations.point[fits])])))
    share, miss_px = float(fits.mean()), float(residual[fits].mean())
    if share < GOOD_EXPLAINED_SHARE or miss_px > DOUBTFUL_RESIDUAL_PX:
        warn_doubtful_cameras(context.report, explained_share=share, residual_px=context.plate_scale * miss_px)


def _in_gauge(tracks: Tracks, fits: np.ndarray, residual: np.ndarray, points: np.ndarray, angle: np.ndarray,
              path: _Path) -> CameraSolution:
    """Median depth of what the first camera sees is 1, as of a solve."""
    used, point = np.unique(tracks.point[fits], return_inverse=True)
    frame, pixels, poses = tracks.frame[fits], tracks.pixels[fits], path.poses
    points = points[used]
    in_camera = np.einsum("nij,ni->nj", poses[frame, :3, :3], points[point] - poses[frame, :3, 3])
    first = in_camera[frame == 0, 2]
    depth = float(np.median(first if len(first) >= MIN_GAUGE_POINTS else in_camera[:, 2]))
    bounds = np.searchsorted(frame, np.arange(len(poses) + 1))
    observations = [(point[a:b], pixels[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return CameraSolution("moving", rescale_gauge(poses, 1.0 / depth), path.intrinsics, path.known,
                          mean_by_frame(frame, residual[fits], path.known), points / depth, angle[used], observations,
                          unit=path.unit * depth, lens=LensResult.as_given(path.distortion))
