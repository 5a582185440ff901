"""Filling holes: blindly, and along surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine.imaging.edge_aware import (
    MIN_LINK_WEIGHT,
    boundary_confidence,
    fast_global_smoother,
    pull_push,
)

SETTINGS = {"strength": 120.0, "edge_levels": 8.0, "rounds": 3}


def halves(height=60, width=80):
    """A guide whose left half is dark and right half bright, and values 1 and 3 to go with it."""
    guide = np.full((height, width, 3), 40, np.uint8)
    guide[:, width // 2:] = 200
    values = np.ones((height, width), np.float32)
    values[:, width // 2:] = 3.0
    return guide, values


@pytest.mark.parametrize("shape", [(40, 60), (5, 7), (33, 2)])
def test_spread_keeps_a_constant_and_needs_only_one_sample(shape):
    weights = np.zeros(shape, np.float32)
    weights[1, 1] = 1.0
    filled = pull_push(np.full(shape, 2.5, np.float32), weights)
    assert filled.shape == shape and np.allclose(filled, 2.5, rtol=1e-5)


def test_spread_knows_nothing_without_samples():
    assert (pull_push(np.full((20, 30), 7, np.float32), np.zeros((20, 30), np.float32)) == 0).all()


def test_spread_ignores_values_without_weight():
    values, weights = np.full((32, 32), 1e6, np.float32), np.zeros((32, 32), np.float32)
    values[::8, ::8], weights[::8, ::8] = 1.0, 1.0
    assert np.allclose(pull_push(values, weights), 1.0, rtol=1e-4)


def test_spread_follows_a_slope_between_samples():
    truth = np.tile(np.linspace(1, 2, 96, dtype=np.float32), (64, 1))
    weights = np.zeros_like(truth)
    weights[4::8, 4::8] = 1.0
    assert np.abs(pull_push(truth, weights) - truth)[8:-8, 8:-8].max() < 0.06


def test_constant_stays_constant():
    guide = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    confidence = np.random.default_rng(1).random((40, 50)).astype(np.float32)
    smooth, _ = fast_global_smoother(guide, np.full((40, 50), 4.0, np.float32), confidence, **SETTINGS)
    assert np.allclose(smooth, 4.0, rtol=1e-4)


def test_edges_are_kept_and_noise_is_not():
    guide, truth = halves()
    noisy = truth + np.random.default_rng(0).normal(0, 0.2, truth.shape).astype(np.float32)
    smooth, _ = fast_global_smoother(guide, noisy, np.ones_like(truth), **SETTINGS)
    assert np.abs(smooth - truth).max() < 0.1
    blurred, _ = fast_global_smoother(np.full_like(guide, 128), noisy, np.ones_like(truth), **SETTINGS)
    assert np.abs(blurred - truth)[:, 39:41].max() > 0.5


def test_holes_are_filled_from_their_own_side_of_an_edge():
    guide, truth = halves()
    confidence = np.ones_like(truth)
    confidence[10:50, 25:55] = 0.0
    measured = np.where(confidence > 0, truth, 100.0).astype(np.float32)
    smooth, support = fast_global_smoother(guide, measured, confidence, **SETTINGS)
    assert np.abs(smooth - truth).max() < 0.05
    assert support.shape == truth.shape and support[30, 30] < support[5, 5] <= 1.01


def test_no_evidence_at_all_still_gives_finite_values():
    guide, truth = halves()
    smooth, support = fast_global_smoother(guide, truth, np.zeros_like(truth), **SETTINGS)
    assert np.isfinite(smooth).all() and support.max() < 1e-6


def test_a_line_is_solved_exactly():
    generator = np.random.default_rng(3)
    guide = generator.integers(0, 60, (1, 30, 3), np.uint8)
    values, confidence = generator.random((2, 1, 30)).astype(np.float32)
    links = np.exp(-np.linalg.norm(np.diff(guide[0].astype(float), axis=0), axis=1) / 8) + MIN_LINK_WEIGHT
    system = np.eye(30)
    for k, link in enumerate(20.0 / 2 * links):
        system[k:k + 2, k:k + 2] += link * np.array([[1, -1], [-1, 1]])
    expected = np.linalg.solve(system, (values * confidence)[0]) / np.linalg.solve(system, confidence[0])
    smooth, support = fast_global_smoother(guide, values, confidence, strength=20.0, edge_levels=8.0, rounds=1)
    assert np.allclose(smooth[0], expected, rtol=1e-3)
    assert np.allclose(support[0], np.linalg.solve(system, confidence[0]), rtol=1e-3)


def test_boundary_confidence_falls_at_steps_only():
    _, step = halves()
    known = np.ones(step.shape, bool)
    confidence = boundary_confidence(step, known, radius=4, tolerance=0.08)
    assert confidence[:, 36:44].max() < 0.01 and (confidence[:, :35] == 1).all() and (confidence[:, 45:] == 1).all()
    slope = np.tile(np.linspace(1, 1.4, 80, dtype=np.float32), (60, 1))
    assert boundary_confidence(slope, known, radius=4, tolerance=0.08).min() == 1


def test_boundary_confidence_looks_at_known_pixels_only():
    _, step = halves()
    known = np.zeros(step.shape, bool)
    known[:, :40] = True
    confidence = boundary_confidence(step, known, radius=4, tolerance=0.08)
    assert (confidence[:, :40] == 1).all() and (confidence[:, 45:] == 0).all()
