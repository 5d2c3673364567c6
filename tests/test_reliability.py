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
        "What these weights reach on 20 simulated cases says nothing of such images."
    )
    fine = odd | dict.fromkeys((FLAIR, T1, T2), Extent(1200, 6.5))  # T1c is not used
    assert confidence(TABLE, {T2, T1, FLAIR}, fine) == confidence(TABLE, {T2, T1, FLAIR})


def test_what_most_of_the_measured_cases_are_is_promised() -> None:
    skulls = [Extent(3000, 10), Extent(3900, 7), Extent(1000, 7)]
    wider = replace(TABLE, limits=Limits().widened(skulls))
    assert wider.limits == Limits(SMALLEST_BRAIN_ML, 3900, 10)
    assert Reliability.from_dict(json.loads(json.dumps(wider.to_dict()))) == wider
    odd = {T1: Extent(3500, 1), FLAIR: Extent(1200, 10), T2: Extent(701, 1)}
    assert confidence(wider, {T2, T1, FLAIR}, odd) == confidence(TABLE, {T2, T1, FLAIR})
    assert confidence(wider, {T2}, {T2: Extent(699, 1)})[Region.WT].unlike == {T2: "less than a brain"}
    assert Limits().widened([Extent(20, 1), Extent(15, 1)]) == Limits(15, LARGEST_BRAIN_ML, THICKEST_MM)
    uneven = Extent(1000, 7.0061)  # as affines have them
    assert not Limits().widened([uneven]).beyond(uneven)


@pytest.mark.parametrize(
    "few", [[], [Extent(3000, 12), Extent(1500, 1), Extent(1500, 1)], [Extent(20, 1), Extent(1500, 1)]]
)
def test_a_few_odd_cases_widen_no_limits(few: list[Extent]) -> None:
    assert Limits().widened(few) == Limits()


def test_slices_as_thick_as_those_that_were_measured_are_like_them() -> None:
    assert HELD_OUT.thick_slice_mm[1] == THICKEST_MM


def test_table_survives_json() -> None:
    written = json.loads(json.dumps(TABLE.to_dict()))
    assert written["dice"]["flair+t1+t2"] == {"ET": 0.12, "TC": 0.5, "WT": 0.7499}
    assert Reliability.from_dict(written) == TABLE
    del written["limits"]  # as an earlier version wrote it
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
        {"source": "", "dice": {}, "limits": {"largest_ml": "much"}},
        {"source": "", "dice": {}, "limits": {"largest": 5.0}},
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
