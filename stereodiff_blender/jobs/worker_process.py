"""Jobs: make a job folder, start its worker, follow it, cancel it, and judge how it ended.

No bpy, and nothing here waits for a worker: a poll reads what is new, as far as there is a limit to it, and returns.
The worker is a session of its own. It outlives Blender, and FollowedJob(folder) finds it again.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ..engine.contract import (
    GivenCameras,
    Job,
    JobFolder,
    MatteShapes,
    Result,
    StereoDiffError,
    UnsafeFileError,
    WarningList,
    redact,
    write_cameras,
    write_refusal,
    write_shapes,
)
from ..engine.contract.guarded_files import TEMPORARY
from ..engine.contract.job_files.caches import make_cache
from ..engine.contract.job_files.worker_log import LOG, read_log_end, shorten_log
from ..engine.contract.programs import (  # noqa: F401 - of which a worker is known
    WORKER_MODULE,
    Program,
    describe_exit,
    end_process_tree,
    engine_command,
    python_environment,
)
from ..engine.contract.programs import start as start_program
from .device_lock import DeviceLock
from .processes import worker_is_alive
from .progress import JobStatus, Progress
from .watchdog import Watchdog

__all__ = ["FollowedJob", "JobStatus", "create_job", "end_together", "new_job_id"]

KILL_AFTER_S = 1.0
ALL_BUT_ONE = -1
"""As the engine's option has it."""
STARTUP_GRACE_S = 60.0
LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 8192


# --- Create and start ------------------------------------------------------------------------------------------

def new_job_id(clip_name: str, now: datetime) -> str:
    """A readable, unique folder name: "room-20261122-193501-3fa2"; only a-z, 0-9, "_" and "-".

    Parameters
    ----------
    clip_name : str
        Name or path of the footage; its stem is used, at most 40 characters of it.
    now : datetime
        The time that the name tells.

    Returns
    -------
    str
        The id, the same as the folder's name. Its last four characters are random.
    """
    stem = re.sub(r"[^a-z0-9_]+", "-", Path(clip_name).stem.lower()).strip("-")[:40] or "clip"
    return f"{stem}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def create_job(job: Job, jobs_folder: str | os.PathLike, shapes: MatteShapes | None = None,
               cameras: GivenCameras | None = None) -> Path:
    """Make the folder of a checked job and write its job.json.

    Parameters
    ----------
    job : Job
        What is asked for.
    jobs_folder : str or PathLike
        Made if it is missing; may begin with "~". The job's folder is made in it, named by the job's id.
    shapes : MatteShapes or None
        Of the job's matte, if that has any.
    cameras : GivenCameras or None
        Of the job, if it gives any.

    Returns
    -------
    Path
        The job's folder, absolute.

    Raises
    ------
    StereoDiffError
        What Job.validate raises, "matte_invalid", "cameras_invalid", "output_not_writable", "output_in_use" or
        "disk_full".
    """
    job.validate()
    if shapes is not None:
        shapes.validate()
    if cameras is not None:
        cameras.validate()
    folder = Path(jobs_folder).expanduser().absolute() / job.id
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        if shapes is not None:
            write_shapes(JobFolder(folder).matte_file, shapes)
        if cameras is not None:
            write_cameras(JobFolder(folder).cameras_file, cameras)
        JobFolder(folder).write_job(job)
    except OSError as error:
        raise _output_error(error, folder) from error
    return folder


def _output_error(error: OSError, folder: Path) -> StereoDiffError:
    if isinstance(error, FileExistsError) and folder.is_dir():
        return StereoDiffError("output_in_use", f"{folder} exists already.")
    return write_refusal(error, folder)


class Worker(Program):
    """A worker that was started. events_offset: where its own words begin in events.jsonl; others may stand before."""

    events_offset = 0


