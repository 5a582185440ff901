"""What the figures of a result mean, in a word each and one sentence for all. No bpy.

The limits are those of the field: half a pixel of the plate is what match-movers call a good solve, a pixel and a half
is where CG is seen to slide; below a degree of parallax depth is weak; the eye sees depth flicker from about one
percent on. Pixels are those of the plate (Result.plate_quality): a 4K plate is not judged by how it looks at 640.
"""

from __future__ import annotations

from ..engine.contract import Quality, Refinement

__all__ = ["FAIR", "GOOD", "POOR", "grades", "sentence", "worst"]

GOOD, FAIR, POOR = "good", "fair", "poor"
ERROR_PX = (0.5, 1.5)
COVERAGE = (0.7, 0.4)
PARALLAX_DEG = (1.5, 0.7)
SOLVED = (0.999, 0.9)
FLICKER_PERCENT = (1.0, 3.0)
SEAM_STEP = (0.01, 0.03)
APART = (0.05, 0.15)
PROBLEMS = {
    "error": "the camera slides", "solved": "some cameras are interpolated", "parallax": "there is little parallax",
    "coverage": "much of the depth is filled in", "regions": "parts of the picture are guessed",
    "flicker": "still things flicker",
    "seam": "depth steps where a window begins", "apart": "the refined depth differs from the solve",
}


def grades(camera_kind: str, quality: Quality, refinement: Refinement | None = None) -> dict[str, str]:
    """GOOD, FAIR or POOR for each figure that applies.

    Parameters
    ----------
    camera_kind : str
        As in contract.Result: "moving", "rotation" or "static". Only to "moving" apply more than "error" and "solved".
    quality : Quality
        The figures, lengths in pixels of the plate; one that is None does not apply.
    refinement : Refinement or None
        Of the diffusion network; None if it did not run.

    Returns
    -------
    dict of str to str
        Figure -> grade: "error", "solved", "parallax", "coverage", "regions" (at best FAIR, where one is guessed
        in some frames), "flicker" (after stage 2, if that was measured), "seam", "apart".
    """
    flicker = quality.flicker_before if quality.flicker_after is None else quality.flicker_after
    seam = None if refinement is None else refinement.border_step
    found = {"error": _small(quality.reprojection_mean_px, ERROR_PX), "solved": _large(quality.solved_share, SOLVED)}
    if camera_kind == "moving":
        found |= {"parallax": _large(quality.parallax_deg, PARALLAX_DEG),
                  "coverage": _large(quality.coverage, COVERAGE), "regions": FAIR if quality.guessed else None,
                  "flicker": _small(flicker, FLICKER_PERCENT),
                  "seam": _small(seam, SEAM_STEP), "apart": _small(quality.gauge_residual, APART)}
    return {name: grade for name, grade in found.items() if grade is not None}


def sentence(camera_kind: str, quality: Quality, refinement: Refinement | None = None) -> str:
    """The verdict on all of it, without a full stop.

    Parameters
    ----------
    camera_kind : str
        "moving", "rotation" or "static".
    quality : Quality
        The figures.
    refinement : Refinement or None
        Of the diffusion network; None if it did not run.

    Returns
    -------
    str
        One sentence, which names the figures of the worst grade if that is not GOOD.
    """
    found = grades(camera_kind, quality, refinement)
    for grade, beginning in ((POOR, "Not to be trusted as it is"), (FAIR, "Usable, but look closely")):
        named = [PROBLEMS[name] for name, value in found.items() if value == grade]
        if named:
            return f"{beginning}: {', '.join(named)}"
    if camera_kind == "moving":
        return "Good for match-moving and depth"
    return "Good for match-moving; a camera that stays in its place gives no depth"


def worst(camera_kind: str, quality: Quality, refinement: Refinement | None = None) -> str:
    """The worst grade of all figures.

    Parameters
    ----------
    camera_kind : str
        "moving", "rotation" or "static".
    quality : Quality
        The figures.
    refinement : Refinement or None
        Of the diffusion network; None if it did not run.

    Returns
    -------
    str
        GOOD, FAIR or POOR; GOOD if no figure applies.
    """
    found = grades(camera_kind, quality, refinement).values()
    return next((grade for grade in (POOR, FAIR) if grade in found), GOOD)


def _small(value: float | None, limits: tuple[float, float]) -> str | None:
    if value is None:
        return None
    return GOOD if value <= limits[0] else FAIR if value <= limits[1] else POOR


def _large(value: float | None, limits: tuple[float, float]) -> str | None:
    return None if value is None else _small(-value, (-limits[0], -limits[1]))
