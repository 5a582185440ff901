"""Before a run: what the chosen engines need that is not there, and what will be used instead. No bpy.

Says what the engine does, not what would be nice: without PyTorch or weights it refuses a job, and "auto" means CUDA
or the processor, never Metal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..engine.contract import Capabilities, Settings, StereoDiffError
from ..engine.weights.cards import ENGINE_CARDS
from .checkup import Checked, has_weights, weights_folder
from .weights import WeightsStatus

__all__ = [
    "GET_WEIGHTS", "INSTALL_PYTORCH", "LOOK", "OPEN_PREFERENCES", "Notice", "licence_notices", "notices", "refuse",
]

MONST3R, DEPTHCRAFTER = "monst3r", "depthcrafter"
LABELS = {MONST3R: "MonST3R", DEPTHCRAFTER: "DepthCrafter"}
INSTEAD = {MONST3R: "choose Geometric", DEPTHCRAFTER: "choose Guided"}
PACKAGE_LABELS = {"torch": "PyTorch", "PIL": "Pillow"}
DEVICE_LABELS = {"cuda": "CUDA", "mps": "Metal", "cpu": "CPU"}
INSTALL_PYTORCH, GET_WEIGHTS, OPEN_PREFERENCES, LOOK = "install_pytorch", "get_weights", "open_preferences", "look"
MENDS = (INSTALL_PYTORCH, GET_WEIGHTS, OPEN_PREFERENCES, LOOK)


@dataclass(frozen=True)
class Notice:
    """One thing to know before the run.

    text: in words. code: the error code that a solve would be refused with; "" for what only should be known.
    mend: one of MENDS, the button that puts it right; "" if there is none.
    """

    text: str
    code: str = ""
    mend: str = ""

    @property
    def is_refusal(self) -> bool:
        return bool(self.code)


def chosen_parts(settings: Settings) -> tuple[str, ...]:
    """Which of the parts that need more than the standard packages these settings use."""
    chosen = ((MONST3R, settings.stereo == MONST3R), (DEPTHCRAFTER, settings.refine == DEPTHCRAFTER))
    return tuple(part for part, is_chosen in chosen if is_chosen)


def notices(settings: Settings, checked: Checked | None) -> tuple[Notice, ...]:
    """What is to be known before a run with these settings: what is missing, and what will compute.

    Reads no disk, so panels may ask on every drawing.

    Parameters
    ----------
    settings : Settings
        As the artist has chosen them.
    checked : Checked or None
        Of the last checkup; None before anybody has looked.

    Returns
    -------
    tuple of Notice
        Missing packages, then weights, then the device; refusals and others. Before anybody has looked, one that says
        so. () where the settings need nothing beyond the standard packages, or nothing is in the way.
    """
    parts = chosen_parts(settings)
    if not parts:
        return ()
    if checked is None:
        return (Notice(f"It is not known yet whether this computer has what {_listed(parts)} needs", mend=LOOK),)
    known = checked.health.capabilities if checked.health is not None else Capabilities()
    missing = [_no_packages(part, known.unusable[part]) for part in parts if known.unusable.get(part)]
    weights = [_no_weights(part, known.unusable_weights[part] if part in checked.weights else "") for part in parts
               if part not in checked.weights or part in known.unusable_weights]
    can_ask_device = checked.health is not None and not missing
    return (*missing, *weights, *(_device(settings, parts, known) if can_ask_device else ()))


def licence_notices(settings: Settings, weights: WeightsStatus) -> tuple[Notice, ...]:
    """Which licenses have to be accepted before; nothing before the weights were looked at.

    Parameters
    ----------
    settings : Settings
        As the artist has chosen them.
    weights : WeightsStatus
        Of the last look.

    Returns
    -------
    tuple of Notice
        "licence_not_accepted", one for each model of the chosen engines whose license was not accepted yet.
    """
    names = [name for engine in (settings.stereo, settings.refine) for name in ENGINE_CARDS.get(engine, ())]
    asked = [view.card.name for name in names if (view := weights.view(name)) is not None and not view.accepted_on]
    return tuple(Notice(f"The license of the weights of {name} was not accepted yet", "licence_not_accepted",
                        GET_WEIGHTS) for name in asked)


def refuse(settings: Settings, models_folder: Path, checked: Checked | None) -> None:
    """Turn down before it is queued what the engine would turn down: missing weights are looked for afresh.

    Parameters
    ----------
    settings : Settings
        Of the job to be.
    models_folder : Path
        Where weights are looked for; not necessarily there.
    checked : Checked or None
        Of the last look; None lets everything else pass, as the engine looks again itself.

    Raises
    ------
    StereoDiffError
        "weights_missing", "torch_missing", "device_unavailable", "model_record_invalid" or "model_card_invalid".
    """
    for notice in notices(settings, checked) if checked is not None else ():
        if notice.is_refusal and notice.code != "weights_missing":
            raise StereoDiffError(notice.code, f"{notice.text}.")
    for part in chosen_parts(settings):
        if not has_weights(models_folder, part):
            folder = weights_folder(models_folder, part)
            raise StereoDiffError("weights_missing", f"There are no weights in {folder}.")


# --- Words -----------------------------------------------------------------------------------------------------

def _no_packages(part: str, modules: tuple[str, ...]) -> Notice:
    names = ", ".join(PACKAGE_LABELS.get(module, module) for module in modules)
    verb = "is" if len(modules) == 1 else "are"
    return Notice(f"{names} {verb} not installed or cannot be loaded: {LABELS[part]} cannot run. Install PyTorch, or "
                  f"{INSTEAD[part]}", "torch_missing", INSTALL_PYTORCH)


def _no_weights(part: str, lack: str) -> Notice:
    """lack: what is wrong with those that are there; "" if there are none."""
    known = f"The weights for {LABELS[part]} cannot be used ({lack})" if lack else f"No weights for {LABELS[part]}"
    return Notice(f"{known}: {INSTEAD[part]}, or get the weights", "weights_missing", GET_WEIGHTS)


def _device(settings: Settings, parts: tuple[str, ...], known: Capabilities) -> list[Notice]:
    """What will compute, where that is not what one would hope for."""
    asked = settings.device.partition(":")[0]
    device = known.auto_device if asked == "auto" else asked
    if device in known.broken_devices:
        return [Notice(f"{DEVICE_LABELS[device]} cannot compute here ({known.broken_devices[device]}): choose CPU as "
                       "Device", "device_unavailable", OPEN_PREFERENCES)]
    if device not in known.devices:
        return [Notice(f"{DEVICE_LABELS.get(device, device)} is chosen as Device, but PyTorch does not see it: choose "
                       "Auto or CPU", "device_unavailable", OPEN_PREFERENCES)]
    return [Notice(_on_the_processor(asked, parts, known), mend=OPEN_PREFERENCES if len(known.devices) > 1 else "")
            ] if device == "cpu" else []


def _on_the_processor(asked: str, parts: tuple[str, ...], known: Capabilities) -> str:
    runs = f"{_listed(parts)} {'run' if len(parts) > 1 else 'runs'} on the processor, slower"
    better = next((DEVICE_LABELS[device] for device in ("cuda", "mps") if device in known.devices), None)
    if asked == "auto":
        return f"No CUDA: {runs}" + (f". To use {better}, choose it as Device" if better else "")
    chosen = f"CPU is chosen as Device: {runs}"
    return f"{chosen}, though {better} is there" if better else chosen


def _listed(parts: tuple[str, ...]) -> str:
    return " and ".join(LABELS[part] for part in parts)
