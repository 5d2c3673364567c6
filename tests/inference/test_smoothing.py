"""Thresholds, nesting and the smoothing of ShaSpec*."""

from __future__ import annotations

import numpy as np
import pytest

from napari_shaspec.inference.smoothing import Postprocessing, smoothed
from napari_shaspec.regions import Region


def masks(*boxes: tuple[int, slice]) -> np.ndarray:
    """Nested masks on 40 x 20 x 20: each box is a region (0 ET, 1 TC, 2 WT) and a range along the first axis."""
    found = np.zeros((3, 40, 20, 20), bool)
    for region, place in boxes:
        found[region:, place, :10, :10] = True
    return found


def test_small_components_go_and_large_ones_stay() -> None:
    both = masks((2, slice(0, 20)), (2, slice(30, 31)))  # 2,000 and 100 voxels
    kept = smoothed(both, 1.0)
    assert kept[2].sum() == 2000
    assert not kept[2, 30].any()


def test_a_second_tumour_of_a_tenth_stays() -> None:
    both = masks((2, slice(0, 20)), (2, slice(30, 32)))  # 2,000 and 200 voxels
    assert smoothed(both, 1.0)[2].sum() == 2200


def test_two_millilitres_always_stay() -> None:
    both = masks((2, slice(0, 29)), (2, slice(30, 31)))  # 29 and 1 of 100 voxels
    assert smoothed(both, 1.0)[2].sum() == 2900
    assert smoothed(both, 25.0)[2].sum() == 3000  # the small one has 2.5 ml


def test_neighbours_are_two_hops_away() -> None:
    diagonal = np.zeros((3, 20, 20, 20), bool)
    diagonal[2, :10, :10, :10] = True
    diagonal[2, 10, 10, 5] = True  # shares an edge
    diagonal[2, 15, 10, 10] = True
    kept = smoothed(diagonal, 1.0)[2]
    assert kept[10, 10, 5]
    assert not kept[15, 10, 10]


def test_little_enhancing_tumour_becomes_core() -> None:
    few = masks((2, slice(0, 20)), (1, slice(2, 10)), (0, slice(4, 8)))  # 400 voxels of ET
    kept = smoothed(few, 1.0)
    assert not kept[0].any()
    assert kept[1].sum() == 800
    enough = smoothed(few, 1.25)
    assert enough[0].sum() == 400


def test_what_lies_in_a_removed_component_goes_too() -> None:
    both = masks((2, slice(0, 20)), (0, slice(30, 31)))
    assert not smoothed(both, 8.0)[:, 30].any()


def test_nothing_stays_nothing_and_the_input_is_not_touched() -> None:
    assert not smoothed(masks(), 1.0).any()
    both = masks((2, slice(0, 20)), (2, slice(30, 31)))
    before = both.copy()
    smoothed(both, 1.0)
    np.testing.assert_array_equal(both, before)


@pytest.mark.parametrize("smooth", [False, True])
def test_masks_nest_at_any_thresholds(smooth: bool) -> None:
    probabilities = np.random.default_rng(5).random((3, 9, 10, 11), np.float32)
    post = Postprocessing({Region.ET: 0.3, Region.TC: 0.6, Region.WT: 0.9}, smooth)
    enhancing, core, whole = post.masks(probabilities, 2.0)
    assert not (enhancing & ~core).any()
    assert not (core & ~whole).any()
    if not smooth:
        np.testing.assert_array_equal(enhancing, probabilities[0] >= 0.3)
