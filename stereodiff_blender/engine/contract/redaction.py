"""What nobody else may read, taken out of words: keys out of everything that is said, and who it is out of reports.

redact knows keys: passwords in addresses, tokens, signatures. StereoDiffError does it to its own message, so that
panels, terminals, events and logs have none. anonymous also takes away the home folder and the user's name; it is for
what is meant to be pasted where anybody reads it. In doubt, more is hidden than has to be.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import traceback
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from urllib.parse import quote, unquote

__all__ = ["anonymous", "redact", "traceback_text"]

HOME, SOMEBODY, SECRET = "~", "<user>", "<secret>"

# --- Keys ------------------------------------------------------------------------------------------------------

_HEADERS = re.compile(r"((?:authorization|cookie)[\\\"']{0,2}\s{0,3}[:=]\s{0,3}b?[\\\"']{0,2})[^\"'\\\r\n]+",
                      re.IGNORECASE)
_SCHEMES = re.compile(r"\b(Bearer\s+)(?!tokens?\b)[^\s\"',;]{4,}", re.IGNORECASE)
_BASIC = re.compile(r"\b(Basic\s+)(?=[A-Za-z0-9+/]*[A-Z0-9])[A-Za-z0-9+/]{6,}={0,2}")
_PORTS = re.compile(r"(\bport\b[^'\"\r\n]{0,60}[\"'])[^\"'\r\n]+", re.IGNORECASE)
"""The half of a password before a "/" is what libraries take for a port, and quote as none."""
_FIELDS = re.compile(
    r"((?:token|secret|passwo?r?d|passphrase|pwd|signature|credential|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|[?&](?:key|sig|sas|auth|code|policy))[\w-]{0,40}[\\\"']{0,2}\s{0,3}(?:[=:]|%3[AD])\s{0,3}[\\\"']{0,2})"
    r"(?:(?<=[\"'])[^\"'\r\n]+|(?!//)(?:[^\s\"'&<>\\]|\\(?![\"']))+)", re.IGNORECASE)
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}|gh[oprsu]_\w{8,}|github_pat_\w{8,}|gl[a-z]{2,5}-[\w-]{8,}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}|AIza[\w-]{20,}|ya29\.[\w-]{8,}|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}"
    r"|[rs]k_(?:live|test)_\w{8,}|(?:sk|npm|pypi|dop_v1)[-_](?=[a-z_-]{0,60}[A-Z0-9])[\w-]{8,}"
    r"|eyJ[\w-]{8,500}\.[\w-]{8,}(?:\.[\w-]*)?)")
"""By the beginnings that services give their keys: Hugging Face, GitHub, GitLab, AWS, Google, Slack, Stripe and others;
the last are JSON web tokens."""
_WORD = re.compile(r"[^\s\"'<>`]+")
_DRIVE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]:[\\/]")
_LOGIN_NAME = re.compile(r"[\w.%+~-]*")

_KEY_VARIABLES = ("TOKEN", "PASSWORD", "PASSWD", "SECRET", "KEY")
_ADDRESS_VARIABLES = ("PROXY", "ENDPOINT", "URL")
"""Endings of their names."""
SHORTEST_KEY = 6
"""Letters. A shorter value of the environment would be hidden in the middle of ordinary words."""


def redact(text: str) -> str:
    """The text without passwords, tokens and signatures; paths and names stay as they are.

    Parameters
    ----------
    text : str
        Of one line or many.

    Returns
    -------
    str
        With SECRET in their places, and in those of the keys that this program's environment holds.
    """
    for pattern in (_HEADERS, _SCHEMES, _BASIC, _PORTS, _FIELDS):
        text = pattern.sub(rf"\g<1>{SECRET}", text)
    text = _WORD.sub(lambda word: _without_logins(word[0]), _TOKENS.sub(SECRET, text))
    for key in sorted(_keys_of(os.environ), key=len, reverse=True):
        text = text.replace(key, SECRET)
    return text


def traceback_text(error: BaseException) -> str:
    """An error with its traceback, and those that it came from, without keys.

    Parameters
    ----------
    error : BaseException
        Of any kind.

    Returns
    -------
    str
        Lines as Python prints them, as redact leaves them.
    """
    return redact("".join(traceback.format_exception(type(error), error, error.__traceback__)))


def _without_logins(word: str) -> str:
    """A word without "name:password" before a host, as it is or percent-encoded."""
    if "@" in word:
        word = _without_login(word, ":", "/", "@")
    if "%40" in word:
        word = _without_login(word.replace("%3a", "%3A").replace("%2f", "%2F"), "%3A", "%2F", "%40")
    return word


def _without_login(word: str, colon: str, slash: str, at: str) -> str:
    """A password may have any of these letters in it, so that all is hidden up to the last "@" of the word."""
    end = word.rfind(at)
    if end < 0:
        return word
    scheme = word.find(colon + slash * 2, 0, end)
    if scheme < 0:
        start = _start_of_bare_login(word, end, colon)
    else:
        start = scheme + len(colon + slash * 2)
        path = word.find(slash, start, end)
        if path >= 0 and word.find(colon, start, end) < 0:  # no password; the last "@" belongs to the path
            end = word.rfind(at, start, path)
    return word if start < 0 or end <= start else word[:start] + SECRET + word[end:]


def _start_of_bare_login(word: str, end: int, colon: str) -> int:
    """Where "name:password" without a scheme begins, before the "@" at end; -1 if there is none."""
    drive = _DRIVE.search(word, 0, end)
    middle = word.find(colon, drive.end() if drive else 0, end)
    if middle < 0 or middle + len(colon) >= end:
        return -1
    name = _LOGIN_NAME.match(word[:middle][::-1])
    return middle - (name.end() if name else 0)


def _keys_of(environment: Mapping[str, str]) -> set[str]:
    """Values of the environment that are keys, whole and in the pieces that a library's message may quote."""
    keys: set[str] = set()
    for name in environment:
        if name.upper().endswith(_KEY_VARIABLES):
            keys.add(environment[name].strip())
        elif name.upper().endswith(_ADDRESS_VARIABLES):
            _, _, password = environment[name].rpartition("@")[0].rpartition("://")[2].partition(":")
            keys |= {password, unquote(password), *re.split(r"[/@]", password)}
    return {key for key in keys if len(key) >= SHORTEST_KEY and SECRET not in key}


