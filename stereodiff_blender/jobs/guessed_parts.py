"""Where and when a result's depth is guessed, in whole sentences, and what to do about it. No bpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..engine.contract import REGIONS, GuessedRegion, Result

__all__ = ["guessed_sentences", "remedy"]

ALIKE = 0.6
"""Frames that two runs share, of those that either has, from which on one sentence tells both."""
EDGES = REGIONS[:-1]
MOST_SENTENCES = 4


def guessed_sentences(result: Result) -> tuple[str, ...]:
    """What is mostly guessed, in the numbers of the clip.

    Parameters
    ----------
    result : Result
        A result that was checked.

    Returns
    -------
    tuple of str
        Whole sentences, such as "The left edge of the picture is mostly guessed in frames 1-8."; the first few, and a
        last one for the others. Empty if there is nothing to say.
    """
    groups = _grouped(result.quality.guessed)
    sentences = [_sentence(regions, run, result) for run, regions in groups[:MOST_SENTENCES]]
    if len(groups) > MOST_SENTENCES:
        sentences.append(f"{len(groups) - MOST_SENTENCES} more parts are guessed in other frames.")
    return tuple(sentences)


def remedy(result: Result) -> str:
    """What to do about it; empty if there is nothing to say.

    Parameters
    ----------
    result : Result
        A result that was checked.

    Returns
    -------
    str
        One sentence.
    """
    guessed = result.quality.guessed
    if not guessed:
        return ""
    first, last = result.frames[0].frame, result.frames[-1].frame
    if all(one.region in EDGES and 2 * (one.last_frame - one.first_frame + 1) < len(result.frames)
           and (one.first_frame == first or one.last_frame == last) for one in guessed):
        return ("Solve some frames more before and after, where the clip has them, because they show what lies there; "
                "or keep CG away from it.")
    return "Keep CG away from it, or look with Show on Mesh > Confidence at what was measured."


def _grouped(guessed: tuple[GuessedRegion, ...]) -> list[tuple[GuessedRegion, set[str]]]:
    """Runs that are much alike, as one, with all their regions; those with the most frames first."""
    groups: list[tuple[GuessedRegion, set[str]]] = []
    for one in guessed:
        place = next((place for place, (run, regions) in enumerate(groups) if _are_alike(run, one)), None)
        if place is None:
            groups.append((one, {one.region}))
            continue
        run, regions = groups[place]
        groups[place] = replace(run, first_frame=min(run.first_frame, one.first_frame),
                                last_frame=max(run.last_frame, one.last_frame)), regions | {one.region}
    return sorted(groups, key=lambda group: (group[0].first_frame - group[0].last_frame, group[0].first_frame))


def _are_alike(a: GuessedRegion, b: GuessedRegion) -> bool:
    shared = min(a.last_frame, b.last_frame) - max(a.first_frame, b.first_frame) + 1
    either = max(a.last_frame, b.last_frame) - min(a.first_frame, b.first_frame) + 1
    return shared >= ALIKE * either


def _sentence(regions: set[str], run: GuessedRegion, result: Result) -> str:
    return f"{_subject(regions)} mostly guessed {_frames(run, result, result.clip.number_of)}."


def _subject(regions: set[str]) -> str:
    """With its verb."""
    edges = [region for region in EDGES if region in regions]
    if len(regions) == len(REGIONS):
        return "The whole picture is"
    if not edges:
        return "The middle of the picture is"
    if len(edges) == len(EDGES):
        return "All edges of the picture are"
    named = f"{', '.join(edges[:-1])} and {edges[-1]} edges" if len(edges) > 1 else f"{edges[0]} edge"
    named = f"The middle and the {named}" if "middle" in regions else f"The {named}"
    return f"{named} of the picture {'are' if len(regions) > 1 else 'is'}"


def _frames(run: GuessedRegion, result: Result, number_of: Callable[[int], int]) -> str:
    if (run.first_frame, run.last_frame) == (result.frames[0].frame, result.frames[-1].frame):
        return "in all frames"
    first, last = number_of(run.first_frame), number_of(run.last_frame)
    return f"in frame {first}" if first == last else f"in frames {first}-{last}"
