"""Which frames meet which: the paper's graph, and the graphs of the original."""

from __future__ import annotations

import pytest
from golden import golden_json

from stereodiff_blender.engine.stereo.monst3r.pairs import graph_pairs, window_pairs


@pytest.mark.parametrize(("count", "reach"), [(2, 1), (2, 2), (3, 2), (10, 2), (50, 3), (4, 9)])
def test_every_frame_meets_the_next_ones_both_ways(count, reach):
    pairs = window_pairs(count, reach)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(i, j) for i in range(count) for j in range(count) if 0 < abs(i - j) <= reach}


def test_number_of_pairs_is_the_papers():
    count, reach = 30, 2
    assert len(window_pairs(count)) == 2 * (reach * count - reach * (reach + 1) // 2)


def test_couples_stand_side_by_side():
    pairs = window_pairs(9, 2)
    assert pairs[1::2] == [(j, i) for i, j in pairs[::2]]


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_going_through_the_pairs_needs_few_frames_at_a_time(reach):
    pairs = window_pairs(40, reach)
    first, last = {}, {}
    for position, pair in enumerate(pairs):
        for frame in pair:
            first.setdefault(frame, position)
            last[frame] = position
    at_once = [sum(first[f] <= position <= last[f] for f in first) for position in range(len(pairs))]
    assert max(at_once) == reach + 1


@pytest.mark.parametrize(("count", "reach"), [(1, 2), (0, 1), (5, 0)])
def test_no_pairs_of_nothing(count, reach):
    with pytest.raises(ValueError, match="make no pairs"):
        window_pairs(count, reach)


def test_golden_pairs():
    """As sets: the original draws its pairs from a set, in the order of hashes, which no other program can repeat.
    What its order does say is checked: reversed pairs follow all forward ones, in step with them. Pairs of a frame
    with itself, which it doubles, count once."""
    rows = golden_json("monst3r", "pairs.json")
    assert rows
    for row in rows:
        found = graph_pairs(row["n"], row["graph"], symmetrize=row["symmetrize"])
        assert len(found) == len(set(found))
        if "pairs" not in row:
            assert len(found) == row["count"], row
            continue
        expected = [tuple(pair) for pair in row["pairs"]]
        assert set(found) == set(expected), (row["n"], row["graph"], row["symmetrize"])
        if row["symmetrize"] and not row["graph"].startswith(("oneref", "swin-1")):
            half = len(expected) // 2
            assert expected[half:] == [(j, i) for i, j in expected[:half]]
            assert set(found) == {(j, i) for i, j in found}


def test_golden_pairs_hold_the_papers_graph():
    """Neighbors at distances up to n, without the ring, are what window_pairs gives."""
    rows = [row for row in golden_json("monst3r", "pairs.json")
            if row["graph"] == "swin-3-noncyclic" and row["symmetrize"] and "pairs" in row]
    assert rows
    for row in rows:
        assert set(window_pairs(row["n"], 3)) == {tuple(pair) for pair in row["pairs"]}


@pytest.mark.parametrize("graph", ["", "ring", "swin-", "swin-x", "-noncyclic", "Swin-3"])
def test_unknown_graph_is_refused(graph):
    with pytest.raises(ValueError, match="is no graph of pairs"):
        graph_pairs(5, graph)
