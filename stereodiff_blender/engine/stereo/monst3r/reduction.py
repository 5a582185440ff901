"""Pointmaps of all pairs, reduced as they come to what registration needs: memory grows with frames, not pairs.

Registration needs the maps of the edges of the maximum spanning tree, one map of every frame in its own camera's axes,
and the greatest confidence of every pixel. The tree is known only when the last pair has come, but an edge that is
the worst of a cycle among the pairs so far never enters it. So the maps of a forest are kept, at most one pair for
every frame but the first, with a few more places so that pruning (n log n) is seldom; what is pruned gives its place
to later pairs. The result is exactly that of keeping every pair, in whatever order they come.

Cost at n = 2 for T frames: 54 H W bytes a frame in the job's scratch (8 MB at 512x288), against 8 maps a frame, 128 H W
bytes, for all pairs; and time T log T besides one pass over each map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...contract import StereoDiffError
from ...storage import Scratch, as_text_array, checksum, from_text_array
from .pointmaps import PairPointmaps
from .spanning_tree import Edge, maximum_spanning_tree

MIN_CONFIDENCE = 1.1
"""Confidence above which a pixel counts; the network's least is 1."""
SURE_SHARE = 0.05
"""Share of the pixels of both maps that must count for a pair to be of use."""
MIN_SPARE, SPARE_SHARE = 8, 16


