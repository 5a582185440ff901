"""The command line's weights: list them, get them, verify them, use a folder of one's own, remove them."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import urlsplit

from ..contract import StereoDiffError
from ..contract.failures import error_from_exception
from ..contract.user_folders import user_folder
from .cards import ModelCard, read_card, read_cards
from .events import WeightsEvent
from .licences import accept, acceptance, refuse_unaccepted
from .records import inspect_model, remove, use_folder, verify

__all__ = ["accept_or_refuse", "add_weights", "default_models_folder"]

EVENTS_PER_SECOND = 5.0
LINE = 100


def default_models_folder() -> Path:
    """Where weights are without a choice; the same as in Blender.

    Returns
    -------
    Path
        In the user's data folder; not created here.
    """
    return user_folder() / "models"


def add_weights(weights: argparse.ArgumentParser) -> None:
    """Add the options of `weights`.

    Parameters
    ----------
    weights : argparse.ArgumentParser
        The parser of that command; gets a parser for each verb, whose default `command` runs it.
    """
    verbs = weights.add_subparsers(required=True, metavar="VERB")
    _add_verb(verbs, "list", _list, "show every model, its license and its state", takes_model=False)
    get = _add_verb(verbs, "get", _get, "download a model, or go on where a download stopped")
    get.add_argument("--accept-licence", action="store_true", help="the licence's paragraph was read and is accepted")
    _add_verb(verbs, "verify", _verify, "read a model's files and hold them against what is known of them")
    use = _add_verb(verbs, "use", _use, "take a model's files from a folder of yours, where they stay")
    use.add_argument("folder", type=Path, metavar="FOLDER")
    _add_verb(verbs, "remove", _remove, "delete a model's downloaded files, or forget a folder of yours")


def _add_verb(verbs, name: str, run, text: str, *, takes_model: bool = True) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=text)
    if takes_model:
        verb.add_argument("model", metavar="MODEL", help="as `weights list` names it")
    verb.add_argument("--models", type=Path, metavar="DIR", help="the models folder (that of the preferences' default)")
    if takes_model:
        verb.add_argument("--json-events", action="store_true", help="progress as lines of JSON, for programs")
    verb.set_defaults(command=run)
    return verb


def accept_or_refuse(cards: tuple[ModelCard, ...], is_accepted: bool) -> None:
    """Keep an acceptance given on the command line; without it, show what has to be accepted and refuse.

    Parameters
    ----------
    cards : tuple of ModelCard
        The models that are to be used.
    is_accepted : bool
        Whether the command line accepts their terms.

    Raises
    ------
    StereoDiffError
        "licence_not_accepted"; "output_not_writable" or "disk_full" where an acceptance cannot be kept.
    """
    user = user_folder()
    for card in cards:
        if is_accepted and acceptance(user, card) is None:
            accept(user, card)
    asked = [card for card in cards if acceptance(user, card) is None]
    for card in asked:
        sys.stderr.write("\n".join([f"{card.name}: {card.licence}", *textwrap.wrap(card.terms, LINE), card.source, ""]))
    refuse_unaccepted(user, asked)


# --- Verbs -----------------------------------------------------------------------------------------------------

def _list(options: argparse.Namespace) -> int:
    for card in read_cards():
        found = inspect_model(_models(options), card)
        terms = card.licence + ("" if card.commercial_use else ", no commercial use")
        when = acceptance(user_folder(), card)
        accepted = f"accepted {when.date}" if when else "not accepted"
        size = found.size if found.state not in ("missing", "incomplete") else card.size
        sys.stdout.write(f"{card.model:<24} {found.state:<11} {size / 1e9:6.2f} GB  {terms} ({accepted})\n")
        sys.stdout.write(f"{'':<24} {found.folder}" + (f", {found.detail}" if found.detail else "") + "\n")
    return 0


def _get(options: argparse.Namespace) -> int:
    card = read_card(options.model)

    def run(reporter: _Reporter) -> str:
        accept_or_refuse((card,), options.accept_licence)
        came = _import_transfer().download(_models(options), card, reporter.on_bytes)
        return f"{_counted(came)} of {card.name} downloaded." if came else f"{card.name} is there already."

    return _reported(options, run)


def _verify(options: argparse.Namespace) -> int:
    card = read_card(options.model)

    def run(reporter: _Reporter) -> str:
        verify(_models(options), card, reporter.on_bytes)
        return f"{card.name} is whole."

    return _reported(options, run)


def _use(options: argparse.Namespace) -> int:
    card = read_card(options.model)

    def run(reporter: _Reporter) -> str:
        record = use_folder(_models(options), card, options.folder, reporter.on_bytes)
        return f"{card.name} is taken from {record.folder}."

    return _reported(options, run)


def _remove(options: argparse.Namespace) -> int:
    card = read_card(options.model)

    def run(_reporter: _Reporter) -> str:
        return remove(_models(options), card).sentence(card.name)

    return _reported(options, run)


def _counted(files: list[Path]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _models(options: argparse.Namespace) -> Path:
    return (options.models or default_models_folder()).expanduser().absolute()


def _import_transfer():
    """Raises StereoDiffError "torch_missing": huggingface_hub comes with what the learned engines need, or
    "download_address_invalid"."""
    _refuse_address(os.environ.get("HF_ENDPOINT", ""))
    # Read when the library is loaded. It would tell the hub which tools are installed here, and ask it for a list to
    # know them by; what the user asked for is the files.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        from . import transfer
    except ImportError as error:
        raise StereoDiffError("torch_missing", f"Downloading weights needs {error.name}.") from error
    return transfer


def _refuse_address(mirror: str) -> None:
    """Here, as huggingface_hub would quote a half of it, perhaps of a password, when it is loaded."""
    try:
        parts = urlsplit(mirror)
        is_of_the_web = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # from hostname or port, which are read only when asked for
        is_of_the_web = False
    if mirror and not is_of_the_web:
        raise StereoDiffError("download_address_invalid", "HF_ENDPOINT is set to what cannot be used.")


# --- Telling ---------------------------------------------------------------------------------------------------

def _reported(options: argparse.Namespace, run) -> int:
    """Run a verb, and say how it goes and ends in the way that was asked for."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    reporter = _Reporter(options.json_events)
    try:
        message = run(reporter)
    except Exception as error:  # whatever it was, the Blender that asked has to say it
        known = error_from_exception(error)
        reporter.tell(WeightsEvent("failed", code=known.code, message=known.message))
        raise
    reporter.end(message)
    return 0


