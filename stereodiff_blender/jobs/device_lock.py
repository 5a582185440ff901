"""One worker at a time on a device of this computer, whichever Blender started it. No bpy.

The lock is an open file that the worker inherits: the system frees it when the worker has ended, however it ended,
and the Blender that took it may be closed meanwhile. Nothing stale can be left behind.
"""

from __future__ import annotations

import logging
import os
import platform
import re
from pathlib import Path

from ..engine.contract import Settings, file_lock

logger = logging.getLogger(__name__)


def device_of(settings: Settings) -> str:
    """What a job may compute on: "gpu", or "cpu" if nothing of it could use another."""
    is_learned = settings.stereo == "monst3r" or settings.refine == "depthcrafter"
    return "gpu" if is_learned and settings.device != "cpu" else "cpu"


class DeviceLock:
    """A device that was taken. Hand it to the worker, then release it here; the worker still has it.

    descriptor: of the open file, which the worker has to inherit; None where the system has no such locks.
    """

    def __init__(self, descriptor: int | None):
        self.descriptor = descriptor

    def release(self) -> None:
        """No longer hold it here."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __enter__(self) -> DeviceLock:
        return self

    def __exit__(self, *_) -> None:
        self.release()


def take_device(folder: Path, device: str) -> DeviceLock | None:
    """Take a device, or None if another worker has it. Never waits.

    folder: of the locks, the same for all Blenders of this user. Its files carry the computer's name, because a home
    on a server is seen by several. Where a lock cannot be had at all, the log says so and nobody is kept from work.
    """
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", platform.node()) or "computer"
    path = folder / f"{host}-{device}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = file_lock.open_alone(path)
    except OSError as error:
        logger.warning("%s cannot be locked, so two jobs may compute at the same time: %s", path, error)
        return DeviceLock(None)
    return DeviceLock(descriptor) if descriptor is not None else None
