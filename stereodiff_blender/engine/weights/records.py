"""The models folder: where a model's files lie, what is known of them, and whether they still are what they were.

    <models folder>/<model's folder>/...   the files, under the names of the card
    <models folder>/<model>.json           what is known of them; the folder they are in, if it is one of the user's

A file's hash is kept when it is first seen whole: at its download, or when it is verified. From then on it has to be
that file. Hashing gigabytes takes seconds, so a file with the size and time of its last check is taken as unchanged.
Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..contract import StereoDiffError, write_refusal
from ..contract.strict_json import from_dict, to_dict, write_json_atomically
from .cards import ModelCard, ModelFile
from .events import OnBytes

__all__ = ["ModelState", "find_file", "inspect_model", "model_folder", "refuse_changed", "remove"]

SCHEMA_VERSION = 1
PARTIAL_FOLDER = ".partial"
LOCK_FILE = "lock"
"""In that folder, while a download runs."""
HALF_PRECISION = ".fp16."
LARGEST_HEADER = 100_000_000
_BLOCK = 1 << 20
STATES = ("missing", "incomplete", "unchecked", "damaged", "ready")


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when it was hashed. size: bytes. modified_ns: its time then."""

    size: int
    sha256: str
    modified_ns: int


@dataclass(frozen=True)
class Record:
    """folder: of the user, "" for the one in the models folder. commit: of the repository, where downloaded.

    files: by their names in the folder.
    """

    folder: str = ""
    commit: str = ""
    files: dict[str, KnownFile] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class ModelState:
    """What one look at a model's files says, without reading them.

    state: "missing", "incomplete" (some are there), "unchecked" (all are, but were never hashed as they are now),
    "damaged" (of the wrong size, or no safetensors) or "ready". folder: where they were looked for. is_own: it is a
    folder that the user named. size: bytes of what is there. detail: what is missing or wrong, in words.
    """

    state: str
    folder: Path
    is_own: bool
    size: int = 0
    detail: str = ""


# --- The record ------------------------------------------------------------------------------------------------

def record_file(models_folder: Path, card: ModelCard) -> Path:
    return models_folder / f"{card.model}.json"


def read_record(models_folder: Path, card: ModelCard) -> Record:
    """An empty one if nothing was kept yet. Raises StereoDiffError "model_record_invalid"."""
    path = record_file(models_folder, card)
    try:
        return from_dict(Record, json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return Record()
    except (OSError, ValueError, RecursionError) as error:
        raise StereoDiffError("model_record_invalid", f"{path} cannot be used: {error}.") from error


def write_record(models_folder: Path, card: ModelCard, record: Record) -> None:
    """Raises StereoDiffError "models_folder_not_writable" or "models_disk_full"."""
    path = record_file(models_folder, card)
    try:
        models_folder.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, to_dict(record))
    except OSError as error:
        raise folder_refusal(error, path) from error


def folder_refusal(error: OSError, path: Path) -> StereoDiffError:
    """What the system's refusal to write in the models folder means."""
    refusal = write_refusal(error, path)
    code = "models_disk_full" if refusal.code == "disk_full" else "models_folder_not_writable"
    return StereoDiffError(code, refusal.message)


def model_folder(models_folder: Path, card: ModelCard) -> Path:
    """Where the files of a model are: the folder that the user named, or the one in the models folder.

    Parameters
    ----------
    models_folder : Path
        The models folder.
    card : ModelCard
        The model.

    Returns
    -------
    Path
        Whether or not it is there.

    Raises
    ------
    StereoDiffError
        "model_record_invalid".
    """
    own = read_record(models_folder, card).folder
    return Path(own) if own else models_folder / card.folder


# --- Looking ---------------------------------------------------------------------------------------------------

def find_file(folder: Path, name: str) -> Path | None:
    """A file under its name or, as the networks take either, that of its half precision or full precision twin.

    Parameters
    ----------
    folder : Path
        The model's.
    name : str
        POSIX path inside it, as the card has it.

    Returns
    -------
    Path or None
        Under its own name first; None if neither is there.
    """
    start, dot, suffix = name.replace(HALF_PRECISION, ".").rpartition(".")
    names = dict.fromkeys((name, f"{start}{dot}{suffix}", f"{start}{HALF_PRECISION}{suffix}"))
    return next((folder / each for each in names if (folder / each).is_file()), None)


def find_files(folder: Path, card: ModelCard) -> tuple[list[Path], list[str]]:
    """The files that a model would be loaded from, and the names of those it still lacks."""
    found = {file.name: find_file(folder, file.name) for file in card.files}
    missing = [name for name, path in found.items() if path is None]
    others = [folder / other.name for other in card.alternatives if (folder / other.name).is_file()]
    if missing and others:
        return others[:1], []
    return [path for path in found.values() if path is not None], missing


def header_fault(path: Path, name: str = "") -> str:
    """Why a .safetensors file cannot be whole, by its size and header; "" if it can, and for every other file.

    name: what the file will be called, if it is not called so yet.
    """
    if not (name or path.name).endswith(".safetensors"):
        return ""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            return "is no safetensors file"
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            whole = 8 + length + max(ends, default=0)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return "is no safetensors file"
    return "" if whole == size else f"has {size} of {whole} bytes"