def start(folder: str | os.PathLike, python: str | os.PathLike, extension_root: str | os.PathLike,
          device: DeviceLock | None = None, caches: str | os.PathLike | None = None, cores: int = 0) -> Worker:
    """Start the worker of a job folder as the head of its own process group; its output goes to worker.log.

    A folder whose job was cancelled, failed or lost its worker is resumed. python: the worker's interpreter.
    extension_root: the folder that contains stereodiff_blender/. device: what the worker is to inherit. caches: the
    folder for a cache to be made in, if the job has none; None: the job's own folder. cores: that it may use; 0: all
    but one.
    Raises StereoDiffError: "job_missing", "runtime_missing", "runtime_broken", "output_not_writable", "disk_full", or
    "job_folder_unsafe" before anything was written.
    """
    job_folder = JobFolder(_whole_path(folder))
    if job_folder.files.stat(job_folder.job_file.name) is None:
        raise StereoDiffError("job_missing", f"{job_folder.path} has no job.json.")
    if not Path(python).is_file():
        raise StereoDiffError("runtime_missing", f"There is no Python at {python}.")
    job_folder.refuse_unsafe()
    if caches is not None:
        make_cache(job_folder, job_folder.read_job().id, caches)
    try:
        events_offset = _size_of(job_folder.events_file)
        shorten_log(job_folder.files)
        with job_folder.files.open_for_writing(job_folder.log_file.name, "append") as log:
            job_folder.files.unlink(job_folder.cancelled_file.name)
            worker = start_program(worker_command(python, job_folder.path, cores), output=log, kind=Worker,
                                   environment=worker_environment(extension_root),
                                   inherited=device.descriptor if device is not None else None)
    except OSError as error:
        raise _output_error(error, job_folder.path) from error
    worker.events_offset = events_offset
    return worker


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def worker_command(python: str | os.PathLike, folder: Path, cores: int = 0) -> list[str]:
    """What runs the engine on a job folder, beside Blender; cores: as of start."""
    return engine_command(python, "run", folder, "--background", f"--cores={cores or ALL_BUT_ONE}")


def worker_environment(extension_root: str | os.PathLike) -> dict[str, str]:
    """Of every command of the engine: the host's without its own Python settings, and the extension to import from."""
    return python_environment(extension_root)


def _whole_path(folder: str | os.PathLike) -> Path:
    """One spelling of a folder, so that it is found again in the worker's command line."""
    return Path(folder).resolve()


# --- Follow ----------------------------------------------------------------------------------------------------

