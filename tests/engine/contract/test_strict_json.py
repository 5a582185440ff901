"""JSON that is almost right is refused, and says where it is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from stereodiff_blender.engine.contract.strict_json import from_dict, to_dict, write_json_atomically


@dataclass(frozen=True)
class Part:
    name: str
    size: float | None = None


@dataclass(frozen=True)
class Whole:
    count: int
    flag: bool
    parts: tuple[Part, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)
    times: dict[str, float] = field(default_factory=dict)


WHOLE = Whole(3, True, (Part("a"), Part("b", 2.5)), (1.0, 2.0), {"read": 0.25})


def test_round_trip_through_text():
    assert from_dict(Whole, json.loads(json.dumps(to_dict(WHOLE)))) == WHOLE


def test_whole_numbers_serve_as_floats():
    assert from_dict(Whole, {"count": 1, "flag": False, "pair": [1, 2]}).pair == (1.0, 2.0)


@pytest.mark.parametrize(("data", "complaint"), [
    ([], "Whole must be an object"),
    ({"count": 1}, "flag"),
    ({"count": 1, "flag": True, "color": 1}, "no 'color'"),
    ({"count": "1", "flag": True}, "Whole.count must be int, got str"),
    ({"count": True, "flag": True}, "Whole.count must be int, got bool"),
    ({"count": 1.0, "flag": True}, "Whole.count must be int, got float"),
    ({"count": 1, "flag": 1}, "Whole.flag must be bool"),
    ({"count": 1, "flag": True, "pair": [1, 2, 3]}, "Whole.pair must have 2 members"),
    ({"count": 1, "flag": True, "pair": "ab"}, "Whole.pair must be a list"),
    ({"count": 1, "flag": True, "pair": [1, True]}, "Whole.pair must be float"),
    ({"count": 1, "flag": True, "pair": [1, float("nan")]}, "Whole.pair must be finite"),
    ({"count": 1, "flag": True, "parts": [{"name": 4}]}, "Part.name must be str"),
    ({"count": 1, "flag": True, "parts": [{"name": "a", "size": float("inf")}]}, "Part.size must be finite"),
    ({"count": 1, "flag": True, "parts": [{"name": None}]}, "Part.name must be str"),
    ({"count": 1, "flag": True, "times": []}, "Whole.times must be an object"),
    ({"count": 1, "flag": True, "times": {"read": "long"}}, "Whole.times"),
])
def test_refusal_names_the_place(data, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_dict(Whole, data)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "data.json"
    path.write_text("old")
    write_json_atomically(path, {"new": 1})
    assert json.loads(path.read_text()) == {"new": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "data.json"
    path.write_text("old")
    with pytest.raises(ValueError):
        write_json_atomically(path, {"new": float("nan")})
    assert path.read_text() == "old"
