"""Telling moving things apart, following them, and measuring how their pictures grow."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine.stereo.dynamic.tracks import (
    GRID_STEP_PX,
    UNKNOWN_GROWTH,
    coarse_flow,
    coarse_shape,
    label_objects,
    link_objects,
    measure_growth,
)

HEIGHT, WIDTH = 110, 190


def box(top, bottom, left=80, right=100):
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[top:bottom, left:right] = True
    return region


def flow_back(shift=0.0, scale=1.0, center=(90, 50)):
    """Coarse flow to the frame before, since when everything moved right by shift and grew by scale about a center."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = columns - center[0], rows - center[1]
    return coarse_flow(np.stack([x / scale - x - shift, y / scale - y], axis=-1))


def test_coarse_flow_has_the_shape_it_says():
    for height, width in ((HEIGHT, WIDTH), (64, 333), (65, 64)):
        assert coarse_flow(np.zeros((height, width, 2), np.float32)).shape == (*coarse_shape(height, width), 2)


def test_connected_regions_are_told_apart():
    labels, count = label_objects(box(20, 50) | box(60, 90) | box(20, 50, 130, 150))
    assert count == 3 and labels.dtype == np.uint16 and (labels[0] == 0).all()
    assert len(np.unique(labels[20:50, 80:100])) == 1


def test_a_head_belongs_to_its_body_but_a_neighbor_does_not():
    mask = box(20, 30) | box(32, 60) | box(20, 60, 102, 120)
    labels, count = label_objects(mask)
    assert count == 2 and labels[25, 90] == labels[50, 90] != labels[50, 110]
    assert np.array_equal(labels > 0, mask)


def link(mask, before, back, first_new=9):
    labels, count = label_objects(mask)
    return link_objects(labels, count, before, back, first_new)


def test_things_keep_their_track_and_new_ones_get_their_own():
    before = link(box(20, 60, 30, 50), None, None, 5)
    assert set(np.unique(before)) == {0, 5}
    mask = box(20, 60, 40, 60) | box(20, 60, 120, 140)
    now = link(mask, before, flow_back(10), 6)
    assert (now[20:60, 40:60] == 5).all() and (now[20:60, 120:140] == 6).all()
    strangers = link(mask, before, flow_back(60), 6)
    assert set(np.unique(strangers)) == {0, 6, 7}


def test_what_comes_out_of_the_background_is_new():
    before = link(box(20, 30, 30, 40), None, None, 1)
    assert set(np.unique(link(box(40, HEIGHT, 0, WIDTH), before, flow_back(), 2))) == {0, 2}


def test_parts_above_one_another_stay_one_thing_and_parts_side_by_side_do_not():
    before = link(box(20, 90, 60, 120), None, None, 1)
    stacked = link(box(20, 45, 60, 120) | box(60, 90, 60, 120), before, flow_back(), 2)
    assert set(np.unique(stacked)) == {0, 1}
    beside = link(box(20, 90, 60, 80) | box(20, 90, 95, 120), before, flow_back(), 2)
    assert set(np.unique(beside)) == {0, 1, 2}


@pytest.mark.parametrize("scale", [0.97, 1.0, 1.04])
def test_growth_is_the_scale_of_the_picture(scale):
    tracks = box(20, 90, 60, 120).astype(np.uint16)
    growth = measure_growth(1, tracks, tracks, flow_back(scale=scale))
    assert growth.log_scale == pytest.approx(np.log(scale), abs=1e-3) and growth.sigma < UNKNOWN_GROWTH.sigma


def test_swinging_arms_are_no_growth():
    tracks = box(20, 90, 60, 120).astype(np.uint16)
    back = flow_back(scale=1.02).astype(np.float32)
    arms = slice(40 // GRID_STEP_PX, 60 // GRID_STEP_PX)
    back[arms, 60 // GRID_STEP_PX:70 // GRID_STEP_PX, 0] += 4
    back[arms, 110 // GRID_STEP_PX:, 0] -= 4
    assert measure_growth(1, tracks, tracks, back.astype(np.float16)).log_scale == pytest.approx(np.log(1.02), abs=4e-3)


def test_growth_of_what_is_too_small_or_all_noise_is_unknown():
    small = box(20, 28, 60, 68).astype(np.uint16)
    assert measure_growth(1, small, small, flow_back(scale=1.1)) == UNKNOWN_GROWTH
    tracks = box(20, 50, 60, 90).astype(np.uint16)
    noise = np.random.default_rng(0).normal(0, 6, flow_back().shape).astype(np.float16)
    assert measure_growth(1, tracks, tracks, noise) == UNKNOWN_GROWTH


def test_a_thing_thinner_than_the_grid_is_found_again():
    """One column wide, and between the columns whose flow is kept in the frame before, but not in this one."""
    column = GRID_STEP_PX // 2 + 20 * GRID_STEP_PX
    before = link(box(20, 60, column - 1, column), None, None, 5)
    now = link(box(20, 60, column + 4, column + 5), before, flow_back(shift=5.0))
    assert set(np.unique(now)) == {0, 5}
