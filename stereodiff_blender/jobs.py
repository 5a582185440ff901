"""Jobs: make a job folder, start its worker, follow it, cancel it, and judge how it ended.

No bpy, and nothing here blocks: a poll reads what is new and returns, so it may run in a timer.
The worker is a session of its own. It outlives Blender, and FollowedJob(folder) finds it again.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .engine.contract import (
    Event,
    Job,
    JobFolder,
    MatteShapes,
    ResultWarning,
    StereoDiffError,
    write_refusal,
    write_shapes,
)

KILL_AFTER_S = 1.0
STARTUP_GRACE_S = 60.0
LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 8192
WORKER_MODULE = "stereodiff_blender.engine"
# A host's Python settings would send the worker's Python to the wrong library ("__PYVENV..." is macOS's venv launcher),
# and matplotlib's, which are for windows, would keep it from drawing without one.
HOST_ONLY_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__", "MPLBACKEND",
                       "MATPLOTLIBRC")


# --- Create and start ------------------------------------------------------------------------------------------

def new_job_id(clip_name: str, now: datetime) -> str:
    """A readable, unique folder name: "room-20261122-193501-3fa2"; only a-z, 0-9, "_" and "-"."""
    stem = re.sub(r"[^a-z0-9_]+", "-", Path(clip_name).stem.lower()).strip("-")[:40] or "clip"
    return f"{stem}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def create_job(job: Job, jobs_folder: str | os.PathLike, shapes: MatteShapes | None = None) -> Path:
    """Make the folder of a checked job and write its job.json. Returns the folder.

    shapes: of the job's matte, if that has any.
    Raises StereoDiffError: what Job.validate raises, "matte_invalid", "output_not_writable", "output_in_use" or
    "disk_full".
    """
    job.validate()
    if shapes is not None:
        shapes.validate()
    folder = Path(jobs_folder).expanduser().absolute() / job.id
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        if shapes is not None:
            write_shapes(JobFolder(folder).matte_file, shapes)
        JobFolder(folder).write_job(job)
    except OSError as error:
        raise _output_error(error, folder) from error
    return folder


def _output_error(error: OSError, folder: Path) -> StereoDiffError:
    if isinstance(error, FileExistsError) and folder.is_dir():
        return StereoDiffError("output_in_use", f"{folder} exists already.")
    return write_refusal(error, folder)


def start(folder: str | os.PathLike, python: str | os.PathLike, extension_root: str | os.PathLike) -> subprocess.Popen:
    """Start the worker of a job folder as the head of its own process group; its output goes to worker.log.

    python: the worker's interpreter. extension_root: the folder that contains stereodiff_blender/.
    Raises StereoDiffError: "job_missing", "runtime_missing", "runtime_broken", "output_not_writable", "disk_full".
    """
    job_folder = JobFolder(_whole_path(folder))
    if not job_folder.job_file.is_file():
        raise StereoDiffError("job_missing", f"{job_folder.path} has no job.json.")
    if not Path(python).is_file():
        raise StereoDiffError("runtime_missing", f"There is no Python at {python}.")
    try:
        with open(job_folder.log_file, "ab") as log:
            return _spawn(worker_command(python, job_folder.path), log, job_folder.path, extension_root)
    except OSError as error:
        raise _output_error(error, job_folder.path) from error


def worker_command(python: str | os.PathLike, folder: Path) -> list[str]:
    """-s: no packages of the user's home. -u: the log is complete up to a crash."""
    return [str(python), "-s", "-u", "-m", WORKER_MODULE, "run", str(folder)]


def worker_environment(extension_root: str | os.PathLike) -> dict[str, str]:
    """The host's environment without its own Python settings, and with the extension to import from."""
    environment = {name: value for name, value in os.environ.items() if name not in HOST_ONLY_VARIABLES}
    environment["PYTHONPATH"] = str(extension_root)
    environment["PYTHONUTF8"] = "1"
    return environment


def _spawn(command: list[str], log, folder: Path, extension_root) -> subprocess.Popen:
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
                                env=worker_environment(extension_root), **own_group())
    except OSError as error:
        raise StereoDiffError("runtime_broken", f"{command[0]} does not start: {error.strerror or error}.") from error


def own_group() -> dict:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _whole_path(folder: str | os.PathLike) -> Path:
    """One spelling of a folder, so that it is found again in the worker's command line."""
    return Path(folder).resolve()


