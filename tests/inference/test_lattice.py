"""Cells of the bottom level: their places, their share of a mask, and the voxels of the images that they stand for."""

from __future__ import annotations

import numpy as np
import torch

from napari_shaspec.inference.grid import working_grid
from napari_shaspec.inference.lattice import Lattice
from napari_shaspec.volume import Case, Volume

STEP = 4


def lattice_over(source: Volume, spacing_mm: float) -> Lattice:
    grid = working_grid(source, spacing_mm)
    # Begins outside the grid, and does not reach its end.
    return Lattice(grid, (-1, 3, 0), STEP, (5, 4, 3))


def test_each_voxel_gets_the_value_of_the_cell_around_it(case: Case) -> None:
    lattice = lattice_over(case.grid, 2.5)
    values = np.random.default_rng(0).permutation(np.arange(1, 61, dtype=np.uint8)).reshape(lattice.shape)
    marked = lattice.on_source(values)
    assert marked.shape == case.grid.shape

    # The slow way: from each voxel to mm, to the working grid, to the cell.
    index = np.stack(np.meshgrid(*map(np.arange, marked.shape), indexing="ij"), -1).reshape(-1, 3)
    world = index @ case.grid.affine[:3, :3].T + case.grid.affine[:3, 3]
    inverse = np.linalg.inv(lattice.grid.affine)
    working = world @ inverse[:3, :3].T + inverse[:3, 3]
    exact = (working - np.array(lattice.start)) / STEP
    cell = np.floor(exact + 0.5).astype(int)
    inside = ((cell >= 0) & (cell < lattice.shape)).all(1)
    expected = np.where(inside, values[tuple(cell.clip(0, np.array(lattice.shape) - 1).T)], 0)
    clear = (np.abs(exact + 0.5 - np.round(exact + 0.5)) > 1e-6).all(1)  # on an edge either neighbour is right
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(marked.reshape(-1)[clear], expected[clear])
    assert set(np.unique(marked)) >= {0, int(values[0, 0, 0]), int(values[-1, -1, -1])}


def test_a_place_lies_in_its_own_cell(case: Case) -> None:
    lattice = Lattice(working_grid(case.grid, 2.0), (8, 8, 8), STEP, (6, 5, 4))
    cells = np.array([[0, 0, 0], [3, 2, 1], [5, 4, 3]])
    for cell, place in zip(cells, lattice.places_mm(cells), strict=True):
        values = np.zeros(lattice.shape, np.uint8)
        values[tuple(cell)] = 1
        voxel = np.round(np.linalg.solve(case.grid.affine, np.append(place, 1.0))[:3]).astype(int)
        assert lattice.on_source(values)[tuple(voxel)] == 1


def test_share_of_a_mask(case: Case) -> None:
    lattice = Lattice(working_grid(case.grid, 2.0), (0, 0, 0), STEP, (3, 2, 2))
    mask = torch.zeros(12, 8, 8, dtype=torch.bool)
    mask[2:6, 2:6, 2:4] = True  # half of the second cell along each axis
    expected = torch.zeros(3, 2, 2)
    expected[1, 1, 1] = 0.5
    assert torch.equal(lattice.share(mask), expected)
