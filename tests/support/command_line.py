"""The engine's command line, called in the tests' own process: it answers in the same words, without a second or more
for the start of a Python and of its libraries. That it is a program, too, test_command_line.py shows.
"""

from __future__ import annotations

import io
import signal
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

from stereodiff_blender.engine.__main__ import main


def engine_here(*arguments) -> CompletedProcess:
    """What the program would say to these arguments, and the status that it would end with."""
    words = [str(argument) for argument in arguments]
    handler = signal.getsignal(signal.SIGTERM)  # which a command sets for the process that it takes for its own
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
        finally:
            signal.signal(signal.SIGTERM, handler)
    return CompletedProcess(words, status, output.getvalue(), errors.getvalue())
