"""Which moving region of a frame is which thing: linked through time along the flow, and how much each one grows.

Works on every GRID_STEP_PX-th pixel: flow to the frame before is kept for those alone, so that things can be linked
when all masks are known, long after the flow itself has been dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import find_regions

GRID_STEP_PX = 4
MIN_OVERLAP = 0.25
NECK_SHARE = 1.0 / 36
"""Of the picture's height, that may be missing between parts of one upright thing."""
MIN_SIDE_BY_SIDE = 0.5
"""Share of the narrower region's columns that lie above or below the other's, for both to be parts of one thing."""
MIN_SAMPLES = 24
GROWTH_ROUNDS = 6
GROWTH_NOISE_PX = 0.4
MIN_GROWTH_SIGMA, MAX_GROWTH_SIGMA = 0.006, 0.015
CORRELATED_SAMPLES = 12.0
"""Neighboring flow vectors err alike: so many samples are worth one."""
WIDTH_WEIGHT = 0.1
"""Legs and arms swing sideways more than up and down."""


@dataclass(frozen=True)
class Growth:
    """How a thing's picture changed from the frame before: natural logarithm of its scale, and standard deviation."""

    log_scale: float
    sigma: float


UNKNOWN_GROWTH = Growth(0.0, 0.02)
"""Nothing was measured: things rarely come nearer faster than this share per frame."""


def coarse_flow(flow: np.ndarray) -> np.ndarray:
    """Every GRID_STEP_PX-th vector of a flow, as float16.

    Parameters
    ----------
    flow : ndarray
        (H,W,2) in pixels.

    Returns
    -------
    ndarray
        (h,w,2) float16, still in pixels of the raster; (h,w) as of coarse_shape.
    """
    return flow[GRID_STEP_PX // 2::GRID_STEP_PX, GRID_STEP_PX // 2::GRID_STEP_PX].astype(np.float16)


def coarse_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of coarse_flow's answer for a raster.

    Parameters
    ----------
    height, width : int
        Of the raster, in pixels.

    Returns
    -------
    tuple of int
        Rows and columns.
    """
    return len(range(GRID_STEP_PX // 2, height, GRID_STEP_PX)), len(range(GRID_STEP_PX // 2, width, GRID_STEP_PX))


def label_objects(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected regions of (H,W) bool: labels (H,W) uint16, 0 is static, and how many regions there are.

    Parts above one another, with a narrow gap between, are connected: a head and its body.
    """
    gap = max(3, int(NECK_SHARE * len(mask))) | 1
    whole = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((gap, 1), np.uint8))
    regions = find_regions(whole)
    return np.where(mask, regions.labels, 0).astype(np.uint16), len(regions.areas) - 1


def link_objects(labels: np.ndarray, count: int, tracks_before: np.ndarray | None, flow_back: np.ndarray | None,
                 first_new_track: int) -> np.ndarray:
    """Tracks (H,W) uint16 of a frame's regions: 0 is static; the same thing has the same number in all frames.

    labels, count: as of label_objects. tracks_before: (H,W) of the frame before; flow_back: as of coarse_flow, to that
    frame; None at the start. A region takes the track that it overlaps most; so do several parts of one thing, if one
    stands above the other. Regions of a new track get numbers from first_new_track on.
    """
    overlap = np.zeros((count + 1, 1))
    if tracks_before is not None and count:
        overlap = _overlaps(labels, count, tracks_before, flow_back)
    names = np.zeros(count + 1, np.uint16)
    columns = [(labels == k).any(axis=0) for k in range(count + 1)]
    for label in sorted(range(1, count + 1), key=lambda k: -overlap[k].max()):
        track = int(np.argmax(overlap[label]))
        known = overlap[label, track] > MIN_OVERLAP
        others = [columns[k] for k in range(1, count + 1) if names[k] == track] if known else []
        if known and all(_is_above(columns[label], other) for other in others):
            names[label] = track
        else:
            names[label] = first_new_track
            first_new_track += 1
    return names[labels]


def _is_above(columns: np.ndarray, others: np.ndarray) -> bool:
    return (columns & others).sum() >= MIN_SIDE_BY_SIDE * min(columns.sum(), others.sum())


