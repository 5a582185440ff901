"""Which layer of an EXR is matched: the picture that people look at, whatever else the file holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from clips import error_of
from stills_of_every_kind import exr

from stereodiff_blender.engine.media.stills import read_still

PLANE = np.full((8, 12), 0.5, np.float32)
LIGHTS = {"beauty": 0.18, "other": 0.05, "noise": 0.8}
"""Of the picture that is right, of another that would do, and of what is no picture."""
SHOWN = {"beauty": 118, "other": 63, "noise": 231}


def channels(**layers: str) -> dict[str, np.ndarray]:
    """layers: prefix -> which light, "__" for "."; R, G and B each."""
    return {prefix.replace("__", ".") + color: PLANE * 2 * LIGHTS[light] for prefix, light in layers.items()
            for color in "RGB"}


def measured(*names: str) -> dict[str, np.ndarray]:
    return dict.fromkeys(names, PLANE)


def parts(path: Path, *content: tuple[str, dict[str, np.ndarray]]) -> Path:
    """A file of several parts, each (name, channels)."""
    head = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    OpenEXR.File([OpenEXR.Part({**head, "name": name}, own) for name, own in content]).write(str(path))
    return path


@pytest.mark.parametrize("content", [
    channels(**{"": "beauty"}, AO__="noise"),
    {**channels(AO__="noise"), **channels(Combined__="beauty")},
    {**channels(ViewLayer__AO__="noise", ViewLayer__Combined__="beauty", A_first__DiffCol__="other")},
    {**channels(A_first__="other", beauty__="beauty"), **measured("depth.Z")},
    {**channels(AO__="noise", N__="noise", diffuse__="beauty"), **measured("Z")},
    {**channels(Depth__="noise", Cryptomatte00__="noise", Normal1__="noise", light__="beauty")},
    {**channels(mask__="noise", crypto_object00__="noise", fill__="beauty")},
    {**channels(matte__="beauty"), **measured("depth.Z")},
])
def test_the_picture_is_taken_not_the_first_by_name(content, tmp_path):
    assert int(read_still(exr(tmp_path / "a_1.exr", content))[0, 0, 0]) == SHOWN["beauty"]


@pytest.mark.parametrize("content", [
    [("depth", measured("Z")), ("rgba", channels(**{"": "beauty"}))],
    [("AO", channels(**{"": "noise"})), ("beauty", channels(**{"": "beauty"}))],
    [("diffuse", channels(**{"": "other"})), ("ViewLayer.Combined", channels(ViewLayer__Combined__="beauty"))],
    [("N", channels(**{"": "noise"})), ("left", channels(**{"": "beauty"})), ("right", channels(**{"": "other"}))],
    [("ViewLayer.Depth", measured("ViewLayer.Depth.Z")), ("ViewLayer.AO", channels(ViewLayer__AO__="noise")),
     ("ViewLayer.Combined", channels(ViewLayer__Combined__="beauty"))],
])
def test_the_part_with_the_picture_is_taken(content, tmp_path):
    assert int(read_still(parts(tmp_path / "a_1.exr", *content))[0, 0, 0]) == SHOWN["beauty"]


@pytest.mark.parametrize("content", [
    {**channels(AO__="noise"), **measured("Z")}, measured("Z", "A"), channels(Normal__="noise", Vector__="noise")])
def test_measurements_alone_are_no_picture(content, tmp_path):
    error = error_of(read_still, exr(tmp_path / "a_1.exr", content))
    assert error.code == "clip_unreadable" and all(name in error.message for name in content)


def test_channels_in_an_odd_order_of_mixed_precision(tmp_path):
    path = exr(tmp_path / "a_1.exr", {"B": PLANE * 0, "G": (PLANE * 0.36).astype(np.float16), "R": PLANE * 2,
                                      "A": PLANE, "id": np.zeros((8, 12), np.uint32)})
    assert read_still(path)[0, 0].tolist() == [255, 118, 0]


def test_a_deep_file_is_refused_in_words(tmp_path):
    count = np.ones((8, 12), dtype=object)
    for place in np.ndindex(count.shape):
        count[place] = np.array([0.5], np.float32)
    header = {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.deepscanline}
    with OpenEXR.File(header, {name: count.copy() for name in "RGB"}) as file:
        file.write(str(tmp_path / "a_1.exr"))
    error = error_of(read_still, tmp_path / "a_1.exr")
    assert error.code == "clip_unreadable" and "deep" in error.message


def test_luminance_and_chroma_are_refused_in_words(tmp_path):
    path = exr(tmp_path / "a_1.exr", measured("Y", "RY", "BY"))
    data = bytearray(path.read_bytes())
    for name in (b"RY\0", b"BY\0"):
        place = data.index(name) + len(name) + 8
        data[place:place + 8] = b"\2\0\0\0\2\0\0\0"  # one value for two pixels each way
    path.write_bytes(data)
    error = error_of(read_still, path)
    assert error.code == "clip_unreadable" and path.name in error.message
