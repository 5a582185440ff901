"""Getting a model's files from the Hugging Face Hub, so that each is there whole or not at all.

huggingface_hub speaks to the hub: mirror (HF_ENDPOINT), token (HF_TOKEN or a login), timeouts and proxies are those of
the user's environment. Only its function for a whole file is not used, because that throws half a file away when its
program ends: here the bytes go into a file of our own, which the next attempt goes on with. Files in the hub's newer
storage ("Xet") come by plain HTTP, too, as only that can be gone on with. Nothing that a server says makes a file
larger than its card allows, or the disk fuller than SPARE_BYTES.
"""

from __future__ import annotations

import errno
import hashlib
import io
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import filelock
import httpx2
from huggingface_hub import HfFileMetadata, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers, disable_progress_bars

from ..contract import StereoDiffError
from ..contract.whole_files import put_in_place
from .cards import ModelCard, ModelFile
from .connection import host_of, open_connection
from .events import OnBytes
from .records import (
    LOCK_FILE,
    PARTIAL_FOLDER,
    Record,
    folder_refusal,
    hash_file,
    header_fault,
    keep_file,
    promised_hash,
    read_record,
    write_record,
)

LIBRARY = "stereodiff"
NEWEST = "main"
SPARE_BYTES = 100_000_000
"""What has to stay free on the disk."""
ROUGHLY = 1.1
"""A file may be larger than the rough size on its card by so much."""
SMALL_FILE_BYTES = 10_000_000
"""The most of a file of whose size the card says nothing: configurations have some thousand bytes."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HUBS = {("https", "huggingface.co"), ("https", "hf.co")}
_DENIED, _NOT_THERE, _BUSY = (401, 403), (404, 410), (408, 429)


@dataclass(frozen=True)
class _RemoteFile:
    """What the hub says of a file. etag: changes with its content. sha256: "" if the hub does not tell it. size: None
    if nobody tells it."""

    file: ModelFile
    address: str
    etag: str
    size: int | None
    sha256: str

    @property
    def limit(self) -> int:
        """Bytes that are taken at the most."""
        largest = largest_size(self.file)
        return largest if self.size is None else min(self.size, largest)


def download(models_folder: Path, card: ModelCard, on_bytes: OnBytes) -> list[Path]:
    """Bring every file of a card that is not there yet into the models folder. Returns those that came.

    on_bytes: told bytes of all files together. An interrupted download is gone on with where it stopped.
    Raises StereoDiffError "download_...", "models_disk_full", "models_folder_not_writable", "model_record_invalid".
    """
    disable_progress_bars()
    open_connection()
    folder = models_folder / card.folder
    partials = folder / PARTIAL_FOLDER
    with _in_our_words(card, folder):
        partials.mkdir(parents=True, exist_ok=True)
        with _locked(partials / LOCK_FILE, card):
            came = _Download(models_folder, card, on_bytes).run()
        shutil.rmtree(partials, ignore_errors=True)
    return came


def largest_size(file: ModelFile) -> int:
    """Bytes that a file may have by its card, whatever a server says."""
    if file.size is not None:
        return file.size
    return int(file.rough_size * ROUGHLY) or SMALL_FILE_BYTES


class _Download:
    """One run. commit: that all files are taken from; the first answer tells it where none is pinned."""

    def __init__(self, models_folder: Path, card: ModelCard, on_bytes: OnBytes):
        self._models_folder, self._card, self._on_bytes = models_folder, card, on_bytes
        self._folder = models_folder / card.folder
        self._record = _record_for(models_folder, card)
        self._commit = card.revision or self._record.commit

    def run(self) -> list[Path]:
        wanted = [remote for file in self._card.files if not self._is_there(remote := self._ask(file))]
        self._check_disk_space(wanted)
        _refuse_too_large(wanted)
        total, done = sum(remote.size or 0 for remote in wanted), 0
        for remote in wanted:
            self._bring(remote, done, total)
            done += remote.size or 0
        self._forget_own_folder()
        return [self._folder / remote.file.name for remote in wanted]

    def _ask(self, file: ModelFile) -> _RemoteFile:
        """Raises StereoDiffError "download_offline" where no hub answers, "download_wrong_file" for another commit."""
        url = hf_hub_url(self._card.repository, file.name, revision=self._commit or NEWEST)
        answer = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT, library_name=LIBRARY)
        self._take_commit(answer, url)
        # For files in Xet the answer's own address is meant for another protocol.
        address = url if answer.xet_file_data is not None else answer.location
        size = answer.size if answer.size is not None else file.size
        return _RemoteFile(file, address, answer.etag, size, answer.etag if _SHA256.fullmatch(answer.etag) else "")

    def _take_commit(self, answer: HfFileMetadata, url: str) -> None:
        commit = answer.commit_hash or ""
        if not _COMMIT.fullmatch(commit) or not answer.etag:
            raise StereoDiffError("download_offline", f"What answers at {host_of(url)} is no hub for models, but "
                                                      "perhaps a proxy or a page to sign in.")
        if self._commit and commit != self._commit:
            raise StereoDiffError("download_wrong_file", f"{host_of(url)} has {commit[:12]} where {self._commit[:12]} "
                                                         "was asked for.")
        self._commit = commit

    def _is_there(self, remote: _RemoteFile) -> bool:
        """A file whose hash nobody knows is fetched again: those are small."""
        path, expected = self._folder / remote.file.name, self._expected(remote)
        if not expected or not path.is_file() or path.stat().st_size != (remote.size or path.stat().st_size):
            return False
        known = hash_file(path, self._on_bytes)
        if any(known.sha256 != each for each in expected):
            return False
        keep_file(self._models_folder, self._card, remote.file, known, self._commit)
        return True

    def _expected(self, remote: _RemoteFile) -> set[str]:
        """Every hash that is known of a file: from the card, from its first download, from the hub."""
        name = remote.file.name
        first = self._record.files[name].sha256 if name in self._record.files else ""
        return {promised_hash(self._card, name), first, remote.sha256} - {""}

    def _check_disk_space(self, wanted: list[_RemoteFile]) -> None:
        needed = sum(max(0, (remote.size or remote.limit) - _size(self._partial(remote))) for remote in wanted)
        free = shutil.disk_usage(self._folder).free
        if wanted and needed + SPARE_BYTES > free:
            raise StereoDiffError("models_disk_full", f"{self._folder} needs {needed / 1e9:.1f} GB, but the disk has "
                                                      f"{free / 1e9:.1f} GB left.")

    def _partial(self, remote: _RemoteFile) -> Path:
        """Of this very content: what is left of another version is not gone on with."""
        content = hashlib.sha256(f"{self._commit} {remote.etag}".encode()).hexdigest()[:16]
        return self._folder / PARTIAL_FOLDER / f"{remote.file.name.replace('/', '-')}.{content}"

    def _bring(self, remote: _RemoteFile, done: int, total: int) -> None:
        partial, target = self._partial(remote), self._folder / remote.file.name
        step = f"Downloading {remote.file.name}"
        with _thrown_away_if_wrong(partial):
            self._fetch(remote, partial, lambda size: self._on_bytes(step, done + size, total))
            known = hash_file(partial, self._on_bytes)
            fault = header_fault(partial, remote.file.name)
            if fault or any(known.sha256 != expected for expected in self._expected(remote)):
                raise StereoDiffError("download_wrong_file", f"{remote.file.name} {fault or 'has another hash'}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(partial, target)
        keep_file(self._models_folder, self._card, remote.file, known, self._commit)

    def _fetch(self, remote: _RemoteFile, partial: Path, on_size: Callable[[int], None]) -> None:
        """Storage gives addresses that run out after an hour: as long as bytes came, a new one is asked for."""
        while True:
            with _CountedFile(partial, remote.limit, on_size) as stream:
                if _came_whole(remote, stream):
                    return
            remote = self._ask(remote.file)

    def _forget_own_folder(self) -> None:
        """Only now that all files are here; until then the user's folder served."""
        record = read_record(self._models_folder, self._card)
        if record.folder:
            write_record(self._models_folder, self._card, replace(record, folder=""))


