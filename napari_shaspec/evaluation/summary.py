"""The published form of an evaluation: 15 rows and their average, raw and smoothed, of several networks side by side.

A column is one region of one network's masks in one variant; a row is a subset of modalities. The mean and the spread
(sample standard deviation) are taken over the cases that have the subset. The last row is the plain mean of the rows
above it, and its spread that over the cases which have them all. Of columns side by side that have not the same rows,
it is the mean of those that all have.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from statistics import fmean, stdev

from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.evaluation.tables import ROWS
from napari_shaspec.io.atomic import replacing
from napari_shaspec.io.text import write_table
from napari_shaspec.modalities import Modality, parse_subset, subset_name, subset_title
from napari_shaspec.regions import Region

SUMMARY_COLUMNS = (
    *("weights", "available", "region", "variant", "cases"),
    *("dice", "dice_spread", "hd95_mm", "hd95_spread_mm"),
)

AVERAGE: frozenset[Modality] = frozenset()
"""The key of the last row."""

PUBLISHED = Path(__file__).parents[1] / "resources" / "published_brats2018.csv"
"""ShaSpec's own Table 1 (BraTS 2018 validation, non-dedicated) and others' averages in it; see the file's first row."""


@dataclass(frozen=True, slots=True)
class Column:
    """One region of one network in one variant."""

    weights: str
    region: Region
    variant: Variant


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean and spread over cases; not a number where there is none.

    Parameters
    ----------
    cases
        How many; 0 where others counted them.
    dice, dice_spread
        0 to 1.
    hd95_mm, hd95_spread_mm
        373.13 where one of prediction and reference is empty.
    """

    cases: int
    dice: float
    dice_spread: float = nan
    hd95_mm: float = nan
    hd95_spread_mm: float = nan


Summary = Mapping[Column, Mapping[frozenset[Modality], Cell]]


def summarise(scores: Sequence[Score]) -> dict[Column, dict[frozenset[Modality], Cell]]:
    """Rows by column; region by region, so that what is to be compared stands side by side."""
    by_column: dict[Column, list[Score]] = {}
    for score in scores:
        by_column.setdefault(Column(score.weights, score.region, score.variant), []).append(score)
    networks = list(dict.fromkeys(column.weights for column in by_column))
    order = [Column(name, region, variant) for region in Region for name in networks for variant in Variant]
    return {column: _rows(by_column[column]) for column in order if column in by_column}


def published() -> dict[Column, dict[frozenset[Modality], Cell]]:
    """ShaSpec and ShaSpec* as published, on cases that are not here: to be read beside, not to be subtracted."""
    columns: dict[Column, dict[frozenset[Modality], Cell]] = {}
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            variant = Variant.SMOOTHED if row["method"].endswith("*") else Variant.RAW
            column = Column(row["method"].rstrip("*") + " (published)", Region(row["region"]), variant)
            available = AVERAGE if row["available"] == "average" else parse_subset(row["available"])
            columns.setdefault(column, {})[available] = Cell(0, float(row["dice_percent"]) / 100)
    return columns


def side_by_side(*summaries: Summary) -> Summary:
    """The columns of all, region by region; averages are over the rows that all columns have, or left out."""
    columns = [(column, rows) for summary in summaries for column, rows in summary.items()]
    with_rows = [set(rows) - {AVERAGE} for _, rows in columns if set(rows) - {AVERAGE}]
    common = set.intersection(*with_rows) if with_rows else set()
    return {
        column: _averaged_over(common, rows) for region in Region for column, rows in columns if column.region is region
    }


def _averaged_over(
    common: set[frozenset[Modality]], rows: Mapping[frozenset[Modality], Cell]
) -> dict[frozenset[Modality], Cell]:
    own = {available: cell for available, cell in rows.items() if available != AVERAGE}
    if AVERAGE not in rows or set(own) == common or (not own and len(common) == len(ROWS)):
        return dict(rows)
    if not own or not common:
        return own  # of other rows than those here
    chosen = [own[available] for available in own if available in common]
    mean = Cell(rows[AVERAGE].cases, fmean(cell.dice for cell in chosen), nan, fmean(cell.hd95_mm for cell in chosen))
    return own | {AVERAGE: mean}


def write_summary(summary: Summary, path: Path) -> None:
    """A tidy CSV file with a row for each cell; what is not known is empty.

    Raises
    ------
    ShaSpecError
        If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    average = row_titles(summary)[AVERAGE]
    for column, rows in summary.items():
        for available, cell in rows.items():
            name = subset_name(available) or average
            of_column = (column.weights, name, column.region.value, column.variant.value, cell.cases or "")
            shares = ("" if isnan(number) else f"{number:.6f}" for number in (cell.dice, cell.dice_spread))
            distances = ("" if isnan(number) else f"{number:.3f}" for number in (cell.hd95_mm, cell.hd95_spread_mm))
            writer.writerow((*of_column, *shares, *distances))
    with replacing(path) as place:
        write_table(place, text.getvalue())


