"""The grids that the network works on, and the way to and from the source grid.

A working grid has the source's own axes, turned to the closest RAS order and cut into cubes. So all resampling is
separable, exact for oblique and anisotropic sources too, and one small matrix for each axis does it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_shaspec.box import Box, Triple
from napari_shaspec.volume import Volume


@dataclass(frozen=True, slots=True)
class Axis:
    """Equal cells side by side: how many, how long, and where the first one begins."""

    count: int
    step_mm: float
    start_mm: float

    def weights_from(self, other: Axis) -> Tensor:
        """Rows that sum to 1, (self.count, other.count): interpolate values on ``other`` at this axis' centres.

        Linear interpolation; towards coarser cells, its mean over a window that makes up for the difference in size,
        which prevents aliasing. Straight lines stay straight, so nothing moves by a fraction of a voxel. Beyond the
        last centre the last value is continued.
        """
        mine = self.start_mm + (torch.arange(self.count, dtype=torch.float64) + 0.5) * self.step_mm
        theirs = other.start_mm + (torch.arange(other.count, dtype=torch.float64) + 0.5) * other.step_mm
        distance = (mine.clamp(float(theirs[0]), float(theirs[-1]))[:, None] - theirs[None]) / other.step_mm
        window = math.sqrt(max(0.0, (self.step_mm / other.step_mm) ** 2 - 1))
        if window < 1e-3:
            weights = (1 - distance.abs()).clamp(min=0)
        else:
            weights = _hat_integral(distance + window / 2) - _hat_integral(distance - window / 2)
        return (weights / weights.sum(1, keepdim=True)).float()


def _hat_integral(place: Tensor) -> Tensor:
    """Integral from minus infinity of the linear interpolation kernel, 1 - |t| on [-1, 1]."""
    place = place.clamp(-1, 1)
    return torch.where(place < 0, (1 + place) ** 2 / 2, 1 - (1 - place) ** 2 / 2)


def apply_weights(values: Tensor, weights: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Resample the last three axes of (..., X, Y, Z), one matrix each; where it is the identity, nothing is done."""
    for axis, matrix in zip(("ix->...iyz", "iy->...xiz", "iz->...xyi"), weights, strict=True):
        if matrix.shape[0] != matrix.shape[1] or not torch.equal(matrix, torch.eye(len(matrix))):
            values = torch.einsum(f"...xyz,{axis}", values, matrix)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class WorkingGrid:
    """Cubes of ``spacing_mm`` over the field of view of a source grid.

    Parameters
    ----------
    axes
        Of the working grid, in RAS order.
    source_axes
        Of the source grid turned to RAS order.
    orientation
        nibabel's (3, 2) array that turns the source's file order to RAS order.
    affine
        4 x 4, working voxel to RAS mm.
    """

    spacing_mm: float
    axes: tuple[Axis, Axis, Axis]
    source_axes: tuple[Axis, Axis, Axis]
    orientation: NDArray[np.float64]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> Triple:
        """Voxels along each axis."""
        return self.axes[0].count, self.axes[1].count, self.axes[2].count

    def from_source(self, data: NDArray[np.generic]) -> Tensor:
        """An array in file order on the source grid -> float32 (X, Y, Z) on this grid."""
        turned = nib.apply_orientation(data, self.orientation)
        # A true copy: a flipped axis of length 1 counts as contiguous, but keeps a stride that torch refuses.
        values = torch.from_numpy(np.array(turned, np.float32, order="C"))
        x, y, z = (mine.weights_from(theirs) for mine, theirs in zip(self.axes, self.source_axes, strict=True))
        return apply_weights(values, (x, y, z))

    def weights_to_source(self) -> tuple[Tensor, Tensor, Tensor]:
        """One matrix for each axis, (source count in RAS order, count of this grid)."""
        x, y, z = (theirs.weights_from(mine) for mine, theirs in zip(self.axes, self.source_axes, strict=True))
        return x, y, z

    def to_file_order(self, box: Box, values: Tensor) -> tuple[Box, NDArray[np.float32]]:
        """A box of the source grid in RAS order with its (C, X, Y, Z) values -> the same in file order."""
        back = nib.orientations.ornt_transform(_RAS, self.orientation)
        arrays = np.stack([nib.apply_orientation(array, back) for array in values.numpy()])
        start, stop = [0, 0, 0], [0, 0, 0]
        for axis, (place, direction) in enumerate(back):
            side = self.source_axes[axis].count
            low, high = box.start[axis], box.stop[axis]
            start[int(place)], stop[int(place)] = (low, high) if direction > 0 else (side - high, side - low)
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])), np.ascontiguousarray(arrays)

    def box_from_source(self, box: Box) -> Box:
        """The working voxels that a box of the source grid (file order) touches."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for axis, (place, direction) in enumerate(self.orientation):
            mine, theirs = self.axes[int(place)], self.source_axes[int(place)]
            low, high = box.start[axis], box.stop[axis]
            if direction < 0:
                low, high = theirs.count - high, theirs.count - low
            edges = [(theirs.start_mm + edge * theirs.step_mm - mine.start_mm) / mine.step_mm for edge in (low, high)]
            start[int(place)] = max(0, int(np.floor(edges[0])))
            stop[int(place)] = min(mine.count, int(np.ceil(edges[1])))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


_RAS = np.array([[0, 1], [1, 1], [2, 1]], float)

NEARLY_WHOLE = 0.01
"""Share of a cube that may stay uncovered. Voxel sizes out of float32 headers are off by 1e-7: 240 of them measure
240.00002 mm, and a 241st cube would shift the centred grid by half a voxel, which blurs everything twice."""


def working_grid(source: Volume, spacing_mm: float) -> WorkingGrid:
    """Lay cubes over the source's field of view, centred in it."""
    orientation = nib.io_orientation(source.affine)
    turned_shape = [0, 0, 0]
    turned_mm = [0.0, 0.0, 0.0]
    for axis, (place, _) in enumerate(orientation):
        turned_shape[int(place)] = source.shape[axis]
        turned_mm[int(place)] = float(source.voxel_mm[axis])
    axes, source_axes = [], []
    for count, step in zip(turned_shape, turned_mm, strict=True):
        cubes = max(1, int(np.ceil(count * step / spacing_mm - NEARLY_WHOLE)))
        source_axes.append(Axis(count, step, 0.0))
        axes.append(Axis(cubes, spacing_mm, (count * step - cubes * spacing_mm) / 2))
    turned_affine = source.affine @ nib.orientations.inv_ornt_aff(orientation, source.shape)
    # Working index -> turned source index: centres of cells at (i + 0.5) * step on both.
    to_source = np.eye(4)
    for axis, (mine, theirs) in enumerate(zip(axes, source_axes, strict=True)):
        to_source[axis, axis] = mine.step_mm / theirs.step_mm
        to_source[axis, 3] = (mine.start_mm + 0.5 * mine.step_mm) / theirs.step_mm - 0.5
    return WorkingGrid(
        spacing_mm,
        (axes[0], axes[1], axes[2]),
        (source_axes[0], source_axes[1], source_axes[2]),
        orientation,
        turned_affine @ to_source,
    )
