"""Which frames are matched with which. Pure: numbers in, numbers out.

A pair (i, j) of 0-based frame indices is ordered: the network gives both frames' points in camera i's axes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REACH = 2
"""The paper's n: each frame is matched with so many that follow it."""

Pair = tuple[int, int]


def window_pairs(count: int, reach: int = REACH) -> list[Pair]:
    """Every frame with each of the next `reach` frames, in both orders (the paper's stage 1).

    2 (count * reach - reach (reach + 1) / 2) pairs for count > reach. Sorted by the later frame, the two orders of a
    couple side by side, so that whoever goes through them needs no more than reach + 1 neighboring frames at a time.
    Raises ValueError for fewer than two frames or a reach below 1.
    """
    if count < 2 or reach < 1:
        raise ValueError(f"{count} frames and a reach of {reach} make no pairs")
    return [pair for later in range(1, count) for earlier in range(max(0, later - reach), later)
            for pair in ((earlier, later), (later, earlier))]


# --- The graphs of the original ----------------------------------------------------------------------------------

_GRAPH = re.compile(r"(?P<kind>[a-z0-9_]+?)(?:-(?P<number>\d+))?(?P<open>-noncyclic)?")
DEFAULT_SIZE = 3


def graph_pairs(count: int, graph: str, *, symmetrize: bool = True) -> list[Pair]:
    """The pairs that MonST3R knows by a name, such as "swinstride-5-noncyclic". Sorted; no pair twice.

    complete            all with all
    oneref[-r]          frame r with every frame, itself included
    swin-w              neighbors at distance 1..w                 swinstride-w   at 1, 3, 5, .. 2w - 1
    swinskip_start-w    at 2..w + 1                                 swin2stride-w  at 1, 4, 7, .. 3w - 2
    logwin-w            at 1, 2, 4, .. 2^(w - 1) on either side
    w is 3 if not given. The clip counts as a ring, in which a frame can meet itself, unless -noncyclic is appended.
    symmetrize: with every pair its reverse, except those of oneref and swin-1; two frames always have both.
    Raises ValueError for a name that is none of these.
    """
    parsed = _GRAPH.fullmatch(graph)
    kind = parsed["kind"] if parsed else graph
    number = int(parsed["number"]) if parsed and parsed["number"] else None
    if kind == "complete":
        pairs = {(later, earlier) for later in range(count) for earlier in range(later)}
    elif kind == "oneref":
        pairs = {(number or 0, other) for other in range(count)}
    else:
        pairs = _neighbors(count, _distances(kind, DEFAULT_SIZE if number is None else number), parsed["open"] is None)
        if kind == "logwin":
            pairs = {(i, j) for i, j in pairs if i != j}
    stays_one_way = kind == "oneref" or (kind == "swin" and number == 1)
    if (symmetrize and not stays_one_way) or count == 2:
        pairs |= {(j, i) for i, j in pairs}
    return sorted(pairs)


def _distances(kind: str, size: int) -> list[int]:
    known = {"swin": range(1, size + 1), "swinstride": range(1, 2 * size, 2), "swin2stride": range(1, 3 * size, 3),
             "swinskip_start": range(2, size + 2), "logwin": [2**power for power in range(size)]}
    if kind not in known:
        raise ValueError(f"{kind!r} is no graph of pairs")
    return list(known[kind])


def _neighbors(count: int, distances: Iterable[int], is_ring: bool) -> set[Pair]:
    """Each couple once, the smaller index first."""
    ends = [(i, i + distance) for distance in distances for i in range(count)]
    inside = [(i, j % count) for i, j in ends if is_ring or j < count]
    return {(min(pair), max(pair)) for pair in inside}