def inspect_model(models_folder: Path, card: ModelCard) -> ModelState:
    """The state of a model's files, by names, sizes, times and headers only.

    That is fast, and right as long as nobody means harm.

    Parameters
    ----------
    models_folder : Path
        The models folder.
    card : ModelCard
        The model.

    Returns
    -------
    ModelState
        "damaged", too, where the folder cannot be read.

    Raises
    ------
    StereoDiffError
        "model_record_invalid".
    """
    record = read_record(models_folder, card)
    folder = Path(record.folder) if record.folder else models_folder / card.folder
    state = ModelState("missing", folder, bool(record.folder))
    try:
        paths, missing = find_files(folder, card)
        size = sum(path.stat().st_size for path in paths)
        faults = [f"{path.name} {fault}" for path in paths if (fault := _fault(path, folder, card, record))]
        is_known = all(_is_as_checked(path, folder, record) for path in paths)
    except OSError as error:
        return replace(state, state="damaged", detail=f"{folder} cannot be read: {error.strerror or error}")
    state = replace(state, size=size)
    if faults:
        return replace(state, state="damaged", detail="; ".join(faults))
    if missing:
        return replace(state, state="incomplete" if paths else "missing", detail=f"without {', '.join(missing)}")
    return replace(state, state="ready" if is_known else "unchecked")


def _fault(path: Path, folder: Path, card: ModelCard, record: Record) -> str:
    name, size = path.relative_to(folder).as_posix(), path.stat().st_size
    known = record.files.get(name)
    promised = next((file.size for file in card.files if file.name == name), None)
    for expected in (promised, known.size if known else None):
        if expected is not None and size != expected:
            return f"has {size} of {expected} bytes" if size < expected else f"has {size} bytes instead of {expected}"
    return header_fault(path)


def _is_as_checked(path: Path, folder: Path, record: Record) -> bool:
    known, found = record.files.get(path.relative_to(folder).as_posix()), path.stat()
    return known is not None and (known.size, known.modified_ns) == (found.st_size, found.st_mtime_ns)


# --- Checking --------------------------------------------------------------------------------------------------

def hash_file(path: Path, on_bytes: OnBytes | None = None) -> KnownFile:
    """Reads all of it. Raises StereoDiffError "weights_missing" if it cannot be read."""
    digest, done, tell = hashlib.sha256(), 0, on_bytes or (lambda step, done, total: None)
    try:
        found = path.stat()
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                done += len(block)
                tell(f"Checking {path.name}", done, found.st_size)
    except OSError as error:
        raise StereoDiffError("weights_missing", f"{path} cannot be opened: {error.strerror or error}.") from error
    return KnownFile(found.st_size, digest.hexdigest(), found.st_mtime_ns)


def refuse_changed(models_folder: Path, card: ModelCard) -> None:
    """Before a model is loaded: that its files are those that were downloaded or verified, as far as that is known.

    Reads only files whose size or time is another than at their last check.

    Parameters
    ----------
    models_folder : Path
        The models folder.
    card : ModelCard
        The model.

    Raises
    ------
    StereoDiffError
        "weights_damaged" for a file of another hash, "weights_missing" for one that cannot be read,
        "model_record_invalid".
    """
    record = read_record(models_folder, card)
    folder = model_folder(models_folder, card)
    paths, _ = find_files(folder, card)
    for path in paths:
        name = path.relative_to(folder).as_posix()
        is_expected = name in record.files or promised_hash(card, name)
        if is_expected and not _is_as_checked(path, folder, record):
            record = _with(record, name, _checked_file(path, name, card, record, None))
            with contextlib.suppress(StereoDiffError):  # only the next check takes longer if it cannot be kept
                write_record(models_folder, card, record)


def verify(models_folder: Path, card: ModelCard, on_bytes: OnBytes | None = None) -> Record:
    """Read every file of a model and hold it against what is known; what was not known yet is kept from now on.

    Raises StereoDiffError "weights_missing", "weights_damaged", "model_record_invalid", or as write_record.
    """
    record = read_record(models_folder, card)
    folder = model_folder(models_folder, card)
    record = _verified(folder, card, record, on_bytes)
    write_record(models_folder, card, record)
    return record


def use_folder(models_folder: Path, card: ModelCard, folder: Path, on_bytes: OnBytes | None = None) -> Record:
    """Take a model's files from a folder of the user's, where they stay. Raises as verify; then nothing has changed."""
    folder = folder.expanduser().resolve()
    record = replace(read_record(models_folder, card), folder=str(folder))
    record = _verified(folder, card, record, on_bytes)
    write_record(models_folder, card, record)
    return record


def promised_hash(card: ModelCard, name: str) -> str:
    """The hash that the card tells of a file, or ""."""
    return next((file.sha256 for file in card.files if file.name == name), "")


