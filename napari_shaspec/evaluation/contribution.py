"""What each modality adds to the answer: Shapley values of Dice over the 15 subsets.

A modality's value is the mean, over all orders in which the modalities could come in, of what Dice gains when it joins
those that are there already. So the values of all modalities sum to the Dice of all four, none is counted twice, and
what one can stand in for another is shared among them (Shapley 1953, "A value for n-person games").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.evaluation.tables import ROWS
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region

Contributions = Mapping[Region, Mapping[Modality, float]]
"""Dice, 0 to 1, that each modality adds; below 0 where it does harm."""


def contributions(scores: Sequence[Score]) -> Contributions:
    """Of raw masks of one network, the mean over the cases that were scored with every subset of all four modalities.

    Without any modality there is no answer, which counts 0. Empty where there is no such case.
    """
    by_case: dict[tuple[Region, str], dict[frozenset[Modality], float]] = {}
    for score in scores:
        if score.variant is Variant.RAW:
            by_case.setdefault((score.region, score.case), {})[score.available] = score.dice
    complete = {key: dice for key, dice in by_case.items() if len(dice) == len(ROWS)}
    found: dict[Region, dict[Modality, float]] = {}
    for region in Region:
        of_region = [shapley(dice) for (each, _), dice in complete.items() if each is region]
        if of_region:
            found[region] = {modality: fmean(values[modality] for values in of_region) for modality in Modality}
    return found


def shapley(values: Mapping[frozenset[Modality], float]) -> dict[Modality, float]:
    """Of each member of the largest set; ``values`` has every non-empty subset of it, and the empty one is worth 0."""
    everyone = max(values, key=len)
    shares = {}
    for modality in sorted(everyone):
        rest = everyone - {modality}
        gains = [
            fmean(
                values[frozenset(chosen) | {modality}] - values.get(frozenset(chosen), 0.0)
                for chosen in combinations(sorted(rest), size)
            )
            for size in range(len(rest) + 1)
        ]
        shares[modality] = fmean(gains)  # each number of those before is equally likely, and each set of that number
    return shares


def contributions_markdown(found: Contributions) -> str:
    """A row for each modality, Dice in points; the last row is their sum, the Dice of all four."""
    lines = ["| adds, in points of Dice | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    for modality in Modality:
        numbers = [f"{100 * each[modality]:+.1f}" for each in found.values()]
        lines += [f"| {modality.title} | " + " | ".join(numbers) + " |"]
    sums = (f"{100 * sum(each.values()):.1f}" for each in found.values())
    return "\n".join([*lines, "| all four | " + " | ".join(sums) + " |"])