@dataclass(frozen=True)
class ReducedPointmaps:
    """What is left of the pointmaps of T frames.

    tree: edges of the maximum spanning tree, best first. pair_points: (S,2,H,W,3), pair_confidence: (S,2,H,W), the two
    maps of the edge in each slot. own_points: (T,H,W,3), own_confidence: (T,H,W): each frame in its own camera's axes,
    out of its best pair. confidence: (T,H,W) greatest over all maps of a frame. All float32.
    is_matched: (T,) bool, whether the frame has a pair of use.
    """

    tree: list[Edge]
    pair_points: np.ndarray
    pair_confidence: np.ndarray
    own_points: np.ndarray
    own_confidence: np.ndarray
    confidence: np.ndarray
    is_matched: np.ndarray
    scratch: Scratch

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, H, W."""
        return self.confidence.shape


class PointmapReduction:
    """Takes the pairs of a clip one by one, in any order.

    frame_count: T >= 2. height, width: of every map. scratch: of the job, for all large arrays. order: the pairs as
    they will come, if a run that was broken off is to be continued. done: how many have been taken in, by that run too.
    """

    def __init__(self, frame_count: int, height: int, width: int, scratch: Scratch,
                 order: Sequence[tuple[int, int]] = ()):
        if frame_count < 2:
            raise ValueError(f"pairs need at least two frames, got {frame_count}")
        self.size = (height, width)
        self.frame_count = frame_count
        slots = frame_count - 1 + max(MIN_SPARE, frame_count // SPARE_SHARE)
        self._free = list(range(slots))[::-1]
        self._kept: list[Edge] = []
        self._best_own = [Edge(frame, frame_count, -np.inf) for frame in range(frame_count)]
        self._is_matched = np.zeros(frame_count, bool)
        self._scratch = scratch
        self._pair_points = scratch.open_array("pair_points", (slots, 2, *self.size, 3), np.float32)
        self._pair_confidence = scratch.open_array("pair_confidence", (slots, 2, *self.size), np.float32)
        self._own_points = scratch.open_array("own_points", (frame_count, *self.size, 3), np.float32)
        self._own_confidence = scratch.open_array("own_confidence", (frame_count, *self.size), np.float32)
        self._confidence = scratch.open_array("pointmap_confidence", (frame_count, *self.size), np.float32)
        self._checksums: dict[str, int] = {}
        self.done = 0
        if not self._resumed(order):
            for confidence in self._confidence:
                confidence[:] = 0.0

    # -- from one run to the next --

    def _note(self) -> None:
        """Keep what is known so far for a run that goes on from here."""
        edges = [(edge.i, edge.j, edge.score, edge.slot) for edge in (*self._kept, *self._best_own)]
        self._scratch.save("pairs", {
            "done": np.array(self.done), "free": np.array(self._free, np.int64),
            "edges": np.array(edges, np.float64).reshape(-1, 4), "kept": np.array(len(self._kept)),
            "is_matched": self._is_matched, "checksums": as_text_array(self._checksums)})

    def _resumed(self, order: Sequence[tuple[int, int]]) -> bool:
        """Whether an earlier run has left something whole, which is then what is known.

        The pair that was being taken in when that run ended may be half written. It does no harm: it comes again, and
        writes the same into the same places.
        """
        stored = self._scratch.load("pairs")
        if stored is None or stored["is_matched"].shape != self._is_matched.shape:
            return False
        edges = [Edge(int(i), int(j), float(score), int(slot)) for i, j, score, slot in stored["edges"]]
        done, kept = int(stored["done"]), int(stored["kept"])
        begun = order[done] if done < len(order) else ()
        unsure = [f"{kind} {frame}" for frame in begun for kind in ("own", "frame")]
        checksums = from_text_array(stored["checksums"])
        if any(checksum(self._parts_called(name)) != expected for name, expected in checksums.items()
               if name not in unsure):
            return False
        self._kept, self._best_own, self._free = edges[:kept], edges[kept:], stored["free"].tolist()
        self._is_matched, self._checksums, self.done = stored["is_matched"], checksums, done
        return True

    def _parts_called(self, name: str) -> list[np.ndarray]:
        kind, place = name.split()
        arrays = {"slot": (self._pair_points, self._pair_confidence), "own": (self._own_points, self._own_confidence),
                  "frame": (self._confidence,)}
        return [array[int(place)] for array in arrays[kind]]

    def _sign(self, *names: str) -> None:
        self._checksums.update({name: checksum(self._parts_called(name)) for name in names})
        live = {f"slot {edge.slot}" for edge in self._kept}
        self._checksums = {name: value for name, value in self._checksums.items()
                           if not name.startswith("slot") or name in live}

    # -- pairs --

    def add(self, i: int, j: int, maps: PairPointmaps) -> None:
        """Take in one pair. Raises StereoDiffError "network_not_finite" if its maps hold other than finite numbers."""
        self._check(i, j, maps)
        mean_i, mean_j = (float(c.mean(dtype=np.float64)) for c in (maps.confidence_i, maps.confidence_j))
        for frame, confidence in ((i, maps.confidence_i), (j, maps.confidence_j)):
            np.maximum(self._confidence[frame], confidence, out=self._confidence[frame])
        if min(float((c > MIN_CONFIDENCE).mean()) for c in (maps.confidence_i, maps.confidence_j)) >= SURE_SHARE:
            self._is_matched[[i, j]] = True
        slot = self._store(i, j, mean_i * mean_j, maps)
        self.done += 1
        if not self._free:
            self._prune()
        self._sign(f"slot {slot}", f"own {i}", f"frame {i}", f"frame {j}")
        self._note()

    def finish(self) -> ReducedPointmaps:
        """What is left after the last pair.

        Raises StereoDiffError "pointmaps_unsure" if no pair is of use, ValueError if the pairs leave frames apart.
        """
        if not self._is_matched.any():
            raise StereoDiffError("pointmaps_unsure", "No two frames could be matched with any confidence.")
        self._prune()
        if len(self._kept) < self.frame_count - 1:
            raise ValueError(f"the pairs do not connect all {self.frame_count} frames")
        if any(edge.score == -np.inf for edge in self._best_own):
            raise ValueError("every frame must come first in a pair")
        return ReducedPointmaps(self._kept, self._pair_points, self._pair_confidence, self._own_points,
                                self._own_confidence, self._confidence, self._is_matched, self._scratch)

    def _check(self, i: int, j: int, maps: PairPointmaps) -> None:
        if i == j or not (0 <= i < self.frame_count and 0 <= j < self.frame_count):
            raise ValueError(f"({i}, {j}) is no pair of {self.frame_count} frames")
        for points, confidence in ((maps.points_i, maps.confidence_i), (maps.points_j, maps.confidence_j)):
            if points.shape != (*self.size, 3) or confidence.shape != self.size:
                raise ValueError(f"maps must be {(*self.size, 3)} and {self.size}, got {points.shape} and "
                                 f"{confidence.shape}")
            if not (np.isfinite(points).all() and np.isfinite(confidence).all()):
                raise StereoDiffError("network_not_finite", f"The pointmaps of frames {i + 1} and {j + 1} of the range "
                                                            "hold numbers that are not finite.")

    def _store(self, i: int, j: int, score: float, maps: PairPointmaps) -> int:
        """The slot that the pair is put into; there is always a free one, so that no kept pair is written over."""
        edge = Edge(i, j, score, self._free.pop())
        if edge.rank < self._best_own[i].rank:
            self._best_own[i] = edge
            self._own_points[i], self._own_confidence[i] = maps.points_i, maps.confidence_i
        points, confidence = self._pair_points[edge.slot], self._pair_confidence[edge.slot]
        points[0], points[1] = maps.points_i, maps.points_j
        confidence[0], confidence[1] = maps.confidence_i, maps.confidence_j
        self._kept.append(edge)
        return edge.slot

    def _prune(self) -> None:
        forest = maximum_spanning_tree(self._kept, self.frame_count)
        used = {edge.slot for edge in forest}
        self._free += [edge.slot for edge in self._kept if edge.slot not in used]
        self._kept = forest
