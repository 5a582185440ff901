"""Footage with faults, made fit to be worked on, and the results brought back to what the clip really shows.

Stage 1 and 2 work on the plate: the frames with steady light and lettering painted out, and for depth only the
measurable ones of them, inside the bars.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..contract import Distortion, LensResult
from ..geometry import fill_unsolved, rebase
from ..imaging import (
    BEHIND_CAMERA,
    Rectification,
    Warp,
    pixel_axes,
    pull_push,
    rectifier,
    sample,
    warp_between,
)
from ..lens import distorted, undistorted
from ..shutter import RollingShutter
from ..solution import TRUSTED, CameraSolution, KnownLens
from ..storage import Scratch
from .inspection import Footage

PAINT_RADIUS_PX = 3
WARP_ROUNDS = 4
WARPED_CONFIDENCE = 0.4
MIN_MEASURABLE = 2
"""Frames that depth can be measured from at all."""
BESIDE_PX = 12
"""How far around lettering the depth that fills it is taken from."""


@dataclass(frozen=True)
class PreparedFootage:
    """What is worked on. For clean footage these are the clip's own frames and masks, and nothing is copied.

    frames: (T,H,W,3) uint8, for the cameras; of the whole raster, so that its center stays the lens's.
    masks: (T,H,W) bool-like or None, true where nothing may be tracked.
    measured_in: (T,) int, the frame whose depth each frame is to show: its own, a repeated picture's twin's, or that of
    the frame beside one that cannot be measured.

    What is measured is measured in pictures without the lens's distortion, if it has any, and is shown on the plate as
    it was shot.
    """

    footage: Footage
    frames: np.ndarray
    masks: np.ndarray | None
    measured_in: np.ndarray
    _matte: np.ndarray | None
    _rectify: Callable[[int], Rectification] | None = None

    @property
    def measurable(self) -> np.ndarray:
        """(D,) int: indices of the frames that are measured."""
        return np.unique(self.measured_in)

    @property
    def measured_share(self) -> float:
        """Of all frames, those whose own picture is measured, 0..1."""
        return float((self.measured_in == self.footage.shown_in).mean())

    def measured_where_solved(self, solved: np.ndarray) -> PreparedFootage:
        """The same, without measuring what has no camera of its own: such a frame shows what the nearest solved one
        does. All stay where hardly a frame would be left. solved: (T,) bool.
        """
        chosen = self.measurable[solved[self.measurable]]
        if len(chosen) < MIN_MEASURABLE:
            return self
        nearest = chosen[np.abs(self.measured_in[:, None] - chosen).argmin(axis=1)]
        return replace(self, measured_in=nearest)

    def rectified(self, cameras: CameraSolution) -> PreparedFootage:
        """The same, to be measured without the distortion of these cameras' lens."""
        if cameras.lens.distortion is None:
            return self
        return self._rectified(cameras.intrinsics, cameras.lens.distortion)

    def rectified_around(self, lens: KnownLens | None) -> PreparedFootage:
        """The same, to be measured without the distortion of a lens that is known, with its axis in the middle of what
        is measured: for a network of pointmaps, which has no cameras yet and knows no other axis."""
        if lens is None or lens.distortion is None or not lens.distortion.bends:
            return self
        return self._rectified(self._intrinsics_of(lens), lens.distortion, centered=True)

    def _rectified(self, intrinsics: np.ndarray, distortion: Distortion, *, centered: bool = False) -> PreparedFootage:
        top, bottom, left, right = self.footage.picture
        rectify = rectifier((bottom - top, right - left), intrinsics - (0.0, 0.0, left, top), distortion,
                            centered=centered)
        return replace(self, _rectify=rectify)

    def measurable_intrinsics(self, lens: KnownLens) -> np.ndarray:
        """(D,4) those of the scene's frames for a lens that is known, in its pixels."""
        return self._intrinsics_of(lens)[self.measurable] - (0.0, 0.0, *self.corner)

    def _intrinsics_of(self, lens: KnownLens) -> np.ndarray:
        """(T,4) in pixels of the raster, which are square."""
        height, width = self.footage.size
        axis = lens.principal_point or (0.5 * width, 0.5 * height)
        return np.tile([lens.focal_px, lens.focal_px, *axis], (len(self.footage.shown_in), 1))

    @property
    def cut_share(self) -> float:
        """Of the picture, 0..1, that lies so far off the lens's axis that it is not on the raster that is measured."""
        return 0.0 if self._rectify is None else float((~self._rectify(0).in_ideal()).mean())

    def measurable_frames(self, scratch: Scratch) -> np.ndarray:
        """(D,h,w,3) uint8: the measurable frames inside the bars, for depth."""
        return self._measurable_part(self.frames, "measurable_frames", scratch)

    def measurable_matte(self, scratch: Scratch) -> np.ndarray | None:
        """(D,h,w) or None: the artist's matte of the scene's frames."""
        return None if self._matte is None else self._measurable_part(self._matte, "measurable_matte", scratch)

    def _measurable_part(self, array: np.ndarray, name: str, scratch: Scratch) -> np.ndarray:
        if not self._is_a_part and self._rectify is None:
            return array
        top, bottom, left, right = self.footage.picture
        size = (bottom - top, right - left) if self._rectify is None else self._rectify(0).size
        measurable = scratch.allocate(name, (len(self.measurable), *size, *array.shape[3:]), array.dtype)
        for place, index in enumerate(self.measurable):
            measurable[place] = self._without_distortion(array[index, top:bottom, left:right], int(index))
        return measurable

    def _without_distortion(self, picture: np.ndarray, index: int) -> np.ndarray:
        """(h,w,3) or mask (h,w) of a frame, inside the bars."""
        if self._rectify is None:
            return picture
        rectification = self._rectify(index)
        return (rectification.rectified if picture.ndim == 3 else rectification.rectified_mask)(picture)

    @property
    def _is_a_part(self) -> bool:
        """Whether the scene is less than the raster in all frames."""
        return self.footage.has_bars or len(self.measurable) < len(self.footage.shown_in)

    def measurable_cameras(self, cameras: CameraSolution) -> CameraSolution:
        """The cameras of the scene's frames, in its pixels: a pinhole's, as what is measured is rectified."""
        chosen, (left, top) = self.measurable, self.corner
        observations = [(cameras.observations[k][0], _ideal(cameras, k) - (left, top)) for k in chosen]
        shutter = self._shutter(cameras)
        return replace(cameras, camera_to_world=cameras.camera_to_world[chosen],
                       intrinsics=cameras.intrinsics[chosen] - (0.0, 0.0, left, top), solved=cameras.solved[chosen],
                       reprojection_px=cameras.reprojection_px[chosen], observations=observations,
                       lens=LensResult(zooms=cameras.lens.zooms),
                       shutter=None if shutter is None else shutter.select(chosen))

    def _shutter(self, cameras: CameraSolution) -> RollingShutter | None:
        """Of all T frames, by the rows of the plate."""
        height, width = self.footage.size
        return cameras.rolling_shutter((width, height))

    @property
    def corner(self) -> tuple[int, int]:
        """Where in the raster the upper left corner of what is measured lies, x and y; below 0 with an overscan."""
        top, _, left, _ = self.footage.picture
        margins = (0, 0, 0, 0) if self._rectify is None else self._rectify(0).margins
        return left - margins[0], top - margins[2]

    def with_equal_repeats(self, cameras: CameraSolution) -> CameraSolution:
        """The cameras of all frames, with that of a repeated picture equal to its twin's."""
        shown_in = self.footage.shown_in
        return replace(cameras, camera_to_world=cameras.camera_to_world[shown_in],
                       intrinsics=cameras.intrinsics[shown_in], solved=cameras.solved[shown_in],
                       reprojection_px=cameras.reprojection_px[shown_in])

    def clip_cameras(self, measurable: CameraSolution, lens: LensResult | None = None) -> CameraSolution:
        """The cameras of all frames, from those of the scene's, in the raster's pixels; with the lens they were
        rectified for, None of a pinhole.

        A repeated picture has its twin's; that of what was not measured is interpolated, and counts as not solved.
        """
        lens, own = lens or LensResult(), self.footage.shown_in
        is_shown = np.isin(own, self.measurable)
        place = np.clip(np.searchsorted(self.measurable, own), 0, len(self.measurable) - 1)
        poses = measurable.camera_to_world[place].copy()
        poses[:, :3, :3], poses[:, :3, 3] = fill_unsolved(poses[:, :3, :3], poses[:, :3, 3], is_shown)
        nothing = (np.empty(0, np.int64), np.empty((0, 2)))
        observations = [(measurable.observations[k][0], _filmed(measurable, k, lens) + self.corner) if shown
                        else nothing for k, shown in zip(place, is_shown, strict=True) if measurable.observations]
        return replace(measurable, camera_to_world=rebase(poses), lens=lens, observations=observations,
                       intrinsics=measurable.intrinsics[place] + (0.0, 0.0, *self.corner),
                       solved=measurable.solved[place] & is_shown,
                       reprojection_px=np.where(is_shown, measurable.reprojection_px[place], np.nan))

    def shown(self, measurable: np.ndarray, name: str, scratch: Scratch) -> np.ndarray:
        """(D,h,w) of the scene as (T,H,W) of the clip: repeated pictures are given their twin's, bars 0.

        name: what it is. Where the lens distorts, depth is interpolated to the plate's pixels, and confidence is 0 in
        what was not on the raster that was measured.
        """
        footage = self.footage
        if not self._is_a_part and self._rectify is None:
            return measurable
        top, bottom, left, right = footage.picture
        whole = scratch.allocate(name, (len(footage.shown_in), *footage.size), measurable.dtype)
        for index, place in enumerate(np.searchsorted(self.measurable, self.measured_in)):
            whole[index, top:bottom, left:right] = self._with_distortion(measurable[place], name, index)
        return whole

    def _with_distortion(self, measured: np.ndarray, name: str, index: int) -> np.ndarray:
        if self._rectify is None:
            return measured
        rectification = self._rectify(index)
        shown = (rectification.shown_depth if name.endswith("depth") else rectification.shown)(measured)
        return np.where(rectification.in_ideal(), shown, 0) if name.endswith("confidence") else shown

    def measured_overlay(self, place: int) -> np.ndarray:
        """(h,w) bool: where lettering lies in one of the scene's frames."""
        top, bottom, left, right = self.footage.picture
        painted = self.footage.overlay_mask()[top:bottom, left:right]
        return self._without_distortion(painted, int(self.measurable[place]))

    def measured_matte(self, place: int) -> np.ndarray:
        """(h,w) bool: what the artist's matte marks in one of the scene's frames; nothing without a matte."""
        index, (top, bottom, left, right) = int(self.measurable[place]), self.footage.picture
        if self._matte is None:
            return np.zeros(self.footage.size if self._rectify is None else self._rectify(index).size, bool)
        return self._without_distortion(np.asarray(self._matte[index, top:bottom, left:right]) > 0, index)

    def carry_depth(self, depth: np.ndarray, confidence: np.ndarray, cameras: CameraSolution) -> None:
        """A frame that was not measured, a flash or one without a camera, is given the depth of the frame beside it, as
        seen from where it is itself. In place, (T,H,W)."""
        top, bottom, left, right = self.footage.picture
        pinhole = replace(cameras, intrinsics=cameras.intrinsics - (0.0, 0.0, *self.corner),
                          shutter=self._shutter(cameras))
        for index in np.flatnonzero(self.measured_in != self.footage.shown_in):
            beside = self.measured_in[index]
            warp = warp_between(pinhole, int(index), int(beside))
            seen = self._without_distortion(depth[beside, top:bottom, left:right], int(beside))
            depth[index, top:bottom, left:right] = self._with_distortion(_warped_from(seen, warp), "depth", int(index))
            confidence[index] = np.minimum(confidence[index], WARPED_CONFIDENCE)

    def fill_overlays(self, depth: np.ndarray, confidence: np.ndarray, motion_mask: np.ndarray) -> None:
        """Behind lettering the scene goes on as it does beside it, but nothing was measured, nor beyond the plate.
        In place, (D,h,w)."""
        top, bottom, left, right = self.footage.picture
        painted = self.footage.overlay_mask()[top:bottom, left:right]
        if self._rectify is None and not painted.any():
            return
        for index, one_depth, one_confidence, moves in zip(self.measurable, depth, confidence, motion_mask,
                                                           strict=True):
            if self._rectify is not None:
                one_confidence[~self._rectify(int(index)).in_plate()] = 0.0
            overlay = self._without_distortion(painted, int(index))
            if not overlay.any():
                continue
            one_depth[overlay] = 1.0 / _filled(1.0 / one_depth, one_confidence, overlay)[overlay]
            one_confidence[overlay] = 0.0
            moves[overlay] = 0


