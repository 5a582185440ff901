"""matte.json: what round-trips, and what is refused whoever wrote it."""

from __future__ import annotations

import json
import math

import pytest
from clips import error_of

from stereodiff_blender.engine.contract import MatteDrawing, MatteLayer, MatteShapes, read_shapes, write_shapes
from stereodiff_blender.engine.contract import matte_shapes as module

TRIANGLE = (0.1, 0.2, 0.9, 0.2, 0.5, 0.8)
LAYER = {"outlines": [list(TRIANGLE)], "blend": "subtract", "opacity": 0.5, "invert": True, "fill": "even_odd"}


def shapes(*frames: int, **layer) -> MatteShapes:
    return MatteShapes(tuple(MatteDrawing(frame, (MatteLayer((TRIANGLE,), **layer),)) for frame in frames))


def test_what_is_written_is_read(tmp_path):
    asked = shapes(-3, 1, 8, blend="difference", opacity=0.25, invert=True, fill="winding")
    write_shapes(tmp_path / "matte.json", asked)
    assert read_shapes(tmp_path / "matte.json") == asked


def test_the_drawing_of_a_frame():
    made = shapes(1, 4)
    assert [made.at(frame).frame for frame in (1, 3, 4, 400)] == [1, 1, 4, 4]
    assert error_of(made.at, 0).code == "matte_incomplete"


@pytest.mark.parametrize("made", [
    MatteShapes(()), shapes(1, 1), shapes(4, 2), shapes(1, blend="multiply"), shapes(1, opacity=1.5),
    shapes(1, fill="nonzero"), MatteShapes((MatteDrawing(1, (MatteLayer(((0.0, 0.0, 1.0, 1.0),)),)),)),
    MatteShapes((MatteDrawing(1, (MatteLayer(((*TRIANGLE, 0.3),)),)),)),
    MatteShapes((MatteDrawing(1, (MatteLayer(((*TRIANGLE, 0.3, 51.0),)),)),)),
])
def test_what_makes_no_sense_is_not_written(made, tmp_path):
    error = error_of(write_shapes, tmp_path / "matte.json", made)
    assert error.code == "matte_invalid" and len(error.message) > 50
    assert not (tmp_path / "matte.json").exists()


@pytest.mark.parametrize("text", [
    "", "[]", "{", json.dumps({"drawings": []}), json.dumps({"drawings": [{"frame": 1, "layers": [LAYER]}], "more": 1}),
    json.dumps({"drawings": [{"frame": 1.5, "layers": [LAYER]}]}),
    json.dumps({"drawings": [{"frame": 1, "layers": [{**LAYER, "feather": 2}]}]}),
    json.dumps({"drawings": [{"frame": 1, "layers": [{**LAYER, "outlines": [[0.1, "0.2", 0.3]]}]}]}),
    json.dumps({"drawings": [{"frame": 1, "layers": [{**LAYER, "outlines": [[*TRIANGLE, math.nan, 0.0]]}]}]}),
    json.dumps({"drawings": [{"frame": 1, "layers": [{**LAYER, "outlines": [[*TRIANGLE, math.inf, 0.0]]}]}]}),
    json.dumps({"drawings": [{"frame": 1, "layers": [LAYER]}], "schema_version": 2}),
])
def test_what_makes_no_sense_is_not_read(text, tmp_path):
    (tmp_path / "matte.json").write_text(text)
    assert error_of(read_shapes, tmp_path / "matte.json").code == "matte_invalid"


def test_whole_numbers_are_coordinates_too(tmp_path):
    layer = {"outlines": [[0, 0, 1, 0, 1, 1]]}
    (tmp_path / "matte.json").write_text(json.dumps({"drawings": [{"frame": 1, "layers": [layer]}]}))
    assert read_shapes(tmp_path / "matte.json").at(1).layers[0].outlines == ((0.0, 0.0, 1.0, 0.0, 1.0, 1.0),)


def test_more_than_memory_should_hold(tmp_path, monkeypatch):
    many = MatteShapes((MatteDrawing(1, (MatteLayer((TRIANGLE * (module.MAX_NUMBERS // 6 + 1),)),)),))
    assert "2 million points" in error_of(many.validate).message
    write_shapes(tmp_path / "matte.json", shapes(1))
    monkeypatch.setattr(module, "MAX_MATTE_BYTES", 100)
    assert error_of(read_shapes, tmp_path / "matte.json").code == "matte_invalid"


def test_no_file(tmp_path):
    assert error_of(read_shapes, tmp_path / "matte.json").code == "matte_missing"
