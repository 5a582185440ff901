"""What is told of this computer's memory."""

from __future__ import annotations

from stereodiff_blender.engine.memory import memory_bytes


def test_memory_is_known_here():
    total, available = memory_bytes()
    assert total > 2**28 and (available is None or 0 < available <= total)
