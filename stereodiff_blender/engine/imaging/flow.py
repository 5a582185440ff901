"""Optical flow between the frames of a clip, shared by both stages so that no pair is matched twice.

A flow field is (H,W,2) float32 in pixels, (x, y): what pixel p of frame i shows is found at p + flow in frame j.
Method: dense inverse search (Kroeger et al. 2016), in OpenCV's medium preset but for what is said at the matchers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np

from .frame_window import FrameWindow

OUTSIDE_PX = 1e4
"""Forward-backward error of a pixel whose match lies outside the other picture."""
MIN_QUICK_SIDE_PX = 16
"""Two of the matcher's patches: at half resolution one has to fit into the picture, or OpenCV ends the program."""
PATCH_STRIDE_PX, DESCENT_STEPS, SMOOTHNESS, REFINEMENTS = 4, 16, 15.0, 5
LARGE_PX, LARGE_STRIDE_PX, LARGE_REFINEMENTS = 600, 5, 3
"""Width of a picture from which on patches lie farther apart, and fewer rounds refine: a pixel is less of the scene."""


def flows_in(megabytes: float, height: int, width: int) -> int:
    """How many flow fields of this raster fit a memory budget; at least 16.

    Parameters
    ----------
    megabytes : float
        The budget, in units of 10^6 bytes.
    height, width : int
        Of the raster, pixels.

    Returns
    -------
    int
        Fields of (H,W,2) float32, as the capacity of an OpticalFlow.
    """
    return max(16, int(megabytes * 1e6 / (8 * height * width)))


class OpticalFlow:
    """Flow fields of one clip, computed when first asked for; the `capacity` most recently used are kept.

    frames: (T,H,W,3) uint8 RGB, in memory or memory-mapped. An evicted field is computed again when asked for.
    quick: stop at half resolution, for a quarter of the time and twice the error; not on pictures too narrow for it.
    Several threads may ask.
    """

    def __init__(self, frames: np.ndarray, *, capacity: int, quick: bool = False):
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be (T,H,W,3) uint8, got {frames.shape} {frames.dtype}")
        if capacity < 2:
            raise ValueError(f"a consistency check needs two flows at once, got capacity {capacity}")
        self._frames = frames
        self._fields: FrameWindow[tuple[int, int], np.ndarray] = FrameWindow(capacity)
        self._is_quick = quick and min(frames.shape[1:3]) >= MIN_QUICK_SIDE_PX
        self._of_thread = threading.local()

    def between(self, i: int, j: int, initial: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """Flow from frame i to frame j, (H,W,2) float32, read-only.

        initial: makes a first guess (H,W,2); asked for only if the field is not kept already.
        """
        return self._fields.get((i, j), lambda: self._match(i, j, None if initial is None else initial()))

    def has(self, i: int, j: int) -> bool:
        """Whether the field is kept, so that asking for it costs nothing."""
        return (i, j) in self._fields

    def forget_before(self, index: int) -> None:
        """Let go of the fields between two frames that are both earlier than this one."""
        self._fields.forget(lambda pair: max(pair) < index)

    def consistency(self, i: int, j: int) -> np.ndarray:
        """Forward-backward error, (H,W) float32: how far from p the way to frame j and back ends, in pixels.

        OUTSIDE_PX where the match of p lies outside frame j.
        """
        return round_trip(self.between(i, j), self.between(j, i))

    def _match(self, i: int, j: int, initial: np.ndarray | None) -> np.ndarray:
        # calc() works in place: the caller's guess must survive.
        guess = None if initial is None else np.array(initial, np.float32)
        # OpenCV's stub has no None, by which the function itself means: without a guess.
        flow = self._matcher().calc(
            self._gray(i), self._gray(j), guess)  # pyright: ignore[reportArgumentType, reportCallIssue]
        flow.flags.writeable = False
        return flow

    def _matcher(self) -> cv2.DISOpticalFlow:
        """Of this thread: a matcher works on one pair at a time."""
        if not hasattr(self._of_thread, "matcher"):
            width = self._frames.shape[2]
            self._of_thread.matcher = _half_resolution_matcher() if self._is_quick else _full_resolution_matcher(width)
        return self._of_thread.matcher

    def _gray(self, index: int) -> np.ndarray:
        return cv2.cvtColor(np.ascontiguousarray(self._frames[index]), cv2.COLOR_RGB2GRAY)


def round_trip(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """How far from where it began the way to another frame and back ends.

    Parameters
    ----------
    forward, backward : ndarray
        (H,W,2) float32 from frame i to frame j, and from j to i, pixels.

    Returns
    -------
    ndarray
        (H,W) float32, pixels; OUTSIDE_PX where the match lies outside frame j.
    """
    gap = sample(backward, forward, outside=OUTSIDE_PX)
    gap += forward
    return np.minimum(cv2.magnitude(*cv2.split(gap)), np.float32(OUTSIDE_PX))


def sample(image: np.ndarray, flow: np.ndarray, *, outside: float = 0.0, nearest: bool = False) -> np.ndarray:
    """What frame i's pixels see in an image of frame j: the image looked up at p + flow.

    Parameters
    ----------
    image : ndarray
        (H,W) or (H,W,C), C <= 4; uint8, float32 or bool.
    flow : ndarray
        (H,W,2) float32 from frame i to frame j, pixels.
    outside : float
        Value of pixels whose match lies outside the picture.
    nearest : bool
        Take the nearest pixel, not the bilinear mean of four; always so for a bool image.

    Returns
    -------
    ndarray
        (H,W) or (H,W,C), of the image's dtype.
    """
    height, width = flow.shape[:2]
    target = np.empty((height, width, 2), np.float32)
    np.add(flow[..., 0], np.arange(width, dtype=np.float32), out=target[..., 0])
    np.add(flow[..., 1], np.arange(height, dtype=np.float32)[:, None], out=target[..., 1])
    is_bool = image.dtype == bool
    source = image.view(np.uint8) if is_bool else image
    method = cv2.INTER_NEAREST if nearest or is_bool else cv2.INTER_LINEAR
    found = cv2.remap(
        # OpenCV's stub has no None, which is right where the first map holds both coordinates.
        source, target, None, method,  # pyright: ignore[reportArgumentType, reportCallIssue]
        borderMode=cv2.BORDER_CONSTANT, borderValue=(outside,) * 4)
    return found.view(bool) if is_bool else found


def _full_resolution_matcher(width: int) -> cv2.DISOpticalFlow:
    matcher = _half_resolution_matcher()
    if width >= LARGE_PX:
        matcher.setPatchStride(LARGE_STRIDE_PX)
        matcher.setVariationalRefinementIterations(LARGE_REFINEMENTS)
    # The preset stops at half resolution; the last octave halves the end-point error, the largest gain there is.
    matcher.setFinestScale(0)
    return matcher


def _half_resolution_matcher() -> cv2.DISOpticalFlow:
    matcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    matcher.setFinestScale(1)
    matcher.setUseSpatialPropagation(True)
    # Patches a little farther apart, and no longer descent than it takes to converge: a third of the time less. What
    # the average over fewer patches smooths more, the variational refinement has to smooth less. Still fewer patches
    # and rounds serve most small pictures as well, but not plain ground, clouds and small things that move.
    matcher.setPatchStride(PATCH_STRIDE_PX)
    matcher.setGradientDescentIterations(DESCENT_STEPS)
    matcher.setVariationalRefinementAlpha(SMOOTHNESS)
    matcher.setVariationalRefinementIterations(REFINEMENTS)
    return matcher
