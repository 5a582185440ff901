"""What a run gives to every step, besides what the step works on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..parallel import Cores
from ..report import Report
from .scratch import Scratch


@dataclass(frozen=True)
class RunContext:
    """One run of the method on one clip. By itself: in memory, and silent.

    scratch: where large arrays lie. What a run that was broken off left there is used, so it must be of the same input
    and settings. refine_scratch: the same for stage 2; None: scratch. report: is told what is being done. first_frame:
    clip frame of index 0. For what is said to people, first_number: the plate's own number of it, None: the same; and
    plate_scale: pixels of the plate in one of the frames'. plates: (T,h,w) uint8 gray, an array or memory map of the
    frames at the plate's own size, in which tracked points are measured finer; None where the frames are as large.
    plate_matte: (T,h,w) uint8 of that size, not 0 where the artist's matte marks; None: none, or no depth of that size.
    (The seed is the job's: contract.Settings.) cores: how many frames are worked on at once; nothing depends on it.
    """

    scratch: Scratch = field(default_factory=Scratch)
    report: Report = field(default_factory=Report)
    first_frame: int = 1
    refine_scratch: Scratch | None = None
    first_number: int | None = None
    plate_scale: float = 1.0
    plates: np.ndarray | None = None
    plate_matte: np.ndarray | None = None
    cores: Cores = field(default_factory=Cores)

    @property
    def told_from(self) -> int:
        """The number of index 0 in what is said to people."""
        return self.first_frame if self.first_number is None else self.first_number

    @property
    def of_stage_2(self) -> RunContext:
        """The same for the steps of stage 2."""
        return replace(self, scratch=self.refine_scratch or self.scratch)