# --- Follow ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class JobStatus:
    """A job as one poll saw it.

    state: "waiting", "running", "finished", "failed" or "cancelled". stage: a key of contract.STAGE_LABELS or None.
    done, total: its units. fraction: 0..1 of the job's expected time; never falls. eta_s: None until a rate is known.
    code, message: why it failed. shots: if for a cut, the first and last clip frame of each shot. log_tail: the last
    lines of worker.log of a failed job, else empty. note: what the worker last said of what it does.
    """

    state: str
    stage: str | None = None
    done: int = 0
    total: int = 0
    fraction: float = 0.0
    elapsed_s: float = 0.0
    eta_s: float | None = None
    code: str | None = None
    message: str | None = None
    shots: tuple[tuple[int, int], ...] = ()
    warnings: tuple[ResultWarning, ...] = ()
    log_tail: str = ""
    note: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in ("finished", "failed", "cancelled")


class Progress:
    """What the events have said so far, and how far that is along the worker's plan."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.started_s: float | None = None
        self.last_s: float | None = None
        self.plan: tuple[tuple[str, float], ...] = ()
        self.stage: str | None = None
        self.done = self.total = 0
        self.fraction = 0.0
        self.warnings: tuple[ResultWarning, ...] = ()
        self.note = ""
        self.failure: tuple[str, str, tuple[tuple[int, int], ...]] | None = None
        self.is_finished = False

    def take(self, event: Event) -> None:
        """Account for one event."""
        self.last_s = event.time_s
        if event.kind == "started":
            self.pid, self.started_s, self.plan = event.pid, event.time_s, event.plan or ()
        elif event.kind in ("stage", "progress"):
            self.stage, self.done, self.total = event.stage, event.done or 0, event.total or 0
            self.fraction = max(self.fraction, self._planned_fraction())
        elif event.kind == "note":
            self.note = event.message or ""
        elif event.kind == "warning":
            self.warnings += (ResultWarning(event.code or "", event.message or ""),)
        elif event.kind == "failed":
            self.failure = (event.code or "internal_error", event.message or "", event.shots or ())
        elif event.kind == "finished":
            self.is_finished, self.fraction = True, 1.0

    def _planned_fraction(self) -> float:
        """Shares of the stages before this one, and this one's share as far as it is done."""
        whole = sum(share for _, share in self.plan)
        before = 0.0
        for stage, share in self.plan:
            if stage == self.stage:
                within = min(self.done / self.total, 1.0) if self.total > 0 else 0.0
                return (before + share * within) / whole if whole > 0 else 0.0
            before += share
        return self.fraction

    def elapsed_s(self, now_s: float) -> float:
        return max(0.0, now_s - self.started_s) if self.started_s is not None else 0.0

    def eta_s(self, now_s: float) -> float | None:
        """The rest of the plan at the rate measured so far; the first seconds are no rate."""
        elapsed = self.elapsed_s(now_s)
        if elapsed < 1.0 or self.fraction < 0.01:
            return None
        return elapsed * (1.0 - self.fraction) / self.fraction


