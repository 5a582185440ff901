"""What can go wrong and what should be known, as codes: part of the contract.

Standard library only. stereodiff_blender.engine.contract.messages gives every code its sentence and its remedy.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from .redaction import redact

__all__ = ["Problem", "StereoDiffError", "problem_from"]

ERROR_CODES = frozenset({
    "clip_missing", "clip_unreadable", "clip_empty", "clip_truncated", "clip_too_short", "clip_too_small",
    "picture_too_large", "clip_window_moves", "color_space_unknown", "color_config_unreadable",
    "clip_frozen", "sequence_gap", "sequence_misnamed",
    "frame_range_invalid", "settings_invalid", "job_invalid", "job_missing",
    "output_not_writable", "output_in_use", "disk_full", "out_of_memory", "runtime_missing", "runtime_broken",
    "download_failed", "torch_missing", "device_unavailable", "camera_unsolved", "result_invalid",
    "worker_died", "cancelled", "internal_error", "job_locked", "clip_changed", "footage_changed",
    "cut_in_range",
    "cameras_missing", "cameras_invalid", "cameras_incomplete", "cameras_wrong_size", "cameras_distorted",
    "cameras_do_not_fit",
    "lens_file_missing", "lens_file_invalid", "lens_file_wrong_size", "lens_not_followed",
    "matte_missing", "matte_unreadable", "matte_incomplete", "matte_wrong_size", "matte_full", "matte_invalid",
    "weights_missing", "weights_damaged", "weights_wrong_model", "weights_refused", "weights_not_writable",
    "licence_not_accepted", "model_card_invalid", "model_record_invalid", "model_folder_outside",
    "download_offline", "download_denied", "download_not_found", "download_interrupted", "download_wrong_file",
    "download_running", "download_address_invalid", "models_disk_full", "models_folder_not_writable",
    "network_not_finite", "pointmaps_unsure",
    "import_missing", "better_import", "points_missing", "points_unusable", "floor_not_found", "depth_missing",
    "lens_maps_missing", "lens_camera_unsupported", "rolling_shutter_missing",
    "root_animated", "tracks_unsolved", "exporter_missing",
    "dataset_missing", "dataset_invalid", "job_interrupted", "disk_silent", "job_folder_unsafe", "job_folder_mixed",
})
WARNING_CODES = frozenset({
    "rotation_only", "static_camera", "low_coverage", "low_texture", "weak_focal", "focal_assumed",
    "large_motion", "little_parallax", "frames_unsolved", "high_residual", "scale_drift",
    "rotation_doubtful", "travel_doubtful", "turns_in_part", "lens_doubtful", "lens_distortion_ignored",
    "lens_distorts", "lens_corners_cut", "lens_zooms", "rolling_shutter",
    "object_track", "interlaced",
    "matte_empty", "refinement_apart", "cameras_doubtful",
    "repeated_frames", "black_bars", "burnt_in_text", "flash_frames", "flickering_light", "exposure_chosen",
})


MAX_MESSAGE = 2000
"""Characters; what is longer comes from a damaged or hostile file, and no panel could show it."""


def shortened(text: str, most: int = MAX_MESSAGE) -> str:
    """The text, or its beginning and a mark that there was more; "?" for what is no character, as Blender takes none.

    Parameters
    ----------
    text : str
        Of any length; may hold lone surrogates.
    most : int
        Characters, the mark included.

    Returns
    -------
    str
        Not longer than most; UTF-8 can encode all of it.
    """
    text = text if len(text) <= most else text[:most - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def ended(text: str) -> str:
    """The text with a full stop: what was quoted last, from outside, may have none, or one of its own.

    Parameters
    ----------
    text : str
        One or several sentences, or nothing.

    Returns
    -------
    str
        Nothing where there was nothing.
    """
    text = text.rstrip()
    if not text or text.endswith(("!", "?", "…")):
        return text
    return text.rstrip(".") + "."


class StereoDiffError(Exception):
    """An error the artist can act on.

    code: one of ERROR_CODES; stereodiff_blender.engine.contract.messages gives its sentence and remedy.
    message: the particulars of this case (which file, which frame), one sentence. Passwords and tokens in it are hidden
    here, so that they are nowhere where errors are shown or kept.
    shots: of "cut_in_range", the first and last clip frame of each shot.
    """

    def __init__(self, code: str, message: str, shots: tuple[tuple[int, int], ...] = ()):
        if code not in ERROR_CODES:
            raise ValueError(f"unknown error code {code!r}")
        self.code = code
        # Shortened first: what is no character is a question mark from then on, which ends a sentence.
        self.message = shortened(ended(shortened(redact(message))))
        super().__init__(self.message)
        self.shots = shots


class UnsafeFileError(OSError):
    """A file of a job folder that is not the folder's own: a link, a pipe, a device, or larger than may be.

    strerror: what is wrong with it, as it goes on after its name.
    """


_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP,
                     errno.EFBIG})
WRITE_REFUSALS = _FULL_DISK | _LOCKED
"""Error numbers that the system answers with when a file or folder cannot be written."""


def write_refusal(error: OSError, path: object) -> StereoDiffError:
    """What a refusal to write path means, as an error with a code.

    Parameters
    ----------
    error : OSError
        As the system or a guarded folder (UnsafeFileError) raised it.
    path : object
        What could not be written, a path or a GuardedFile; only named in the message. An UnsafeFileError names its
        file itself.

    Returns
    -------
    StereoDiffError
        To be raised: "job_folder_unsafe" for an UnsafeFileError, "disk_full", or "output_not_writable" for all else.
    """
    if isinstance(error, UnsafeFileError):
        return StereoDiffError("job_folder_unsafe", f"{error.filename} {error.strerror}; it was left alone.")
    if error.errno in _FULL_DISK:
        return StereoDiffError("disk_full", f"There is no space left for {path}.")
    return StereoDiffError("output_not_writable", f"{path} cannot be written: {error.strerror or error}.")


_OF_A_MATTE = {
    "clip_missing": "matte_missing", "sequence_gap": "matte_incomplete", "clip_truncated": "matte_incomplete",
    "clip_too_short": "matte_incomplete", "frame_range_invalid": "matte_incomplete",
}


def as_matte_error(error: StereoDiffError) -> StereoDiffError:
    """The same fault of footage, where that footage is the matte.

    Parameters
    ----------
    error : StereoDiffError
        Of reading footage.

    Returns
    -------
    StereoDiffError
        To be raised: "matte_missing", "matte_incomplete" or "matte_unreadable" for a code of clip, sequence or frame
        range; the error itself for any other code.
    """
    if not error.code.startswith(("clip_", "sequence_", "frame_range_")):
        return error
    code = _OF_A_MATTE.get(error.code, "matte_unreadable")
    return StereoDiffError(code, f"The matte cannot be used: {error.message}")


@dataclass(frozen=True)
class Problem:
    """An error code of the contract and the particulars."""

    code: str
    message: str


def problem_from(error: Exception) -> Problem:
    """Any exception as something that can be shown; what is none of ours is an internal error.

    Parameters
    ----------
    error : Exception
        Of any kind.

    Returns
    -------
    Problem
        Code and message of a StereoDiffError; else "internal_error", with the exception's class and text.
    """
    if isinstance(error, StereoDiffError):
        return Problem(error.code, error.message)
    return problem_from(StereoDiffError("internal_error", f"{type(error).__name__}: {error}"))
