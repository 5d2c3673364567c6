"""Working grids against plain interpolation at world coordinates."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_shaspec.box import Box
from napari_shaspec.inference.grid import Axis, WorkingGrid, working_grid
from napari_shaspec.volume import Volume


def oriented(orientation: tuple[str, ...], shape: tuple[int, int, int], voxel_mm: tuple[float, float, float]) -> Volume:
    """A ramp over world space, so that any value tells where it was taken, on a grid of that orientation."""
    codes = nib.orientations.axcodes2ornt(orientation)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (place, direction) in enumerate(codes):
        affine[int(place), axis] = direction * voxel_mm[axis]
    tilt = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, 0.15, -0.12), [3, -40, 12])
    affine = tilt @ affine
    index = np.stack(np.meshgrid(*[np.arange(side) for side in shape], indexing="ij"), -1)
    world = nib.affines.apply_affine(affine, index)
    return Volume((world @ [1.0, 10.0, 100.0]).astype(np.float32), affine)


ORIENTATIONS = [
    tuple(pair[which] for pair, which in zip(order, signs, strict=True))
    for order in itertools.permutations(["LR", "PA", "IS"])
    for signs in itertools.product((0, 1), repeat=3)
]


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
def test_values_land_where_the_affine_says_in_all_48_orientations(orientation: tuple[str, ...]) -> None:
    volume = oriented(orientation, (14, 11, 17), (1.0, 2.5, 1.7))
    grid = working_grid(volume, 2.0)
    found = grid.from_source(volume.data).numpy()
    index = np.stack(np.meshgrid(*[np.arange(side) for side in grid.shape], indexing="ij"), -1)
    expected = nib.affines.apply_affine(grid.affine, index) @ [1.0, 10.0, 100.0]
    # Averages of a linear ramp are exact away from the edge, where the last value is continued.
    inside = (slice(2, -2),) * 3
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.05)
    # The axes of the grid run along R, A, S within the tilt.
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")


@pytest.mark.parametrize("degrees", [(0, 4, 7), (10, -6, 5), (3, 0, 0), (-12, 9, 2)])
def test_oblique_headers_in_float32_are_not_blurred(degrees: tuple[int, int, int]) -> None:
    """A column of a rotation in float32 is as good as never of length 1; no voxel may be shifted for that."""
    turn = nib.eulerangles.euler2mat(*np.deg2rad(degrees))
    affine = nib.affines.from_matvec(turn.astype(np.float32), [3, -40, 12])
    image = np.random.default_rng(5).random((192, 224, 40), np.float32)
    grid = working_grid(Volume(image, affine), 1.0)
    assert grid.shape == image.shape
    np.testing.assert_allclose(grid.from_source(image), image, atol=1e-2)
    for step, count, cubes in ((np.float32(1.2), 160, 96), (np.float32(0.8), 200, 80)):
        grid = working_grid(Volume(np.zeros((count, 2, 2)), np.diag([step, 1.0, 1.0, 1.0])), 2.0)
        assert grid.shape[0] == cubes


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5], ids="".join)
def test_boxes_and_values_come_back_in_file_order(orientation: tuple[str, ...]) -> None:
    volume = oriented(orientation, (6, 5, 7), (1.0, 2.0, 3.0))
    grid = working_grid(volume, 1.0)
    turned = torch.from_numpy(nib.apply_orientation(volume.data, grid.orientation).copy())
    ras_box = Box((1, 0, 2), (3, 4, 5))
    box, values = grid.to_file_order(ras_box, turned[None][(slice(None), *ras_box.slices)])
    np.testing.assert_array_equal(values[0], volume.data[box.slices])


@pytest.mark.parametrize("orientation", ORIENTATIONS[::7], ids="".join)
def test_a_viewport_maps_to_the_voxels_that_it_touches(orientation: tuple[str, ...]) -> None:
    volume = oriented(orientation, (20, 24, 16), (1.0, 1.0, 1.0))
    grid = working_grid(volume, 2.0)
    data = np.zeros(volume.shape, np.float32)
    viewport = Box((3, 10, 5), (4, 13, 16))
    data[viewport.slices] = 1
    touched = torch.nonzero(grid.from_source(data) > 0.2)
    box = grid.box_from_source(viewport)
    assert (touched.amin(0).numpy() >= np.array(box.start) - 1).all()
    assert (touched.amax(0).numpy() <= np.array(box.stop)).all()
    assert touched.amin(0).tolist() < list(box.stop)
    assert touched.amax(0).tolist() >= list(box.start)


@pytest.mark.parametrize(("spacing_mm", "step"), [(1.0, 1.0), (0.5, 1.0)])
def test_weights_towards_finer_cells_are_linear_interpolation(spacing_mm: float, step: float) -> None:
    values = np.random.default_rng(0).normal(size=9)
    source = Axis(9, step, 0.0)
    target = Axis(int(9 * step / spacing_mm), spacing_mm, 0.0)
    places = (np.arange(target.count) + 0.5) * spacing_mm / step - 0.5
    expected = ndimage.map_coordinates(values, [places], order=1, mode="nearest")
    found = target.weights_from(source).double() @ torch.from_numpy(values)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_towards_coarser_cells_prevent_aliasing() -> None:
    stripes = torch.tensor([0.0, 1.0] * 30)
    found = Axis(15, 4.0, 0.0).weights_from(Axis(60, 1.0, 0.0)) @ stripes
    np.testing.assert_allclose(found[1:-1], 0.5, atol=0.02)


def test_a_single_slice_has_a_grid() -> None:
    grid = working_grid(oriented(("R", "A", "S"), (8, 8, 1), (1.0, 1.0, 5.0)), 2.0)
    assert isinstance(grid, WorkingGrid)
    assert grid.shape == (4, 4, 3)


@pytest.mark.parametrize("flat", [0, 1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_slice_in_all_orientations(flat: int, order: str) -> None:
    """Turned over, its axis counts as contiguous and has a stride that torch does not take."""
    for orientation in ORIENTATIONS:
        shape = [6, 7, 5]
        shape[flat] = 1
        volume = oriented(orientation, (shape[0], shape[1], shape[2]), (2.0, 2.0, 2.0))
        grid = working_grid(volume, 2.0)
        found = grid.from_source(np.array(volume.data, order=order))
        np.testing.assert_allclose(found, nib.apply_orientation(volume.data, grid.orientation), atol=1e-3)
