"""A camera path as smooth as the footage is.

Every frame's camera is known only as well as the points it sees fix it. How fast the picture itself changes its motion
is measured directly, on the tracks, without any camera: the second difference of their pixels in time. Where that is
small the path is smooth too, and a frame's camera is drawn towards its neighbors'; where the picture shakes, hardly.
The correction is the least squares balance of both, weighed by what each is worth, so that no frame is moved by more
than its uncertainty; one banded system, linear in frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...geometry import exp_so3, log_so3
from .bundle_state import BundleState, Observations
from .registration import CameraFit

LEAST_NOISE_PX = 0.02
MIN_SEEN = 12
REACH = 2
"""Frames on either side that the liveliness of a frame's motion is taken over."""
HOLD = 1e-9


def smooth_path(fitted: CameraFit) -> CameraFit:
    """The fitted clip with its cameras smoothed.

    Parameters
    ----------
    fitted : CameraFit
        Of T frames. Those that are not solved, or see too little, stay; so does all of a clip of fewer than three.

    Returns
    -------
    CameraFit
        The same but for the cameras, and the residuals that they now have.
    """
    if len(fitted.solved) < 3:
        return fitted
    noise_px = max(float(np.median(fitted.residual_px)) / np.sqrt(2.0 * np.log(2.0)), LEAST_NOISE_PX)
    sees = fitted.solved & (np.bincount(fitted.frame, minlength=len(fitted.solved)) >= MIN_SEEN)
    turned = np.swapaxes(fitted.rotations, -1, -2)
    centers = -np.einsum("nij,nj->ni", turned, fitted.translations)
    information = _information(fitted, turned, centers) * (sees / noise_px**2)[:, None, None]
    stiffness = _stiffness(fitted, noise_px) * (sees[:-2] & sees[1:-1] & sees[2:])[:, None]
    change = solve_path(information, stiffness, _acceleration(turned, centers))
    return _moved(fitted, turned, centers, np.where(sees[:, None], change, 0.0))


def _moved(fitted: CameraFit, turned: np.ndarray, centers: np.ndarray, change: np.ndarray) -> CameraFit:
    rotations = np.swapaxes(exp_so3(change[:, :3]) @ turned, -1, -2)
    translations = -np.einsum("nij,nj->ni", rotations, centers + change[:, 3:])
    residual = BundleState(rotations, translations, fitted.points, fitted.focal).residual_px(
        Observations(fitted.frame, fitted.point, fitted.pixels))
    return replace(fitted, rotations=rotations, translations=translations, residual_px=residual)


