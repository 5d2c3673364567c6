"""From probabilities to masks: thresholds, nesting and, if wanted, the smoothing of ShaSpec*.

ShaSpec* is the paper's "prediction smoothness enhancement": voxels within two hops are neighbours, and connected
components below a size are removed. The released code also deletes what lies low in the head and re-sorts the core by
T1c; both are left out, the first because it deletes real tumours, the second because it reads T1c where T1c is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_shaspec.regions import DEFAULT_THRESHOLDS, Region, nested_masks

LEAST_ML = 2.0
"""The released code drops components below 2,000 voxels of 1 mm, or below a tenth of the largest if that is less."""

LEAST_SHARE = 0.1

LEAST_ENHANCING_ML = 0.5
"""Less enhancing tumour than this in all becomes core: the rule ET_postpro of BraTS."""

TWO_HOPS = ndimage.generate_binary_structure(3, 2)
"""18 neighbours: all that two steps across faces reach within a cube of 3."""


@dataclass(frozen=True, slots=True)
class Postprocessing:
    """What makes masks of probabilities, without the network.

    Parameters
    ----------
    thresholds
        A voxel belongs to a region at or above its threshold, 0 to 1.
    smooth
        Remove small components (ShaSpec*).
    """

    thresholds: Mapping[Region, float] = field(default_factory=lambda: dict(DEFAULT_THRESHOLDS))
    smooth: bool = False

    def masks(self, probabilities: NDArray[np.floating], voxel_volume_mm3: float) -> NDArray[np.bool_]:
        """Probabilities (3, X, Y, Z) of a whole case -> nested masks in the order of `Region`."""
        masks = nested_masks(probabilities, self.thresholds)
        return smoothed(masks, voxel_volume_mm3) if self.smooth else masks


def smoothed(masks: NDArray[np.bool_], voxel_volume_mm3: float) -> NDArray[np.bool_]:
    """Remove small components of WT, and ET where there is too little of it in all.

    Parameters
    ----------
    masks
        (3, X, Y, Z), nested, in the order of `Region`; not changed.
    """
    enhancing, core, whole = masks.copy()
    components, count = ndimage.label(whole, TWO_HOPS)
    if count:
        sizes_ml = np.bincount(components.ravel(), minlength=count + 1) * voxel_volume_mm3 / 1000
        sizes_ml[0] = 0
        kept = sizes_ml >= min(LEAST_ML, LEAST_SHARE * float(sizes_ml.max()))
        kept[0] = False
        whole = kept[components]
    enhancing &= whole
    core &= whole
    if np.count_nonzero(enhancing) * voxel_volume_mm3 / 1000 < LEAST_ENHANCING_ML:
        enhancing[:] = False
    return np.stack([enhancing, core, whole])
