"""Depth as far as it is known while a job is solved, as a small picture in its folder: something to look at meanwhile.

It is no product: it is renewed in its place, and gone when the job has ended. Whatever goes wrong with it is a line in
the log and the end of the picture, but nothing to the job.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

import cv2
import imageio.v3 as imageio
import numpy as np

from ..contract import JobFolder
from ..contract.guarded_files import TEMPORARY
from ..contract.redaction import traceback_text
from ..imaging import pull_push
from .preview import depth_colors, disparity_limits

__all__ = ["PictureSoFar"]

INTERVAL_S, MOST_SHARE = 2.0, 0.05
"""Between two pictures; and of the time, that they may take where a picture or the disk is slow."""
MOST_PX = 256
"""Of a side, as icons have it."""
FAULTS = (OSError, MemoryError, ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, cv2.error)
"""Whatever drawing and writing can end with: a job must not fail because nobody can watch it."""


class PictureSoFar:
    """depth_so_far.png of one job: a frame, and below it its depth in the colors of preview.png, without holes.

    A context: the picture of an earlier run is removed when it is entered, this run's when it is left.
    """

    def __init__(self, folder: JobFolder, log: TextIO):
        """log: is told what is wrong, once."""
        self._folder, self._log = folder, log
        self._next_s: float | None = time.monotonic()

    def __enter__(self) -> PictureSoFar:
        self._remove()
        return self

    def __exit__(self, *_exception) -> None:
        self._next_s = None
        self._remove()

    def renew(self, look: Callable[[], tuple]) -> bool:
        """Draw what look makes, as of Report.show, if it is time for a new picture. Whether there is one."""
        began_s = time.monotonic()
        if self._next_s is None or began_s < self._next_s:
            return False
        try:
            self._write(picture_of(*look()))
        except FAULTS as error:
            self._give_up(error)
            return False
        now_s = time.monotonic()
        self._next_s = now_s + max(INTERVAL_S, (now_s - began_s) / MOST_SHARE)
        return True

    def _write(self, picture: np.ndarray) -> None:
        name = self._folder.picture_so_far.name
        with self._folder.files.replacing(name, must_last=False) as stream:
            stream.write(imageio.imwrite("<bytes>", picture, extension=".png"))

    def _give_up(self, error: Exception) -> None:
        self._next_s = None
        self._log.write(f"There is no picture of depth while this job runs.\n{traceback_text(error)}")
        traceback.clear_frames(error.__traceback__)

    def _remove(self) -> None:
        name = self._folder.picture_so_far.name
        for written in (name, name + TEMPORARY):
            with suppress(OSError):
                self._folder.files.unlink(written)


def picture_of(frame: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """frame: (H,W,3) uint8 RGB. depth: (H,W), 0 where it is not known. Returns (2h,w,3) uint8, the depth below.

    Neither side is longer than MOST_PX; the range of colors is that of this depth.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, MOST_PX / width, MOST_PX / (2 * height))
    size = max(1, int(width * scale)), max(1, int(height * scale))
    small = _filled(np.asarray(depth), size)
    return np.concatenate([cv2.resize(frame, size, interpolation=cv2.INTER_AREA),
                           depth_colors(small, disparity_limits(small[None]))])


def _filled(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth (h,w) float32 at a smaller size, from what is known; 0 everywhere if nothing is."""
    is_known = np.isfinite(depth) & (depth > 0)
    disparity = np.divide(1.0, depth, out=np.zeros(depth.shape, np.float32), where=is_known)
    known = cv2.resize(is_known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(disparity, size, interpolation=cv2.INTER_AREA)
    mean = np.divide(total, known, out=np.zeros_like(total), where=known > 0)
    filled = pull_push(mean, (known > 0).astype(np.float32))
    return np.divide(1.0, filled, out=np.zeros_like(filled), where=filled > 0)
