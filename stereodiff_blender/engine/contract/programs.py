"""Every program of this project is started here: in which environment, where it stands, how long, how much it may say.

Standard library only, and of the engine its errors alone: both sides start programs, and so does a Python too old for
the rest, which the doctor has to tell so.

Python imports from where it stands before it looks into its own library. Whoever opens a job or a clip stands in a
folder that somebody else may have filled, so nothing started here does. It stands in the folder of its own program:
that is there on every system, and who may write into it could as well exchange the program. Besides, PYTHONSAFEPATH
(Python 3.11 and newer) or -I (any) keep a Python from looking around where it stands.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from ..search_path import whole_paths
from .errors import StereoDiffError

__all__ = [
    "LONGEST_WORDS", "WORKER_MODULE", "Ended", "Program", "ask", "describe_exit", "end_process_tree", "engine_command",
    "find_program", "lines_of", "python_command", "python_environment", "run", "run_long", "start",
]

WORKER_MODULE = "stereodiff_blender.engine"
MOST_ANSWER_BYTES = 1_000_000
"""Of a program that is asked something; the doctor's answer has about 10 kB."""
LONGEST_LINE = 65_536
LONGEST_WORDS = 400
MOST_WAITING_LINES = 1000
CHUNK_BYTES = 65_536
POLL_S = 0.1
PATIENCE_S = 1.0
"""Between asking a program to end and making it."""
FAREWELL_S = 2.0
"""How long the last words of an ended program are waited for: somebody else may hold on to its output."""

# By an environment's own Python settings a host (Blender, another application, a shell) leads the programs that it
# starts to its library and to code of its own: PYTHONPATH, PYTHONHOME, PYTHONSTARTUP, PYTHONUSERBASE, PYTHONPLATLIBDIR,
# PYTHONPYCACHEPREFIX, PYTHONBREAKPOINT, PYTHONINSPECT, PYTHONWARNINGS (which imports the classes that it names), and
# new ones with every version. So all of them go, but for these, which let no code in.
KEPT_OF_PYTHON = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER",
                            "PYTHONMALLOC", "PYTHON_CPU_COUNT"})