def prepare_footage(frames: np.ndarray, masks: np.ndarray | None, footage: Footage,
                    scratch: Scratch) -> PreparedFootage:
    """Make footage fit to be worked on: steady light, lettering painted out, and no tracking outside the scene.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8. Not changed.
    masks : ndarray or None
        (T,H,W), the artist's matte, not 0 where something moves. Not changed.
    footage : Footage
        What inspect_footage found in these frames.
    scratch : Scratch
        Takes the copies of what has to be another.

    Returns
    -------
    PreparedFootage
        With frames and masks themselves where nothing was wrong.
    """
    return PreparedFootage(footage, _steady_and_unwritten(frames, footage, scratch), _not_to_track(masks, footage,
                                                                                                   scratch),
                           footage.measured_in, masks)


def _steady_and_unwritten(frames: np.ndarray, footage: Footage, scratch: Scratch) -> np.ndarray:
    if not (footage.flickers or footage.overlays):
        return frames
    overlay = footage.overlay_mask().astype(np.uint8)
    plate = scratch.allocate("plate", frames.shape, np.uint8)
    for index, gain in enumerate(footage.gain):
        frame = np.ascontiguousarray(frames[index])
        if gain != 1.0:
            frame = cv2.convertScaleAbs(frame, alpha=1.0 / float(gain))
        if footage.overlays:
            frame = cv2.inpaint(frame, overlay, PAINT_RADIUS_PX, cv2.INPAINT_TELEA)
        plate[index] = frame
    return plate


