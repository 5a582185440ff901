"""The balance of what each frame and a smooth path tell, against dense equations."""

from __future__ import annotations

import numpy as np

from stereodiff_blender.engine.stereo.mapping.path_smoothing import solve_path


def test_balance_solves_the_least_squares_it_stands_for():
    generator = np.random.default_rng(0)
    count = 7
    half = generator.normal(size=(count, 6, 6))
    information = half @ np.swapaxes(half, 1, 2)
    stiffness, second = generator.random((count - 2, 6)), generator.normal(size=(count - 2, 6))
    matrix, target = np.zeros((6 * count, 6 * count)), np.zeros(6 * count)
    for k in range(count):
        matrix[6 * k:6 * k + 6, 6 * k:6 * k + 6] += information[k]
    for k in range(count - 2):
        rows = np.zeros((6, 6 * count))
        for offset, factor in enumerate((1.0, -2.0, 1.0)):
            rows[:, 6 * (k + offset):6 * (k + offset) + 6] = factor * np.eye(6)
        matrix += rows.T @ (stiffness[k][:, None] * rows)
        target -= rows.T @ (stiffness[k] * second[k])
    found = solve_path(information, stiffness, second)
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(matrix, target), atol=1e-6)
