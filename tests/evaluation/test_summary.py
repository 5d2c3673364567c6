"""The published form against the same numbers computed another way, and the published numbers against themselves."""

from __future__ import annotations

import csv
import json
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_shaspec.evaluation.heat_map import write_heat_map
from napari_shaspec.evaluation.measured import measured
from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.evaluation.summary import (
    AVERAGE,
    Cell,
    Column,
    published,
    side_by_side,
    summarise,
    summary_markdown,
    write_summary,
)
from napari_shaspec.evaluation.tables import read_scores, write_scores
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.regions import Region
from napari_shaspec.reliability import Reliability, confidence

FLAIR, T1, T1C, T2 = Modality
SUBSETS = nonempty_subsets(tuple(Modality))


@pytest.fixture
def scores() -> list[Score]:
    """Two networks, three cases, of which the last lacks T1."""
    draw = np.random.default_rng(8)
    return [
        Score(case, available, region, float(draw.random()), float(draw.uniform(0, 50)), variant, weights)
        for weights in ("a", "b")
        for case, lacks in (("one", None), ("two", None), ("three", T1))
        for available in SUBSETS
        if lacks not in available
        for variant in Variant
        for region in Region
        if variant is not Variant.ET_POSTPRO or region is Region.ET
    ]


def test_means_and_spreads_agree_with_an_independent_computation(scores: list[Score]) -> None:
    found = summarise(scores)
    assert len(found) == 2 * (3 + 3 + 1)
    for column, rows in found.items():
        assert list(rows) == [*SUBSETS, AVERAGE]
        table = np.full((3, 15), np.nan)
        for score in scores:
            if Column(score.weights, score.region, score.variant) == column:
                place = ["one", "two", "three"].index(score.case), SUBSETS.index(score.available)
                table[place] = score.dice
        for index, available in enumerate(SUBSETS):
            there = table[:, index][~np.isnan(table[:, index])]
            assert rows[available].cases == len(there) == (2 if T1 in available else 3)
            assert rows[available].dice == pytest.approx(there.mean())
            assert rows[available].dice_spread == pytest.approx(there.std(ddof=1))
        assert rows[AVERAGE].dice == pytest.approx(np.nanmean(table, axis=0).mean())
        assert rows[AVERAGE].dice_spread == pytest.approx(table[:2].mean(axis=1).std(ddof=1))
        assert rows[AVERAGE].cases == 3


def test_columns_to_compare_stand_side_by_side(scores: list[Score]) -> None:
    header = summary_markdown(summarise(scores)).splitlines()[2]
    assert header == (
        "| available | cases | ET a | ET* a | ET postpro a | ET b | ET* b | ET postpro b "
        "| TC a | TC* a | TC b | TC* b | WT a | WT* a | WT b | WT* b |"
    )


def test_one_case_has_no_spread() -> None:
    rows = summarise([Score("one", frozenset({T2}), Region.WT, 0.5, 2.0)])[Column("", Region.WT, Variant.RAW)]
    assert isnan(rows[frozenset({T2})].dice_spread)
    lines = summary_markdown({Column("", Region.WT, Variant.RAW): rows}).splitlines()
    assert lines[4:6] == ["| T2 | 1 | 50.00 |", "| average of 1 rows | 1 | 50.00 |"]


def test_published_averages_are_those_of_the_published_rows() -> None:
    columns = published()
    assert len(columns) == 6
    for column, rows in columns.items():
        assert set(rows) == {*SUBSETS, AVERAGE}
        mean = np.mean([rows[available].dice for available in SUBSETS])
        # ShaSpec's ET is printed as 61.58; its rows give 61.58 too, like all others within what rounding allows.
        assert rows[AVERAGE].dice == pytest.approx(mean, abs=0.0002), column
    star = columns[Column("ShaSpec (published)", Region.ET, Variant.SMOOTHED)]
    assert star[frozenset({T1C})].dice == pytest.approx(0.7580)


def test_published_rows_stand_beside_without_distances(scores: list[Score]) -> None:
    text = summary_markdown(side_by_side(summarise(scores), published()))
    dice, _, distances = text.partition("HD95, mm")
    assert "| ET ShaSpec (published) | ET* ShaSpec (published) | TC a |" in dice
    assert "published" not in distances
    assert "78.08 | 78.47" in dice