# The host's environment, how macOS's launcher names its interpreter, and matplotlib's choice of windows, which would
# keep the engine from drawing without one.
HOST_ONLY = frozenset({"VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "MPLBACKEND", "MATPLOTLIBRC"})
SEARCHED_FOLDERS = frozenset({"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
                              "DYLD_FRAMEWORK_PATH", "DYLD_FALLBACK_FRAMEWORK_PATH"})


# --- Environment and command -----------------------------------------------------------------------------------

def python_environment(*roots: str | os.PathLike) -> dict[str, str]:
    """This program's environment, without what would lead another Python to code of the host or of where it stands.

    Parameters
    ----------
    *roots : str or os.PathLike
        Folders to import from, before the interpreter's own; the one that contains stereodiff_blender/, if any.

    Returns
    -------
    dict of str to str
        All variables and their values, as start takes them.

    Raises
    ------
    StereoDiffError
        "runtime_broken": a root cannot be named in a list of folders.
    """
    environment = {name: value for name, value in os.environ.items() if not _is_the_hosts(name)}
    for name in SEARCHED_FOLDERS.intersection(environment):
        environment[name] = whole_paths(environment[name])
        if not environment[name]:  # An empty list of libraries' folders would mean the current one.
            del environment[name]
    # The last keeps Windows from looking for programs where one stands.
    environment.update(PYTHONSAFEPATH="1", PYTHONNOUSERSITE="1", PYTHONUTF8="1", NODEFAULTCURRENTDIRECTORYINEXEPATH="1")
    if roots:
        environment["PYTHONPATH"] = os.pathsep.join(_root(path) for path in roots)
    return environment


def _is_the_hosts(name: str) -> bool:
    return name in HOST_ONLY or (name.startswith("PYTHON") and name not in KEPT_OF_PYTHON)


def _root(path: str | os.PathLike) -> str:
    root = os.path.abspath(path)
    if os.pathsep in root:
        raise StereoDiffError("runtime_broken", f"Python cannot import from {root}, whose name has a {os.pathsep}.")
    return root


def python_command(python: str | os.PathLike, *arguments: str | os.PathLike) -> list[str]:
    """A Python that imports its own library and packages alone: for questions, venv and pip.

    Parameters
    ----------
    python : str or os.PathLike
        The interpreter.
    *arguments : str or os.PathLike
        What follows Python's own options.

    Returns
    -------
    list of str
        The command. -I: no settings from the environment, no user's packages, nothing from where it stands; any version
        knows it.
    """
    return [str(part) for part in (python, "-I", "-X", "utf8", *arguments)]


def engine_command(python: str | os.PathLike, *arguments: str | os.PathLike, module: str = WORKER_MODULE) -> list[str]:
    """A Python that runs a module of ours, for python_environment(root).

    Parameters
    ----------
    python : str or os.PathLike
        The worker's interpreter.
    *arguments : str or os.PathLike
        The module's.
    module : str
        Its whole name.

    Returns
    -------
    list of str
        The command. -s: no packages of the user's home. -u: the log is complete up to a crash. No -P, which Pythons
        before 3.11 end at: PYTHONSAFEPATH says the same.
    """
    return [str(part) for part in (python, "-s", "-u", "-m", module, *arguments)]


def find_program(name: str) -> Path | None:
    """A program of the system by its name; None if it has none.

    Where one stands is not looked, on any system.

    Parameters
    ----------
    name : str
        Without .exe.

    Returns
    -------
    Path or None
        A file that this user may run: in the system's folder on Windows, then in PATH.
    """
    folders = [*_system_folders(), *whole_paths(os.environ.get("PATH", "")).split(os.pathsep)]
    places = [Path(folder.strip('"'), name + (".exe" if os.name == "nt" else "")) for folder in folders if folder]
    return next((place for place in places if place.is_file() and os.access(place, os.X_OK)), None)


def _system_folders() -> list[str]:
    if sys.platform != "win32":
        return []
    return [os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32")]


# --- Start -----------------------------------------------------------------------------------------------------

class Program(subprocess.Popen):
    """A program that was started here. heads_group: whether it has a group of its own, which is ended as a whole."""

    heads_group = True


AnyProgram = TypeVar("AnyProgram", bound=Program)


def start(command: Sequence[str | os.PathLike], *, environment: dict[str, str] | None = None,
          folder: str | os.PathLike | None = None, output: BinaryIO | int | None = subprocess.PIPE,
          errors: BinaryIO | int | None = subprocess.STDOUT, inherited: int | None = None, own_group: bool = True,
          kind: type[AnyProgram] = Program) -> AnyProgram:
    """Start a program and leave it to itself.

    Nobody answers what it asks.

    Parameters
    ----------
    command : sequence of str or os.PathLike
        The program by its whole path, and its arguments.
    environment : dict of str to str or None
        All its variables; None: those of python_environment().
    folder : str, os.PathLike or None
        Where it stands; None: its own folder.
    output, errors : BinaryIO, int or None
        Where what it says goes, as Popen has them; errors go where output goes unless given.
    inherited : int or None
        Descriptor of an open file that it is to have, too.
    own_group : bool
        Whether it is the head of a group, which outlives this program and is ended as a whole; without, it ends with
        this one at Ctrl+C.
    kind : type of Program
        Class of what is returned.

    Returns
    -------
    Program
        It runs; nobody waits for it.

    Raises
    ------
    StereoDiffError
        "runtime_broken": it does not start, or is named by no whole path and folder is None.
    """
    words = [os.fspath(word) for word in command]
    try:
        program = kind(words, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                       cwd=folder or _own_folder(words[0]),
                       env=python_environment() if environment is None else environment,
                       **(_own_group() if own_group else {}), **_inheriting(inherited))
        program.heads_group = own_group
        return program
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StereoDiffError("runtime_broken", f"{words[0]} does not start: {reason}.") from error


def _own_folder(program: str) -> str:
    if not os.path.isabs(program):  # It would be another one wherever one stands.
        raise StereoDiffError("runtime_broken", f"{program} is not a whole path.")
    return os.path.dirname(program)


def _own_group() -> dict:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _inheriting(descriptor: int | None) -> dict:
    if descriptor is None:
        return {}
    if sys.platform != "win32":
        return {"pass_fds": (descriptor,)}
    import msvcrt
    os.set_inheritable(descriptor, True)
    return {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [msvcrt.get_osfhandle(descriptor)]})}


def _piped(stream: IO[bytes] | None) -> io.BufferedReader:
    assert isinstance(stream, io.BufferedReader)  # so Popen opens a pipe, and no other output is read here
    return stream


def lines_of(program: Program) -> Iterator[str]:
    """What a program says, as it comes and until it says no more.

    Parameters
    ----------
    program : Program
        Started with a pipe as its output.

    Yields
    ------
    str
        A line without its end, UTF-8, bytes that are none replaced. One that does not end comes in pieces of at most
        LONGEST_LINE bytes.
    """
    stream = _piped(program.stdout)
    while line := stream.readline(LONGEST_LINE):
        yield line.decode("utf-8", errors="replace").rstrip("\r\n")


# --- End -------------------------------------------------------------------------------------------------------

def end_process_tree(pid: int, *, force: bool) -> None:
    """Ask (or with force: make) the head of a group and everything in it to end.

    Does not wait. Gone is fine.

    Parameters
    ----------
    pid : int
        Of the head of a group, as start makes one.
    force : bool
        End it at once, without asking; on Windows that is always so.
    """
    if sys.platform == "win32":
        # There is no request a console-less process would hear, so Windows gets the forceful way at once.
        program = Path(_system_folders()[0], "taskkill.exe")
        with contextlib.suppress(StereoDiffError):
            start([program, "/PID", str(pid), "/T", "/F"], output=subprocess.DEVNULL, errors=subprocess.DEVNULL)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group of the dead
        os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)


