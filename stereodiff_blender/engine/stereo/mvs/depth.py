"""Depth of every pixel of a clip with solved cameras: the dense half of stage 1.

One pass over the frames matches, triangulates and finds what moves; a second fills what was not measured; a last
one stands the moving things on the ground. Only arrays from the job's scratch hold all frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import CostFeatures, OpticalFlow, flows_in, warp_between
from ...parallel import Cores
from ...solution import CameraSolution, StereoResult
from ...storage import ProgressJournal, RunContext, Scratch
from ..dynamic import (
    DynamicObjects,
    GroundPlane,
    GroundView,
    coarse_flow,
    doubtful_beside,
    draw_outlines,
    find_attached,
    find_ground,
    motion_beyond,
    without_matte,
)
from .borrowing import MIN_LENDERS, borrow_disparity, lenders_of
from .consistency import find_occlusion_conflicts, median_background, project_surfaces
from .coverage import warn_of_coverage
from .explanation import StaticScene, scene_features
from .far import judge_far
from .filling import fill_static
from .filtering import filter_depth, texture_of
from .first_look import first_look
from .motion import Neighbor, find_moving, neighbors_of, vote
from .occluders import mark_occluders
from .raw_depth import HIDES, LATENESS, PLAIN_SKY, SKY, TRUSTED_STATIC, UNTRUSTED, RawDepth
from .sharpness import relative_sharpness
from .sky import SkyCandidate, find_plain_sky, is_sky
from .sources import DepthLimits, ExpectantFlow, depth_limits, near_sources, point_depths, select_sources
from .triangulation import Triangulation, triangulate

FLOW_MEGABYTES = 400.0
"""Memory for flow fields when the caller brings none."""
CONSISTENT_PX, CONSISTENT_SHARE = 1.0, 0.02
MIN_CERTAINTY, MIN_TRUSTED_TEXTURE = 0.01, 0.35
"""Of a measurement, and gray levels per pixel around it, from which on it is trusted. Below, matches agree with one
another, but as often as not on a depth that is wrong: beside a border, seen too narrowly, or led by what is around.
"""
BORROWED_PRECISION = 0.01
"""Relative standard deviation of what a blurred frame borrows from sharp ones."""
MOVING_CONFIDENCE = 0.1
FILLED_CONFIDENCE = 0.4
BEHIND_CONFIDENCE = 0.3
"""Of still pixels that were taken for a moving thing at first: filled, but the pictures agree."""
PLAIN_SKY_SUPPORT = 0.5
"""Evidence for plain sky: a sign or two, no measurement."""
FAR_SIGMA = 0.4
"""Standard deviation, as a share of the least disparity, of what lies beyond the limits."""
SUNKEN, BOTTOMLESS = 0.88, 0.1
"""Of the ground's disparity: below the first, only pictures that show something else than the ground prove a pit; below
the second it is none at all, but something without parallax that travels along with the camera."""
BELOW_HORIZON = 2.0
"""Disparity of the ground, as a share of the least that is taken for real, from which on no sky can be seen."""
POINT_STEP_PX, POINT_FRAMES, POINT_PRECISION = 12, 16, 0.03
"""Which measured points the ground is looked for in."""


def estimate_depth_maps(frames: np.ndarray, cameras: CameraSolution, *, masks: np.ndarray | None = None,
                        flow: OpticalFlow | None = None, context: RunContext) -> StereoResult:
    """Measure and complete depth of a clip whose camera moves.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, T >= 2, may be memory-mapped.
    cameras : CameraSolution
        Of kind "moving", all T of them.
    masks : ndarray or None
        (T,H,W) bool, True where the artist says that something moves; added to what is found.
    flow : OpticalFlow or None
        Of the same frames; kept fields are used again, and those computed here stay in it. None: one of its own.
    context : RunContext
        The result's arrays come from its scratch. Its report is told the stages "depth" and "motion".

    Returns
    -------
    StereoResult
        Depth (T,H,W) in scene units, confidence and motion mask, with the cameras as given.

    Raises
    ------
    ValueError
        If shapes or the camera kind do not fit.

    Notes
    -----
    Warns "low_coverage" and "large_motion".
    """
    scratch, report, cores = context.scratch, context.report, context.cores
    _check(frames, cameras, masks)
    count, height, width = frames.shape[:3]
    limits = depth_limits(cameras)
    expectant = ExpectantFlow(flow or OpticalFlow(frames, capacity=flows_in(FLOW_MEGABYTES, height, width)), cameras,
                              limits, (height, width))
    kept = RawDepth.allocate(scratch.open_array, "survey", (count, height, width))
    report.stage("depth", count)
    sharpness = relative_sharpness(frames)
    sources = select_sources(cameras, height, width, sharpness)
    middle = count // 2
    report.show(lambda: (frames[middle], first_look(frames, cameras, middle, sources[middle], limits)))
    candidates = _fill_raw_depth(_Views(frames, cameras, sources, masks, sharpness), expectant, limits, kept,
                                 scratch.journal("survey", kept.written_by), context)
    # From here on the raw depth is written over; what is kept for a later run is not.
    raw = kept.copy(RawDepth.allocate(scratch.allocate, "stereo", (count, height, width)))
    if is_sky(candidates):
        _set_sky_to_far(raw, limits)
    _borrow_for_blurred(cameras, sharpness, raw)
    _add_occlusion_conflicts(cameras, raw, cores)
    mark_occluders(cameras, raw, cores)
    ground = find_ground(*_static_points(cameras, raw), cameras)
    open_share = _judge_far(_Views(frames, cameras, sources, masks, sharpness), raw, ground, limits, cores)
    attached = find_attached(frames, cameras, ground)
    known = _with_attached(attached, masks, raw, scratch)
    objects = DynamicObjects(frames, cameras, raw.mask, raw.flow_back, ground, scratch, masks, attached)
    report.stage("motion", count)
    depth = scratch.allocate("stereo_depth", (count, height, width), np.float32)
    confidence = scratch.allocate("stereo_confidence", (count, height, width), np.float32)
    _fill_frames(frames, raw, limits, objects, depth, confidence, context)
    draw_outlines(frames, cameras, depth, objects.tracks, sources, known, cores)
    objects.place_on_ground(depth, limits.disparity)
    _finish_mask(raw, objects.tracks, confidence)
    warn_of_coverage(raw.mask, confidence, open_share, report, has_matte=masks is not None,
                     is_lens_doubtful=cameras.is_focal_unreliable)
    return StereoResult(cameras, depth, confidence, raw.mask, far_limit=1.0 / limits.disparity[0])


def _check(frames, cameras, masks) -> None:
    if cameras.kind != "moving":
        raise ValueError(f"depth can be measured only from a moving camera, got {cameras.kind!r}")
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or len(frames) < 2:
        raise ValueError(f"frames must be (T,H,W,3) uint8 with T >= 2, got {frames.shape} {frames.dtype}")
    if cameras.camera_to_world.shape != (len(frames), 4, 4) or cameras.intrinsics.shape != (len(frames), 4):
        raise ValueError(f"{len(frames)} frames need as many cameras, got {len(cameras.camera_to_world)}")
    if masks is not None and masks.shape != frames.shape[:3]:
        raise ValueError(f"masks must be {frames.shape[:3]}, got {masks.shape}")


# --- First pass: match, triangulate, find motion ----------------------------------------------------------------

@dataclass(frozen=True)
class _Views:
    """The frames, where each was seen from, and which others it is compared with; masks: the artist's; sharpness: as of
    relative_sharpness."""

    frames: np.ndarray
    cameras: CameraSolution
    sources: list[tuple[int, ...]]
    masks: np.ndarray | None
    sharpness: np.ndarray


def _fill_raw_depth(views: _Views, flow: ExpectantFlow, limits: DepthLimits, raw: RawDepth,
                    journal: ProgressJournal, context: RunContext) -> list[SkyCandidate]:
    """Fill the raw depth from the first frame on that an earlier run has not left; what may be plain sky, by frame."""
    frames, masks, count = views.frames, views.masks, len(views.frames)
    features = scene_features(frames)

    def measure(index: int) -> SkyCandidate:
        measured = _triangulate_frame(index, views, flow, limits)
        candidate = _assess_frame(index, views, measured, features, flow, limits, raw)
        if masks is not None:
            _apply_matte(index, masks[index], raw)
        return candidate

    candidates = [find_plain_sky(frames[index], texture_of(frames[index]), point_depths(views.cameras, index)[0])[1]
                  for index in range(journal.done)]
    judged = context.cores.map(measure, range(journal.done, count))
    for index in range(journal.done, count + LATENESS):
        if index < count:
            candidates.append(next(judged))
        if index >= LATENESS:
            _vote_on_motion(index - LATENESS, masks, views.sharpness, flow, raw)
            flow.forget_before(index - LATENESS + 1)
        if index < count:
            journal.note(index)
            context.report.progress(index + 1)
            context.report.show(lambda shown=index: (frames[shown], raw.known_depth(shown)))
    return candidates


def _triangulate_frame(index, views: _Views, flow, limits: DepthLimits) -> Triangulation:
    sources, cameras, masks = views.sources[index], views.cameras, views.masks
    flows, consistent, warps = [], [], []
    for j in sources:
        field = flow.between(index, j)
        tolerance = CONSISTENT_PX + CONSISTENT_SHARE * cv2.magnitude(field[..., 0], field[..., 1])
        flows.append(field)
        consistent.append(flow.consistency(index, j) < tolerance)
        warps.append(warp_between(cameras, index, j))
    if masks is not None:
        consistent = without_matte(consistent, flows, masks[index], [masks[j] for j in sources])
    near = near_sources(cameras, index, sources, *views.frames.shape[1:3])
    return triangulate(flows, consistent, warps, limits.disparity, near)


def _assess_frame(index, views: _Views, measured, features: CostFeatures, flow, limits: DepthLimits,
                  raw: RawDepth) -> SkyCandidate:
    """Note what one frame's triangulation is worth and where it hints at motion; returns what may be plain sky."""
    frame, cameras, sources = views.frames[index], views.cameras, views.sources[index]
    texture = texture_of(frame)
    filtered = filter_depth(measured, limits, len(sources), texture)
    neighbors = [Neighbor(flow.between(index, j), flow.consistency(index, j), warp_between(cameras, index, j))
                 for j in neighbors_of(index, len(raw.mask))]
    scene = StaticScene.around(index, sources, cameras, features, limits)
    moving = find_moving(frame, measured, filtered, texture, limits, neighbors, scene)
    disparity = np.clip(measured.disparity, *limits.disparity)
    raw.disparity[index] = disparity
    raw.uncertainty[index] = np.minimum(measured.sigma / disparity, 1e4)
    raw.status[index] = np.where(filtered.trusted, TRUSTED_STATIC, np.where(filtered.sky, SKY, UNTRUSTED))
    raw.found[index] = moving
    raw.textureless[index], candidate = find_plain_sky(frame, texture, point_depths(cameras, index)[0])
    return candidate


