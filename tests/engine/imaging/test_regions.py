"""Regions of small masks, drawn as text."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine.imaging.regions import find_regions, without_holes, without_specks


def drawn(*lines: str) -> np.ndarray:
    return np.array([list(line) for line in lines]) == "#"


MASK = drawn("..........",
             ".###...#..",
             ".#.#....#.",
             ".###......",
             "......####")


def test_regions_are_measured():
    regions = find_regions(MASK)
    assert regions.areas.tolist() == [50 - 14, 8, 2, 4]
    assert regions.boxes[1:].tolist() == [[1, 4, 1, 4], [1, 3, 7, 9], [4, 5, 6, 10]]
    assert regions.tops[1:].tolist() == [1, 1, 4]
    assert np.array_equal(regions.labels > 0, MASK)


def test_corners_connect_eight_neighbors_but_not_four():
    assert len(find_regions(MASK, connectivity=4).areas) == len(find_regions(MASK).areas) + 1


def test_numbers_mean_the_same_in_a_mask_of_bytes():
    assert np.array_equal(find_regions(MASK.astype(np.uint8)).labels, find_regions(MASK).labels)


def test_pixels_are_counted_by_region():
    left_half = np.zeros(MASK.shape, bool)
    left_half[:, :8] = True
    assert find_regions(MASK).counts(left_half).tolist() == [40 - 11, 8, 1, 2]


@pytest.mark.parametrize(("chosen", "expected"), [((1,), 8), ((0,), 0), ((0, 2, 3), 6)])
def test_chosen_regions_never_hold_the_rest(chosen, expected):
    regions = find_regions(MASK)
    flags = np.isin(np.arange(4), chosen)
    found = regions.pixels_of(flags)
    assert found.sum() == expected and not (found & ~MASK).any()
    assert flags[0] == (0 in chosen), "what was handed in is not changed"


def test_what_reaches_the_border():
    assert find_regions(MASK).at_border().tolist() == [True, False, False, True]
    for side in (MASK[1:3, :8], MASK[:, 1:5]):
        assert find_regions(side).at_border()[1]


def test_specks_are_dropped_by_share():
    assert without_specks(MASK, 0.05).sum() == 8 + 4
    assert without_specks(MASK, 4 / 50).sum() == 8, "as small as the share is a speck"


def test_holes_are_filled_by_share():
    filled = without_holes(MASK, 0.05)
    assert filled[2, 2] and filled.sum() == MASK.sum() + 1
    assert np.array_equal(without_holes(MASK, 1 / 50), MASK), "as large as the share is no hole"


def test_a_gap_is_open_through_its_sides_alone():
    """Two holes that touch at a corner are two, so each is small enough."""
    mask = drawn("######", "#.####", "##.###", "######")
    assert without_holes(mask, 2 / 24).all()


def test_an_empty_mask_has_no_region():
    nothing = np.zeros((4, 5), bool)
    assert len(find_regions(nothing).areas) == 1 and not without_specks(nothing, 0.0).any()
    assert not find_regions(nothing).pixels_of(np.ones(1, bool)).any()
