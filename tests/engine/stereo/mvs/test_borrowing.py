"""Blurred frames take the depth of what stands still from sharp ones."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import HEIGHT, WIDTH, boards_shot

from stereodiff_blender.engine.stereo.mvs.borrowing import borrow_disparity, lenders_of


def sharp_but(count, *blurred):
    sharpness = np.ones(count)
    sharpness[list(blurred)] = 0.6
    return sharpness


def test_only_blurred_frames_borrow_and_only_sharp_ones_lend():
    sharpness = sharp_but(12, 4, 5)
    assert lenders_of(3, sharpness) == []
    assert lenders_of(4, sharpness) == [3, 2, 6, 1]
    assert lenders_of(5, sharpness) == [6, 3, 7, 2]
    assert lenders_of(0, sharp_but(12, 0)) == [1, 2, 3, 4]


def test_nobody_lends_from_far_away():
    assert lenders_of(10, sharp_but(30, *range(3, 18))) == []


@pytest.fixture(scope="module")
def shot():
    return boards_shot(7)


def borrow(shot, disparity_of=None, is_sure=None, lenders=(2, 4, 1, 5)):
    true = [(1.0 / depth).astype(np.float32) for depth in shot.depth]

    def measured(index):
        sure = np.ones((HEIGHT, WIDTH), bool) if is_sure is None else is_sure(index)
        return (true[index] if disparity_of is None else disparity_of(index, true[index])), sure

    disparity, seen = borrow_disparity(3, lenders, measured, shot.cameras)
    assert not (disparity > 0)[~seen].any()
    return disparity, disparity > 0, seen


def test_what_is_borrowed_is_true(shot):
    disparity, agreed, seen = borrow(shot)
    error = np.abs(disparity * shot.depth[3] - 1.0)[agreed]
    assert disparity.dtype == np.float32 and agreed.mean() > 0.9 and seen.mean() > 0.95
    assert np.median(error) < 0.005 and (error < 0.05).mean() > 0.97


def test_one_lender_that_errs_is_outvoted(shot):
    disparity, agreed, _ = borrow(shot, lambda index, true: true * np.float32(3.0 if index == 4 else 1.0))
    error = np.abs(disparity * shot.depth[3] - 1.0)[agreed]
    assert agreed.mean() > 0.85 and (error < 0.05).mean() > 0.97


def test_lenders_that_contradict_each_other_lend_nothing(shot):
    assert borrow(shot, lambda index, true: true * np.float32(1.0 + 0.2 * index))[1].mean() < 0.1


def test_what_lenders_are_not_sure_of_is_not_lent(shot):
    sure = np.ones((HEIGHT, WIDTH), bool)
    sure[:, :60] = False
    _, agreed, seen = borrow(shot, is_sure=lambda index: sure)
    assert not seen[:, :30].any() and agreed[:, 90:150].mean() > 0.9


def test_a_single_lender_is_not_enough(shot):
    _, agreed, seen = borrow(shot, lenders=(2,))
    assert not agreed.any() and seen.mean() > 0.8
