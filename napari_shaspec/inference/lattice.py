"""Where voxels of the network's bottom level lie in the patient, and which voxels of the images each one stands for.

Voxel j of the bottom lies at voxel ``start + step * j`` of the working grid, because each level halves the resolution
by a stride and keeps the first voxel. Its cell is the cube of ``step`` working voxels around that place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_shaspec.box import Box, Triple
from napari_shaspec.inference.grid import WorkingGrid


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """The cells of a bottom map.

    Parameters
    ----------
    grid
        The working grid that the map was computed on.
    start
        The working voxel in the centre of the first cell.
    step
        Working voxels along an edge of a cell.
    shape
        Cells along each axis.
    """

    grid: WorkingGrid
    start: Triple
    step: int
    shape: Triple

    @property
    def cell_mm(self) -> float:
        """Edge length of a cell."""
        return self.step * self.grid.spacing_mm

    def places_mm(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """Centres (N, 3) in RAS mm of cells (N, 3)."""
        voxels = np.asarray(self.start) + self.step * cells
        places: NDArray[np.float64] = voxels @ self.grid.affine[:3, :3].T + self.grid.affine[:3, 3]
        return places

    def share(self, mask: Tensor) -> Tensor:
        """How much of each cell (x, y, z) is in a mask (X, Y, Z) of working voxels, the first of which is ``start``."""
        # The first cell reaches half a step beyond the first voxel, where there is nothing.
        before = self.step // 2
        sides = [self.step * count for count in self.shape]
        padded = torch.zeros(sides)
        kept = [min(side - before, length) for side, length in zip(sides, mask.shape, strict=True)]
        inside = tuple(slice(before, before + length) for length in kept)
        padded[inside] = mask[tuple(slice(length) for length in kept)].float()
        x, y, z = self.shape
        return padded.reshape(x, self.step, y, self.step, z, self.step).mean((1, 3, 5))

    def on_source(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One value for each cell (x, y, z) -> each voxel of the source grid in file order; 0 beyond the cells."""
        cells, inside = [], []
        for axis, (mine, theirs) in enumerate(zip(self.grid.axes, self.grid.source_axes, strict=True)):
            centre_mm = theirs.start_mm + (np.arange(theirs.count) + 0.5) * theirs.step_mm
            voxel = (centre_mm - mine.start_mm) / mine.step_mm - 0.5
            cell = np.floor((voxel - self.start[axis]) / self.step + 0.5).astype(np.intp)
            inside.append((cell >= 0) & (cell < self.shape[axis]))
            cells.append(cell.clip(0, self.shape[axis] - 1))
        known = inside[0][:, None, None] & inside[1][:, None] & inside[2]
        marked = np.where(known, values[np.ix_(*cells)], 0)
        box = Box((0, 0, 0), (marked.shape[0], marked.shape[1], marked.shape[2]))
        _, turned = self.grid.to_file_order(box, torch.from_numpy(np.ascontiguousarray(marked))[None])
        marks: NDArray[np.uint8] = turned[0].astype(np.uint8)
        return marks
