"""The rules around a network: its grids, what it takes for an image, where its tiles lie, how they are averaged.

They belong to the weights, because a network has to see at prediction what it saw at training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.box import Box
from napari_shaspec.inference.grid import WorkingGrid, working_grid
from napari_shaspec.inference.preprocess import PreparedImage, prepare
from napari_shaspec.inference.sliding_window import SlidingWindow
from napari_shaspec.inference.tiling import tile_boxes
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.networks import NetworkConfig
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.volume import Volume

GIB = 2**30
LONGEST_TILE = 96
"""Voxels along an axis of a fine tile; at 2 mm most brains then fit in one or two."""

SHORTEST_TILE = 32
"""Below this, tiles are mostly overlap: a device that has no room for it is of no use."""

OVERLAP = 16


class Procedure(Protocol):
    """What a session asks before and after it asks the network."""

    @property
    def first_stage(self) -> str:
        """What the tiles of the first grid are called."""

    @property
    def overlap(self) -> int:
        """Voxels over which a tile's weight falls to its edge; 0 for a plain mean."""

    @property
    def sure(self) -> float | None:
        """What a piece of tumour must reach somewhere to be one; None where every probability counts as it is."""

    @property
    def sure_each(self) -> tuple[float, ...]:
        """The same for the pieces of each region by itself; 0 asks nothing of them."""

    @property
    def cache_bytes(self) -> int:
        """Memory for the encodings of a whole case of the usual size."""

    def notes(self, source: Volume) -> tuple[str, ...]:
        """What has to be said of a prediction on this grid."""

    def grids(self, source: Volume) -> tuple[WorkingGrid, WorkingGrid]:
        """For an overview and for details; the same object twice means one pass."""

    def longest(self) -> tuple[int, int] | None:
        """Sides of the longest tiles on both grids; None where tiles cannot shrink."""

    def prepare(self, volume: Volume, modality: Modality, grids: Sequence[WorkingGrid]) -> list[PreparedImage]:
        """An image as the network wants it, on each grid."""

    def field(self, grid: WorkingGrid, foregrounds: Sequence[Box]) -> Box:
        """What has to be predicted, given the boxes around each image's foreground."""

    def tiles(self, field: Box, longest: int) -> list[Box]:
        """How the field is cut."""

    def judged(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same, such that a voxel belongs to a region at or above the threshold, as everywhere in the program."""


class CoarseToFine:
    """The rules of our own networks: an overview of the whole brain, then finer tiles over it."""

    first_stage = "coarse"
    overlap = OVERLAP
    cache_bytes = 2 * GIB

    def __init__(self, config: ModelConfig) -> None:
        self._voxel_mm = config.voxel_mm
        self._stride = config.stride
        self._normalisation = config.normalisation
        self.sure = config.sure
        self.sure_each = config.sure_each

    def notes(self, source: Volume) -> tuple[str, ...]:
        """Nothing: every grid is resampled."""
        return ()

    def grids(self, source: Volume) -> tuple[WorkingGrid, WorkingGrid]:
        """Of the coarsest and the finest voxels that the network was trained on."""
        finest, coarsest = self._voxel_mm
        coarse = working_grid(source, coarsest)
        return coarse, working_grid(source, finest) if finest < coarsest else coarse

    def longest(self) -> tuple[int, int]:
        """The overview is meant to be one tile, so that the network sees the whole brain at once."""
        return 2 * LONGEST_TILE, LONGEST_TILE

    def prepare(self, volume: Volume, modality: Modality, grids: Sequence[WorkingGrid]) -> list[PreparedImage]:
        """Resampled and normalised on each grid."""
        return prepare(volume, grids, self._normalisation)

    def field(self, grid: WorkingGrid, foregrounds: Sequence[Box]) -> Box:
        """Around all foregrounds, on a lattice of 8 voxels."""
        field = foregrounds[0]
        for box in foregrounds[1:]:
            field = field.union(box)
        return field.snapped(max(8, self._stride), max(SHORTEST_TILE, 2 * self._stride))

    def tiles(self, field: Box, longest: int) -> list[Box]:
        """Equal tiles, as few as possible; none shorter than two of what the deepest level takes for one voxel."""
        longest = max(longest // self._stride, 2) * self._stride
        # Whole strides, because tiles begin at them: what is asked for is then what neighbours share.
        overlap = self._stride * math.ceil(min(OVERLAP, longest // 4) / self._stride)
        return tile_boxes(field, longest, overlap, self._stride)

    def judged(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rule is that of the program."""
        return probabilities


def procedure_for(config: NetworkConfig) -> Procedure:
    """The rules that belong to a network."""
    return SlidingWindow(config) if isinstance(config, ReleasedConfig) else CoarseToFine(config)
