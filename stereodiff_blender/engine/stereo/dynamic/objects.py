"""The things that move in a clip: freed of their shadows, found again from frame to frame, stood on the ground."""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging import CostFeatures, without_specks
from ...solution import CameraSolution
from ...storage import Scratch
from .background import find_background
from .ground_parallax import SOFTENING_PX, shows_ground
from .ground_plane import FLAT_VIEW, GroundPlane, GroundView
from .matte import with_gaps_bridged
from .placement import GroundContact, fit_tracks, measure_contact
from .tracks import UNKNOWN_GROWTH, label_objects, link_objects, measure_growth

NOTCH_PX = 9
MIN_AREA = 0.001
"""Share of the picture below which what is left of a region, without its shadow, is a speck."""
ATTACHED_TRACK = 1
"""What is fixed to the camera."""


class DynamicObjects:
    """All things that move in T frames; to be shown every frame in order, then told to stand. Several threads may ask
    only for what is said to work in any order.

    tracks: (T,H,W) uint16, 0 static, the same number for the same thing in all frames.
    """

    def __init__(self, frames: np.ndarray, cameras: CameraSolution, mask: np.ndarray, flow_back: np.ndarray,
                 ground: GroundPlane | None, scratch: Scratch, masks: np.ndarray | None = None,
                 attached: np.ndarray | None = None):
        """frames: (T,H,W,3) uint8. mask: (T,H,W) uint8, what looks as if it moved. flow_back: (T,h,w,2) as of
        coarse_flow, to the frame before. ground: None if the clip has none. masks: (T,H,W) or None, what the artist
        says moves, which is never taken for background. attached: (H,W) bool or None, what is fixed to the camera: a
        thing by itself, whatever it touches."""
        self._frames, self._cameras, self._mask, self._masks = frames, cameras, mask, masks
        self._flow_back, self._ground = flow_back, ground
        self._features = CostFeatures(frames, SOFTENING_PX)
        self._contacts: list[GroundContact] = []
        self._attached = np.zeros(mask.shape[1:], bool) if attached is None else attached
        self._first_new_track = ATTACHED_TRACK + 1
        self.tracks = scratch.allocate("stereo_tracks", mask.shape, np.uint16)

    def ground_in(self, index: int) -> GroundView | None:
        """The ground as one frame has it; None if the clip has none."""
        return self._views(index)[0]

    def is_ground(self, index: int, asked: np.ndarray) -> np.ndarray:
        """Which of the pixels asked for, (H,W) bool, show the ground in one frame; none if the clip has none."""
        ground, _ = self._views(index)
        if ground is None:
            return np.zeros(asked.shape, bool)
        return shows_ground(index, asked, ground.disparity_of(asked.shape), self._cameras, self._features)

    def moving_in(self, index: int, disparity: np.ndarray) -> np.ndarray:
        """Where one frame's things are, (H,W) bool, without the background that was taken for them; in any order.

        disparity: (H,W) static background, filled behind things.
        """
        moving = (self._mask[index] > 0) | self._attached
        if not moving.any():
            return moving
        ground, _ = self._views(index)
        floor = None if ground is None else ground.disparity_of(disparity.shape)
        kept = moving & ~find_background(index, self._frames, self._mask, disparity, floor, self._cameras,
                                        self._features)
        kept = without_specks(moving & _tidied(kept), MIN_AREA)
        kept |= self._attached
        return kept if self._masks is None else kept | (np.asarray(self._masks[index]) > 0)

    def observe(self, index: int, moving: np.ndarray, disparity: np.ndarray, trusted: np.ndarray) -> None:
        """Tell one frame's things apart and note where each seems to stand.

        moving: (H,W) bool, as of moving_in. disparity: (H,W) static background, filled behind things. trusted: (H,W)
        bool, where it was measured.
        """
        tracks = self._link(index, moving)
        ground, view = self._views(index)
        for track in _present(tracks):
            growth = UNKNOWN_GROWTH
            if index:
                growth = measure_growth(track, tracks, self.tracks[index - 1], self._flow_back[index])
            self._contacts.append(measure_contact(index, track, tracks, disparity, trusted, ground, view, growth))

    def place_on_ground(self, depth: np.ndarray, disparity_limits: tuple[float, float]) -> None:
        """Write the things' depth into depth (T,H,W), in place, once every frame has been observed."""
        for (index, track), inverse_ground_distance in fit_tracks(self._contacts).items():
            rows, columns = np.nonzero(self.tracks[index] == track)
            distance_per_depth = self._views(index)[1].distance_per_depth_at(columns + 0.5, rows + 0.5)
            depth[index][rows, columns] = 1.0 / np.clip(inverse_ground_distance * distance_per_depth, *disparity_limits)

    def _link(self, index: int, moving: np.ndarray) -> np.ndarray:
        free = moving & ~self._attached
        labels, count = label_objects(free if self._masks is None else with_gaps_bridged(free))
        labels[~free] = 0
        before, flow_back = (self.tracks[index - 1], self._flow_back[index]) if index else (None, None)
        tracks = link_objects(labels, count, before, flow_back, self._first_new_track)
        self._first_new_track = max(self._first_new_track, int(tracks.max()) + 1)
        tracks[self._attached] = ATTACHED_TRACK
        self.tracks[index] = tracks
        return tracks

    def _views(self, index: int) -> tuple[GroundView | None, GroundView]:
        """The ground in one frame, and what is upright there."""
        if self._ground is None:
            return None, FLAT_VIEW
        ground = self._ground.seen_by(self._cameras.camera_to_world[index], self._cameras.intrinsics[index],
                                      self._cameras.row_camera(index))
        return ground, ground


def _present(tracks: np.ndarray) -> list[int]:
    """The tracks of a frame (H,W), ascending."""
    return [int(track) for track in np.flatnonzero(np.bincount(tracks.ravel())) if track]


def _tidied(mask: np.ndarray) -> np.ndarray:
    """Without threads, and with the notches closed that the background cut into it."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (NOTCH_PX, NOTCH_PX))
    return cv2.morphologyEx(opened, cv2.MORPH_CLOSE, window) > 0
