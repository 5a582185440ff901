"""What a report may not show, because it is meant to be pasted where anybody reads it: who, and with which keys."""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import replace
from pathlib import Path

from .health import Finding

HOME, SOMEBODY, SECRET = "~", "<user>", "<secret>"
_TOKENS = re.compile(r"\b(?:hf|ghp|gho|github_pat|sk)_[A-Za-z0-9_]{8,}")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def private(finding: Finding) -> Finding:
    """The finding without the home folder, the user's name in paths, tokens and passwords in addresses."""
    return replace(finding, found=private_text(finding.found), remedy=private_text(finding.remedy))


def private_text(text: str, home: Path | None = None, user: str | None = None) -> str:
    """home, user: of whom; None for whoever runs this."""
    text = _CREDENTIALS.sub(SECRET, _TOKENS.sub(SECRET, text))
    for folder in _spellings(home):
        text = _as_whole_path(folder).sub(lambda _: HOME, text)
    name = user if user is not None else user_name()
    return re.sub(rf"(?<=[/\\]){re.escape(name)}(?=[/\\]|$)", SOMEBODY, text, flags=_CASE) if name else text


_CASE = re.IGNORECASE if os.name == "nt" else 0


def _as_whole_path(folder: str) -> re.Pattern:
    """Also followed by a separator, never as the beginning of a longer name."""
    return re.compile(rf"{re.escape(folder)}(?![\w.-])", _CASE)


def _spellings(home: Path | None) -> list[str]:
    """The home folder as named, and as the disk has it; in either way to write a path. Longest first."""
    try:
        folder = home if home is not None else Path.home()
        found = {str(folder), str(folder.resolve())}
    except (RuntimeError, OSError):  # nobody knows whose home; or a loop of links
        return []
    found |= {spelling.replace("\\", "/") for spelling in found}
    return sorted((spelling for spelling in found if len(spelling) > 1), key=len, reverse=True)


def user_name() -> str:
    """Empty if the system does not tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # not in the list of users; Windows without a name set
        return ""
