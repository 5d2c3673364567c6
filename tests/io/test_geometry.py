"""Resampling by affine, against a plain triple loop."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.io.geometry import Interpolation, describe_grid, overlap_fraction, resample
from napari_shaspec.volume import Volume

OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.4) @ np.diag([0.9, 1.1, 1.3]), [1, -1, 2])
GRIDS = {
    "oblique": (OBLIQUE, (6, 5, 4)),
    "finer": (np.diag([0.5, 0.4, 0.6, 1]), (14, 17, 12)),
    "a little coarser": (np.diag([1.5, 1.2, 1.9, 1]), (4, 5, 4)),
    "half a voxel on": (nib.affines.from_matvec(np.eye(3), [0.5, 0.5, 0.5]), (7, 7, 7)),
    "larger on all sides": (nib.affines.from_matvec(np.eye(3), [-3.2, -3.2, -3.2]), (13, 13, 13)),
}


@pytest.fixture
def volume() -> Volume:
    return Volume(np.random.default_rng(5).normal(100, 30, (6, 7, 8)).astype(np.float32), np.diag([1, 1, 1, 1.0]))


def grid(affine: NDArray[np.float64], shape: tuple[int, ...]) -> Volume:
    return Volume(np.zeros(shape, np.uint8), affine, nib.Nifti1Header())


def reference(volume: Volume, onto: Volume, interpolation: Interpolation) -> NDArray[np.float64]:
    """Each voxel by itself: its place, its eight neighbours (repeated at the faces), their weights."""
    result = np.zeros(onto.shape)
    last = np.array(volume.shape) - 1
    for index in np.ndindex(onto.shape):
        place = (np.linalg.inv(volume.affine) @ onto.affine @ [*index, 1])[:3]
        if (place < -0.5).any() or (place > last + 0.5).any():
            continue
        if interpolation is Interpolation.NEAREST:
            result[index] = volume.data[tuple(np.clip(np.floor(place + 0.5), 0, last).astype(int))]
            continue
        low = np.floor(place)
        for corner in product((0, 1), repeat=3):
            weight = np.prod(np.where(corner, place - low, 1 - (place - low)))
            result[index] += weight * volume.data[tuple(np.clip(low + corner, 0, last).astype(int))]
    return result


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("name", GRIDS)
def test_resampling_agrees_with_a_plain_loop(volume: Volume, name: str, interpolation: Interpolation) -> None:
    onto = grid(*GRIDS[name])
    result = resample(volume, onto, interpolation)
    expected = reference(volume, onto, interpolation)
    assert expected.any()
    np.testing.assert_allclose(result.data, expected, rtol=1e-5, atol=1e-3)
    assert result.same_grid(onto)
    assert result.header is onto.header


def test_slabs_fit_together(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    onto = grid(*GRIDS["oblique"])
    whole = resample(volume, onto).data
    monkeypatch.setattr("napari_shaspec.io.geometry._SLAB_VOXELS", 1)
    np.testing.assert_allclose(resample(volume, onto).data, whole, rtol=1e-6)


def test_the_same_grid_is_no_resampling(volume: Volume) -> None:
    onto = grid(volume.affine, volume.shape)
    assert resample(volume, onto).data is volume.data


@pytest.mark.parametrize("interpolation", Interpolation)
def test_turned_and_flipped_grids_keep_every_value(volume: Volume, interpolation: Interpolation) -> None:
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        turn = np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)])
        data = nib.orientations.apply_orientation(volume.data, turn)
        turned = Volume(data, OBLIQUE @ nib.orientations.inv_ornt_aff(turn, volume.shape))
        back = resample(turned, grid(OBLIQUE, volume.shape), interpolation)
        np.testing.assert_array_equal(back.data, volume.data)


def test_rounded_affines_keep_every_value(volume: Volume) -> None:
    moved = volume.affine.copy()
    moved[:3, 3] = np.float32([2.0001, -1.0001, 0.0001])
    result = resample(volume, grid(moved, volume.shape)).data
    np.testing.assert_array_equal(result[:4, 1:], volume.data[2:, :6])
    assert not result[4:].any()


@pytest.mark.parametrize("background", [-0.8, 0.0, 37.3])
@pytest.mark.parametrize("name", GRIDS)
def test_the_background_stays_one_exact_value(volume: Volume, name: str, background: float) -> None:
    data = np.full((10, 11, 12), background, np.float32)
    data[3:7, 3:8, 3:8] = volume.data[1:5, :5, :5]
    placed = Volume(data, nib.affines.from_matvec(np.eye(3), [-2, -2, -2]))
    brain = placed.with_data((data != np.float32(background)).astype(np.float32))
    onto = grid(*GRIDS[name])
    result = resample(placed, onto)
    outside = resample(brain, onto).data == 0
    assert outside.any()
    assert set(result.data[outside]) == {np.float32(background)}
    # Elsewhere it is the mean of the eight neighbours as ever; beyond the image, where that has none, background.
    near = reference(placed, onto, Interpolation.LINEAR)
    np.testing.assert_allclose(result.data[~outside], near[~outside], rtol=1e-5, atol=1e-4)


def test_an_image_of_brain_alone_has_no_background_to_repeat(volume: Volume) -> None:
    result = resample(volume, grid(*GRIDS["larger on all sides"])).data
    assert not result[0].any()


def test_flipping_keeps_every_value_over_a_background(volume: Volume) -> None:
    data = volume.data.copy()
    data[[0, -1]] = np.float32(-0.8)
    flipped = Volume(data[::-1], nib.affines.from_matvec(np.diag([-1.0, 1, 1]), [5, 0, 0]))
    np.testing.assert_array_equal(resample(flipped, grid(np.eye(4), volume.shape)).data, data)


def test_types(volume: Volume) -> None:
    onto = grid(*GRIDS["finer"])
    labels = volume.with_data((volume.data > 100).astype(np.uint8) * 4)
    assert resample(labels, onto).data.dtype == np.float32
    nearest = resample(labels, onto, Interpolation.NEAREST).data
    assert nearest.dtype == np.uint8
    assert set(np.unique(nearest)) == {0, 4}


def test_a_slice_is_as_thick_as_it_is() -> None:
    slice_ = Volume(np.arange(3, 19, dtype=np.float32).reshape(4, 4, 1), np.diag([1, 1, 5, 1.0]))
    fine = resample(slice_, grid(nib.affines.from_matvec(np.eye(3), [0, 0, -4]), (4, 4, 9)))
    np.testing.assert_array_equal(fine.data[0, 0], [0, 0, 3, 3, 3, 3, 3, 0, 0])


def test_a_much_coarser_grid_takes_the_mean() -> None:
    fine = Volume(np.tile([0.0, 30.0], 15).astype(np.float32).reshape(1, 1, 30), np.eye(4))
    coarse = resample(fine, grid(nib.affines.from_matvec(np.diag([1, 1, 5.0]), [0, 0, 2]), (1, 1, 6)))
    np.testing.assert_allclose(coarse.data.ravel(), [fine.data[0, 0, 5 * i : 5 * i + 5].mean() for i in range(6)])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_tiny_at_the_rim_leaves_the_background_exactly_empty(axis: int) -> None:
    """As interpolation at nearly whole places leaves it; what differs from the background is brain."""
    random = np.random.default_rng(axis)
    data = np.zeros((60, 60, 60))
    data[20:40, 20:40, 20:40] = random.uniform(100, 2000, (20, 20, 20))
    data[40, 20:40, 20:40] = data[20:40, 40, 20:40] = data[20:40, 20:40, 40] = random.uniform(0, 1e-12, (20, 20))
    spacing = np.ones(3)
    spacing[axis] = 5
    shape = np.array((60, 60, 60)) // spacing.astype(int)
    onto = grid(nib.affines.from_matvec(np.diag(spacing), 2.0 * (spacing > 1)), tuple(map(int, shape)))
    coarse = resample(Volume(data.astype(np.float32), np.eye(4)), onto).data
    beyond = np.moveaxis(coarse, axis, 0)[9:]
    assert (beyond == 0).all()


def test_the_mean_keeps_the_background_empty_beyond_half_a_voxel() -> None:
    data = np.zeros((1, 1, 60), np.float32)
    data[..., 20:40] = 1
    coarse = resample(
        Volume(data, np.eye(4)), grid(nib.affines.from_matvec(np.diag([1, 1, 5.0]), [0, 0, 2]), (1, 1, 12))
    )
    np.testing.assert_allclose(coarse.data.ravel(), [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("affine", "shape", "share"),
    [
        (np.eye(4), (10, 10, 10), 1),
        (nib.affines.from_matvec(np.eye(3), [5, 0, 0]), (10, 10, 10), 0.5),
        (nib.affines.from_matvec(np.eye(3), [0, 0, 4]), (10, 10, 1), 1),
        (nib.affines.from_matvec(np.eye(3), [10, 0, 0]), (10, 10, 10), 0),
        (nib.affines.from_matvec(np.eye(3), [500, 0, 0]), (10, 10, 10), 0),
        (nib.affines.from_matvec(np.diag([5, 5, 5.0]), [2, 2, 2]), (4, 4, 4), 1),
    ],
)
def test_overlap(affine: NDArray[np.float64], shape: tuple[int, ...], share: float) -> None:
    cube = grid(np.eye(4), (10, 10, 10))
    assert overlap_fraction(cube, grid(affine, shape)) == pytest.approx(share)
    assert overlap_fraction(grid(affine, shape), cube) == pytest.approx(share)


def test_a_grid_in_words() -> None:
    affine = np.diag([-0.9375, -1, 5, 1])
    assert describe_grid(grid(affine, (240, 256, 30))) == "240 x 256 x 30 voxels of 0.938 x 1 x 5 mm, LPS"
