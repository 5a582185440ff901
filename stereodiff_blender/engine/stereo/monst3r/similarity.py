"""Similarity transforms between two maps of the same pixels (weighted Procrustes)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation, float64. rotation: (3,3), proper. translation: (3,). scale > 0."""

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """points: (...,3). Returns (...,3) float64."""
        return points @ (self.scale * self.rotation.T) + self.translation

    def after(self, first: Similarity) -> Similarity:
        """The transform that applies `first`, then this one."""
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, self.apply(first.translation))

    def camera_to_world(self) -> np.ndarray:
        """(4,4) pose of a camera whose own axes this transform takes to the world; the scale belongs to the map."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.rotation, self.translation
        return pose


IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))


def fit_similarity(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Similarity:
    """The similarity with target ~ S(source) in weighted least squares (Umeyama 1991).

    source, target: (...,3), finite. weights: (...) >= 0, not all zero. One product of all points with themselves
    gives every moment; float64, because the variances are small differences of those.
    """
    count = weights.size
    moved = np.empty((4, count))
    moved[:3], moved[3] = np.asarray(source).reshape(count, 3).T, 1.0
    fixed = np.asarray(target, np.float64).reshape(count, 3)
    weighted = moved * np.asarray(weights, np.float64).reshape(count)
    total = weighted[3].sum()
    own, cross = weighted @ moved.T / total, weighted @ fixed / total
    mean_source, mean_target = own[3, :3], cross[3]
    u, singular, vt = np.linalg.svd(cross[:3].T - np.outer(mean_target, mean_source))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    variance = float(np.trace(own[:3, :3]) - mean_source @ mean_source)
    scale = float((singular * signs).sum()) / max(variance, np.finfo(float).tiny)
    return Similarity(scale, rotation, mean_target - scale * rotation @ mean_source)
