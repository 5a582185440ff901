"""How a job has ended, in one sentence for somebody who works at something else. No bpy, no disk."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.contract import messages
from ..jobs import grades
from ..jobs.queue import Entry


@dataclass(frozen=True)
class Ending:
    """is_well: whether there is nothing to be done about it. sentence: what is told."""

    is_well: bool
    sentence: str


def ending_of(entry: Entry) -> Ending | None:
    """What is told of a job that has just ended; None of one that was ended by the artist, or by closing Blender."""
    status, outcome, problem = entry.status, entry.outcome, entry.import_problem
    if status.state == "failed":
        return Ending(False, f"{entry.clip_name}: {messages.explain(status.code or 'internal_error').sentence}")
    if status.state != "finished":
        return None
    if problem is not None:
        why = messages.explain(problem.code).sentence
        return Ending(False, f"{entry.clip_name} is solved, but not imported: {why}")
    verdict = ""
    if outcome is not None:
        verdict = f" {grades.sentence(outcome.camera_kind, outcome.quality, outcome.refinement)}."
    return Ending(True, f"{entry.clip_name} is solved.{verdict}")
