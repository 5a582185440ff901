"""Which pairs a clip is registered along: the maximum spanning tree over pair scores. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Edge:
    """An ordered pair of frames and how well it was matched. slot: where its maps are kept."""

    i: int
    j: int
    score: float
    slot: int = -1

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sorts the best edge first; no two edges of a clip are equal."""
        return -self.score, self.i, self.j


@dataclass(frozen=True)
class Step:
    """One edge in the order of registration. turn: in which round its turn comes. knows_i, knows_j: which of its
    frames earlier edges have placed."""

    edge: Edge
    turn: int
    knows_i: bool
    knows_j: bool


def maximum_spanning_tree(edges: Iterable[Edge], frame_count: int) -> list[Edge]:
    """The edges of the maximum spanning tree (a forest if they do not connect all frames), best first.

    Kruskal's algorithm over undirected frames: of a pair matched in both orders at most the better one enters. An edge
    it leaves out is the worst of a cycle and stays out, whatever edges are added later: so pruning a growing set
    again and again gives the same tree as pruning once.
    """
    leader = list(range(frame_count))

    def find(frame: int) -> int:
        while leader[frame] != frame:
            leader[frame] = leader[leader[frame]]
            frame = leader[frame]
        return frame

    tree = []
    for edge in sorted(edges, key=lambda edge: edge.rank):
        root_i, root_j = find(edge.i), find(edge.j)
        if root_i != root_j:
            leader[root_i] = root_j
            tree.append(edge)
    return tree


def growing_order(tree: list[Edge]) -> list[Step]:
    """The edges in the order in which each touches what is placed already, from the best edge outward.

    tree: best first, connected. Edges are taken best first, and those that touch nothing yet once more after all
    others, until none is left (spec: "put back as the last to try"). A walk from the best edge tells in which of
    those rounds an edge's turn comes, so that no list is gone through twice.
    """
    at_frame = defaultdict(list)
    for position, edge in enumerate(tree):
        at_frame[edge.i].append(position)
        at_frame[edge.j].append(position)
    turns = {0: 0}
    placed = {tree[0].i: 0, tree[0].j: 0}
    steps = {0: Step(tree[0], 0, False, False)}
    waiting = [tree[0].i, tree[0].j]
    while waiting:
        frame = waiting.pop()
        for position in at_frame[frame]:
            if position in turns:
                continue
            before = placed[frame]
            turns[position] = turns[before] + (position < before)
            edge = tree[position]
            steps[position] = Step(edge, turns[position], edge.i == frame, edge.j == frame)
            other = edge.j if edge.i == frame else edge.i
            placed[other] = position
            waiting.append(other)
    return [steps[position] for position in sorted(turns, key=lambda position: (turns[position], position))]
