"""The part of measuring that runs in a thread: labels against a reference, what is quick first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Event

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.plugin.state import Agreement
from napari_shaspec.regions import Region, labels_to_masks


def agreement_steps(
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    voxel_mm: NDArray[np.float64],
    cancelled: Event,
) -> Iterator[Mapping[Region, Agreement]]:
    """Dice of all regions, then with HD95 beside it.

    Parameters
    ----------
    labels, truth
        BraTS label values on the same grid.
    voxel_mm
        Of that grid, along its axes.
    """
    from napari_shaspec.evaluation.metrics import dice, hd95_mm

    predicted, true = labels_to_masks(labels), labels_to_masks(truth)
    quick = {region: Agreement(dice(predicted[index], true[index]), None) for index, region in enumerate(Region)}
    yield quick
    full: dict[Region, Agreement] = {}
    for index, region in enumerate(Region):
        if cancelled.is_set():
            return
        full[region] = Agreement(quick[region].dice, hd95_mm(predicted[index], true[index], voxel_mm))
    yield full
