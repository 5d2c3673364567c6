"""Where a region should begin: the probability at which Dice is best on simulated cases kept out of training.

Dice losses pay for tumour that is doubtful, so a network trained with them marks more than what makes its Dice best.
Each region is looked at by itself, with what is asked of its pieces, and probabilities as a session blends them, so
that after calibration the best threshold is about one half and not exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from napari_shaspec.inference.canvas import doubtful_pieces
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint, shift_outputs
from napari_shaspec.model.networks import Network
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import HELD_OUT
from napari_shaspec.volume import Case

FIRST_SEED = 910_000
"""Of cases that neither training, nor its validation, nor any published table uses."""

THRESHOLDS = np.arange(0.3, 0.96, 0.05)
"""Probabilities that are tried."""

AS_GOOD = 0.005
"""Dice closer to the best than this is as good: a few cases cannot tell them apart."""

SURE = 0.6
"""What a piece of tumour must reach somewhere: most that is found with less is none, and most that is found with more
is some, on simulated cases kept out of training (docs/results.md)."""

SURE_EACH = {Region.ET.value: 0.74}
"""The same for the pieces of one region by itself, in its own probability once it begins at one half. Rims that enhance
are thin and fade, so their best threshold is low, and bright vessels and dura reach that, too, but no such peak."""

VOXEL_MM = 2.0
"""Of the cases; a session resamples them to what the network wants."""

ALL_SUBSETS = tuple(nonempty_subsets(list(Modality)))

Progress = Callable[[int, int], object]
"""Called with cases done and cases in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Mean Dice over cases, by threshold and region: (T, R) in the order of `THRESHOLDS` and `Region`.

    Parameters
    ----------
    mean
        Over the subsets.
    all_four
        With everything, or all that a dedicated network takes.
    """

    mean: NDArray[np.float64]
    all_four: NDArray[np.float64]

    @property
    def score(self) -> float:
        """Mean over regions, cases and subsets, with each region at the threshold of `best`."""
        places = self._places()
        return float(self.mean[places, np.arange(len(places))].mean())

    def best(self) -> dict[str, float]:
        """For each region the threshold nearest to one half, of those as good as the best in the mean over subsets."""
        return {
            region.value: round(float(THRESHOLDS[place]), 2)
            for region, place in zip(Region, self._places(), strict=True)
        }

    def _places(self) -> NDArray[np.intp]:
        """Where the thresholds of `best` stand in `THRESHOLDS`."""
        by_distance = np.argsort(abs(THRESHOLDS - 0.5), kind="stable")
        good = self.mean >= self.mean.max(0) - AS_GOOD
        places: NDArray[np.intp] = by_distance[good[by_distance].argmax(0)]
        return places


def calibration_cases(count: int) -> Iterator[Case]:
    """Whole simulated cases of the held-out setting, from `FIRST_SEED` on."""
    for number in range(count):
        yield simulate_case(FIRST_SEED + number, f"held_out_{number}", VOXEL_MM, HELD_OUT)


def dice_curves(
    model: Network,
    cases: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
    subsets: Sequence[frozenset[Modality]] = ALL_SUBSETS,
) -> Curves:
    """Measure whole simulated cases of the held-out setting; an empty region that is found empty counts 1.

    Parameters
    ----------
    model
        A network of all four modalities.
    cases
        How many of them, from `FIRST_SEED` on.
    device, precision
        As of `Session`.
    subsets
        Those that the network was trained for, the fullest one last.
    """
    scores = np.zeros((cases, len(subsets), len(THRESHOLDS), len(Region)))
    for number, case in enumerate(calibration_cases(cases)):
        assert case.truth is not None
        truth = labels_to_masks(case.truth.data.astype(np.uint8))
        session = Session(model, case, device=device, precision=precision)
        for row, subset in enumerate(subsets):
            probabilities = session.predict(subset).probabilities
            scores[number, row] = dice_by_threshold(probabilities, truth)
            for channel, region in enumerate(Region):
                if region.value in SURE_EACH:
                    peak = SURE_EACH[region.value]
                    scores[number, row, :, channel] = dice_of_pieces(probabilities[channel], truth[channel], peak)
        if progress is not None:
            progress(number + 1, cases)
    return Curves(scores.mean((0, 1)), scores[:, -1].mean(0))


def dice_by_threshold(probabilities: NDArray[np.floating], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dice of each threshold, a voxel belonging to a region at or above it.

    Parameters
    ----------
    probabilities, truth
        (R, X, Y, Z) in the order of `Region`.

    Returns
    -------
    ndarray
        (T, R), 0 to 1, in the order of `THRESHOLDS`.
    """
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


def dice_of_pieces(probabilities: NDArray[np.floating], truth: NDArray[np.bool_], sure: float) -> NDArray[np.float64]:
    """Dice of a region at each threshold where its pieces must be sure.

    Parameters
    ----------
    probabilities, truth
        (X, Y, Z) of one region.
    sure
        The peak that a piece must reach, once the threshold is shifted to one half.

    Returns
    -------
    ndarray
        (T,), 0 to 1, in the order of `THRESHOLDS`.
    """
    found = probabilities >= THRESHOLDS[0]
    beyond = np.count_nonzero(truth & ~found)
    corners = np.argwhere(found)
    if not len(corners):
        return np.full(len(THRESHOLDS), float(beyond == 0))
    box = tuple(slice(start, stop) for start, stop in zip(corners.min(0), corners.max(0) + 1, strict=True))
    values, mask = probabilities[box], truth[box]
    scores = np.zeros(len(THRESHOLDS))
    for place, threshold in enumerate(THRESHOLDS):
        peak = expit(logit(sure) + logit(threshold))
        kept = (values >= threshold) & ~doubtful_pieces(values, peak, threshold)
        total = np.count_nonzero(kept) + np.count_nonzero(truth)
        scores[place] = 1.0 if total == 0 else 2 * np.count_nonzero(kept & mask) / total
    return scores


def calibrate(  # noqa: PLR0913 (as of `dice_curves`)
    sources: Sequence[Path],
    out: Path,
    cases: int,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
    subsets: Sequence[frozenset[Modality]] = ALL_SUBSETS,
) -> Curves:
    """Write the best of some weights once more, in half precision.

    In the new file regions begin at about one half, and pieces must be sure.

    Parameters
    ----------
    sources
        Weights of our own networks. The best has the highest `Curves.score`, the first of equals; for that, pieces of
        tumour need not be sure, and those of each region need to.
    out
        The new file, over an older one of that name.
    cases, device, precision, subsets
        As of `dice_curves`.
    progress
        Called with cases done and cases in all, over all sources.

    Returns
    -------
    Curves
        What was measured of the best, before the shift.

    Raises
    ------
    ShaSpecError
        As `load_checkpoint` and `shift_outputs` do.
    """
    measured = []
    for place, source in enumerate(sources):

        def told(done: int, total: int, before: int = place * cases) -> None:
            if progress is not None:
                progress(before + done, total * len(sources))

        measured.append(dice_curves(load_checkpoint(source).model, cases, device, precision, told, subsets))
    best, curves = max(zip(sources, measured, strict=True), key=lambda pair: pair[1].score)
    shift_outputs(best, curves.best(), out, SURE, SURE_EACH)
    return curves
