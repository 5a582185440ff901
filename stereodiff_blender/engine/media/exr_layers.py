"""Which layer of an EXR is the picture: the one that people look at, never depth, normals or another measurement.

An EXR has parts, and a part has layers: R, G and B with a common prefix. Blender shows its own "Combined".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import OpenImageIO as oiio  # noqa: N813 - as its own documentation has it

from ..contract import StereoDiffError

_COLORS = (("R", "G", "B"), ("r", "g", "b"), ("red", "green", "blue"))
_GRAYS = ("Y", "V")
_PICTURES = (frozenset({"combined"}), frozenset({"beauty", "rgba", "rgb"}))
"""Names of layers that are the picture itself, the surest first."""
_MEASUREMENTS = frozenset((
    "depth", "zdepth", "z", "zbuffer", "mist", "ao", "ambientocclusion", "occlusion", "normal", "normals", "n", "nn",
    "ng", "position", "positions", "p", "pos", "pworld", "pref", "worldposition", "uv", "uvs", "st", "vector",
    "vectors", "velocity", "motion", "motionvector", "motionvectors", "mv", "flow", "id", "ids", "objectid",
    "materialid", "indexob", "indexma", "cryptomatte", "crypto", "cryptoobject", "cryptomaterial", "cryptoasset",
    "samples", "sampleinfo", "variance", "facing", "fresnel", "denoisingdepth", "denoisingnormal"))
"""Names of layers whose colors stand for something else, without their digits: crypto00, normal2."""
_ASIDE = frozenset(("alpha", "mask", "matte", "coverage", "shadow", "shadows", "albedo", "denoisingalbedo"))
"""Names of layers that may be looked at, and are the picture only where nothing else is."""
_BARE, _NAMED, _OTHER, _LAST, _NONE = 0, 1, 3, 4, 9


@dataclass(frozen=True)
class Layer:
    """part: of the file. channels: three of color, or one of gray, by their places in the part."""

    part: int
    channels: tuple[int, ...]

    @classmethod
    def first_of(cls, spec: oiio.ImageSpec) -> Layer:
        """Of a picture without layers, in whatever order its channels are; two of them are gray and alpha."""
        names = spec.channelnames
        if all(color in names for color in "RGB"):
            return cls(0, tuple(names.index(color) for color in "RGB"))
        return cls(0, (0, 1, 2) if spec.nchannels >= 3 else (0,))


def color_layer(file: oiio.ImageInput, path: Path) -> Layer:
    """Bare R, G and B; else Combined; else a layer named as the picture; else the first that is no measurement; else
    gray, or the only channel. Raises StereoDiffError "clip_unreadable" naming the channels that there are."""
    parts = list(_parts(file))
    found = [(_rank(words), Layer(part, places)) for part, label, names in parts
             for words, places in _layers(label if len(parts) > 1 else "", names)]
    best = min(found, key=lambda entry: entry[0], default=(_NONE, None))
    if best[0] < _NONE:
        return best[1]
    gray = _gray(parts)
    if gray is None:
        channels = ", ".join(name for _, _, names in parts for name in names)
        raise StereoDiffError("clip_unreadable", f"{path} has no color channels, only {channels}.")
    return gray


def _parts(file: oiio.ImageInput) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Number, name and channels of each."""
    part = 0
    while (spec := file.spec(part, 0)).nchannels:
        yield part, spec.getattribute("oiio:subimagename") or "", tuple(spec.channelnames)
        part += 1


def _layers(label: str, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Name, as words, and channels of every layer that has three colors. label: the part's name, where it has one."""
    places = {name: place for place, name in enumerate(names)}
    for name in names:
        prefix, dot, color = name.rpartition(".")
        for colors in _COLORS:
            wanted = [prefix + dot + other for other in colors]
            if color == colors[0] and all(other in places for other in wanted):
                yield _words(prefix or label), tuple(places[other] for other in wanted)


def _words(name: str) -> tuple[str, ...]:
    return tuple(re.sub(r"\d+$", "", word) for word in re.split(r"[.\s_:-]+", name.lower()) if word)


def _rank(words: tuple[str, ...]) -> int:
    if not words:
        return _BARE
    for better, names in enumerate(_PICTURES):
        if not names.isdisjoint(words):
            return _NAMED + better
    if not _MEASUREMENTS.isdisjoint((*words, "".join(words[-2:]))):
        return _NONE
    return _OTHER if _ASIDE.isdisjoint((*words, "".join(words[-2:]))) else _LAST


def _gray(parts: list[tuple[int, str, tuple[str, ...]]]) -> Layer | None:
    for part, _, names in parts:
        for name in (*_GRAYS, *(names if len(names) == len(parts) == 1 else ())):
            if name in names:
                return Layer(part, (names.index(name),))
    return None
