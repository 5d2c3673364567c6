"""Shapley values against their definition: the mean gain over all orders in which modalities come in."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest

from napari_shaspec.evaluation.contribution import contributions, contributions_markdown, shapley
from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.regions import Region

SUBSETS = nonempty_subsets(tuple(Modality))


def by_orders(values: dict[frozenset[Modality], float]) -> dict[Modality, float]:
    """The definition."""
    gains: dict[Modality, list[float]] = {modality: [] for modality in Modality}
    for order in permutations(Modality):
        before = 0.0
        for place, modality in enumerate(order):
            after = values[frozenset(order[: place + 1])]
            gains[modality].append(after - before)
            before = after
    return {modality: fmean(each) for modality, each in gains.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_over_all_orders(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = {subset: float(draw.random()) for subset in SUBSETS}
    found = shapley(values)
    assert found == pytest.approx(by_orders(values))
    assert sum(found.values()) == pytest.approx(values[frozenset(Modality)])


def scores(case: str, value: float) -> list[Score]:
    """FLAIR alone finds the whole tumour, T1c alone the core; nothing else helps."""
    return [
        Score(case, subset, region, value if needed in subset else 0.0, 1.0)
        for subset in SUBSETS
        for region, needed in ((Region.WT, Modality.FLAIR), (Region.TC, Modality.T1C))
    ]


def test_cases_with_all_subsets_count_and_raw_masks() -> None:
    lacking = [score for score in scores("c", 0.1) if Modality.T2 not in score.available]
    smoothed = [replace(score, dice=0.0, variant=Variant.SMOOTHED) for score in scores("a", 0.0)]
    found = contributions([*scores("a", 0.8), *scores("b", 0.6), *lacking, *smoothed])
    assert list(found) == [Region.TC, Region.WT]
    assert found[Region.WT] == pytest.approx({Modality.FLAIR: 0.7, Modality.T1: 0, Modality.T1C: 0, Modality.T2: 0})
    assert found[Region.TC][Modality.T1C] == pytest.approx(0.7)
    text = contributions_markdown(found).splitlines()
    assert text[0] == "| adds, in points of Dice | TC | WT |"
    assert text[2] == "| FLAIR | +0.0 | +70.0 |"
    assert text[-1] == "| all four | 70.0 | 70.0 |"
    assert contributions(lacking) == {}
