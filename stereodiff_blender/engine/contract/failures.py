"""Any exception of the engine as an error with a code."""

from __future__ import annotations

import errno

from . import StereoDiffError, write_refusal
from .errors import WRITE_REFUSALS

__all__ = ["error_from_exception", "is_memory_error"]

OPENCV_NO_MEMORY = -4


def error_from_exception(error: Exception) -> StereoDiffError:
    """What any exception of the engine means to the artist.

    Parameters
    ----------
    error : Exception
        Of any kind.

    Returns
    -------
    StereoDiffError
        To be raised or told: the error itself if it is one; "out_of_memory"; what write_refusal says where a file could
        not be written; else "internal_error", which names the exception's class alone.
    """
    if isinstance(error, StereoDiffError):
        return error
    if is_memory_error(error):
        return StereoDiffError("out_of_memory", "The solve needed more memory than there is.")
    if isinstance(error, OSError) and error.errno in WRITE_REFUSALS:
        return write_refusal(error, error.filename or "a file of the job")
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return StereoDiffError("internal_error", f"There was a {name}; the log has the details.")


def is_memory_error(error: Exception) -> bool:
    """Whether there was too little memory.

    OpenCV and torch have exceptions of their own for that, known by name so that neither is loaded for it.

    Parameters
    ----------
    error : Exception
        Of any kind.

    Returns
    -------
    bool
        True for MemoryError, torch's OutOfMemoryError, an OSError with ENOMEM, and OpenCV's error of that kind.
    """
    kind = type(error)
    if isinstance(error, MemoryError) or kind.__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return kind.__module__.startswith("cv2") and getattr(error, "code", None) == OPENCV_NO_MEMORY
