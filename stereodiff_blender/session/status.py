"""Everything that panels draw, as plain values. No bpy, no disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..engine.contract.errors import Problem
from ..health.checkup import Checked
from ..health.weights import WeightsStatus
from ..jobs.views import JobView
from ..runtime.installation import InstallationView


@dataclass(frozen=True)
class Status:
    """Everything panels draw. jobs: by job id, of this session. running: the first of those at work, others_running:
    what other Blenders have started besides. waiting: those not ended and not at work, in their order.

    engine_problem: why no job could start; only looked for while engine_is_known is False. checked: of the last
    checkup that came to its end, None before the first. weights: of the learned engines.
    """

    jobs: dict[str, JobView] = field(default_factory=dict)
    running: JobView | None = None
    others_running: tuple[JobView, ...] = ()
    waiting: tuple[JobView, ...] = ()
    installation: InstallationView | None = None
    engine_is_known: bool = False
    engine_problem: Problem | None = None
    checked: Checked | None = None
    is_examining: bool = False
    weights: WeightsStatus = WeightsStatus()
