"""The rules of the released code, kept to the letter: intensities, arrays (z, x, y), tiles, plain mean, threshold.

That code knows no world space: voxels are taken in the order of the file and at the size that they have there. A case
of BraTS is stored with x to the left, y to the back, z up, at 1 mm; others are predicted all the same, with a note.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.grid import Axis, WorkingGrid
from napari_shaspec.inference.preprocess import PreparedImage
from napari_shaspec.modalities import Modality
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.volume import Volume

ZXY = np.array([[1, 1], [2, 1], [0, 1]], float)
"""nibabel's orientation that turns (x, y, z) of a file to (z, x, y)."""

FEWEST_VOXELS = 50
"""A bin of the histogram with fewer voxels belongs to the tail that is clipped."""

LEAST_MAXIMUM = 10
"""Images that were scaled to 0-1, or z-scored, do not reach it; of raw ones, no modality stays below."""

MOST_BINS = 10**7


class SlidingWindow:
    """See the module.

    Parameters
    ----------
    config
        Of the network, its tile included.
    """

    first_stage = "full"
    overlap = 0
    sure = None
    sure_each = ()

    def __init__(self, config: ReleasedConfig) -> None:
        self._tile = config.tile
        self.cache_bytes = 4 * 2**30

    def notes(self, source: Volume) -> tuple[str, ...]:
        """Where the grid is not that of BraTS, on which such networks were trained."""
        stored = "".join(nib.aff2axcodes(source.affine))
        notes = []
        if stored != "LPS":
            notes.append(
                f"These weights take voxels as they are stored, and learned from axes L, P, S: here they are "
                f"{', '.join(stored)}. Store the images anew for a fair result."
            )
        if not np.allclose(source.voxel_mm, 1, atol=0.05):
            sizes = " x ".join(f"{size:.2g}" for size in source.voxel_mm)
            notes.append(f"These weights learned from voxels of 1 mm and resample nothing: here they are {sizes} mm.")
        return tuple(notes)

    def grids(self, source: Volume) -> tuple[WorkingGrid, WorkingGrid]:
        """The source's own voxels in the order (z, x, y)."""
        x, y, z = (Axis(count, 1.0, 0.0) for count in source.shape)
        affine = source.affine @ nib.orientations.inv_ornt_aff(ZXY, source.shape)
        grid = WorkingGrid(1.0, (z, x, y), (z, x, y), ZXY, affine)
        return grid, grid

    def longest(self) -> None:
        """The tile belongs to the rules: it does not shrink."""

    def prepare(self, volume: Volume, modality: Modality, grids: Sequence[WorkingGrid]) -> list[PreparedImage]:
        """Clipped and z-scored; all of the image counts as foreground."""
        image = released_intensity(volume.data, modality)
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return [PreparedImage(tensor, tensor != 0, Box((0, 0, 0), grid.shape)) for grid in grids]

    def field(self, grid: WorkingGrid, foregrounds: Sequence[Box]) -> Box:
        """All of the grid, and beyond its end where it is smaller than a tile."""
        x, y, z = (max(pair) for pair in zip(grid.shape, self._tile, strict=True))
        return Box((0, 0, 0), (x, y, z))

    def tiles(self, field: Box, longest: int) -> list[Box]:
        """One every two thirds of a tile, the last one moved back to end with the field."""
        starts = [_starts(length, side) for length, side in zip(field.shape, self._tile, strict=True)]
        first, second, third = self._tile
        return [
            Box((a, b, c), (a + first, b + second, c + third)) for a in starts[0] for b in starts[1] for c in starts[2]
        ]

    def judged(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """In that code one half does not belong to a region: it becomes the next number below."""
        below: np.float32 = np.nextafter(np.float32(0.5), np.float32(0))
        return np.where(probabilities == 0.5, below, probabilities)


def released_intensity(data: NDArray[np.generic], modality: Modality) -> NDArray[np.float32]:
    """The tail clipped at the index of the last well-filled bin; z-score over what differs from the corner voxel.

    Raises
    ------
    ShaSpecError
        For intensities that these rules turn into nothing: scaled to 0-1, for example.
    """
    values = data.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not LEAST_MAXIMUM <= high <= MOST_BINS:
        raise _unfit(modality, f"values from {low:g} to {high:g}")
    counts, _ = np.histogram(values, int(high))
    filled = np.flatnonzero(counts >= FEWEST_VOXELS)
    if not filled.any():
        raise _unfit(modality, f"no intensity above the background that {FEWEST_VOXELS} voxels share")
    np.minimum(values, float(filled[-1]), out=values)
    inside = values != values[0, 0, 0]
    brain = values[inside]
    spread = float(brain.std()) if len(brain) else 0.0
    if spread == 0:
        raise _unfit(modality, "one intensity for nearly all voxels")
    values[inside] = (brain - brain.mean()) / spread
    values[~inside] = 0
    return values.astype(np.float32)


def _starts(length: int, side: int) -> list[int]:
    step = math.ceil(side * 2 / 3)
    return [min(number * step, length - side) for number in range(math.ceil((length - side) / step) + 1)]


def _unfit(modality: Modality, found: str) -> ShaSpecError:
    return ShaSpecError(
        f"{modality.title} as it was acquired, in whole numbers up to hundreds or thousands on a background of 0",
        found,
        "These weights clip by a histogram of whole numbers: give the image before it was scaled, or multiply by 1000",
    )