def _came_whole(remote: _RemoteFile, stream: _CountedFile) -> bool:
    """Fetch what is missing of a file. False if it broke off, but after some of it had come."""
    before = stream.start()
    try:
        http_get(remote.address, stream, resume_size=before, headers=_headers(remote.address),
                 expected_size=remote.size, displayed_filename=remote.file.name)
    except HfHubHTTPError:
        if stream.tell() <= before:
            raise
        return False
    except ValueError as error:  # numbers in the answer that are none
        raise StereoDiffError("download_wrong_file", f"{host_of(remote.address)} answers with what makes no "
                                                     "sense.") from error
    return True


class _CountedFile(io.BufferedWriter):
    """A file that is written on at its end, and tells its size after every piece. limit: bytes it may have."""

    def __init__(self, path: Path, limit: int, on_size: Callable[[int], None]):
        super().__init__(io.FileIO(path, "ab"))
        self._folder, self._limit, self._on_size = path.parent, limit, on_size

    def start(self) -> int:
        """Where to go on: at the end, unless there is more than there should be."""
        if self.tell() > self._limit:
            self.truncate(0)
            self.seek(0)
        return self.tell()

    def write(self, data) -> int:
        """Raises StereoDiffError "download_wrong_file" or "models_disk_full" before anything of it is written."""
        if self.tell() + len(data) > self._limit:
            raise StereoDiffError("download_wrong_file", f"The file has no end after {self._limit} bytes.")
        if shutil.disk_usage(self._folder).free < len(data) + SPARE_BYTES:
            raise StereoDiffError("models_disk_full", f"The disk of {self._folder} has only what has to stay free.")
        count = super().write(data)
        self.flush()  # what has arrived is there for the next attempt, however this one ends
        self._on_size(self.tell())
        return count


