"""Every subset of one case: volumes, Dice with both comparisons, where the answers agree, and the table."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from napari_shaspec.evaluation.answers import Compared, Origin, Sweep
from napari_shaspec.evaluation.subsets import scan_subsets
from napari_shaspec.evaluation.sweep import sweep, sweep_order, write_sweep
from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.inference.session import Session
from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.modalities import Modality, nonempty_subsets, subset_name
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.volume import Case, Volume

FLAIR, T1, T1C, T2 = Modality
ALL = frozenset(Modality)


def predictions_at_random(case: Case, seed: int) -> Iterator[tuple[frozenset[Modality], Prediction]]:
    draw = np.random.default_rng(seed)
    for available in sweep_order(case.available):
        yield available, Prediction(draw.random((3, *case.grid.shape), np.float32), case.grid, available)


def origin(post: Postprocessing | None = None) -> Origin:
    post = post or Postprocessing()
    return Origin("small", "abc", post.thresholds, post.smooth)


def finished(
    case: Case, seed: int = 4, post: Postprocessing | None = None, reference: np.ndarray | None = None
) -> Sweep:
    *_, last = sweep(predictions_at_random(case, seed), origin(post), reference)
    return last


def in_all_orders(values: dict[frozenset[Modality], float], modality: Modality) -> float:
    """The mean gain when a modality joins those before it, over all 24 orders."""
    gains = []
    for order in permutations(Modality):
        before = frozenset(order[: order.index(modality)])
        gains.append(values[before | {modality}] - (values[before] if before else 0.0))
    return float(np.mean(gains))


def plain_dice(first: np.ndarray, second: np.ndarray) -> float:
    both = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / both if both else 1.0


def test_everything_comes_first_and_then_the_order_of_the_tables() -> None:
    assert sweep_order(ALL) == (ALL, *nonempty_subsets(tuple(Modality))[:-1])
    assert sweep_order({T2, T1}) == ({T1, T2}, {T1}, {T2})
    assert sweep_order({T1C}) == ({T1C},)


@pytest.mark.parametrize("smooth", [False, True])
def test_numbers_are_those_of_each_prediction_by_itself(case: Case, truth: Volume, smooth: bool) -> None:
    post = Postprocessing({Region.ET: 0.8, Region.TC: 0.6, Region.WT: 0.3}, smooth=smooth)
    found = finished(case, post=post, reference=truth.data)
    voxel_ml = case.grid.voxel_volume_mm3 / 1000
    true = labels_to_masks(truth.data)
    each = [post.masks(one.probabilities, voxel_ml * 1000) for _, one in predictions_at_random(case, 4)]
    for answer, masks in zip(found.answers, each, strict=True):
        for place, region in enumerate(Region):
            assert answer.volumes_ml[region] == pytest.approx(np.count_nonzero(masks[place]) * voxel_ml)
            assert answer.dice[Compared.ALL][region] == pytest.approx(plain_dice(masks[place], each[0][place]))
            assert answer.dice[Compared.REFERENCE][region] == pytest.approx(plain_dice(masks[place], true[place]))
    for place, region in enumerate(Region):
        np.testing.assert_allclose(found.consensus(region), np.mean([masks[place] for masks in each], 0), atol=1e-6)
        assert found.volumes_ml[Compared.REFERENCE][region] == pytest.approx(np.count_nonzero(true[place]) * voxel_ml)


def test_answers_come_one_by_one_and_the_map_with_the_last(case: Case) -> None:
    steps = list(sweep(predictions_at_random(case, 1), origin()))
    assert [len(step.answers) for step in steps] == list(range(1, 16))
    assert [step.finished for step in steps] == [False] * 14 + [True]
    assert [step.marked is None for step in steps] == [True] * 14 + [False]
    assert not steps[-2].contributions
    assert steps[0].answers[0].dice == {Compared.ALL: dict.fromkeys(Region, 1.0)}  # without a reference


def test_a_sweep_that_is_cut_short_is_never_called_finished(case: Case) -> None:
    predictions = predictions_at_random(case, 1)
    *_, last = sweep((next(predictions) for _ in range(7)), origin())
    assert not last.finished
    assert last.total == 15


def test_contributions_are_shapley_values_and_sum_to_everything(case: Case, truth: Volume) -> None:
    found = finished(case, reference=truth.data)
    for compared, whole in ((Compared.ALL, 1.0), (Compared.REFERENCE, None)):
        for region in Region:
            values = {answer.available: answer.dice[compared][region] for answer in found.answers}
            added = found.contributions[compared][region]
            assert added == {each: pytest.approx(in_all_orders(values, each)) for each in Modality}
            assert sum(added.values()) == pytest.approx(values[ALL] if whole is None else whole)


def test_a_region_that_is_not_there_needs_no_image(case: Case, truth: Volume) -> None:
    without_et = np.where(truth.data == 4, 1, truth.data)
    found = finished(case, post=Postprocessing({Region.ET: 1.1, Region.TC: 0.5, Region.WT: 0.5}), reference=without_et)
    assert set(found.contributions[Compared.ALL]) == set(found.contributions[Compared.REFERENCE]) == {"TC", "WT"}


def test_one_image_is_a_sweep_of_one(case: Case) -> None:
    found = finished(replace(case, images={T2: case.images[T2]}, truth=None))
    assert found.total == 1
    assert found.contributions[Compared.ALL][Region.WT] == {T2: pytest.approx(1.0)}


def test_of_the_real_session(session: Session, case: Case) -> None:
    *_, found = sweep(scan_subsets(session, sweep_order(case.available)), origin())
    alone = session.predict({T1C}).masks()
    of_t1c = next(answer for answer in found.answers if answer.available == {T1C})
    for place, region in enumerate(Region):
        assert of_t1c.volumes_ml[region] == pytest.approx(
            np.count_nonzero(alone[place]) * case.grid.voxel_volume_mm3 / 1000
        )


@pytest.mark.parametrize("with_reference", [True, False])
def test_two_tables_tell_all_and_what_made_them(
    case: Case, truth: Volume, tmp_path: Path, with_reference: bool
) -> None:
    post = Postprocessing({Region.ET: 0.4, Region.TC: 0.5, Region.WT: 0.5})
    found = finished(case, post=post, reference=truth.data if with_reference else None)
    write_sweep(found, tmp_path / "a.csv", tmp_path / "a_adds.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(answer, region) for answer in found.answers for region in Region]
    for row, (answer, region) in zip(rows, expected, strict=True):
        assert (row["case"], row["weights"], row["smoothed"]) == ("small", "abc", "False")
        assert (row["available"], row["region"]) == (subset_name(answer.available), region)
        assert row["threshold"] == ("0.4" if region is Region.ET else "0.5")
        assert float(row["ml"]) == pytest.approx(answer.volumes_ml[region], abs=1e-3)
        assert float(row["dice_all"]) == pytest.approx(answer.dice[Compared.ALL][region], abs=1e-4)
        if with_reference:
            assert float(row["dice_reference"]) == pytest.approx(answer.dice[Compared.REFERENCE][region], abs=1e-4)
        else:
            assert row["dice_reference"] == ""
    with (tmp_path / "a_adds.csv").open(newline="") as file:
        adds = {(row["modality"], row["region"]): row for row in csv.DictReader(file)}
    assert set(adds) == {(modality, region) for modality in Modality for region in Region}
    for (modality, region), row in adds.items():
        value = found.contributions[Compared.ALL][region][modality]
        assert float(row["adds_all"]) == pytest.approx(value, abs=1e-4)
        assert (row["adds_reference"] == "") is not with_reference
    write_sweep(found, tmp_path / "b.csv")
    assert not (tmp_path / "b_adds.csv").exists()
