"""Another Blender that opens a file and ticks for a while, and says what Python did meanwhile that files may not do.

python audited_opening.py ROOT FILE   ROOT: as other_blender.py has it. Prints a JSON list of [event, arguments].
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from other_blender import Orders

SECONDS = 1.5
FORBIDDEN = ("subprocess.", "socket.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile",
             "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.kill",
             "shutil.", "urllib.", "http.client", "webbrowser.", "ftplib.", "smtplib.", "pty.", "syslog.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What was done since the beginning of the watch."""

    def __init__(self):
        self.seen: list[tuple[str, str]] = []
        self.is_on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if self.is_on and (event.startswith(FORBIDDEN) or (event == "open" and self._is_writing(arguments))):
            self.seen.append((event, repr(arguments)[:300]))

    @staticmethod
    def _is_writing(arguments: tuple) -> bool:
        return isinstance(arguments[2], int) and bool(arguments[2] & WRITING)


def main(root: str, file: str) -> None:
    orders, watch = Orders(Path(root)), Watch()
    watch.is_on = True
    orders.open(file)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        orders.session.tick()
        time.sleep(0.05)
    seen = list(watch.seen)
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert len(watch.seen) > len(seen), "the watch is blind"
    watch.is_on = False
    sys.stdout.write("\n" + json.dumps(seen) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
