"""A job that is asked for as an artist does it."""

from __future__ import annotations

import bpy
import pytest


@pytest.fixture
def solve(settings, sequence):
    """solve() -> the id of a job of the sequence, queued."""
    settings.clip = sequence

    def start() -> str:
        assert bpy.ops.stereodiff.solve(wait=False) == {"FINISHED"}
        return settings.jobs[-1].job_id

    return start
