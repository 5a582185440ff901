"""A clip of a data set, whatever the data set: frames, and what is known about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class TruthClip:
    """T frames that are read when asked for, in the conventions of the contract; index 0 is the first.

    frame(index): (H,W,3) uint8 sRGB. depth(index): (h,w) float32 in the data set's unit of length, 0 where it is not
    known, or None for a frame without any. motion_mask(index): (h,w) bool, True where the thing itself moves.
    camera_to_world: (T,4,4), NaN for a frame whose pose is not known. intrinsics: (T,4), pixels of the frames.
    None: the data set does not tell.
    """

    name: str
    frame_count: int
    frame: Callable[[int], np.ndarray]
    depth: Callable[[int], np.ndarray | None] | None = None
    motion_mask: Callable[[int], np.ndarray | None] | None = None
    camera_to_world: np.ndarray | None = None
    intrinsics: np.ndarray | None = None

    def first(self, count: int) -> TruthClip:
        """The first `count` frames, or all if there are fewer."""
        count = min(count, self.frame_count)
        cut = {name: None if (values := getattr(self, name)) is None else values[:count]
               for name in ("camera_to_world", "intrinsics")}
        return replace(self, frame_count=count, **cut)