def _apply_matte(index, matte, raw: RawDepth) -> None:
    """Take back what was noted of one frame where the artist knows better."""
    found = raw.found[index] > 0
    raw.status[index][doubtful_beside(found, matte)] = UNTRUSTED
    raw.found[index] = motion_beyond(found, matte)


def _vote_on_motion(index, masks, sharpness, flow, raw: RawDepth) -> None:
    """Vote on one frame's mask, and keep the flow that links its objects to those of the frame before."""
    mask = vote(index, raw.found, flow, sharpness)
    if masks is not None:
        mask |= np.asarray(masks[index], bool)
    raw.mask[index] = mask
    if index > 0:
        raw.flow_back[index] = coarse_flow(flow.between(index, index - 1))


def _set_sky_to_far(raw: RawDepth, limits: DepthLimits) -> None:
    """Send what may be plain sky as far away as anything can be, whatever its flow seemed to say."""
    for textureless, disparity, status in zip(raw.textureless, raw.disparity, raw.status, strict=True):
        disparity[textureless > 0] = limits.disparity[0]
        status[textureless > 0] = PLAIN_SKY


def _borrow_for_blurred(cameras, sharpness, raw: RawDepth) -> None:
    """Let sharp frames say how far away what stands still is in the blurred ones between them."""
    def measured(index: int) -> tuple[np.ndarray, np.ndarray]:
        return raw.disparity[index], (raw.status[index] == TRUSTED_STATIC) & (raw.mask[index] == 0)

    for index in range(len(raw.mask)):
        lenders = lenders_of(index, sharpness)
        if len(lenders) < MIN_LENDERS:
            continue
        disparity, seen = borrow_disparity(index, lenders, measured, cameras)
        agreed = (disparity > 0) & (raw.status[index] < SKY)
        raw.status[index][seen & ~agreed & (raw.status[index] == TRUSTED_STATIC)] = UNTRUSTED
        raw.disparity[index][agreed] = disparity[agreed]
        raw.uncertainty[index][agreed] = BORROWED_PRECISION
        raw.status[index][agreed] = TRUSTED_STATIC