class FollowedJob:
    """One job folder under observation, by whoever started its worker or by a later Blender.

    folder: the job folder. process: the worker if this program started it; without it the pid comes from the
    started event. Only poll decides how a job ended, and it never changes its mind.
    """

    def __init__(self, folder: str | os.PathLike, process: subprocess.Popen | None = None):
        self.folder = JobFolder(_whole_path(folder))
        self._process = process
        self._progress = Progress()
        self._offset = 0
        self._cancel_is_asked = False
        self._cancel_sent_s: float | None = None
        self._is_killed = False
        self._end: JobStatus | None = None

    def poll(self) -> JobStatus:
        """Read what is new and say how the job stands. Cheap; never waits."""
        is_pid_known = self._pid is not None
        is_alive = self._is_alive()  # Before reading: all that a dead worker wrote is then read, too.
        if self._end is not None:
            return self._end
        self._read_events()
        if not is_pid_known and self._pid is not None:
            return self.poll()
        self._end = self._judge_end(is_alive)
        if self._end is not None:
            return self._end
        if self._is_cancelling():
            self._push_cancel()
        return self._status("running" if is_alive else "waiting")

    def cancel(self) -> None:
        """End the worker and all it started. Returns at once; later polls see it through within two seconds."""
        if self.poll().has_ended:
            return
        self._cancel_is_asked = True
        with contextlib.suppress(OSError):  # A full disk must not keep a job alive.
            self.folder.cancelled_file.touch()
        if self._is_alive():
            self._push_cancel()

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
            return self._cancelled()
        return self._died() if self._was_started() else None

    def _judge_result(self) -> JobStatus:
        try:
            result = self.folder.read_result()
        except StereoDiffError as error:
            return self._failed(error.code, error.message)
        self._progress.fraction, self._progress.warnings = 1.0, result.warnings
        return self._status("finished")

    def _cancelled(self) -> JobStatus:
        if self._cancel_sent_s is not None and sys.platform != "win32":
            end_process_tree(self._pid, force=True)  # What the worker started may have ignored the request to end.
        self._discard_cache()
        return self._status("cancelled", code="cancelled")

    def _died(self) -> JobStatus:
        self._discard_cache()
        status = None if self._process is None else self._process.returncode
        last = (self._log_tail() or "The log is empty.").splitlines()[-1]
        return self._failed("worker_died", f"The engine {describe_exit(status)}. {last}")

    def _failed(self, code: str, message: str, shots: tuple[tuple[int, int], ...] = ()) -> JobStatus:
        return self._status("failed", code=code, message=message, shots=shots, log_tail=self._log_tail())

    def _was_started(self) -> bool:
        """Without process and started event, a log is the only trace; a Python takes a while until its first event."""
        if self._process is not None or self._progress.pid is not None:
            return True
        try:
            return time.time() - self.folder.log_file.stat().st_mtime > STARTUP_GRACE_S
        except FileNotFoundError:
            return False

    def _status(self, state: str, **more) -> JobStatus:
        progress, now_s = self._progress, time.time()
        if state not in ("waiting", "running") and progress.last_s is not None:
            now_s = progress.last_s
        eta_s = progress.eta_s(now_s) if state == "running" else None
        return JobStatus(state, progress.stage, progress.done, progress.total, progress.fraction,
                         progress.elapsed_s(now_s), eta_s, warnings=progress.warnings, note=progress.note, **more)

    # -- reading --

    def _read_events(self) -> None:
        events, self._offset = self.folder.read_events(self._offset)
        for event in events:
            self._progress.take(event)

    def _log_tail(self) -> str:
        try:
            with open(self.folder.log_file, "rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - LOG_TAIL_BYTES))
                text = stream.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])

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

    def _push_cancel(self) -> None:
        """First ask, then, a second later, kill. Called on every poll while the worker still lives."""
        if not self._is_alive():
            return
        if self._cancel_sent_s is None:
            self._cancel_sent_s = time.monotonic()
            end_process_tree(self._pid, force=False)
        elif not self._is_killed and time.monotonic() - self._cancel_sent_s > KILL_AFTER_S:
            self._is_killed = True
            end_process_tree(self._pid, force=True)

    def _discard_cache(self) -> None:
        """A killed worker leaves gigabytes; deleting them takes longer than a poll may."""
        threading.Thread(target=shutil.rmtree, args=(self.folder.cache,), kwargs={"ignore_errors": True},
                         daemon=True).start()


def describe_exit(status: int | None) -> str:
    """status: exit status as Popen gives it; negative for a signal; None if it is not known."""
    if status is None:
        return "is gone"
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with exit status {status}"


# --- Processes of the operating system -------------------------------------------------------------------------

def worker_is_alive(pid: int, folder: Path) -> bool:
    """Whether pid runs and is the worker of this folder; pids are used again after a while."""
    if sys.platform == "win32":
        return _windows_process_runs(pid)
    if sys.platform == "linux":
        return _command_line_has(pid, folder)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # someone else's process, so not our worker
    return True


def _command_line_has(pid: int, folder: Path) -> bool:
    """A zombie's command line is empty, so a dead worker nobody waited for counts as gone."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(folder) in arguments and WORKER_MODULE.encode() in arguments


def _windows_process_runs(pid: int) -> bool:
    """os.kill(pid, 0) would send Ctrl+C on Windows; the system's own call only asks."""
    import ctypes
    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    try:
        status = ctypes.c_ulong()
        return bool(kernel.GetExitCodeProcess(handle, ctypes.byref(status))) and status.value == still_active
    finally:
        kernel.CloseHandle(handle)


def end_process_tree(pid: int, *, force: bool) -> None:
    """Ask (or with force: make) a worker and everything in its group to end. Does not wait. Gone is fine."""
    if sys.platform == "win32":
        # There is no request a console-less process would hear, so Windows gets the forceful way at once.
        subprocess.Popen(["taskkill", "/PID", str(pid), "/T", "/F"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         creationflags=subprocess.CREATE_NO_WINDOW)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)