def _record_for(models_folder: Path, card: ModelCard) -> Record:
    """What an earlier download found. Files of another commit, or that never came from the hub, bind nothing."""
    record = read_record(models_folder, card)
    is_binding = record.commit and card.revision in ("", record.commit)
    return record if is_binding else Record()


def _headers(address: str) -> dict[str, str]:
    """With the user's token for the hub and its mirror, and without it for the storage that they send to."""
    headers = build_hf_headers(library_name=LIBRARY) | {"Accept-Encoding": "identity"}
    if _site(address) not in _HUBS | {_site(constants.ENDPOINT)}:
        headers.pop("authorization", None)
    return headers


def _site(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.lower()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _refuse_too_large(offers: list[_RemoteFile]) -> None:
    """Before anything is fetched: a server may say any size, and then send it."""
    for remote in offers:
        if (remote.size or 0) > remote.limit:
            raise StereoDiffError("download_wrong_file", f"{remote.file.name} is said to have {remote.size} bytes; the "
                                                         f"model's has {remote.limit} at the most.")


@contextmanager
def _thrown_away_if_wrong(partial: Path) -> Iterator[None]:
    """What is not the promised file is not gone on with."""
    try:
        yield
    except StereoDiffError as error:
        if error.code == "download_wrong_file":
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path, card: ModelCard) -> Iterator[None]:
    """Two programs would write one file. The system gives the lock back however a program ends."""
    try:
        with filelock.FileLock(path, timeout=0):
            yield
    except filelock.Timeout as error:
        raise StereoDiffError("download_running", f"{card.name} is being downloaded by another program.") from error


@contextmanager
def _in_our_words(card: ModelCard, folder: Path) -> Iterator[None]:
    try:
        yield
    except HfHubHTTPError as error:
        raise _answer_error(error, card) from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
        raise StereoDiffError("download_address_invalid", f"{host_of(constants.ENDPOINT)}, or where it sends on to, "
                                                          "cannot be asked.") from error
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise StereoDiffError("download_offline", f"{constants.ENDPOINT} cannot be reached: {error}.") from error
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise StereoDiffError("download_interrupted", f"{card.name}: {reason}.") from error
    except OSError as error:
        if error.errno is None or error.errno in (errno.ETIMEDOUT, errno.ECONNRESET):
            raise StereoDiffError("download_interrupted", f"{card.name} did not arrive as a whole.") from error
        raise folder_refusal(error, folder) from error


def _answer_error(error: HfHubHTTPError, card: ModelCard) -> StereoDiffError:
    status = error.response.status_code
    if status in _DENIED:
        return StereoDiffError("download_denied", f"The answer of {card.source} was {status}.")
    if status in _NOT_THERE:
        return StereoDiffError("download_not_found",
                               f"The answer of {error.response.request.url} was {status}.")
    if status in _BUSY or status >= 500:
        return StereoDiffError("download_interrupted", f"The server is busy or down (its answer was {status}).")
    return StereoDiffError("download_not_found", f"The server's answer was {status}.")