def _add_occlusion_conflicts(cameras, raw: RawDepth, cores: Cores) -> None:
    """Add to the masks what hides things that are nearer than it seems to be, and note the background of each frame
    as the others have it."""
    def measured(index: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = (index, part, part)
        disparity, status = raw.disparity[place], raw.status[place]
        sigma = np.where(status >= SKY, np.inf, raw.uncertainty[place].astype(np.float32) * disparity)
        return disparity, sigma, (status == TRUSTED_STATIC) & (raw.mask[place] == 0)

    def find(index: int) -> None:
        projected = project_surfaces(index, measured, raw.mask.shape[1:], len(raw.mask), cameras)
        disparity, sigma, _ = measured(index, slice(None))
        raw.found[index] = find_occlusion_conflicts(disparity, sigma, projected)
        is_far = raw.status[index] == SKY
        hides = find_occlusion_conflicts(disparity, np.where(is_far, FAR_SIGMA * disparity, sigma), projected)
        raw.found[index][is_far & hides] = HIDES
        raw.background[index] = median_background(projected)

    cores.do(find, range(len(raw.mask)))
    for mask, conflicts in zip(raw.mask, raw.found, strict=True):
        mask |= conflicts == 1


def _judge_far(views: _Views, raw: RawDepth, ground: GroundPlane | None, limits: DepthLimits, cores: Cores) -> float:
    """Take back from the sky, and from pits in the ground, what travels along with the camera; the share of the clip
    that looks like sky indeed."""
    cameras, (height, width) = views.cameras, views.frames.shape[1:3]

    def judge(index: int) -> float:
        frame = views.frames[index]
        below, is_far = np.zeros((height, width), bool), raw.status[index] == SKY
        if ground is not None:
            view = ground.seen_by(cameras.camera_to_world[index], cameras.intrinsics[index], cameras.row_camera(index))
            below = view.disparity_of((height, width)) > BELOW_HORIZON * limits.disparity[0]
            is_bottomless = below & _below(view, raw.disparity[index], BOTTOMLESS)
            is_far |= is_bottomless & (raw.status[index] == TRUSTED_STATIC)
        far = judge_far(frame, texture_of(frame), is_far, raw.found[index] == HIDES, below)
        raw.status[index][far.doubtful] = UNTRUSTED
        raw.mask[index] |= far.traveling
        return float(((raw.status[index] == PLAIN_SKY) | far.sky).mean())

    return float(np.mean(list(cores.map(judge, range(len(raw.mask))))))


def _with_attached(attached: np.ndarray, masks: np.ndarray | None, raw: RawDepth,
                   scratch: Scratch) -> np.ndarray | None:
    """The artist's masks, and in every frame what is fixed to the camera, (H,W) bool, which is marked, too."""
    if not attached.any():
        return masks
    known = scratch.allocate("stereo_known_motion", raw.mask.shape, np.uint8)
    for index, mask in enumerate(raw.mask):
        known[index] = attached if masks is None else attached | (np.asarray(masks[index]) > 0)
        mask |= attached
    return known


def _static_points(cameras, raw: RawDepth) -> tuple[np.ndarray, np.ndarray]:
    """Measured points (N,3), world axes, from a grid of pixels of some frames, and which frame each is of, (N,)."""
    points, seen_in = [], []
    count, height, width = raw.mask.shape
    rows, columns = (np.arange(POINT_STEP_PX // 2, size, POINT_STEP_PX) for size in (height, width))
    for index in range(0, count, max(1, count // POINT_FRAMES)):
        grid = (index, rows[:, None], columns[None, :])
        sure = ((raw.status[grid] == TRUSTED_STATIC) & (raw.mask[grid] == 0)
                & (raw.uncertainty[grid] < POINT_PRECISION))
        y, x = np.nonzero(sure)
        depth = 1.0 / raw.disparity[grid][sure].astype(float)
        points.append(_in_world(cameras, index, columns[x] + 0.5, rows[y] + 0.5, depth))
        seen_in.append(np.full(len(x), index))
    return np.concatenate(points), np.concatenate(seen_in)


def _in_world(cameras: CameraSolution, index: int, x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Points (n,3), world axes, of a frame's pixels (n,) with their depth."""
    row_camera = cameras.row_camera(index)
    if row_camera is not None:
        return row_camera.to_world(x, y, depth)
    pose, (fx, fy, cx, cy) = cameras.camera_to_world[index], cameras.intrinsics[index]
    seen = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(len(x))], axis=1)
    return depth[:, None] * seen @ pose[:3, :3].T + pose[:3, 3]


# --- Second pass: fill, and measure where objects stand ----------------------------------------------------------

def _fill_frames(frames, raw: RawDepth, limits: DepthLimits, objects: DynamicObjects, depth, confidence,
                 context: RunContext) -> None:
    """Write static depth and confidence, and show them to the objects."""
    def fill(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        known = _known_static(raw, index)
        filled = fill_static(frames[index], raw.disparity[index], raw.uncertainty[index].astype(np.float32), known,
                             raw.background[index], limits)
        disparity, support = filled.disparity, filled.support
        _draw_plain_sky(disparity, support, raw, index)
        trusted = known & (raw.status[index] == TRUSTED_STATIC)
        vouched = trusted & (filled.certainty > MIN_CERTAINTY) & (texture_of(frames[index]) > MIN_TRUSTED_TEXTURE)
        vouched &= ~objects.is_ground(index, vouched & _below(objects.ground_in(index), raw.disparity[index], SUNKEN))
        _keep_above_ground(disparity, raw, index, vouched, objects.ground_in(index))
        moving = objects.moving_in(index, disparity)
        depth[index] = 1.0 / disparity
        confidence[index] = _confidence(vouched, moving, filled.certainty, support)
        return disparity, trusted, moving

    for index, (disparity, trusted, moving) in enumerate(context.cores.map(fill, range(len(frames)))):
        objects.observe(index, moving, disparity, trusted)
        raw.status[index][(raw.mask[index] > 0) & ~moving] = UNTRUSTED
        raw.found[index] = moving
        context.report.progress(index + 1)
        context.report.show(lambda shown=index: (frames[shown], depth[shown]))


def _known_static(raw: RawDepth, index: int) -> np.ndarray:
    """Measured pixels to be believed and clear of moving objects, whose outline flow blurs by a few pixels."""
    near_motion = cv2.dilate(raw.mask[index], np.ones((5, 5), np.uint8)) > 0
    status = raw.status[index]
    return ((status == TRUSTED_STATIC) | (status == SKY)) & ~near_motion


def _below(ground: GroundView | None, disparity: np.ndarray, share: float) -> np.ndarray:
    """Where a disparity (H,W) is less than this share of the ground's, bool."""
    if ground is None:
        return np.zeros(disparity.shape, bool)
    return disparity < share * ground.disparity_of(disparity.shape)


def _draw_plain_sky(disparity, support, raw: RawDepth, index: int) -> None:
    """In place. Only now: its outline is sharp, and must not draw what stands before it into the distance."""
    plain_sky = raw.status[index] == PLAIN_SKY
    disparity[plain_sky] = raw.disparity[index][plain_sky]
    support[plain_sky] = PLAIN_SKY_SUPPORT


def _keep_above_ground(disparity, raw: RawDepth, index: int, vouched, ground) -> None:
    """In place, the sky aside."""
    if ground is not None:
        uncertainty = np.where(vouched, raw.uncertainty[index].astype(np.float32), np.inf)
        below = raw.status[index] < SKY
        disparity[below] = ground.lifted(disparity, uncertainty)[below]


def _confidence(trusted, moving, certainty, support) -> np.ndarray:
    """Confidence as StereoResult defines it: above one half exactly where trusted."""
    confidence = np.where(trusted, 0.55 + 0.45 * certainty, FILLED_CONFIDENCE * np.minimum(support, 1.0))
    confidence[moving] = MOVING_CONFIDENCE
    return confidence


# --- Last: the mask -----------------------------------------------------------------------------------------------

def _finish_mask(raw: RawDepth, tracks, confidence) -> None:
    """The mask inside the outlines as they were drawn, and the confidence of what they gave back to the still scene."""
    for mask, inside, found, sure in zip(raw.mask, tracks, raw.found, confidence, strict=True):
        mask[:] = inside > 0
        sure[(found > 0) & (mask == 0)] = BEHIND_CONFIDENCE
