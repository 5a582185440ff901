"""The steps of a tick. None of them may end the timer, and none keeps the others from theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


def keep_going(step: Callable[[], None]) -> None:
    """Do a step of a tick, or a part of one; whatever is wrong with it, the log says it and the tick goes on."""
    try:
        step()
    except Exception:
        logger.exception("A tick of the session failed")