def _verified(folder: Path, card: ModelCard, record: Record, on_bytes: OnBytes | None) -> Record:
    paths, missing = find_files(folder, card)
    if missing:
        raise StereoDiffError("weights_missing", f"{folder} lacks {', '.join(missing)}.")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        fault = _fault(path, folder, card, record)
        if fault:
            raise StereoDiffError("weights_damaged", f"{path} {fault}.")
        record = _with(record, name, _checked_file(path, name, card, record, on_bytes))
    return record


def _checked_file(path: Path, name: str, card: ModelCard, record: Record, on_bytes: OnBytes | None) -> KnownFile:
    """Raises StereoDiffError "weights_damaged" if a file is not the one that the card or the record knows."""
    found, known = hash_file(path, on_bytes), record.files.get(name)
    for expected in (promised_hash(card, name), known.sha256 if known else ""):
        if expected and found.sha256 != expected:
            raise StereoDiffError("weights_damaged", f"{path} is not the file that it was or should be: its hash is "
                                                     f"{found.sha256[:12]} instead of {expected[:12]}.")
    return found


def _with(record: Record, name: str, known: KnownFile) -> Record:
    return replace(record, files=record.files | {name: known})


def keep_file(models_folder: Path, card: ModelCard, file: ModelFile, known: KnownFile, commit: str) -> None:
    """After a file's download. commit: of the repository that it came from. Raises as write_record."""
    record = read_record(models_folder, card)
    write_record(models_folder, card, replace(_with(record, file.name, known), commit=commit))


# --- Removing --------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Removed:
    """What was done to a model's files. deleted: files of the card. unlinked: links in their place, whose targets stay.
    halves: half downloads that were deleted. forgotten: a folder of the user's that is not used any more, or ""."""

    deleted: tuple[Path, ...] = ()
    unlinked: tuple[Path, ...] = ()
    halves: int = 0
    forgotten: str = ""

    @property
    def is_nothing(self) -> bool:
        return self == Removed()

    def sentence(self, name: str) -> str:
        """For people. name: of the model."""
        if self.forgotten:
            return f"{self.forgotten} is not used for {name} any more; nothing in it was deleted."
        said = [f"{_counted(len(self.deleted), 'file')} of {name} deleted."] if self.deleted else []
        if self.halves:
            said.append(f"{_counted(self.halves, 'half download')} of {name} deleted.")
        if self.unlinked:
            said.append(f"{_counted(len(self.unlinked), 'link')} deleted; what they lead to is still there.")
        return " ".join(said) or f"Nothing of {name} was there to delete."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def remove(models_folder: Path, card: ModelCard) -> Removed:
    """Delete the files that the card names from the models folder, and half downloads.

    Of a folder of the user's nothing is deleted; it is only forgotten. The hashes of a download are kept, so that the
    next one has to be the same.

    Parameters
    ----------
    models_folder : Path
        The models folder.
    card : ModelCard
        The model.

    Returns
    -------
    Removed
        What was deleted or forgotten.

    Raises
    ------
    StereoDiffError
        "models_folder_not_writable", "model_folder_outside", "models_disk_full" where what is left to know cannot be
        kept, or "model_record_invalid".
    """
    record, folder = read_record(models_folder, card), models_folder / card.folder
    if record.folder:
        _forget(models_folder, card, record)
        return Removed(forgotten=record.folder)
    there = [path for file in card.files if (path := folder / file.name).is_file() or path.is_symlink()]
    _refuse_outside(models_folder, [folder, folder / PARTIAL_FOLDER, *(path.parent for path in there)])
    partials = list((folder / PARTIAL_FOLDER).glob("*")) if (folder / PARTIAL_FOLDER).is_dir() else []
    links = tuple(path for path in there if path.is_symlink())
    removed = Removed(tuple(path for path in there if path not in links), links,
                      sum(path.name != LOCK_FILE for path in partials))
    try:
        for path in (*there, *partials):
            path.unlink()
        _remove_empty_folders(folder, [folder / PARTIAL_FOLDER, *(path.parent for path in there)])
    except OSError as error:
        raise folder_refusal(error, folder) from error
    _forget(models_folder, card, record)
    return removed


def _refuse_outside(models_folder: Path, folders: list[Path]) -> None:
    """A link in the models folder may lead to files that are somebody's only ones, or another model's."""
    for folder in folders:
        on_the_way = [folder, *folder.parents][:len(folder.relative_to(models_folder).parts)]
        is_inside = folder.resolve().is_relative_to(models_folder.resolve())
        if not is_inside or any(path.is_symlink() for path in on_the_way):
            raise StereoDiffError("model_folder_outside", f"{folder} leads to {folder.resolve()}.")


def _forget(models_folder: Path, card: ModelCard, record: Record) -> None:
    try:
        if record.commit:
            write_record(models_folder, card, replace(record, folder=""))
        else:
            record_file(models_folder, card).unlink(missing_ok=True)
    except OSError as error:
        raise folder_refusal(error, record_file(models_folder, card)) from error


def _remove_empty_folders(top: Path, folders: list[Path]) -> None:
    for folder in sorted({*folders, top}, key=lambda path: len(path.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
