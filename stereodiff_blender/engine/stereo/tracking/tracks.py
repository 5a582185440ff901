"""Feature tracks: which scene points are seen where, frame by frame, and choices among them. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

MIN_COMMON_TRACKS = 12


@dataclass(frozen=True)
class Tracks:
    """Observations of scene points in the frames of a clip.

    frame_count: T. size: (width, height) of the raster. points: P, the number of tracks.
    frame: (N,) int, ascending. point: (N,) int in 0..P-1, ascending within a frame, at most once per frame.
    pixels: (N,2) float64 raster pixels, centers at +0.5. measured_px: side of a pixel of the pictures that they were
    measured in, in pixels of the raster: 1 but for those refined on a larger plate.
    """

    frame_count: int
    size: tuple[int, int]
    points: int
    frame: np.ndarray
    point: np.ndarray
    pixels: np.ndarray
    measured_px: float = 1.0

    def as_arrays(self) -> dict[str, np.ndarray]:
        """What from_arrays makes the same tracks of."""
        return {"numbers": np.array([self.frame_count, *self.size, self.points]), "frame": self.frame,
                "point": self.point, "pixels": self.pixels, "measured_px": np.array(self.measured_px)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Tracks:
        frame_count, width, height, points = arrays["numbers"].tolist()
        return cls(frame_count, (width, height), points, arrays["frame"], arrays["point"], arrays["pixels"],
                   float(arrays["measured_px"]))

    def in_frame(self, index: int) -> slice:
        """The observations of one frame."""
        return slice(*np.searchsorted(self.frame, [index, index + 1]))

    def observed(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (n,) and pixels (n,2) of one frame."""
        rows = self.in_frame(index)
        return self.point[rows], self.pixels[rows]

    def common(self, index_i: int, index_j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (n,) seen in both frames, and their pixels (n,2) in each."""
        points_i, pixels_i = self.observed(index_i)
        points_j, pixels_j = self.observed(index_j)
        shared, rows_i, rows_j = np.intersect1d(points_i, points_j, assume_unique=True, return_indices=True)
        return shared, pixels_i[rows_i], pixels_j[rows_j]

    @property
    def per_frame(self) -> np.ndarray:
        """Number of observations in each frame, (T,)."""
        return np.bincount(self.frame, minlength=self.frame_count)

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames that see each point, (P,)."""
        return np.bincount(self.point, minlength=self.points)

    def select(self, chosen: np.ndarray) -> Tracks:
        """Those observations, chosen (N,) bool, with the points numbered anew."""
        names, point = np.unique(self.point[chosen], return_inverse=True)
        return replace(self, points=len(names), frame=self.frame[chosen], point=point.reshape(-1),
                       pixels=self.pixels[chosen])


def longest_linked_run(tracks: Tracks) -> np.ndarray:
    """The frames of the longest run in which tracks go on from each to the next.

    A frame without tracks (a flash) is passed over if tracks lead across it; at a cut a run ends.

    Parameters
    ----------
    tracks : Tracks
        Of T frames.

    Returns
    -------
    ndarray
        (T,) bool; all false where no frame has enough tracks.
    """
    usable = np.flatnonzero(tracks.per_frame >= MIN_COMMON_TRACKS)
    chosen = np.zeros(tracks.frame_count, bool)
    if not len(usable):
        return chosen
    linked = [len(tracks.common(i, j)[0]) >= MIN_COMMON_TRACKS for i, j in zip(usable[:-1], usable[1:], strict=True)]
    runs = np.split(usable, np.flatnonzero(~np.array(linked, bool)) + 1)
    chosen[max(runs, key=len)] = True
    return chosen


def thin_tracks(tracks: Tracks, *, per_frame: int, min_length: int, cells: int = 12) -> Tracks:
    """At most about per_frame observations a frame: the longest tracks, spread over a grid.

    A track stays if in at least half of its frames it is among the longest of its cell and of the frame.

    Parameters
    ----------
    tracks : Tracks
        In pixels of the raster.
    per_frame : int
        About how many observations a frame may keep.
    min_length : int
        Tracks seen in fewer frames go.
    cells : int
        The grid has so many rows and columns.

    Returns
    -------
    Tracks
        Those that stay, numbered anew.
    """
    tracks = tracks.select(tracks.lengths[tracks.point] >= min_length)
    if not len(tracks.frame):
        return tracks
    width, height = tracks.size
    column = np.clip(tracks.pixels[:, 0] * cells / width, 0, cells - 1).astype(np.int64)
    row = np.clip(tracks.pixels[:, 1] * cells / height, 0, cells - 1).astype(np.int64)
    length = tracks.lengths[tracks.point]
    in_cell = _rank_within(tracks.frame * cells * cells + row * cells + column, -length)
    is_spread = in_cell < int(np.ceil(1.6 * per_frame / cells**2))
    in_frame = _rank_within(tracks.frame, np.where(is_spread, -length, 0))
    chosen = is_spread & (in_frame < per_frame)
    share = np.bincount(tracks.point, chosen, tracks.points) / tracks.lengths
    return tracks.select(share[tracks.point] >= 0.5)


def _rank_within(group: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Position of each element in its group when the group is sorted by key (ties in the given order)."""
    order = np.lexsort((key, group))
    sorted_group = group[order]
    starts = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    return rank
