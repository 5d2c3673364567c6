"""From the scores of an evaluation to the table that travels with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region
from napari_shaspec.reliability import Limits, Reliability
from napari_shaspec.volume import Extent

DECIMALS = 4


def measured(scores: Sequence[Score], cases: str, extents: Sequence[Mapping[Modality, Extent]] = ()) -> Reliability:
    """Mean Dice of the raw masks by subset and region.

    Parameters
    ----------
    scores
        Of one network.
    cases
        What kind they are, as in "simulated cases"; their number is put before it.
    extents
        Of their images, as `Case` has them: it is such ones that the table speaks of.
    """
    chosen = [score for score in scores if score.variant is Variant.RAW]
    found: dict[frozenset[Modality], dict[Region, list[float]]] = {}
    for score in chosen:
        found.setdefault(score.available, {}).setdefault(score.region, []).append(score.dice)
    dice = {
        available: {region: round(fmean(values), DECIMALS) for region, values in row.items()}
        for available, row in found.items()
    }
    limits = {
        modality: Limits.around([images[modality] for images in extents if modality in images]) for modality in Modality
    }
    total = len({score.case for score in chosen})
    counts = {available: max(map(len, row.values())) for available, row in found.items()}
    fewer = {available: count for available, count in counts.items() if count < total}
    return Reliability(dice, f"{total} {cases}", limits, fewer)
