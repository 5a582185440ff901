"""Which licenses of weights were accepted, when, and in which words. Standard library only.

Kept in one file of the user's folder, outside the extension, so that updates leave it alone. An acceptance is of one
paragraph under one licence's name: if either changes, the question is asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from ..contract import Settings, StereoDiffError, write_refusal
from ..contract.strict_json import from_dict, to_dict, write_json_atomically
from .cards import CARDS_FOLDER, ENGINE_CARDS, ModelCard, read_card

__all__ = ["accept", "acceptance", "cards_of", "refuse_unaccepted"]

FILE_NAME = "licences.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Acceptance:
    """date: ISO, of the day. licence: its name then. terms_hash: of what was shown, as ModelCard.terms_hash."""

    date: str
    licence: str
    terms_hash: str


@dataclass(frozen=True)
class _Accepted:
    """The file. accepted: by the card's own name."""

    accepted: dict[str, Acceptance] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


def acceptance(user_folder: Path, card: ModelCard) -> Acceptance | None:
    """The acceptance of the card's paragraph under its license.

    Parameters
    ----------
    user_folder : Path
        The user's data folder.
    card : ModelCard
        The model.

    Returns
    -------
    Acceptance or None
        None if this paragraph under this license was never accepted.
    """
    known = _read(user_folder / FILE_NAME).accepted.get(card.model)
    return known if known is not None and known.terms_hash == card.terms_hash else None


def accept(user_folder: Path, card: ModelCard) -> Acceptance:
    """Keep that the card's terms were accepted today.

    Parameters
    ----------
    user_folder : Path
        The user's data folder; made if it is missing.
    card : ModelCard
        The model.

    Returns
    -------
    Acceptance
        What was kept.

    Raises
    ------
    StereoDiffError
        "output_not_writable" or "disk_full".
    """
    path = user_folder / FILE_NAME
    new = Acceptance(date.today().isoformat(), card.licence, card.terms_hash)
    known = _read(path)
    try:
        user_folder.mkdir(parents=True, exist_ok=True)
        write_json_atomically(path, to_dict(replace(known, accepted=known.accepted | {card.model: new})))
    except OSError as error:
        raise write_refusal(error, path) from error
    return new


def refuse_unaccepted(user_folder: Path, cards: Iterable[ModelCard]) -> None:
    """Refuse models whose licenses are still to be accepted, and name these.

    Parameters
    ----------
    user_folder : Path
        The user's data folder.
    cards : iterable of ModelCard
        The models that are to be used.

    Raises
    ------
    StereoDiffError
        "licence_not_accepted", which names the licenses still to be accepted.
    """
    asked = [f"{card.name}: {card.licence}" for card in cards if acceptance(user_folder, card) is None]
    if asked:
        raise StereoDiffError("licence_not_accepted", f"These licenses are to be accepted: {'; '.join(asked)}.")


def cards_of(settings: Settings, folder: Path = CARDS_FOLDER) -> tuple[ModelCard, ...]:
    """The models that a solve with these settings uses.

    Parameters
    ----------
    settings : Settings
        Whose engines of stage 1 and 2 count.
    folder : Path
        Of the cards.

    Returns
    -------
    tuple of ModelCard
        Those of stage 1 first; none where no engine is a learned one.

    Raises
    ------
    StereoDiffError
        "model_card_invalid".
    """
    names = [name for engine in (settings.stereo, settings.refine) for name in ENGINE_CARDS.get(engine, ())]
    return tuple(read_card(name, folder) for name in names)


def _read(path: Path) -> _Accepted:
    """A file that is not there or cannot be understood holds no acceptance: the question is asked again."""
    try:
        return from_dict(_Accepted, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return _Accepted()
