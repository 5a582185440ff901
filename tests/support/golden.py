"""Reference vectors, made by running the original code: tests/data/golden, which holds monst3r/ and depthcrafter/.

Sizes, seeds and configurations are the files' own.
"""

from __future__ import annotations

import ast
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent.parent / "data" / "golden"


def golden_file(part: str, name: str) -> Path:
    """A reference file of "monst3r" or "depthcrafter"."""
    return GOLDEN / part / name


def golden_json(part: str, name: str):
    return json.loads(golden_file(part, name).read_text(encoding="utf-8"))


def tensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file."""
    from safetensors.numpy import load_file  # no more than the tests that read golden files need it
    return load_file(path)


def metadata(path: Path) -> dict[str, object]:
    """The file's own words, each as the Python value it spells (a number, a tuple, None), else as text."""
    from safetensors import safe_open
    with safe_open(path, framework="numpy") as content:
        return {name: _value(text) for name, text in (content.metadata() or {}).items()}


def _value(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def formula_tensor(key: str, shape: tuple[int, ...], rule: Mapping[str, object]) -> np.ndarray:
    """A parameter made from its name, as the reference vectors' README lays down.

    rule: "salt", "gain" and "head4_gain", from the metadata of the file that goes with it.
    """
    seed = (zlib.crc32(key.encode()) + int(rule["salt"])) % 2**32
    normal = np.random.RandomState(seed).standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)
    if len(shape) >= 2:
        gain = rule["head4_gain"] if key.endswith("head.4.weight") else rule["gain"]
        return normal * np.float32(float(gain) / np.sqrt(np.prod(shape[1:])))
    if key.endswith(".weight"):
        return np.float32(1) + np.float32(0.1) * normal
    return np.float32(0.05) * normal


def first_of_aliases(key: str) -> str:
    """The name whose numbers a doubly named tensor takes."""
    return re.sub(r"\.layer_rn\.(\d)\.", lambda found: f".layer{int(found[1]) + 1}_rn.", key)