def _not_to_track(matte: np.ndarray | None, footage: Footage, scratch: Scratch) -> np.ndarray | None:
    outside = footage.outside_scene()
    if not outside.any():
        return matte
    if matte is None:
        return np.broadcast_to(outside, (len(footage.shown_in), *outside.shape))
    masks = scratch.allocate("untracked", matte.shape, np.uint8)
    for index in range(len(matte)):
        masks[index] = outside | (np.asarray(matte[index]) > 0)
    return masks


def _ideal(cameras: CameraSolution, index: int) -> np.ndarray:
    """(n,2) pixels of a frame's observations, as a pinhole would have shown them."""
    pixels = cameras.observations[index][1]
    if cameras.lens.distortion is None:
        return pixels
    focal, center = cameras.intrinsics[index, :2], cameras.intrinsics[index, 2:]
    return undistorted((pixels - center) / focal, cameras.lens.distortion) * focal + center


def _filmed(cameras: CameraSolution, index: int, lens: LensResult) -> np.ndarray:
    """(n,2) pixels at which this lens shows a pinhole's observations in a frame."""
    pixels = cameras.observations[index][1]
    if lens.distortion is None:
        return pixels
    focal, center = cameras.intrinsics[index, :2], cameras.intrinsics[index, 2:]
    return distorted((pixels - center) / focal, lens.distortion) * focal + center


