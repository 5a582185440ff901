"""How well something that stands still explains a pixel, whatever its matches say.

Matches lie where one thing hides another, where there is no detail, and in blurred pictures; then they contradict each
other just as those of a moving thing do. But what stands still has one depth that explains it in every frame that shows
it. So many depths are tried (a plane sweep, Collins 1996): where one of them makes the frames look alike, the scene
stands still after all, and where a picture is blurred or even, the best of them is never far off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import CostFeatures, Features, Located, Warp, photometric_cost, warp_between, warp_located
from ...solution import CameraSolution
from .sources import DepthLimits, near_sources

GRID_STEP_PX = 2
"""Every so many pixels are looked at, across and down."""
WINDOW_CELLS = 5
"""Width of the neighborhood, in cells of that grid, that is explained together."""
SOFTENING_PX = 1.0
"""Frames are blurred by so much, or what lies between two of the tried depths would be unlike at both."""
HYPOTHESES = 28
DEPTH_MARGIN = 1.5
"""Depths are tried as far beyond the solved points' nearest and farthest."""
LEAST_SHARE = 0.5
"""Of the disparity around a pixel, that it is tried at: what travels along with the camera looks far beyond it all."""
USUAL_BRIGHTNESS, MAX_GAIN, SAMPLED_FRAMES = 100.0, 3.0, 12
"""Mean gray level up to which frames are brightened, and how far: in the dark all depths make frames look alike."""
MIN_VIEWS = 2
"""Frames that have to show the place, or a depth explains nothing; fewer where there are no more."""
UNSEEN = np.float32(2.0)
"""Cost of what a frame does not show: more than any."""


@dataclass(frozen=True)
class StaticScene:
    """A frame and those that show the same scene: its index, theirs with the warps to them, the features of all frames,
    and the depths at hand. Features are asked for only when there is something to explain."""

    index: int
    others: Sequence[tuple[int, Warp]]
    features: CostFeatures | Sequence[Features]
    limits: DepthLimits

    @classmethod
    def around(cls, index: int, sources: Sequence[int], cameras: CameraSolution, features: CostFeatures,
               limits: DepthLimits) -> StaticScene:
        """One of the frames, among those of its sources that judge what moves."""
        near = near_sources(cameras, index, sources, *features.size)
        chosen = [j for j, is_near in zip(sources, near, strict=True) if is_near or not any(near)]
        return cls(index, [(j, warp_between(cameras, index, j)) for j in chosen], features, limits)

    def static_cost(self, asked: np.ndarray, surrounding: np.ndarray) -> np.ndarray:
        """Photometric cost of the best of the depths that are tried.

        Parameters
        ----------
        asked : ndarray
            (H,W) bool, the pixels to look at.
        surrounding : ndarray
            (H,W) disparity of what is around each, which is tried as well.

        Returns
        -------
        ndarray
            (H,W) float32 in [0,1], the mean over a small neighborhood of what is asked for; 0 elsewhere.
        """
        grid = (slice(GRID_STEP_PX // 2, None, GRID_STEP_PX),) * 2
        cells = cv2.dilate(asked.astype(np.uint8), np.ones((GRID_STEP_PX + 1,) * 2, np.uint8))[grid] > 0
        if not cells.any() or not self.others:
            return np.zeros(asked.shape, np.float32)
        looks = _Looks(self, cells)
        # What no other frame shows is no more odd than what all of them show alike.
        best = looks.is_seen(surrounding[grid][cells]).astype(np.float32)
        around = surrounding[grid][cells]
        for disparity in (around, *np.geomspace(*self._tried, HYPOTHESES)):
            allowed = disparity > LEAST_SHARE * around
            np.minimum(best, np.where(allowed, looks.cost(disparity), np.float32(1.0)), out=best)
        picture = cv2.resize(looks.picture(best), asked.shape[::-1], interpolation=cv2.INTER_NEAREST)
        return np.where(asked, picture, np.float32(0))

    @property
    def _tried(self) -> tuple[float, float]:
        return 1.0 / (DEPTH_MARGIN * self.limits.far), DEPTH_MARGIN / self.limits.near


def scene_features(frames: np.ndarray) -> CostFeatures:
    """What StaticScene compares of frames (T,H,W,3) uint8."""
    sampled = frames[::max(1, len(frames) // SAMPLED_FRAMES), ::4, ::4]
    brightness = float(np.mean([frame.mean() for frame in sampled]))
    return CostFeatures(frames, SOFTENING_PX, float(np.clip(USUAL_BRIGHTNESS / max(brightness, 1.0), 1.0, MAX_GAIN)))


class _Looks:
    """Cells of a frame, and how they look in the others."""

    def __init__(self, scene: StaticScene, cells: np.ndarray):
        rows, columns = (GRID_STEP_PX * each + GRID_STEP_PX // 2 for each in np.nonzero(cells))
        own = scene.features[scene.index]
        self._cells, self._size, self.count = cells, own[0].shape[:2], len(rows)
        self._own = [planes[rows, columns] for planes in own]
        self._x, self._y = (each.astype(np.float32) + np.float32(0.5) for each in (columns, rows))
        self._others = [(scene.features[j], warp.located(self._x, self._y)) for j, warp in scene.others]
        self._share = np.maximum(_blurred(cells.astype(np.float32)), np.float32(1e-6))[cells]

    def cost(self, disparity: np.ndarray | float) -> np.ndarray:
        """(n,) at one disparity, or at (n,) of them; a cell is hidden in some of the frames."""
        disparity = np.broadcast_to(np.float32(disparity), (self.count,))
        costs = [self._cost_in(disparity, features, located) for features, located in self._others]
        return _blurred(self.picture(_of_better_half(costs)))[self._cells] / self._share

    def is_seen(self, disparity: np.ndarray) -> np.ndarray:
        """(n,) bool: shown by enough of the frames at a disparity (n,)."""
        views = [warp_located(located, disparity).inside(self._size) for _, located in self._others]
        return np.sum(views, axis=0) >= min(MIN_VIEWS, len(views))

    def picture(self, values: np.ndarray) -> np.ndarray:
        """(n,) in their cells (h,w), 0 elsewhere."""
        picture = np.zeros(self._cells.shape, np.float32)
        picture[self._cells] = values
        return picture

    def _cost_in(self, disparity: np.ndarray, features: Features, located: Located) -> np.ndarray:
        warped = warp_located(located, disparity)
        return np.where(warped.inside(self._size), photometric_cost(self._own, features, *warped.places), UNSEEN)


def _of_better_half(costs: list[np.ndarray]) -> np.ndarray:
    """Mean (n,) of the better half of those that see a cell; 1 where fewer than MIN_VIEWS do."""
    ordered = np.sort(np.array(costs, np.float32), axis=0)
    seen = (ordered < UNSEEN).sum(axis=0)
    counted = np.arange(len(costs))[:, None] < (seen + 1) // 2
    mean = np.where(counted, ordered, 0).sum(axis=0) / np.maximum((seen + 1) // 2, 1)
    return np.where(seen >= min(MIN_VIEWS, len(costs)), mean, np.float32(1.0)).astype(np.float32)


def _blurred(picture: np.ndarray) -> np.ndarray:
    return cv2.blur(picture, (WINDOW_CELLS, WINDOW_CELLS), borderType=cv2.BORDER_CONSTANT)