class FollowedJob:
    """One job folder under observation, by whoever started its worker or by a later Blender.

    folder: the job folder. process: the worker if this program started it; without it the pid comes from the
    started event. read_result: how a result is read and checked. Only poll decides how a job ended, and it never
    changes its mind. One thread may poll while another cancels.
    """

    SILENT_AFTER_S = 60.0
    """How long a living worker may give no sign before it is called silent."""
    PATIENCE_S = 1.0
    """With another thread that reads just now."""

    def __init__(self, folder: str | os.PathLike, process: Program | None = None,
                 read_result: Callable[[JobFolder], Result] = JobFolder.read_result):
        self.folder = JobFolder(_whole_path(folder))
        self.result: Result | None = None
        """Of a job that was seen to finish; whoever has used it may let it go."""
        self._process = process
        self._read_result = read_result
        self._progress = Progress()
        self._offset = process.events_offset if isinstance(process, Worker) else 0
        self._watchdog = Watchdog(self.folder)
        self._followed_since_s = time.monotonic()
        self._cancel_is_asked = False
        self._cancel_is_marked = False
        self._cancel_sent_s: float | None = None
        self._is_killed = False
        self._is_flooding = False
        self._end: JobStatus | None = None
        self._last: JobStatus = JobStatus("waiting")
        self._polling = threading.Lock()

    def poll(self) -> JobStatus:
        """Read what is new and say how the job stands. Never waits for the worker, but for the disk."""
        if not self._polling.acquire(timeout=self.PATIENCE_S):
            return self._last
        try:
            self._last = self._look()
            return self._last
        finally:
            self._polling.release()

    def cancel(self) -> None:
        """End the worker and all it started. Returns at once; later polls see it through within two seconds."""
        if not self._polling.acquire(blocking=False):  # whoever polls just now begins it with the next poll
            self._cancel_is_asked = self._end is None
            return
        try:
            if not self._look().has_ended:
                self._cancel_is_asked = True
                self._look()
        finally:
            self._polling.release()

    def _look(self) -> JobStatus:
        is_pid_known = self._pid is not None
        is_alive = self._is_alive()  # Before reading: all that a dead worker wrote is then read, too.
        if self._end is not None:
            return self._end
        try:
            has_news = self._read_events()
        except UnsafeFileError as error:
            refusal = write_refusal(error, self.folder.events_file)
            self._end = self._failed(refusal.code, refusal.message)
            return self._end
        if not is_pid_known and self._pid is not None:
            return self._look()
        if not is_alive and self._gives_way():
            return self._look()
        self._end = self._judge_end(is_alive)
        if self._end is not None:
            return self._end
        self._push_cancel()
        self._limit_log()
        self._watchdog.observe(has_news or not is_alive)
        return self._status("running" if is_alive else "waiting")

    # -- the end --

    def _judge_end(self, is_alive: bool) -> JobStatus | None:
        is_cancelling = self._is_cancelling()
        if self._progress.failure and not is_cancelling:  # Being ended can look like a failure from within.
            return self._failed(*self._progress.failure)
        if self.folder.result_file.exists() and (self._progress.is_finished or not is_alive):
            return self._judge_result()
        if is_alive:
            return None
        if is_cancelling:
            return None if self._cancel_is_asked and self._may_be_starting() else self._cancelled()
        return self._died() if self._was_started() else None

    def _judge_result(self) -> JobStatus:
        try:
            self.result = self._read_result(self.folder)
        except StereoDiffError as error:
            return self._failed(error.code, error.message)
        self._progress.fraction, self._progress.warnings = 1.0, WarningList(self.result.warnings)
        return self._status("finished")

    def _cancelled(self) -> JobStatus:
        if self._cancel_sent_s is not None and sys.platform != "win32":
            self._end_tree(force=True)  # What the worker started may have ignored the request to end.
        self._mark_cancelled()  # Again: a worker that was asked while it began to resume has taken the mark away.
        picture = self.folder.picture_so_far.name  # which the worker had no time to take away
        for name in (picture, picture + TEMPORARY):
            with contextlib.suppress(OSError):
                self.folder.files.unlink(name)
        return self._status("cancelled", code="cancelled")

    def _died(self) -> JobStatus:
        if self._is_flooding:
            return self._failed("runtime_broken", "What was started in place of the engine wrote without end and said "
                                                  "nothing that an engine says.")
        status = None if self._process is None else self._process.returncode
        last = (self._log_tail() or "The log is empty.").splitlines()[-1]
        return self._failed("worker_died", f"The engine {describe_exit(status)}. {last}")

    def _failed(self, code: str, message: str, shots: tuple[tuple[int, int], ...] = ()) -> JobStatus:
        return self._status("failed", code=code, message=message, shots=shots, log_tail=self._log_tail())

    def _was_started(self) -> bool:
        """Without process and started event, a log is the only trace; a Python takes a while until its first event.

        A clock that was set back puts the log into the future; then only this program's own patience counts.
        """
        if self._process is not None or self._progress.pid is not None:
            return True
        log = self.folder.files.stat(LOG)
        if log is None:
            return False
        return max(time.time() - log.st_mtime, time.monotonic() - self._followed_since_s) > STARTUP_GRACE_S

    def _may_be_starting(self) -> bool:
        """Another Blender's worker that has not told its pid yet: it can only be ended when it has."""
        return self.folder.log_file.exists() and not self._was_started()

    def _gives_way(self) -> bool:
        """A worker of ours that ended at once because another Blender's has the job: then that one is followed."""
        if self._process is None or self._is_cancelling():
            return False
        other = FollowedJob(self.folder.path)
        other._read_events()
        if not other._is_alive():
            return False
        self._process, self._progress, self._offset = None, other._progress, other._offset
        return True

    def _status(self, state: str, **more) -> JobStatus:
        progress, watchdog, is_running = self._progress, self._watchdog, state == "running"
        elapsed_s = progress.elapsed_s(has_ended=state not in ("waiting", "running"))
        silence = {} if not is_running else {
            "silent_s": watchdog.silent_s, "idle_s": watchdog.idle_s, "is_working": watchdog.is_working,
            "is_silent": watchdog.silent_s >= self.SILENT_AFTER_S, "is_stalled": watchdog.is_stalled}
        return JobStatus(state, progress.stage, progress.done, progress.total, progress.fraction, elapsed_s,
                         progress.eta_s() if is_running else None, warnings=progress.warnings.kept,
                         other_warnings=progress.warnings.others, note=progress.note,
                         pictures=progress.pictures, **silence, **more)

    # -- reading --

    def _read_events(self) -> bool:
        """Whether there was anything new."""
        events, self._offset = self.folder.read_news(self._offset)
        for event in events:
            self._progress.apply_event(event)
        return bool(events)

    def _log_tail(self) -> str:
        try:
            text = read_log_end(self.folder.files, LOG_TAIL_BYTES)
        except OSError:
            return ""
        return redact("\n".join(text.splitlines()[-LOG_TAIL_LINES:]))

    def _limit_log(self) -> None:
        """What was to be the engine but writes without end before it has said a word is none, and is ended."""
        if shorten_log(self.folder.files) and self._process is not None and self._progress.pid is None:
            self._is_flooding = True
            end_process_tree(self._process.pid, force=True)

    # -- the process --

    def _is_alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._progress.pid is not None and worker_is_alive(self._progress.pid, self.folder.path)

    @property
    def _pid(self) -> int | None:
        return self._process.pid if self._process is not None else self._progress.pid

    def _is_cancelling(self) -> bool:
        return self._cancel_is_asked or self.folder.cancelled_file.exists()

    def _mark_cancelled(self) -> None:
        self._cancel_is_marked = True
        with contextlib.suppress(OSError):  # A full disk must not keep a job alive.
            self.folder.files.touch(self.folder.cancelled_file.name)

    def _push_cancel(self) -> None:
        """First ask, then, a second later, kill. Called on every poll while the worker still lives."""
        if not self._is_cancelling():
            return
        if self._cancel_is_asked and not self._cancel_is_marked:
            self._mark_cancelled()
        if not self._is_alive():
            return
        if self._cancel_sent_s is None:
            self._cancel_sent_s = time.monotonic()
            self._end_tree(force=False)
        elif not self._is_killed and time.monotonic() - self._cancel_sent_s > KILL_AFTER_S:
            self._is_killed = True
            self._end_tree(force=True)

    def _end_tree(self, *, force: bool) -> None:
        pid = self._pid
        assert pid is not None  # it is or was seen alive
        end_process_tree(pid, force=force)


def end_together(followed: list[FollowedJob], patience_s: float = 2.0) -> None:
    """Cancel jobs and wait until they have ended. For a program that is about to end itself.

    Parameters
    ----------
    followed : list of FollowedJob
        All of them are asked to end before any is waited for.
    patience_s : float
        How long to wait for all of them at most, in seconds.
    """
    for job in followed:
        job.cancel()
    give_up_s = time.monotonic() + patience_s
    while not all(job.poll().has_ended for job in followed) and time.monotonic() < give_up_s:
        time.sleep(0.02)