def _warped_from(depth: np.ndarray, warp: Warp) -> np.ndarray:
    """Depth (H,W) of one frame as another camera sees it; warp: of that camera's pixels to the frame.

    Each round looks up where the disparity guessed so far would lie in the frame, and takes what is found there.
    """
    x, y = pixel_axes(*depth.shape, dtype=np.float64)
    seen = np.where(depth > 0, depth, 1.0).astype(np.float64)
    for _ in range(WARP_ROUNDS):
        u, v, depth_ratio = warp.grid(x, y, 1.0 / seen)
        ahead = np.maximum(depth_ratio, BEHIND_CAMERA)
        flow = np.stack([u / ahead - x, v / ahead - y], axis=-1)
        found = sample(depth, flow.astype(np.float32), nearest=True)
        seen = np.where(found > 0, found / ahead, seen)
    return seen


def _filled(disparity: np.ndarray, confidence: np.ndarray, overlay: np.ndarray) -> np.ndarray:
    """(H,W) disparity in which the overlay holds what lies beside it, measured pixels before filled ones."""
    beside = cv2.dilate(overlay.astype(np.uint8), np.ones((2 * BESIDE_PX + 1,) * 2, np.uint8)) > 0
    weights = np.where(confidence > TRUSTED, 1.0, 0.1) * (beside & ~overlay)
    return pull_push(disparity.astype(np.float32), weights.astype(np.float32))