class _Reporter:
    """Progress for people on standard error, or for programs as JSON on standard output."""

    def __init__(self, is_for_programs: bool):
        self._is_for_programs = is_for_programs
        self._is_terminal = sys.stderr.isatty()
        self._last_s, self._last_step = 0.0, ""

    def on_bytes(self, step: str, done: int, total: int) -> None:
        """At most EVENTS_PER_SECOND are told, but always a step's first and last."""
        now = time.monotonic()
        if step == self._last_step and done < total and now - self._last_s < 1.0 / EVENTS_PER_SECOND:
            return
        is_new, self._last_step, self._last_s = step != self._last_step, step, now
        if self._is_for_programs:
            self.tell(WeightsEvent("progress", step, done, total))
        elif self._is_terminal:
            sys.stderr.write(f"\r{step:<60} {done / 1e6:9.1f} of {total / 1e6:.1f} MB")
        elif is_new:
            sys.stderr.write(f"{step}\n")

    def tell(self, event: WeightsEvent) -> None:
        """Ends the program if nobody reads any more: the Blender that asked is gone."""
        if not self._is_for_programs:
            return
        try:
            sys.stdout.write(event.to_line())
            sys.stdout.flush()
        except BrokenPipeError:
            raise SystemExit(1) from None

    def end(self, message: str) -> None:
        if self._is_for_programs:
            self.tell(WeightsEvent("finished", message=message))
        else:
            sys.stdout.write(("\n" if self._is_terminal else "") + message + "\n")
