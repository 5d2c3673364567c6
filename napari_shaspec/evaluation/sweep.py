"""One case from every subset of its images: how large each region comes out, and where the answers agree.

A case of one's own has no label map as a rule; then the answer from all its images is what the others are held against.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.evaluation.answers import Answer, ByRegion, Compared, Origin, Sweep
from napari_shaspec.evaluation.contribution import shapley
from napari_shaspec.evaluation.metrics import dice
from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.io.text import open_table
from napari_shaspec.modalities import Modality, nonempty_subsets, subset_name
from napari_shaspec.regions import Region, labels_to_masks, volumes_ml

Key = TypeVar("Key", Region, Modality)


def sweep_order(available: Collection[Modality]) -> tuple[frozenset[Modality], ...]:
    """The subsets of these modalities, all of them first: 15 of four modalities, 1 of one."""
    *others, everything = nonempty_subsets([modality for modality in Modality if modality in available])
    return (everything, *others)


def sweep(
    predictions: Iterable[tuple[frozenset[Modality], Prediction]],
    origin: Origin,
    reference: NDArray[np.uint8] | None = None,
) -> Iterator[Sweep]:
    """Measure answer after answer; what is yielded last is the finished sweep, unless the predictions end early.

    Parameters
    ----------
    predictions
        In the order of `sweep_order`, as `scan_subsets` gives them.
    origin
        Of the answers; its thresholds and smoothing are applied here.
    reference
        Labels (X, Y, Z) on the case's grid.
    """
    post = Postprocessing(origin.thresholds, origin.smooth)
    total = 0
    truths: dict[Compared, NDArray[np.bool_]] = {}
    sizes: dict[Compared, ByRegion] = {}
    answers: list[Answer] = []
    for available, prediction in predictions:
        voxel_mm3 = prediction.grid.voxel_volume_mm3
        masks = post.masks(prediction.probabilities, voxel_mm3)
        del prediction  # 100 MB of a BraTS case, which need not wait for the next one
        if not answers:
            total = len(sweep_order(available))
            marked = np.zeros(masks.shape, np.uint8)
            truths[Compared.ALL] = masks
            if reference is not None:
                truths[Compared.REFERENCE] = labels_to_masks(reference)
            sizes = {compared: volumes_ml(truth, voxel_mm3) for compared, truth in truths.items()}
        marked += masks
        agreement = {compared: _dice(masks, truth) for compared, truth in truths.items()}
        answers.append(Answer(available, volumes_ml(masks, voxel_mm3), agreement))
        if len(answers) < total:
            yield Sweep(origin, tuple(answers), total, sizes)
        else:
            yield Sweep(origin, tuple(answers), total, sizes, marked, _contributions(answers, sizes))


def _dice(masks: NDArray[np.bool_], truth: NDArray[np.bool_]) -> ByRegion:
    return {region: dice(mask, true) for region, mask, true in zip(Region, masks, truth, strict=True)}


def _contributions(
    answers: Collection[Answer], sizes: Mapping[Compared, ByRegion]
) -> Mapping[Compared, Mapping[Region, Mapping[Modality, float]]]:
    return {
        compared: {
            region: shapley({answer.available: answer.dice[compared][region] for answer in answers})
            for region, volume_ml in of_regions.items()
            if volume_ml > 0
        }
        for compared, of_regions in sizes.items()
    }


def write_sweep(found: Sweep, answers: Path, contributions: Path | None = None) -> None:
    """Write a table (CSV), or two.

    Parameters
    ----------
    answers
        A row for each subset and region: ``case,available,region,ml,dice_all,dice_reference,threshold,smoothed,
        weights``.
    contributions
        A row for each image and region, ``case,modality,region,adds_all,adds_reference``, of a finished sweep.
    """
    origin = found.origin
    with open_table(answers, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        dices = (f"dice_{compared}" for compared in Compared)
        writer.writerow(("case", "available", "region", "ml", *dices, "threshold", "smoothed", "weights"))
        for answer in found.answers:
            for region in Region:
                numbers = (_cell(answer.dice.get(compared), region) for compared in Compared)
                told = (f"{answer.volumes_ml[region]:.3f}", *numbers, f"{origin.thresholds[region]:g}", origin.smooth)
                writer.writerow((origin.case, subset_name(answer.available), region, *told, origin.weights))
    if contributions is None:
        return
    with open_table(contributions, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "modality", "region", *(f"adds_{compared}" for compared in Compared)))
        for modality in Modality:
            for region in Region:
                added = {compared: values.get(region, {}) for compared, values in found.contributions.items()}
                if any(modality in values for values in added.values()):
                    numbers = (_cell(added.get(compared), modality) for compared in Compared)
                    writer.writerow((origin.case, modality, region, *numbers))


def _cell(values: Mapping[Key, float] | None, key: Key) -> str:
    return f"{values[key]:.4f}" if values is not None and key in values else ""
