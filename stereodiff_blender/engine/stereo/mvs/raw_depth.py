"""What the first pass over a clip leaves for the later ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..dynamic import coarse_shape
from .consistency import grid_shape

UNTRUSTED, TRUSTED_STATIC, SKY, PLAIN_SKY = 0, 1, 2, 3
HIDES = 2
"""In found: seems to lie beyond the limits, but hides what is nearer."""
LATENESS = 2
"""Frames that a vote lags behind, so that all its voters are known."""


@dataclass(frozen=True)
class RawDepth:
    """What the first pass leaves for the later ones, (T,H,W) each.

    disparity: float32, within the limits. uncertainty: float16 sigma / disparity. status: uint8 UNTRUSTED,
    TRUSTED_STATIC, SKY (seen to lie beyond the limits) or PLAIN_SKY (too even to be matched). textureless: uint8
    what may be plain sky. found: uint8 motion of single frames; then what hides nearer things, HIDES where it seems
    to be sky; after the second pass, what was taken for moving before its outlines were drawn. mask: uint8 motion after
    the vote; in the end, what moves. background: float32 (T,h,w) disparity that other frames measured, as of
    median_background. hiding: uint8 (T,h,w) cells of what hides something nearer, as of mark_occluders. flow_back:
    float16 (T,h,w,2) flow to the frame before, as of coarse_flow.
    """

    disparity: np.ndarray
    uncertainty: np.ndarray
    status: np.ndarray
    textureless: np.ndarray
    found: np.ndarray
    mask: np.ndarray
    background: np.ndarray
    hiding: np.ndarray
    flow_back: np.ndarray

    @classmethod
    def allocate(cls, allocate: Callable[..., np.ndarray], prefix: str, shape: tuple[int, int, int]) -> RawDepth:
        kinds = {"disparity": np.float32, "uncertainty": np.float16, "status": np.uint8, "textureless": np.uint8,
                 "found": np.uint8, "mask": np.uint8}
        arrays = {name: allocate(f"{prefix}_{name}", shape, kind) for name, kind in kinds.items()}
        flow_back = allocate(f"{prefix}_flow_back", (shape[0], *coarse_shape(*shape[1:]), 2), np.float16)
        cells = (shape[0], *grid_shape(*shape[1:]))
        background = allocate(f"{prefix}_background", cells, np.float32)
        hiding = allocate(f"{prefix}_hiding", cells, np.uint8)
        return cls(**arrays, background=background, hiding=hiding, flow_back=flow_back)

    @property
    def _of_first_pass(self) -> tuple[np.ndarray, ...]:
        return self.disparity, self.uncertainty, self.status, self.textureless, self.found

    def written_by(self, index: int) -> list[np.ndarray]:
        """What the first pass has written when it is done with one frame, and had not when it was done with the last.
        """
        late = index - LATENESS
        voted = [] if late < 0 else [array[late] for array in (self.mask, self.flow_back)]
        return [array[index] for array in self._of_first_pass] + voted

    def known_depth(self, index: int) -> np.ndarray:
        """(H,W) float32 of one frame, as far as it was measured; 0 elsewhere."""
        is_known = self.status[index] != UNTRUSTED
        return np.divide(1.0, self.disparity[index], out=np.zeros(is_known.shape, np.float32), where=is_known)

    def copy(self, target: RawDepth) -> RawDepth:
        """The first pass's arrays in target, which is returned."""
        pairs = zip((*self._of_first_pass, self.mask, self.flow_back),
                    (*target._of_first_pass, target.mask, target.flow_back), strict=True)
        for own, other in pairs:
            for index in range(len(own)):
                other[index] = own[index]
        return target
