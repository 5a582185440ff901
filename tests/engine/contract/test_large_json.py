"""Large JSON is read in turns, and as Python's own reader does."""

from __future__ import annotations

import json
import random
import threading
import time

import pytest

from stereodiff_blender.engine.contract.job_files import large_json
from stereodiff_blender.engine.contract.job_files.large_json import read_json

FRAMES = {"version": 1, "frames": [{"frame": n, "at": [[1.0, -2.5e-3, n], []], "name": "ü\"\\ "} for n in range(900)],
          "none": [], "nothing": {}, "quality": {"unsolved": [1, 2], "share": None}, "is": True, "text": ""}


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("content", [FRAMES, {}, {"a": []}, {"a": [1]}, {"a": 1, "b": [[], {}]}])
def test_what_is_read_is_what_was_written(content, indent, monkeypatch):
    monkeypatch.setattr(large_json, "SMALL", 0)
    text = json.dumps(content, indent=indent)
    assert read_json(text) == read_json(f" \n{text}\t\r\n") == content


def test_a_number_at_the_end_of_what_may_be_taken_is_not_cut(monkeypatch):
    monkeypatch.setattr(large_json, "SMALL", 0)
    monkeypatch.setattr(large_json, "MAX_ITEM", 8)
    for digits in range(1, 8):
        content = {"a": [int("7" * digits), 1]}
        assert read_json(json.dumps(content)) == content


@pytest.mark.parametrize("text", [
    "", "[]", "1", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{"a" 1}', '{"a":[', '{"a":[1', '{"a":[1,',
    '{"a":[1,]}', '{"a":[,1]}', '{"a":[1 2]}', '{"a":[1}', '{1:2}', '{a:1}', '{"a":1}x', '{"a":1}{}', "{,}",
    '{"a":nul}', "\0", '{"a":"\n"}', '{"a":' + "[" * 100_000, '{"a":[' + "[" * 60_000,
])
def test_what_is_no_object_is_refused(text, monkeypatch):
    monkeypatch.setattr(large_json, "SMALL", 0)
    with pytest.raises((ValueError, RecursionError)):
        read_json(text)


def test_damage_is_refused_as_pythons_own_reader_does(monkeypatch):
    monkeypatch.setattr(large_json, "SMALL", 0)
    text, chance = json.dumps({**FRAMES, "frames": FRAMES["frames"][:3]}), random.Random(5)
    for _ in range(1500):
        at = chance.randrange(len(text))
        damaged = text[:at] + chance.choice(['"', ",", "}", "]", "[", "{", ":", "", " ", "7", "\\"]) + text[at + 1:]
        assert attempt(read_json, damaged) == attempt(json.loads, damaged), damaged


def attempt(read, text: str):
    try:
        return read(text)
    except ValueError:
        return "refused"


def test_items_of_all_lengths_are_read(monkeypatch):
    content = {"a": ["x" * length for length in [*range(1900, 2100), 15_990, 16_010, 60_000]],
               "b": [int("7" * length) for length in range(1990, 2010)], "c": {"d": "y" * 500_000}}
    assert read_json(json.dumps(content)) == content


@pytest.mark.slow
@pytest.mark.parametrize("content", [{"a": ["x" * 70_000]}, {"a": {"b": "x" * 2_000_001}}, {"a": [1] * 300_000}])
def test_one_huge_piece_is_refused(content):
    with pytest.raises(ValueError):
        read_json(json.dumps(content))


@pytest.mark.slow
def test_others_have_their_turn_meanwhile():
    """Python's own reader would let this thread on once or twice."""
    text = json.dumps({"frames": FRAMES["frames"] * 150})
    reading = threading.Thread(target=read_json, args=(text,))
    reading.start()
    turns = 0
    while reading.is_alive():
        time.sleep(0.0005)
        turns += 1
    assert turns > 50
