"""Pointmaps reduced as they come: the same tree as from all pairs at once, and memory that follows the frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pointmap_scenes import neighbor_pairs

from stereodiff_blender.engine.contract.errors import StereoDiffError
from stereodiff_blender.engine.stereo.monst3r.pointmaps import PairPointmaps
from stereodiff_blender.engine.stereo.monst3r.reduction import PointmapReduction, ReducedPointmaps
from stereodiff_blender.engine.stereo.monst3r.spanning_tree import Edge, growing_order, maximum_spanning_tree
from stereodiff_blender.engine.storage.scratch import Scratch

HEIGHT, WIDTH = 3, 4


class CountingScratch(Scratch):
    """Remembers how much it gave away."""

    def __init__(self):
        self.total_bytes = 0

    def allocate(self, name, shape, dtype) -> np.ndarray:
        array = super().allocate(name, shape, dtype)
        self.total_bytes += array.nbytes
        return array


def maps_of(i: int, j: int, *, confidence: float | None = None) -> PairPointmaps:
    """Maps that tell which pair they belong to, with a confidence of its own."""
    generator = np.random.default_rng((i, j))
    sure = generator.uniform(2.0, 6.0, 2) if confidence is None else np.full(2, confidence)
    points = [np.full((HEIGHT, WIDTH, 3), 100 * i + j + role / 2, np.float32) for role in (0, 1)]
    return PairPointmaps(*points, *(np.full((HEIGHT, WIDTH), value, np.float32) for value in sure))


def reduced_from(frame_count: int, pairs) -> ReducedPointmaps:
    reduction = PointmapReduction(frame_count, HEIGHT, WIDTH, Scratch())
    for i, j in pairs:
        reduction.add(i, j, maps_of(i, j))
    return reduction.finish()


def names(tree: list[Edge]) -> list[tuple[int, int]]:
    return [(edge.i, edge.j) for edge in tree]


def all_edges(pairs) -> list[Edge]:
    scores = [[float(c.mean(dtype=np.float64)) for c in (maps.confidence_i, maps.confidence_j)]
              for maps in (maps_of(i, j) for i, j in pairs)]
    return [Edge(i, j, a * b) for (i, j), (a, b) in zip(pairs, scores, strict=True)]


@pytest.mark.parametrize("frame_count", [2, 3, 7, 90])
def test_tree_is_that_of_all_pairs_at_once_in_any_order(frame_count):
    pairs = neighbor_pairs(frame_count)
    expected = names(maximum_spanning_tree(all_edges(pairs), frame_count))
    assert len(expected) == frame_count - 1
    shuffled = [pairs[k] for k in np.random.default_rng(1).permutation(len(pairs))]
    for order in (pairs, pairs[::-1], pairs[::2] + pairs[1::2], shuffled):
        assert names(reduced_from(frame_count, order).tree) == expected


def test_kept_maps_are_those_of_their_pair():
    reduced = reduced_from(60, neighbor_pairs(60))
    for edge in reduced.tree:
        maps = maps_of(edge.i, edge.j)
        assert (reduced.pair_points[edge.slot, 0] == maps.points_i).all()
        assert (reduced.pair_points[edge.slot, 1] == maps.points_j).all()
        assert (reduced.pair_confidence[edge.slot, 0] == maps.confidence_i).all()
        assert (reduced.pair_confidence[edge.slot, 1] == maps.confidence_j).all()


def test_own_map_is_that_of_the_frames_best_pair_and_confidence_the_greatest_of_all():
    pairs = neighbor_pairs(12)
    reduced, edges = reduced_from(12, pairs), all_edges(pairs)
    for frame in range(12):
        best = min((edge for edge in edges if edge.i == frame), key=lambda edge: edge.rank)
        assert (reduced.own_points[frame] == maps_of(best.i, best.j).points_i).all()
        greatest = max(max(maps_of(*pair).confidence_i.max() for pair in pairs if pair[0] == frame),
                       max(maps_of(*pair).confidence_j.max() for pair in pairs if pair[1] == frame))
        assert reduced.confidence[frame].max() == greatest


@pytest.mark.slow
def test_memory_follows_frames_and_not_pairs():
    def taken(frame_count: int, reach: int) -> int:
        scratch = CountingScratch()
        reduction = PointmapReduction(frame_count, HEIGHT, WIDTH, scratch)
        for i, j in neighbor_pairs(frame_count, reach):
            reduction.add(i, j, maps_of(i, j))
        reduction.finish()
        return scratch.total_bytes

    assert taken(200, 8) == taken(200, 1)
    assert taken(800, 2) < 4.1 * taken(200, 2)
    assert taken(800, 2) / (800 * HEIGHT * WIDTH) < 56, "bytes a pixel of each frame, as the docstring promises"


def test_growing_order_tells_which_frame_is_there_already():
    tree = [Edge(4, 5, 9.0), Edge(0, 1, 8.0), Edge(1, 2, 7.0), Edge(3, 4, 6.0), Edge(3, 2, 5.0)]
    steps = [(step.edge.i, step.edge.j, step.turn, step.knows_i, step.knows_j) for step in growing_order(tree)]
    assert steps == [(4, 5, 0, False, False), (3, 4, 0, False, True), (3, 2, 0, True, False), (1, 2, 1, False, True),
                     (0, 1, 2, False, True)]


@pytest.mark.parametrize("seed", range(5))
def test_growing_order_is_that_of_a_queue(seed):
    generator = np.random.default_rng(seed)
    frames = generator.permutation(40)
    edges = [Edge(int(frames[k]), int(frames[generator.integers(0, k)]), float(generator.random()))
             for k in range(1, 40)]
    tree = maximum_spanning_tree(edges, 40)
    waiting, known, expected = list(tree[1:]), {tree[0].i, tree[0].j}, [tree[0]]
    while waiting:
        edge = waiting.pop(0)
        touches = {edge.i, edge.j} & known
        (expected if touches else waiting).append(edge)
        known |= {edge.i, edge.j} if touches else set()
    assert [step.edge for step in growing_order(tree)] == expected


@pytest.mark.parametrize("member", ["points_i", "points_j", "confidence_i", "confidence_j"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused_by_the_frames_name(member, value):
    maps = maps_of(0, 1)
    broken = getattr(maps, member).copy()
    broken.flat[5] = value
    reduction = PointmapReduction(3, HEIGHT, WIDTH, Scratch())
    with pytest.raises(StereoDiffError, match="frames 1 and 2") as caught:
        reduction.add(0, 1, replace(maps, **{member: broken}))
    assert caught.value.code == "network_not_finite"


def test_no_pair_of_use_is_an_error_and_one_is_none():
    def reduce_with(sure_pair) -> ReducedPointmaps:
        reduction = PointmapReduction(4, HEIGHT, WIDTH, Scratch())
        for i, j in neighbor_pairs(4):
            reduction.add(i, j, maps_of(i, j, confidence=3.0 if (i, j) == sure_pair else 1.01))
        return reduction.finish()

    with pytest.raises(StereoDiffError) as caught:
        reduce_with(None)
    assert caught.value.code == "pointmaps_unsure"
    assert reduce_with((1, 2)).is_matched.tolist() == [False, True, True, False]


def test_pairs_that_leave_a_frame_alone_are_refused():
    reduction = PointmapReduction(4, HEIGHT, WIDTH, Scratch())
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        reduction.add(i, j, maps_of(i, j))
    with pytest.raises(ValueError, match="connect"):
        reduction.finish()


@pytest.mark.parametrize(("i", "j"), [(1, 1), (0, 4), (-1, 0)])
def test_what_is_no_pair_is_refused(i, j):
    with pytest.raises(ValueError, match="no pair"):
        PointmapReduction(4, HEIGHT, WIDTH, Scratch()).add(i, j, maps_of(0, 1))


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match="maps must be"):
        PointmapReduction(4, HEIGHT + 1, WIDTH, Scratch()).add(0, 1, maps_of(0, 1))
