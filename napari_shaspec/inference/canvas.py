"""Where tiles are put together: a picture of the probabilities that is complete at every moment and ends exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_shaspec.box import Box
from napari_shaspec.inference.grid import WorkingGrid, apply_weights
from napari_shaspec.inference.smoothing import TWO_HOPS
from napari_shaspec.inference.tiling import taper

COARSE_WEIGHT = 0.5
"""What the coarse answer counts against a fine tile's 1: it has seen the whole brain, the tile has not."""

DOUBTFUL = 0.499
"""What the probability of a piece is held at that is found nowhere surely: just below what makes tumour."""


@dataclass(frozen=True, slots=True, eq=False)
class TileResult:
    """A part of the answer, ready to be painted.

    Parameters
    ----------
    box
        Of the source grid, in file order.
    probabilities
        (3, *box.shape) float32; they replace what was painted there before.
    stage
        ``coarse`` or ``fine``.
    done, total
        Progress, in tiles of both stages.
    """

    box: Box
    probabilities: NDArray[np.float32]
    stage: str
    done: int
    total: int


def doubtful_pieces(probabilities: NDArray[np.floating], sure: float, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Where what is connected and at or above the threshold reaches ``sure`` nowhere."""
    pieces, count = ndimage.label(probabilities >= threshold, TWO_HOPS)
    peaks = np.atleast_1d(ndimage.maximum(probabilities, pieces, np.arange(1, count + 1)))
    doubtful: NDArray[np.bool_] = np.concatenate([[False], peaks < sure])[pieces]
    return doubtful


class Canvas:
    """Probabilities over a field of a working grid, averaged over coarse answer and overlapping tiles.

    Parameters
    ----------
    grid, field
        The working grid and the box of it that is drawn on; elsewhere probabilities are 0.
    channels
        Number of regions.
    """

    def __init__(self, grid: WorkingGrid, field: Box, channels: int) -> None:
        self.grid = grid
        self.field = field
        self._weighted = torch.zeros(channels, *field.shape)
        self._weights = torch.zeros(field.shape)
        self._to_source = grid.weights_to_source()

    def put_coarse(self, overview: Canvas) -> None:
        """Lay the answer of a coarser grid of the same source under everything."""
        weights = []
        for axis, (mine, theirs) in enumerate(zip(self.grid.axes, overview.grid.axes, strict=True)):
            # A field reaches beyond its grid where the brain touches the edge; there is nothing to interpolate there.
            rows = slice(self.field.start[axis], min(self.field.stop[axis], mine.count))
            columns = slice(overview.field.start[axis], min(overview.field.stop[axis], theirs.count))
            matrix = torch.zeros(self.field.shape[axis], overview.field.shape[axis])
            matrix[: rows.stop - rows.start, : columns.stop - columns.start] = mine.weights_from(theirs)[rows, columns]
            weights.append(matrix)
        coarse = apply_weights(overview.probabilities(), (weights[0], weights[1], weights[2]))
        self._weighted += COARSE_WEIGHT * coarse
        self._weights += COARSE_WEIGHT

    def put_tile(self, box: Box, probabilities: Tensor, overlap: int) -> None:
        """Average a tile into the picture."""
        weights = taper(box.shape, overlap)
        place = box.relative_to(self.field.start).slices
        self._weighted[(slice(None), *place)] += weights * probabilities
        self._weights[place] += weights

    def doubt(self, sure: float, sure_each: Sequence[float] = ()) -> Box | None:
        """Hold pieces that are sure nowhere just below one half; returns the box around them, if any.

        A piece is what is connected and at least one half, in any region or in one of them. What the network finds with
        a peak below ``sure`` is mostly no tumour, so its voxels are less probable than they look one by one. They stay
        at the limit, so that a lower threshold shows them all.

        Parameters
        ----------
        sure
            The peak that a piece of tumour must reach in some region, 0.5 to 1, or 0: then nothing is asked of it.
        sure_each
            The peak that a piece of each region must reach there, 0.5 to 1, or 0: then nothing is asked of it.
        """
        probabilities = self.probabilities()
        doubtful = doubtful_pieces(probabilities.amax(0).numpy(), sure)
        self._hold(slice(None), doubtful)
        for region, peak in enumerate(sure_each):
            if peak:
                pieces = doubtful_pieces(probabilities[region].numpy(), peak)  # those held already stay where they are
                self._hold(region, pieces)
                doubtful |= pieces
        if not doubtful.any():
            return None
        corners = np.argwhere(doubtful)
        start, stop = corners.min(0) + self.field.start, corners.max(0) + 1 + self.field.start
        return Box(tuple(start.tolist()), tuple(stop.tolist()))

    def _hold(self, region: int | slice, places: NDArray[np.bool_]) -> None:
        values = self._weighted[region]
        limited = values.minimum(DOUBTFUL * self._weights)
        self._weighted[region] = torch.where(torch.from_numpy(places), limited, values)

    def probabilities(self) -> Tensor:
        """(C, *field); 0 where nothing was put."""
        return self._weighted / self._weights.clamp(min=1e-6)

    def on_source(self, box: Box) -> tuple[Box, NDArray[np.float32]]:
        """All source voxels that ``box`` of the working grid has a say in, in file order, with their probabilities."""
        starts, stops, columns, weights = [], [], [], []
        for axis, matrix in enumerate(self._to_source):
            first, last = box.start[axis], min(box.stop[axis], matrix.shape[1])
            rows = torch.nonzero(matrix[:, first:last].any(1))[:, 0]
            low, high = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
            needed = torch.nonzero(matrix[low:high].any(0))[:, 0]
            left = max(self.field.start[axis], int(needed[0])) if len(needed) else self.field.start[axis]
            right = min(self.field.stop[axis], int(needed[-1]) + 1) if len(needed) else left
            starts.append(low)
            stops.append(high)
            columns.append((left - self.field.start[axis], right - self.field.start[axis]))
            weights.append(matrix[low:high, left:right])
        place = tuple(slice(*column) for column in columns)
        values = self._weighted[(slice(None), *place)] / self._weights[place].clamp(min=1e-6)
        source = Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))
        return self.grid.to_file_order(source, apply_weights(values, (weights[0], weights[1], weights[2])))
