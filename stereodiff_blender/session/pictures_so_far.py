"""What running jobs show of depth, read beside Blender and put where panels draw it."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..jobs.queue import Entry, Queue
from ..jobs.reader_thread import ReaderThread
from ..jobs.result_looks import read_picture_so_far
from .thumbnails import Thumbnails


class PicturesSoFar:
    """Has a job's picture read whenever there is a new one; a tick takes what has come."""

    def __init__(self, queue: Queue):
        self._queue = queue
        self._thumbnails = Thumbnails()
        self._reader: ReaderThread[str, np.ndarray | None] = ReaderThread("pictures so far")

    def advance(self) -> None:
        """Take pictures that have come, ask for new ones, and let go of those of jobs that have ended."""
        for answer in self._reader.answers():
            entry = self._queue.find(answer.key)
            if entry is not None and entry.status.state == "running" and answer.value is not None:
                entry.picture_id = self._thumbnails.show(entry.job_id, answer.value)
        for entry in self._queue:
            if entry.status.state == "running":
                self._follow(entry)
            elif entry.pictures:
                self.forget(entry.job_id)
                entry.pictures = entry.picture_id = 0

    @property
    def is_busy(self) -> bool:
        return self._reader.is_busy

    def forget(self, job_id: str) -> None:
        """No longer keep a job's picture, if there is one."""
        self._thumbnails.forget(job_id)

    def close(self) -> None:
        self._reader.close()
        self._thumbnails.close()

    def _follow(self, entry: Entry) -> None:
        pictures = entry.status.pictures
        if pictures != entry.pictures and self._reader.ask(entry.job_id, partial(read_picture_so_far, entry.folder)):
            entry.pictures = pictures