def end(program: Program) -> None:
    """End a program and all it started: it is asked, and a second later made to. Waits for it.

    What a program that has ended by itself left behind in its group is ended, too, where the system can tell. One
    without a group of its own ends alone.
    """
    if program.poll() is None:
        _send_end(program, force=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(PATIENCE_S)
    if program.heads_group and (program.poll() is None or sys.platform != "win32"):
        end_process_tree(program.pid, force=True)
    if program.poll() is None:
        program.kill()
        program.wait()


def _send_end(program: Program, *, force: bool) -> None:
    if program.heads_group:
        end_process_tree(program.pid, force=force)
    elif force:
        program.kill()
    else:
        program.terminate()


def describe_exit(status: int | None) -> str:
    """How a program ended, in words that go on after its name.

    Parameters
    ----------
    status : int or None
        Exit status as Popen gives it; negative for a signal; None if it is not known.

    Returns
    -------
    str
        Such as "ended with exit status 1"; without a full stop.
    """
    if status is None:
        return "is gone"
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with exit status {status}"


# --- Question and answer ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Ended:
    """A program that has ended.

    output, errors: what it said, as far as it was read. status: its exit status. stopped: if it was ended from here,
    what it gave until then, such as "no answer within 10 s"; "" if it ended by itself.
    """

    output: str
    errors: str
    status: int
    stopped: str = ""

    @property
    def last_line(self) -> str:
        """Of its errors, cut to a sentence's length; "" if it had none."""
        return (self.errors.strip().splitlines() or [""])[-1].strip()[:LONGEST_WORDS]

    @property
    def last_words(self) -> str:
        """The same, or how it ended; without a full stop."""
        return self.last_line.strip(". ") or describe_exit(self.status)


def run(command: Sequence[str | os.PathLike], timeout_s: float, *, environment: dict[str, str] | None = None,
        most_bytes: int = MOST_ANSWER_BYTES, own_group: bool = True) -> Ended:
    """Run a program that has something to say and ends.

    At its limits of time and bytes it is ended. However it ends, all it started ends with it, if it has a group.

    Parameters
    ----------
    command : sequence of str or os.PathLike
        As start has it.
    timeout_s : float
        Seconds that it may take.
    environment : dict of str to str or None
        As start has it.
    most_bytes : int
        Bytes that are read of its output and of its errors, each.
    own_group : bool
        As start has it. A program that is itself started, and may be ended at any moment, asks without: whoever ends
        its group then ends the one that it asks, too, even before this function has heard of it.

    Returns
    -------
    Ended
        What it said and how it ended.

    Raises
    ------
    StereoDiffError
        "runtime_broken": it does not start.
    """
    program = start(command, environment=environment, errors=subprocess.PIPE, own_group=own_group)
    heard = [_Heard(program, _piped(stream), most_bytes) for stream in (program.stdout, program.stderr)]
    stopped = ""
    try:
        program.wait(timeout_s)
    except subprocess.TimeoutExpired:
        stopped = f"no answer within {timeout_s:.0f} s"
    finally:
        end(program)
    output, errors = (each.text() for each in heard)
    if any(each.is_too_much for each in heard):
        stopped = f"an answer of more than {most_bytes / 1e6:.0f} MB"
    return Ended(output, errors, program.returncode, stopped)


def ask(command: Sequence[str | os.PathLike], timeout_s: float, *, environment: dict[str, str] | None = None) -> Ended:
    """The same as run, but an answer is only what a program said that ended by itself.

    Parameters
    ----------
    command : sequence of str or os.PathLike
        As start has it.
    timeout_s : float
        Seconds that it may take.
    environment : dict of str to str or None
        As start has it.

    Returns
    -------
    Ended
        What it said; its exit status may be any.

    Raises
    ------
    StereoDiffError
        "runtime_broken": it does not start, or had to be ended.
    """
    ended = run(command, timeout_s, environment=environment)
    if ended.stopped:
        raise StereoDiffError("runtime_broken", f"{os.fspath(command[0])} gave {ended.stopped}.")
    return ended


class _Heard:
    """One stream of a program, read in a thread up to a number of bytes; at more, the program is ended."""

    def __init__(self, program: Program, stream: io.BufferedReader, most_bytes: int):
        self.is_too_much = False
        self._program, self._stream, self._most_bytes = program, stream, most_bytes
        self._said = bytearray()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What was said until the program's end."""
        self._thread.join(FAREWELL_S)
        return bytes(self._said).decode("utf-8", errors="replace")

    def _listen(self) -> None:
        with self._stream:
            while chunk := self._stream.read1(CHUNK_BYTES):
                room = self._most_bytes - len(self._said)
                self._said += chunk[:room]
                if len(chunk) > room:
                    self.is_too_much = True
                    _send_end(self._program, force=True)
                    return


# --- Work that is listened to ----------------------------------------------------------------------------------

def run_long(command: Sequence[str | os.PathLike], *, on_line: Callable[[str], None],
             on_moment: Callable[[], None] = lambda: None, environment: dict[str, str] | None = None) -> int:
    """Run a program as long as it takes.

    Both callables are called from here, and an exception of either ends the program and all it started.

    Parameters
    ----------
    command : sequence of str or os.PathLike
        As start has it.
    on_line : callable
        Gets every line that it says, as it comes: a str without its end.
    on_moment : callable
        Called ten times a second at most, with nothing.
    environment : dict of str to str or None
        As start has it.

    Returns
    -------
    int
        Its exit status; negative for a signal.

    Raises
    ------
    StereoDiffError
        "runtime_broken": it does not start.
    """
    program = start(command, environment=environment)
    try:
        with contextlib.closing(_lines_and_pauses(program)) as lines:
            _hand_on(lines, on_line, on_moment)
    finally:
        end(program)
    return program.returncode


def _hand_on(lines: Iterator[str | None], on_line: Callable[[str], None], on_moment: Callable[[], None]) -> None:
    next_moment_s = 0.0
    for line in lines:
        if line is not None:
            on_line(line)
        if time.monotonic() >= next_moment_s:
            on_moment()
            next_moment_s = time.monotonic() + POLL_S


def _lines_and_pauses(program: Program) -> Generator[str | None, None, None]:
    """Every line of a program, and None where it is silent, until it has ended and all it said is here."""
    lines: queue.Queue[str] = queue.Queue(MOST_WAITING_LINES)
    is_over = threading.Event()
    reader = threading.Thread(target=_pass_on, args=(program, lines, is_over), daemon=True)
    reader.start()
    give_up_s = None
    try:
        while reader.is_alive() or not lines.empty():
            try:
                yield lines.get(timeout=POLL_S)
            except queue.Empty:
                yield None
            if give_up_s is None and program.poll() is not None:
                end(program)  # What it left behind may hold on to its output for ever.
                give_up_s = time.monotonic() + FAREWELL_S
            elif give_up_s is not None and reader.is_alive() and time.monotonic() > give_up_s:
                return
    finally:
        is_over.set()


def _pass_on(program: Program, lines: queue.Queue[str], is_over: threading.Event) -> None:
    with _piped(program.stdout):
        for line in lines_of(program):
            while not (is_over.is_set() or _has_put(lines, line)):
                pass


def _has_put(lines: queue.Queue[str], line: str) -> bool:
    """Whether there was room, after waiting for it a moment."""
    try:
        lines.put(line, timeout=POLL_S)
    except queue.Full:
        return False
    return True


# --- Before somebody's eyes ------------------------------------------------------------------------------------

def run_here(command: Sequence[str | os.PathLike], *, environment: dict[str, str],
             folder: str | os.PathLike | None = None) -> int:
    """Run a program whose words go to this one's terminal, and which Ctrl+C ends together with it. Returns its status.

    environment, folder: as start has them. Raises StereoDiffError "runtime_broken" if it does not start.
    """
    with start(command, environment=environment, folder=folder, output=None, errors=None, own_group=False) as program:
        try:
            return program.wait()
        except BaseException:
            program.kill()
            raise
