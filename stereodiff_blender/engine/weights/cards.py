"""Model cards: what vendor/models says of every model. Standard library only, so that Blender reads them, too.

A card comes with the extension and is checked all the same: its names become paths, and its address is asked for
gigabytes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..contract import StereoDiffError, WeightsUsed
from ..contract.strict_json import from_dict

__all__ = ["ENGINE_CARDS", "ModelCard", "read_card", "read_cards"]

CARDS_FOLDER = Path(__file__).resolve().parents[3] / "vendor" / "models"
ENGINE_CARDS = {
    "monst3r": ("monst3r",),
    "depthcrafter": ("depthcrafter", "stable-video-diffusion"),
}
"""Learned engine -> the cards of all that it needs."""

_CARD_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_IN_NAMES = re.compile(r'[\\:*?"<>|\x00-\x1f]')


@dataclass(frozen=True)
class ModelFile:
    """A published file. name: POSIX path inside the model's folder, and inside its repository.

    size: bytes, None if not known exactly. rough_size: bytes to two digits or so, for people. sha256: hexadecimal, ""
    if not known.
    """

    name: str
    size: int | None = None
    rough_size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Alternative:
    """A file that serves in place of those of the repository, for whoever has it; it is not downloaded here."""

    name: str
    source: str


@dataclass(frozen=True)
class ModelCard:
    """A model as vendor/models describes it.

    model: the card's own name, such as "monst3r". folder: in the models folder. repository, revision: on the hub;
    revision is a commit, or "" where none is known, and then the commit of the first download is kept. source: the
    model's page. licence: its name. terms: the license in one paragraph. files: all are needed. alternatives: any one
    of them serves in place of all.
    """

    model: str
    name: str
    folder: str
    repository: str
    source: str
    licence: str
    commercial_use: bool
    terms: str
    files: tuple[ModelFile, ...]
    alternatives: tuple[Alternative, ...] = ()
    revision: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(file.rough_size if file.size is None else file.size for file in self.files)

    @property
    def terms_hash(self) -> str:
        """Changes when the paragraph or the licence's name does: what was accepted is then another thing."""
        return hashlib.sha256(f"{self.licence}\n{self.terms}".encode()).hexdigest()

    def used(self) -> WeightsUsed:
        """What a result says of the weights it was made with."""
        return WeightsUsed(self.name, self.licence, self.commercial_use)


def card_names(folder: Path = CARDS_FOLDER) -> tuple[str, ...]:
    """Every model that has a card, in alphabetical order."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def read_cards(folder: Path = CARDS_FOLDER) -> tuple[ModelCard, ...]:
    """The cards of all models, in alphabetical order.

    Parameters
    ----------
    folder : Path
        Of the cards, MODEL.toml each.

    Returns
    -------
    tuple of ModelCard
        Checked, ordered by the cards' own names.

    Raises
    ------
    StereoDiffError
        "model_card_invalid".
    """
    return tuple(read_card(name, folder) for name in card_names(folder))


def read_card(model: str, folder: Path = CARDS_FOLDER) -> ModelCard:
    """The card of one model, checked.

    Parameters
    ----------
    model : str
        A card's file name without its suffix.
    folder : Path
        Of the cards.

    Returns
    -------
    ModelCard
        What it says.

    Raises
    ------
    StereoDiffError
        "model_card_invalid": there is no such card, or what it says is not allowed.
    """
    path = folder / f"{model}.toml"
    if not _CARD_NAME.fullmatch(model) or not path.is_file():
        known = ", ".join(card_names(folder))
        raise StereoDiffError("model_card_invalid", f"There is no model {model!r}; there are {known}.")
    import tomllib  # only here: a Python before 3.11 has none, and shall hear from the doctor that it is too old
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        card = from_dict(ModelCard, content | {"model": model})
        _check(card)
    except (OSError, ValueError, RecursionError) as error:
        raise StereoDiffError("model_card_invalid", f"{path.name} cannot be used: {error}.") from error
    return card


def is_safe_name(name: str) -> bool:
    """Whether a name from outside stays inside the folder it is joined to, on every system."""
    path = PurePosixPath(name)
    return (bool(path.parts) and path.as_posix() == name and not path.is_absolute() and not _NOT_IN_NAMES.search(name)
            and all(part not in ("", ".", "..") and part[-1] not in ". " for part in path.parts))


def _check(card: ModelCard) -> None:
    """Raises ValueError with what is wrong."""
    names = [file.name for file in card.files] + [other.name for other in card.alternatives]
    addresses = [card.source] + [other.source for other in card.alternatives]
    wrong = [name for name in names if not is_safe_name(name)]
    wrong += [text for text in addresses if not text.startswith("https://")]
    wrong += [file.sha256 for file in card.files if file.sha256 and not _SHA256.fullmatch(file.sha256)]
    wrong += [file.name for file in card.files if (file.size or 0) < 0 or file.rough_size < 0]
    wrong += [text for text, pattern in ((card.folder, _FOLDER_NAME), (card.repository, _REPOSITORY))
              if not pattern.fullmatch(text)]
    if card.revision and not _COMMIT.fullmatch(card.revision):
        wrong.append(card.revision)
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not allowed")
    if not card.files or len(set(names)) != len(names):
        raise ValueError("it names no files, or one of them twice")
    if not (card.name and card.licence and card.terms.strip()):
        raise ValueError("it lacks a name, a license or its terms")
