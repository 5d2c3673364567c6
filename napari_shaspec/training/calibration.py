"""Where a region should begin: the probability at which Dice is best on simulated cases kept out of training.

Dice losses pay for tumour that is doubtful, so a network trained with them marks more than what makes its Dice best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint, shift_outputs
from napari_shaspec.model.networks import Network
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import HELD_OUT

FIRST_SEED = 910_000
"""Of cases that neither training, nor its validation, nor any published table uses."""

THRESHOLDS = np.arange(0.3, 0.96, 0.05)
VOXEL_MM = 2.0

Progress = Callable[[int, int], None]
"""Called with cases done and cases in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Mean Dice over cases, by threshold and region: (T, R) in the order of `THRESHOLDS` and `Region`.

    Parameters
    ----------
    mean
        Over the 15 subsets.
    all_four
        With everything.
    """

    mean: NDArray[np.float64]
    all_four: NDArray[np.float64]

    def best(self) -> dict[str, float]:
        """The threshold of each region that has the best mean over the subsets."""
        places = self.mean.argmax(0)
        return {region.value: round(float(THRESHOLDS[place]), 2) for region, place in zip(Region, places, strict=True)}


def dice_curves(model: Network, cases: int, device: str = "auto", progress: Progress | None = None) -> Curves:
    """Measure whole simulated cases of the held-out setting; an empty region that is found empty counts 1."""
    subsets = nonempty_subsets(list(Modality))
    scores = np.zeros((cases, len(subsets), len(THRESHOLDS), len(Region)))
    for number in range(cases):
        case = simulate_case(FIRST_SEED + number, f"held_out_{number}", VOXEL_MM, HELD_OUT)
        assert case.truth is not None
        truth = labels_to_masks(case.truth.data.astype(np.uint8))
        session = Session(model, case, device=device)
        for row, subset in enumerate(subsets):
            scores[number, row] = dice_by_threshold(session.predict(subset).probabilities, truth)
        if progress is not None:
            progress(number + 1, cases)
    return Curves(scores.mean((0, 1)), scores[:, -1].mean(0))


def dice_by_threshold(probabilities: NDArray[np.floating], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities and masks (R, X, Y, Z) -> (T, R) in the order of `THRESHOLDS`."""
    scores = np.zeros((len(THRESHOLDS), len(truth)))
    for region, (values, mask) in enumerate(zip(probabilities, truth, strict=True)):
        # Where each voxel stands among the thresholds: one histogram instead of a pass for each of them.
        passed = np.searchsorted(THRESHOLDS, values, side="right")
        found, both = (
            np.bincount(places.ravel(), minlength=len(THRESHOLDS) + 1)[::-1].cumsum()[::-1][1:]
            for places in (passed, passed[mask])
        )
        total = found + np.count_nonzero(mask)
        scores[:, region] = np.where(total == 0, 1.0, 2 * both / np.maximum(total, 1))
    return scores


def calibrate(source: Path, out: Path, cases: int, device: str = "auto", progress: Progress | None = None) -> Curves:
    """Write the weights once more, in half precision, so that one half is the best threshold of each region.

    Parameters
    ----------
    source
        Weights that `load_checkpoint` opens.
    cases
        Simulated cases to measure.

    Raises
    ------
    ShaSpecError
        As `load_checkpoint` and `shift_outputs` do.
    """
    curves = dice_curves(load_checkpoint(source).model, cases, device, progress)
    shift_outputs(source, curves.best(), out)
    return curves