# --- Who it is -------------------------------------------------------------------------------------------------

LONG_NAME = 4
"""Letters. A shorter name is in too many words; it is hidden only where it is a whole part of a path."""
COMMON_NAMES = frozenset({
    "admin", "administrator", "artist", "blender", "data", "debian", "default", "desktop", "device", "disk", "driver",
    "engine", "extension", "fedora", "file", "files", "folder", "graphics", "guest", "home", "install", "jobs",
    "laptop", "linux", "local", "macos", "media", "memory", "model", "models", "movie", "movies", "online", "open",
    "owner", "package", "packages", "phone", "processor", "public", "python", "render", "root", "secret", "server",
    "shared", "shots", "stereo", "stereodiff", "studio", "system", "temp", "temporary", "test", "tester", "torch",
    "ubuntu", "user", "users", "version", "video", "weights", "windows", "work", "worker",
})
"""Names of users that tell nobody who it is, and words that reports are made of."""
_CASE = re.IGNORECASE if os.name == "nt" else 0


def anonymous(text: str, home: Path | None = None, user: str | None = None) -> str:
    """The text without keys, without the home folder and without the user's name.

    A name is hidden where it is a whole part of a path; if it has LONG_NAME letters and is none of COMMON_NAMES, also
    inside longer words, in whatever case.

    Parameters
    ----------
    text : str
        Of one line or many.
    home : Path or None
        The user's home folder, whose name counts as a name of the user's; None for that of whoever runs this.
    user : str or None
        The user's name; None for that of whoever runs this.

    Returns
    -------
    str
        With SECRET, HOME and SOMEBODY in their places.
    """
    text, folder = redact(text), home if home is not None else _home()
    for spelling in _spellings(folder):
        text = _as_whole_path(spelling).sub(lambda _: HOME, text)
    names = {user if user is not None else user_name(), folder.name if folder is not None else ""}
    for name in sorted(names - {""}, key=len, reverse=True):
        text = _without_name(text, name)
    return text


def _without_name(text: str, name: str) -> str:
    for spelling in _encodings(name):
        text = re.sub(rf"(?<=[/\\~]){re.escape(spelling)}(?![\w%-])", SOMEBODY, text, flags=_CASE)
    if short := re.sub(r"[^A-Za-z0-9_-]", "", name)[:6]:  # the other name of a folder on Windows, as in JANEDO~1
        text = re.sub(rf"\b{re.escape(short)}~\d", SOMEBODY, text, flags=re.IGNORECASE)
    for piece in sorted({name, *re.split(r"[\W_]+", name)}, key=len, reverse=True):
        if _tells_who(piece):
            for spelling in _encodings(piece):
                text = re.sub(re.escape(spelling), SOMEBODY, text, flags=re.IGNORECASE)
    return text


def _tells_who(name: str) -> bool:
    return len(name) >= LONG_NAME and not name.isdigit() and name.lower() not in COMMON_NAMES


def _as_whole_path(folder: str) -> re.Pattern:
    """Also followed by a separator, never as the beginning or the end of a longer name."""
    return re.compile(rf"(?<![\w.-]){re.escape(folder)}(?![\w%-]|\.\w)", _CASE)


def _home() -> Path | None:
    try:
        return Path.home()
    except (RuntimeError, OSError):  # nobody knows whose home
        return None


def _spellings(home: Path | None) -> list[str]:
    """The home folder as named, and as the disk has it; in every way to write a path. Longest first."""
    if home is None:
        return []
    found = {str(home)}
    with contextlib.suppress(RuntimeError, OSError):  # a loop of links
        found.add(str(home.resolve()))
    spellings = {way for folder in found for way in _ways_to_write(folder)}
    return sorted((spelling for spelling in spellings if len(spelling) > 1), key=len, reverse=True)


def _ways_to_write(folder: str) -> Iterator[str]:
    """With either slash, with backslashes doubled as in JSON, percent-encoded, and as shells on Windows have drives."""
    for spelling in _encodings(folder):
        yield spelling
        yield spelling.replace("\\", "/")
        yield spelling.replace("\\", "\\\\")
    plain = folder.replace("\\", "/")
    yield from {quote(plain, errors="surrogateescape"), quote(plain, safe=":/", errors="surrogateescape")}
    drive = PureWindowsPath(folder).drive
    if drive.endswith(":"):
        below = plain[len(drive):]
        yield from (f"/{drive[0].lower()}{below}", f"/mnt/{drive[0].lower()}{below}")


def _encodings(name: str) -> set[str]:
    """Letters with accents composed or decomposed, as systems differ in that; and percent-encoded."""
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")} | {name}
    return forms | {quote(form, safe="/:\\", errors="surrogateescape") for form in forms}


def user_name() -> str:
    """Empty if the system does not tell."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # not in the list of users; Windows without a name set
        return ""
