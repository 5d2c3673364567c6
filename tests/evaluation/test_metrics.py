"""Dice and HD95 against hand-made answers and against a second implementation, by brute force."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.metrics import MISSED_MM, dice, hd95_mm

SHAPE = (14, 12, 10)
VOXEL_MM = (0.9, 1.5, 4.0)
Mask = NDArray[np.bool_]


def surface_mm(mask: Mask, voxel_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Positions of the voxels that have one of their six neighbours outside the mask or outside the image."""
    padded = np.pad(mask, 1)
    inner = padded.copy()
    for axis in range(3):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return (np.argwhere(padded & ~inner) - 1) * np.array(voxel_mm)


def brute_force_hd95_mm(first: Mask, second: Mask, voxel_mm: tuple[float, ...]) -> float:
    distances = cdist(surface_mm(first, voxel_mm), surface_mm(second, voxel_mm))
    return float(max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95)))


def blobs(seed: int, share: float) -> Mask:
    """A random shape of several parts that fills about this share of the image."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.2)
    return smooth > np.quantile(smooth, 1 - share)


def box(*slices: slice) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


@pytest.mark.parametrize("seed", range(12))
def test_metrics_agree_with_an_independent_implementation(seed: int) -> None:
    share = (0.02, 0.1, 0.4)[seed % 3]
    first, second = blobs(seed, share), blobs(seed + 100, 0.15)
    overlap = len(set(map(tuple, np.argwhere(first))) & set(map(tuple, np.argwhere(second))))
    assert dice(first, second) == pytest.approx(2 * overlap / (first.sum() + second.sum()), abs=1e-6)
    assert hd95_mm(first, second, VOXEL_MM) == pytest.approx(brute_force_hd95_mm(first, second, VOXEL_MM), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_symmetric(seed: int) -> None:
    first, second = blobs(seed, 0.05), blobs(seed + 100, 0.3)
    assert dice(first, second) == dice(second, first)
    assert hd95_mm(first, second, VOXEL_MM) == hd95_mm(second, first, VOXEL_MM)


def test_empty_masks_follow_brats() -> None:
    nothing, something = np.zeros(SHAPE, bool), blobs(1, 0.1)
    assert (dice(nothing, nothing), hd95_mm(nothing, nothing, VOXEL_MM)) == (1.0, 0.0)
    assert (dice(nothing, something), hd95_mm(nothing, something, VOXEL_MM)) == (0.0, MISSED_MM)
    assert (dice(something, nothing), hd95_mm(something, nothing, VOXEL_MM)) == (0.0, MISSED_MM)
    assert MISSED_MM == 373.13


def test_equal_masks() -> None:
    mask = blobs(2, 0.2)
    assert (dice(mask, mask), hd95_mm(mask, mask, VOXEL_MM)) == (1.0, 0.0)


@pytest.mark.parametrize(("axis", "expected_mm"), [(0, 2.7), (1, 4.5), (2, 12.0)])
def test_single_voxels_lie_three_voxels_apart_in_millimetres(axis: int, expected_mm: float) -> None:
    first = box(slice(4, 5), slice(4, 5), slice(4, 5))
    second = np.roll(first, 3, axis)
    assert dice(first, second) == 0.0
    assert hd95_mm(first, second, VOXEL_MM) == pytest.approx(expected_mm, rel=1e-6)


def test_shifted_cube() -> None:
    first = box(slice(2, 8), slice(2, 8), slice(2, 8))
    second = np.roll(first, 3, 0)
    assert dice(first, second) == pytest.approx(0.5)
    # The far end, a sixth of the surface and more, is three voxels from the other cube.
    assert hd95_mm(first, second, (1.0, 1.0, 1.0)) == pytest.approx(3.0)


def test_worse_direction_counts() -> None:
    small = box(slice(0, 2), slice(0, 2), slice(0, 2))
    long = box(slice(0, 14), slice(0, 2), slice(0, 2))
    # Every voxel of the small mask lies on the long one; those of the long one are up to 12 mm from the small one.
    # It has 4 for each x from 0 to 13: of the sorted distances 0, 0, 1, ..., 12, four each, the 95th percentile is at
    # position 0.95 * 55 = 52.25, where the last four begin.
    assert hd95_mm(small, long, (1.0, 1.0, 1.0)) == pytest.approx(12.0)


def test_few_false_voxels_are_forgiven() -> None:
    mask = box(slice(2, 8), slice(2, 8), slice(2, 8))
    with_speck = mask.copy()
    with_speck[13, 11, 9] = True
    assert hd95_mm(with_speck, mask, VOXEL_MM) == 0.0


def test_position_in_the_image_does_not_matter() -> None:
    first, second = blobs(1, 0.1), blobs(101, 0.1)
    larger = [np.pad(mask, ((5, 0), (0, 7), (3, 2))) for mask in (first, second)]
    assert hd95_mm(*larger, VOXEL_MM) == pytest.approx(hd95_mm(first, second, VOXEL_MM))
    assert dice(*larger) == pytest.approx(dice(first, second))


def test_shapes_must_agree() -> None:
    with pytest.raises(ShaSpecError, match="two masks of one shape"):
        dice(np.zeros((1, 2, 3), bool), np.zeros((3, 2, 1), bool))
    with pytest.raises(ShaSpecError, match="two masks of one shape"):
        hd95_mm(np.zeros((1, 2, 3), bool), np.zeros((3, 2, 1), bool), VOXEL_MM)


def test_masks_that_are_turned_views_of_one_slice() -> None:
    """A flipped axis of length 1 has a stride that torch does not take."""
    first, second = np.zeros((2, 1, 9, 8), bool)
    first[:, 2:6, 1:5], second[:, 3:7, 1:5] = True, True
    for axis in range(3):
        turned = np.flip(first, axis), np.flip(second, axis)
        assert dice(*turned) == dice(first, second) == 0.75
        assert hd95_mm(*turned, (5, 1, 1)) == hd95_mm(first, second, (5, 1, 1)) == 1
