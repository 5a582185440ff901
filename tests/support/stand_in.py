"""A stand-in for the engine: a real program in a real process that does nothing but what the worker owes the others.

It holds the lock, beats, says that it started, and then does as the file "behavior" beside it says.
"""

from __future__ import annotations

from pathlib import Path

from stereodiff_blender.engine.contract.job_files.lock import this_computer

PROGRAM = '''
import fcntl, json, os, pathlib, sys, threading, time
job, behavior = pathlib.Path(sys.argv[2]), pathlib.Path(__file__).resolve().parents[2] / "behavior"
def say(**event):
    with open(job / "events.jsonl", "a") as stream:
        stream.write(json.dumps({"time_s": time.time(), **event}) + "\\n")
def beat():
    (job / "heartbeat").write_bytes((behavior.parent / "computer").read_bytes())
    while True:
        (job / "heartbeat").touch()
        time.sleep(0.05)
lock = open(job / "lock", "ab")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit("error job_locked: another process is at work")
(job / "cancelled").unlink(missing_ok=True)
threading.Thread(target=beat, daemon=True).start()
say(kind="started", pid=os.getpid(), plan=[["read", 0.5], ["solve", 0.5]])
(job / "cache" / "input-0a").mkdir(parents=True, exist_ok=True)
(job / "cache" / "input-0a" / "kept.npy").write_bytes(b"k" * 50_000)
say(kind="progress", stage="read", done=3, total=6)
while (what := behavior.read_text()) == "hang":
    time.sleep(0.02)
if what == "fail":
    say(kind="failed", code="clip_truncated", message="Frame 5 is not there.")
    sys.exit(1)
sys.exit(7)
'''


def install(root: Path, behavior: str = "hang") -> Path:
    """Write the program, or change what it does: "hang" until told another, "fail", or "crash". Returns the root."""
    engine = root / "stereodiff_blender" / "engine"
    engine.mkdir(parents=True, exist_ok=True)
    (engine / "__main__.py").write_text(PROGRAM)
    (root / "behavior").write_text(behavior)
    (root / "computer").write_bytes(this_computer())
    return root
