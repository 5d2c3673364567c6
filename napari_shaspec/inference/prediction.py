"""What a session answers: probabilities on the source grid, and what follows from them without the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import DEFAULT_THRESHOLDS, Region, masks_to_labels, nested_masks, volumes_ml
from napari_shaspec.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Probabilities of one subset of modalities.

    Parameters
    ----------
    probabilities
        (3, X, Y, Z) float32 in the order of `Region`, voxels in file order of ``grid``.
    grid
        The case's grid; labels and probabilities lie exactly on it.
    available
        The modalities that the network was given.
    """

    probabilities: NDArray[np.float32]
    grid: Volume
    available: frozenset[Modality]

    def masks(self, thresholds: Mapping[Region, float] = DEFAULT_THRESHOLDS) -> NDArray[np.bool_]:
        """Nested masks (3, X, Y, Z) of ET, TC, WT."""
        return nested_masks(self.probabilities, thresholds)

    def labels(self, thresholds: Mapping[Region, float] = DEFAULT_THRESHOLDS) -> NDArray[np.uint8]:
        """Label map (X, Y, Z) of `Label`."""
        return masks_to_labels(self.masks(thresholds))

    def volumes_ml(self, thresholds: Mapping[Region, float] = DEFAULT_THRESHOLDS) -> dict[Region, float]:
        """Volume of each region in millilitres."""
        return volumes_ml(self.masks(thresholds), self.grid.voxel_volume_mm3)

    def at(self, index: tuple[int, int, int]) -> dict[Region, float]:
        """The three probabilities at a voxel in file order."""
        return {region: float(self.probabilities[(channel, *index)]) for channel, region in enumerate(Region)}