def _information(fitted: CameraFit, turned: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(T,6,6) what a frame's pixels say about its camera, points held, for pixels of unit noise.

    The six: turn about the camera's place and shift of it, both in world axes.
    """
    offset = fitted.points[fitted.point] - centers[fitted.frame]
    rotations = fitted.rotations[fitted.frame]
    in_camera = np.einsum("nij,nj->ni", rotations, offset)
    by_camera = np.zeros((len(offset), 2, 3))
    by_camera[:, 0, 0] = by_camera[:, 1, 1] = fitted.focal / in_camera[:, 2]
    by_camera[:, :, 2] = -fitted.focal * in_camera[:, :2] / in_camera[:, 2:]**2
    by_world = by_camera @ rotations
    rows = np.concatenate([np.cross(by_world, offset[:, None]), -by_world], axis=2)
    products = np.einsum("nai,naj->nij", rows, rows)
    information = np.zeros((len(turned), 6, 6))
    np.add.at(information, fitted.frame, products)
    return information


def _stiffness(fitted: CameraFit, noise_px: float) -> np.ndarray:
    """(T-2,6) inverse variances of the second differences of turn and place, from those of the tracks' pixels."""
    lively = _liveliness_px(fitted, noise_px)
    padded = np.pad(lively, REACH, mode="edge")
    around = np.sqrt(np.mean([padded[k:k + len(lively)]**2 for k in range(2 * REACH + 1)], axis=0))
    depth = np.einsum("nj,nj->n", fitted.rotations[fitted.frame, 2], fitted.points[fitted.point])
    depth = float(np.median(depth + fitted.translations[fitted.frame, 2]))
    turn, shift = around / fitted.focal, around * depth / fitted.focal
    return 1.0 / np.repeat(np.stack([turn, shift], axis=1), 3, axis=1)**2


def _liveliness_px(fitted: CameraFit, noise_px: float) -> np.ndarray:
    """(T-2,) how much the picture's motion changes at each inner frame: root mean square over the four quarters of the
    picture of the median second difference there, and never less than what noise makes of it."""
    count = len(fitted.solved)
    order = np.lexsort((fitted.frame, fitted.point))
    frame, point, pixels = fitted.frame[order], fitted.point[order], fitted.pixels[order]
    runs = (point[2:] == point[:-2]) & (frame[2:] == frame[:-2] + 2)
    middle = np.flatnonzero(runs) + 1
    second = pixels[middle + 1] - 2.0 * pixels[middle] + pixels[middle - 1]
    quarter = (frame[middle] - 1) * 4 + 2 * (pixels[middle, 1] > 0) + (pixels[middle, 0] > 0)
    order = np.argsort(quarter, kind="stable")
    bounds = np.searchsorted(quarter[order], np.arange(4 * (count - 2) + 1))
    squares, members = np.zeros(4 * (count - 2)), np.diff(bounds)
    for k in np.flatnonzero(members):
        squares[k] = (np.median(second[order[bounds[k]:bounds[k + 1]]], axis=0)**2).sum()
    floor = np.sqrt(6.0) * noise_px / np.sqrt(np.maximum(members.reshape(-1, 4).sum(1), 1.0))
    known = np.maximum((members.reshape(-1, 4) > 0).sum(1), 1)
    return np.maximum(np.sqrt(squares.reshape(-1, 4).sum(1) / known), floor)


def _acceleration(turned: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(T-2,6) second differences of the path, turns as rotation vectors in world axes."""
    return np.diff(np.concatenate([log_so3(turned[1:] @ np.swapaxes(turned[:-1], -1, -2)),
                                   np.diff(centers, axis=0)], axis=1), axis=0)


def solve_path(information: np.ndarray, stiffness: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The x (T,6) that minimizes x' information x + sum of stiffness * (second + second difference of x)^2.

    information: (T,6,6), block by block. stiffness, second: (T-2,6).
    """
    main = information + HOLD * np.eye(6)
    beside, beyond = np.zeros((len(main) - 1, 6)), stiffness
    diagonal, target = np.zeros((len(main), 6)), np.zeros((len(main), 6))
    for offset, factor in enumerate((1.0, -2.0, 1.0)):
        here = slice(offset, offset + len(stiffness))
        diagonal[here] += factor**2 * stiffness
        target[here] -= factor * stiffness * second
    main[:, range(6), range(6)] += diagonal
    beside[:-1] -= 2.0 * stiffness
    beside[1:] -= 2.0 * stiffness
    return _solve_banded(main, beside[:, :, None] * np.eye(6), beyond[:, :, None] * np.eye(6), target)


def _solve_banded(main: np.ndarray, near: np.ndarray, far: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solution (T,6) of symmetric equations with blocks main (T,6,6) on the diagonal, near and far right of it, by
    elimination from the first block to the last, and back. main, near and target are used up."""
    count = len(main)
    for k in range(count - 1):
        towards = np.linalg.solve(main[k], np.concatenate([near[k], far[k] if k + 2 < count else near[k]], axis=1))
        main[k + 1] -= near[k].T @ towards[:, :6]
        target[k + 1] -= towards[:, :6].T @ target[k]
        if k + 2 < count:
            near[k + 1] -= near[k].T @ towards[:, 6:]
            main[k + 2] -= far[k].T @ towards[:, 6:]
            target[k + 2] -= towards[:, 6:].T @ target[k]
    x = np.zeros_like(target)
    for k in reversed(range(count)):
        rest = target[k].copy()
        if k + 1 < count:
            rest -= near[k] @ x[k + 1]
        if k + 2 < count:
            rest -= far[k] @ x[k + 2]
        x[k] = np.linalg.solve(main[k], rest)
    return x
