"""What the artist should know of depth as a whole: how much was measured, and how much moves."""

from __future__ import annotations

import numpy as np

from ...report import Report
from ...solution import TRUSTED

LOW_COVERAGE = 0.6
LARGE_MOTION = 0.22
"""Marked share of the picture; where a quarter moves, so much at least is marked."""


def warn_of_coverage(mask: np.ndarray, confidence: np.ndarray, open_share: float, report: Report, *,
                     has_matte: bool = False, is_lens_doubtful: bool = False) -> None:
    """Warn "low_coverage" and "large_motion". What is taken for far counts as measured no more than what is filled.

    Shares are of what is not open sky: below one, half a picture measured can be all that there is.
    mask, confidence: (T,H,W). open_share: of the clip, what looks like the sky. is_lens_doubtful: the shot speaks
    against the lens that was found for it, so that what agrees is not trusted, as contract.Quality has it.
    """
    below = max(1.0 - open_share, 1e-6)
    coverage = float(np.mean([(one > TRUSTED).mean() for one in confidence]) / below)
    moving = float(np.mean([one.mean() for one in mask]) / below)
    if coverage < LOW_COVERAGE:
        share = f"{100 * coverage:.0f} % of the picture"
        report.warn("low_coverage", f"Only {share} could be measured, the sky aside; the rest is interpolated."
                    if not is_lens_doubtful else
                    "None of the picture counts as measured, because the shot contradicts the lens that was found for "
                    f"it. Views agree in {share}, the sky aside, but through a wrong lens they agree on a wrong depth.")
    if moving > LARGE_MOTION:
        advice = "" if has_matte else "; a matte would help"
        report.warn("large_motion", f"{100 * moving:.0f} % of the picture moves by itself{advice}.")