def summary_markdown(summary: Summary) -> str:
    """Two tables, Dice in percent and HD95 in mm, each number with its spread; a star is ShaSpec*'s smoothing."""
    measured = {column: rows for column, rows in summary.items() if not all(isnan(c.hd95_mm) for c in rows.values())}
    return "\n".join(
        [
            "Dice, %, mean ± spread over cases:",
            "",
            *_table(summary, dice_percent),
            "",
            "HD95, mm, mean ± spread over cases:",
            "",
            *_table(measured, distance_mm),
            "",
        ]
    )


def titles(summary: Summary) -> list[str]:
    """Of the columns; networks are named where there are several."""
    several = len({column.weights for column in summary}) > 1
    endings = {Variant.RAW: "", Variant.SMOOTHED: "*", Variant.ET_POSTPRO: " postpro"}
    return [
        f"{column.region.value}{endings[column.variant]}{f' {column.weights}' if several else ''}" for column in summary
    ]


def row_titles(summary: Summary) -> dict[frozenset[Modality], str]:
    """The rows that any column has, in the order of the published tables, the average of those that all have last."""
    of_columns = [set(rows) - {AVERAGE} for rows in summary.values() if set(rows) - {AVERAGE}]
    names = {row: subset_title(row) for row in ROWS if any(row in there for there in of_columns)}
    averaged = set.intersection(*of_columns) if of_columns else set()
    return names | {AVERAGE: "average" if len(averaged) == len(ROWS) else f"average of {len(averaged)} rows"}


def dice_percent(cell: Cell) -> tuple[float, float]:
    """Dice in percent and its spread."""
    return 100 * cell.dice, 100 * cell.dice_spread


def distance_mm(cell: Cell) -> tuple[float, float]:
    """HD95 in mm and its spread."""
    return cell.hd95_mm, cell.hd95_spread_mm


def _table(summary: Summary, measure: Callable[[Cell], tuple[float, float]]) -> list[str]:
    cases = {
        available: max((rows[available].cases for rows in summary.values() if available in rows), default=0)
        for available in row_titles(summary)
    }
    lines = ["| available | cases | " + " | ".join(titles(summary)) + " |", "|---|---:|" + "---:|" * len(summary)]
    for available, title in row_titles(summary).items():
        numbers = [_number(*measure(rows[available])) if available in rows else "" for rows in summary.values()]
        lines.append(f"| {title} | {cases[available]} | " + " | ".join(numbers) + " |")
    return lines


def _number(mean: float, spread: float) -> str:
    if isnan(mean):
        return ""
    return f"{mean:.2f}" if isnan(spread) else f"{mean:.2f} ± {spread:.2f}"


def _rows(scores: Sequence[Score]) -> dict[frozenset[Modality], Cell]:
    """The scores of one column."""
    by_row = {row: [score for score in scores if score.available == row] for row in ROWS}
    there = {row: chosen for row, chosen in by_row.items() if chosen}
    cells = {row: _cell(chosen) for row, chosen in there.items()}
    by_case: dict[str, list[Score]] = {}
    for score in scores:
        by_case.setdefault(score.case, []).append(score)
    whole = [each for each in by_case.values() if len(each) == len(there)]
    cells[AVERAGE] = Cell(
        len(by_case),
        fmean(cell.dice for cell in cells.values()),
        _spread([fmean(score.dice for score in each) for each in whole]),
        fmean(cell.hd95_mm for cell in cells.values()),
        _spread([fmean(score.hd95_mm for score in each) for each in whole]),
    )
    return cells


def _cell(scores: Sequence[Score]) -> Cell:
    shares, distances = [score.dice for score in scores], [score.hd95_mm for score in scores]
    return Cell(len(scores), fmean(shares), _spread(shares), fmean(distances), _spread(distances))


def _spread(numbers: Sequence[float]) -> float:
    return stdev(numbers) if len(numbers) > 1 else nan
