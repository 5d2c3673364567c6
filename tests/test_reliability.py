"""Verdicts by subset and region, and the table that they come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality, parse_subset
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.regions import Region
from napari_shaspec.reliability import (
    LARGEST_BRAIN_ML,
    SMALLEST_BRAIN_ML,
    THICKEST_MM,
    Confidence,
    Limits,
    Reliability,
    Verdict,
    confidence,
)
from napari_shaspec.simulate.settings import HELD_OUT
from napari_shaspec.volume import Extent

FLAIR, T1, T1C, T2 = Modality
TABLE = Reliability(
    {
        frozenset(Modality): {Region.ET: 0.8, Region.TC: 0.75, Region.WT: 0.9},
        frozenset({FLAIR, T1, T2}): {Region.ET: 0.12, Region.TC: 0.5, Region.WT: 0.7499},
    },
    "20 simulated cases",
)


@pytest.mark.parametrize(
    ("dice", "verdict"),
    [
        (1.0, "reliable"),
        (0.75, "reliable"),
        (0.7499, "fair"),
        (0.5, "fair"),
        (0.4999, "unreliable"),
        (0.0, "unreliable"),
    ],
)
def test_thresholds(dice: float, verdict: str) -> None:
    assert Confidence(Region.WT, frozenset({FLAIR}), dice).verdict is Verdict(verdict)


@pytest.mark.parametrize(
    ("available", "line"),
    [
        ({FLAIR, T1, T2}, "ET without T1c: unreliable"),
        ({FLAIR, T1, T1C, T2}, "ET from all four: reliable"),
        ({T2, FLAIR}, "ET without T1, T1c: not measured"),
        ({T1}, "ET from T1 alone: not measured"),
    ],
)
def test_the_line(available: set[Modality], line: str) -> None:
    assert confidence(TABLE, available)[Region.ET].line == line


def test_every_region_has_its_own_verdict() -> None:
    found = confidence(TABLE, {T2, T1, FLAIR})
    assert list(found) == list(Region)
    assert [each.verdict.value for each in found.values()] == ["unreliable", "fair", "fair"]
    assert "0.12 of 20 simulated cases" in found[Region.ET].evidence


def test_weights_without_a_table_are_not_measured() -> None:
    found = confidence(None, {FLAIR})
    assert {each.verdict for each in found.values()} == {Verdict.NOT_MEASURED}
    assert all("no table" in each.evidence for each in found.values())


def test_nothing_is_promised_of_images_unlike_all_that_were_measured() -> None:
    odd = {FLAIR: Extent(1200, 12), T1: Extent(3000, 1), T1C: Extent(3000, 1), T2: Extent(699, 6.5)}
    found = confidence(TABLE, {T2, T1, FLAIR}, odd)
    assert {each.verdict for each in found.values()} == {Verdict.NOT_MEASURED}
    assert found[Region.WT].evidence == (
        "In this case FLAIR: voxels of 12 mm; T1: more than a brain; T2: less than a brain. "
        "Most of 20 simulated cases are not like that, and what is reached there is no measure."
    )
    fine = odd | dict.fromkeys((FLAIR, T1, T2), Extent(1200, 6.5))  # T1c is not used
    assert confidence(TABLE, {T2, T1, FLAIR}, fine) == confidence(TABLE, {T2, T1, FLAIR})


def test_what_most_of_the_measured_images_are_is_promised_for_their_modality() -> None:
    skulls = [Extent(3000, 10), Extent(3900, 7), Extent(1000, 7)]
    slabs = [Extent(20, 1), Extent(15, 1), Extent(900, 1)]
    table = replace(TABLE, limits={FLAIR: Limits.around(skulls), T2: Limits.around(slabs)})
    brains = {T1: Limits(), T1C: Limits()}
    assert table.limits == brains | {FLAIR: Limits(1000, 3900, 10), T2: Limits(15, 900, THICKEST_MM)}
    assert Reliability.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    like = {T1: Extent(1200, 1), FLAIR: Extent(3500, 10), T2: Extent(16, 1)}
    assert confidence(table, {T2, T1, FLAIR}, like) == confidence(TABLE, {T2, T1, FLAIR})
    odd = {T1: Extent(3500, 7), FLAIR: Extent(900, 11), T2: Extent(1200, 1)}
    assert confidence(table, {T2, T1, FLAIR}, odd)[Region.WT].unlike == {
        FLAIR: "less than was measured, voxels of 11 mm",
        T1: "more than a brain, voxels of 7 mm",
        T2: "more than was measured",
    }
    uneven = Extent(1000, 7.0061)  # as affines have them
    assert not Limits.around([uneven]).beyond(uneven)


def test_whole_brains_are_unlike_what_was_measured_with_skull() -> None:
    limits = Limits.around([Extent(3000, 1), Extent(3900, 1)])
    assert limits == Limits(LARGEST_BRAIN_ML, 3900)
    assert limits.beyond(Extent(1400, 1)) == "less than was measured"
    assert Limits.around([Extent(20, 1), Extent(15, 1)]) == Limits(15, SMALLEST_BRAIN_ML)


def test_one_image_in_ten_sets_no_limits() -> None:
    skulls = [Extent(3000 + each, 7 + each / 100) for each in range(8)]
    assert Limits.around([*skulls, Extent(9000, 30), Extent(1400, 1)]) == Limits(LARGEST_BRAIN_ML, 3007, 7.07)


@pytest.mark.parametrize(
    "few", [[], [Extent(3000, 12), Extent(1500, 1), Extent(1500, 1)], [Extent(20, 1), Extent(1500, 1)]]
)
def test_where_most_are_brains_the_limits_are_those_of_brains(few: list[Extent]) -> None:
    assert Limits.around(few) == Limits()


def test_slices_as_thick_as_those_that_were_measured_are_like_them() -> None:
    assert HELD_OUT.thick_slice_mm[1] == THICKEST_MM


def test_table_survives_json() -> None:
    written = json.loads(json.dumps(TABLE.to_dict()))
    assert written["dice"]["flair+t1+t2"] == {"ET": 0.12, "TC": 0.5, "WT": 0.7499}
    assert Reliability.from_dict(written) == TABLE
    written["limits"] = {"smallest_ml": 5, "largest_ml": 1000, "thickest_mm": 3}  # as an earlier version wrote it
    assert Reliability.from_dict(written) == replace(TABLE, limits=dict.fromkeys(Modality, Limits(5, 1000, 3)))
    del written["limits"]  # and a still earlier one
    assert Reliability.from_dict(written) == TABLE


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dice": {}, "sources": ""},
        {"source": "", "dice": []},
        {"source": "", "dice": {"flair": 0.5}},
        {"source": "", "dice": {"pet": {"ET": 0.5}}},
        {"source": "", "dice": {"flair": {"XX": 0.5}}},
        {"source": "", "dice": {"flair": {"ET": "much"}}},
        {"source": "", "dice": {"flair": {"ET": 57.0}}},
        {"source": "", "dice": {"flair": {"ET": float("nan")}}},
        {"source": "", "dice": {}, "limits": {"flair": {"largest_ml": "much"}}},
        {"source": "", "dice": {}, "limits": {"flair": {"largest_ml": float("nan")}}},
        {"source": "", "dice": {}, "limits": {"flair": {"largest_ml": 5.0, "smallest_ml": 6.0}}},
        {"source": "", "dice": {}, "limits": {"flair": {"thickest_mm": 0}}},
        {"source": "", "dice": {}, "limits": {"flair": {"largest": 5.0}}},
        {"source": "", "dice": {}, "limits": {"pet": {"largest_ml": 5000.0}}},
        {"source": "", "dice": {}, "limits": {"largest_ml": 5000.0}},
        {"source": "", "dice": {}, "limits": 5.0},
    ],
)
def test_other_forms_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ShaSpecError):
        Reliability.from_dict(values)


def test_the_documented_table_is_that_of_the_bundled_weights() -> None:
    """The column *Trust* and `docs/results.md` tell of one measurement; the docs round to a hundredth of a percent."""
    text = (Path(__file__).parents[1] / "docs" / "results.md").read_text(encoding="utf-8")
    section = text.split("## Twenty simulated cases of the held-out setting", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    written = {
        parse_subset(name.lower()): dict(zip(Region, map(float, (et, tc, wt)), strict=True))
        for name, _, et, tc, wt, *_ in rows[2:]
        if name != "average"
    }
    measured = load_checkpoint().reliability
    assert measured is not None
    assert written.keys() == measured.dice.keys()
    for available, row in measured.dice.items():
        assert {region: 100 * dice for region, dice in row.items()} == pytest.approx(written[available], abs=0.006)