def _overlaps(labels, count, tracks_before, flow_back) -> np.ndarray:
    """Share of every region (rows) that lies, or whose track lies, within each track before (columns)."""
    now = labels[GRID_STEP_PX // 2::GRID_STEP_PX, GRID_STEP_PX // 2::GRID_STEP_PX].astype(np.intp)
    earlier = _look_back(tracks_before, flow_back).astype(np.intp)
    # Of all pixels: where flow leads back to is between those of the grid as well, and a thing may be thinner than it.
    size = int(tracks_before.max(initial=0)) + 1
    shared = np.bincount((now * size + earlier).ravel(), minlength=(count + 1) * size).reshape(count + 1, size)
    area_now = np.maximum(np.bincount(now.ravel(), minlength=count + 1), 1)
    overlap = shared / area_now[:, None]
    overlap[0], overlap[:, 0] = 0.0, 0.0
    return overlap


def cells_before(flow_back: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the coarse grid's cells were in the frame before.

    Parameters
    ----------
    flow_back : ndarray
        (h,w,2) as of coarse_flow, to the frame before.
    shape : tuple of int
        (H,W) of the raster.

    Returns
    -------
    tuple of ndarray
        Rows and columns (h,w) of cells there, within the grid, and whether they were in the picture, (h,w) bool.
    """
    rows, columns, inside = _places_before(shape, flow_back)
    return (np.minimum(rows // GRID_STEP_PX, flow_back.shape[0] - 1),
            np.minimum(columns // GRID_STEP_PX, flow_back.shape[1] - 1), inside)


def _look_back(image: np.ndarray, flow_back: np.ndarray) -> np.ndarray:
    """An image (H,W) of the frame before where the coarse grid's pixels were; 0 outside the picture."""
    rows, columns, inside = _places_before(image.shape, flow_back)
    return np.where(inside, image[rows, columns], 0)


def _places_before(shape, flow_back) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = shape
    down, right = (np.arange(GRID_STEP_PX // 2, size, GRID_STEP_PX) for size in (height, width))
    rows = np.rint(down[:, None] + flow_back[..., 1].astype(np.float32)).astype(np.intp)
    columns = np.rint(right[None, :] + flow_back[..., 0].astype(np.float32)).astype(np.intp)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1), inside


def measure_growth(track: int, tracks: np.ndarray, tracks_before: np.ndarray, flow_back: np.ndarray) -> Growth:
    """How one thing's picture grew since the frame before: a similarity through the flow of what is on it in both.

    tracks, tracks_before: (H,W) of the two frames. flow_back: as of coarse_flow.
    """
    on_it = (tracks[GRID_STEP_PX // 2::GRID_STEP_PX,
                    GRID_STEP_PX // 2::GRID_STEP_PX] == track) & (_look_back(tracks_before, flow_back) == track)
    rows, columns = np.nonzero(on_it)
    if len(rows) < MIN_SAMPLES:
        return UNKNOWN_GROWTH
    x, y = GRID_STEP_PX * columns.astype(float), GRID_STEP_PX * rows.astype(float)
    u, v = flow_back[rows, columns].astype(float).T
    return _growth_of(x - x.mean(), y - y.mean(), u, v)


def _growth_of(x, y, u, v) -> Growth:
    """From centered positions and flow to the frame before, pixels; (n,) each."""
    zero, one = np.zeros_like(x), np.ones_like(x)
    design = np.concatenate([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    target = np.concatenate([u, v])
    prior = np.concatenate([np.full_like(x, WIDTH_WEIGHT), one])
    weight = prior
    for _ in range(GROWTH_ROUNDS):
        normal = (design * weight[:, None]).T @ design + 1e-9 * np.eye(4)
        solution = np.linalg.solve(normal, design.T @ (weight * target))
        residual = design @ solution - target
        weight = prior / (1.0 + (residual / GROWTH_NOISE_PX) ** 2)
    noise = max(float(np.sqrt((weight * residual**2).sum() / weight.sum())), 0.1)
    sigma = noise * np.sqrt(CORRELATED_SAMPLES * np.linalg.inv(normal)[0, 0])
    shrink = float(np.clip(solution[0], -0.3, 0.3))
    if sigma > MAX_GROWTH_SIGMA:
        return UNKNOWN_GROWTH
    return Growth(-float(np.log1p(shrink)), max(float(sigma), MIN_GROWTH_SIGMA))
