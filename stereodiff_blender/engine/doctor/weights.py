"""The weights in the models folder, of every model that has a card: there, whole, and which engine misses them.

Only names, sizes and headers are looked at here; the engine checks everything when it loads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import StereoDiffError
from ..contract.health import FAULT, NOTE, OK, Finding
from .machine import gigabytes

if TYPE_CHECKING:
    from ..weights.cards import ModelCard
    from ..weights.records import ModelState

ENGINE_OF_CARD = {"monst3r": "monst3r", "depthcrafter": "depthcrafter", "stable-video-diffusion": "depthcrafter"}
LABELS = {"monst3r": "MonST3R", "depthcrafter": "DepthCrafter"}
OTHER_FOLDERS = {"depthcrafter": ("depthcrafter/unet",), "stable-video-diffusion": ("depthcrafter",)}
"""Card -> where in the models folder the engine takes its files from, besides their own folder."""
CAN_DO_WITHOUT = {"monst3r": ("config.json",)}
"""Card -> files without which the engine takes what it finds in the weights themselves."""
GET_AGAIN = "Get the weights again in the preferences; what is whole is kept."


def weights_findings(models_folder: Path | None) -> dict[str, Finding]:
    """One for each card, by its name. None: no folder was named, so nothing can be said."""
    if models_folder is None:
        return {}
    return {model: _finding(model, models_folder) for model in ENGINE_OF_CARD}


def unusable_weights(findings: Mapping[str, Finding]) -> dict[str, str]:
    """Engine -> what its weights lack, of engines whose weights are not all in order. findings: by card."""
    lacking: dict[str, list[str]] = {}
    for model, finding in findings.items():
        if finding.state != OK:
            lacking.setdefault(ENGINE_OF_CARD[model], []).append(f"{finding.name}: {finding.found}")
    return {engine: "; ".join(lacks) for engine, lacks in lacking.items()}


def _finding(model: str, models_folder: Path) -> Finding:
    try:
        from ..weights.cards import read_card  # only here: a Python too old for it shall hear that in words
        from ..weights.records import inspect_model
        card = read_card(model)
        return _judged(card, inspect_model(models_folder, card), _missing(card, models_folder))
    except (ImportError, OSError) as error:
        reason = str(error)
    except StereoDiffError as error:
        reason = error.message
    return Finding(f"{model} weights", FAULT, f"cannot be looked at: {reason}", "Choose another Models Folder in the "
                   "preferences; if that does not help, install the extension again.")


def _judged(card: ModelCard, state: ModelState, missing: list[str]) -> Finding:
    """missing: what is to be found nowhere; see _missing."""
    name, engine = f"{card.name} weights", LABELS[ENGINE_OF_CARD[card.model]]
    if state.state == "damaged":
        return Finding(name, FAULT, f"damaged: {state.detail}", GET_AGAIN)
    if state.state in ("missing", "incomplete") and len(missing) == len(card.files):
        return Finding(name, NOTE, f"none; {engine} needs them", f"Get the weights in the preferences, if you want "
                                                                 f"{engine}.")
    if state.state in ("missing", "incomplete") and missing:
        return Finding(name, FAULT, f"incomplete, without {', '.join(missing)}", GET_AGAIN)
    terms = card.licence + ("" if card.commercial_use else ", no commercial use")
    checked = ", as it was checked" if state.state == "ready" else ""
    return Finding(name, OK, f"complete, {gigabytes(state.size)}{checked} ({terms})")


def _missing(card: ModelCard, models_folder: Path) -> list[str]:
    """Files that are in none of the places where the engine looks, and that it cannot do without."""
    from ..weights.records import find_file, model_folder
    folders = [model_folder(models_folder, card),
               *(models_folder / place for place in OTHER_FOLDERS.get(card.model, ()))]
    missing = [file.name for file in card.files if not any(find_file(folder, file.name) for folder in folders)]
    if len(missing) == len(card.files):
        return missing
    return [name for name in missing if name not in CAN_DO_WITHOUT.get(card.model, ())]