def test_averages_side_by_side_are_of_the_same_rows(scores: list[Score], tmp_path: Path) -> None:
    few = [score for score in scores if score.available in SUBSETS[:3] and score.weights == "a"]
    summary = side_by_side(summarise(few), published())
    for rows in summary.values():
        assert rows[AVERAGE].dice == pytest.approx(np.mean([rows[available].dice for available in SUBSETS[:3]]))
    assert "| average of 3 rows | 3 |" in summary_markdown(summary).partition("HD95, mm")[0]
    write_summary(summary, tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert sum(row["available"] == "average of 3 rows" for row in rows) == len(summary)
    others = {Column("others", Region.WT, Variant.RAW): {AVERAGE: Cell(0, 0.8)}}  # of 15 rows that are not told
    assert AVERAGE not in side_by_side(summarise(few), others)[Column("others", Region.WT, Variant.RAW)]


def test_summary_csv(scores: list[Score], tmp_path: Path) -> None:
    summary = side_by_side(summarise(scores), published())
    write_summary(summary, tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(rows) == 16 * (14 + 6)
    assert list(rows[0]) == [
        "weights", "available", "region", "variant", "cases", "dice", "dice_spread", "hd95_mm", "hd95_spread_mm",
    ]  # fmt: skip
    first = summary[Column("a", Region.ET, Variant.RAW)][frozenset({FLAIR})]
    assert (float(rows[0]["dice"]), rows[0]["cases"]) == (pytest.approx(first.dice, abs=1e-6), "3")
    theirs = [row for row in rows if row["weights"].endswith("(published)")]
    assert {(row["cases"], row["dice_spread"], row["hd95_mm"]) for row in theirs} == {("", "", "")}
    assert [row["available"] for row in rows[14:16]] == ["flair+t1+t1c+t2", "average"]


def test_heat_map_is_a_picture_of_the_values(scores: list[Score], tmp_path: Path) -> None:
    write_heat_map(side_by_side(summarise(scores), published()), tmp_path / "h.png")
    with Image.open(tmp_path / "h.png") as picture:
        assert picture.format == "PNG"
        assert len(set(np.asarray(picture.convert("RGB"))[::7, ::7].reshape(-1, 3).sum(axis=1).tolist())) > 50


def test_more_columns_survive_the_file(scores: list[Score], tmp_path: Path) -> None:
    rounded = [
        Score(each.case, each.available, each.region, round(each.dice, 6), round(each.hd95_mm, 3), each.variant, "a")
        for each in scores
    ]
    write_scores(rounded, tmp_path / "t.csv", more=True)
    assert (tmp_path / "t.csv").read_text().startswith("case,available,region,dice,hd95_mm,variant,weights\n")
    assert read_scores(tmp_path / "t.csv") == rounded


def test_what_is_attached_is_the_mean_of_the_raw_masks() -> None:
    scores = [
        Score("one", frozenset({T2}), Region.ET, 0.2, 1.0),
        Score("two", frozenset({T2}), Region.ET, 0.6, 1.0),
        Score("two", frozenset({T2}), Region.ET, 0.9, 1.0, Variant.SMOOTHED),
    ]
    table = measured(scores, "simulated cases")
    assert table.dice == {frozenset({T2}): {Region.ET: 0.4}}
    assert table.source == "2 simulated cases"


def test_what_is_attached_tells_how_many_cases_have_a_subset() -> None:
    flair, t1c = frozenset({Modality.FLAIR}), frozenset({Modality.T1C})
    scores = [Score(case, flair, Region.ET, 0.5, 1.0) for case in "abc"] + [Score("b", t1c, Region.ET, 0.9, 1.0)]
    table = measured(scores, "evaluated cases")
    again = Reliability.from_dict(json.loads(json.dumps(table.to_dict())))
    for each in (table, again):
        assert "Mean Dice 0.50 of 3 evaluated cases" in confidence(each, flair)[Region.ET].evidence
        assert "Mean Dice 0.90 of 1 of 3 evaluated cases" in confidence(each, t1c)[Region.ET].evidence
