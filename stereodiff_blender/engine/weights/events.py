"""What the weights command says while it works, as lines of JSON for Blender. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from ..contract import ERROR_CODES
from ..contract.strict_json import from_dict, to_dict

__all__ = ["WeightsEvent", "parse_line"]

KINDS = ("progress", "failed", "finished")
OnBytes = Callable[[str, int, int], None]
"""Told the step in words, the bytes done and the bytes in all (0: not known)."""


@dataclass(frozen=True)
class WeightsEvent:
    """One line. progress: step, done, total in bytes. failed: code, message. finished: message."""

    kind: str
    step: str = ""
    done: int = 0
    total: int = 0
    code: str = ""
    message: str = ""

    def to_line(self) -> str:
        return json.dumps(to_dict(self)) + "\n"


def parse_line(line: str) -> WeightsEvent | None:
    """The event that a line of the weights command says.

    Parameters
    ----------
    line : str
        One line of its standard output.

    Returns
    -------
    WeightsEvent or None
        None for a line that is no event: a library may have printed it, or what was started is no engine.
    """
    try:
        event = from_dict(WeightsEvent, json.loads(line))
    except (ValueError, RecursionError):
        return None
    has_words = event.code in ERROR_CODES if event.kind == "failed" else not event.code
    return event if event.kind in KINDS and has_words else None
