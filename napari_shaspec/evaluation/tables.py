"""Scores as a tidy CSV file, and as the table of 15 subsets that papers on missing modalities print.

The CSV has one row for each case, subset and region: ``case,available,region,dice,hd95_mm``, where ``available`` is
written ``flair+t1+t1c+t2``, always in that order. Where several networks or variants of masks were scored, two more
columns follow, ``variant,weights``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from pathlib import Path
from statistics import fmean

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.io.atomic import replacing
from napari_shaspec.io.text import open_table, write_table
from napari_shaspec.modalities import Modality, nonempty_subsets, parse_subset, subset_name, subset_title
from napari_shaspec.regions import Region

COLUMNS = ("case", "available", "region", "dice", "hd95_mm")
MORE_COLUMNS = (*COLUMNS, "variant", "weights")

ROWS = nonempty_subsets(tuple(Modality))
"""The 15 subsets in the order of the published tables."""


def write_scores(scores: Iterable[Score], path: Path, *, more: bool = False) -> None:
    """Write the CSV file atomically, over an older file of that name; with ``more``, variant and weights too.

    Raises
    ------
    ShaSpecError
        If the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MORE_COLUMNS if more else COLUMNS)
    for score in scores:
        # Six decimals of Dice, and micrometres: more than any evaluation can tell apart.
        numbers = f"{score.dice:.6f}", f"{score.hd95_mm:.3f}"
        cells = (score.case, subset_name(score.available), score.region.value, *numbers)
        writer.writerow((*cells, score.variant.value, score.weights) if more else cells)
    with replacing(path) as place:
        write_table(place, text.getvalue())


def read_scores(path: Path) -> list[Score]:
    """Read a file of `write_scores`, with or without the two columns more.

    Raises
    ------
    ShaSpecError
        If the columns differ or a row cannot be understood.
    """
    if not path.is_file():
        raise ShaSpecError("a table of scores", f"nothing at {path}", "Check the path")
    with open_table(path) as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) not in {COLUMNS, MORE_COLUMNS}:
            raise ShaSpecError(
                f"the columns {','.join(COLUMNS)} in {path.name}",
                ",".join(reader.fieldnames or ()) or "none",
                "Choose a table written by napari-shaspec evaluate",
            )
        return [_score(row, f"line {reader.line_num} of {path.name}") for row in reader]


def markdown_table(scores: Sequence[Score]) -> str:
    """The published form: a row for each subset, its mean over the cases that have it, and the plain mean of the rows.

    Dice is in percent. Subsets that no case has are left out, and the last row says of how many it is the average.

    Raises
    ------
    ShaSpecError
        If there is no score.
    """
    if not scores:
        raise ShaSpecError("at least one evaluated case", "none", "Evaluate cases that have a label map")
    lines = [
        "| available | cases | ET Dice % | TC Dice % | WT Dice % | ET HD95 mm | TC HD95 mm | WT HD95 mm |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rows: list[list[float]] = []
    for available in ROWS:
        chosen = [score for score in scores if score.available == available]
        if chosen:
            rows.append(_means(chosen))
            title = subset_title(available)
            lines.append(_line(title, chosen, rows[-1]))
    title = "average" if len(rows) == len(ROWS) else f"average of {len(rows)} rows"
    lines.append(_line(title, scores, [fmean(column) for column in zip(*rows, strict=True)]))
    return "\n".join(lines)


def _means(scores: Sequence[Score]) -> list[float]:
    """Dice in percent of ET, TC, WT, then their HD95 in mm; not a number for a region without a score."""
    regions = [[score for score in scores if score.region is region] for region in Region]
    dice = [100 * fmean(score.dice for score in region) if region else nan for region in regions]
    return [*dice, *(fmean(score.hd95_mm for score in region) if region else nan for region in regions)]


def _line(title: str, scores: Sequence[Score], numbers: Iterable[float]) -> str:
    cases = len({score.case for score in scores})
    return f"| {title} | {cases} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |"


def _score(row: Mapping[str, str], place: str) -> Score:
    try:
        region, dice, hd95_mm = Region(row["region"]), float(row["dice"]), float(row["hd95_mm"])
        variant = Variant(row.get("variant", Variant.RAW))
    except (TypeError, ValueError) as error:
        raise ShaSpecError(f"a region, a Dice and an HD95 in {place}", str(error), "Write the table again") from error
    available = parse_subset(row["available"])
    return Score(row["case"], available, region, dice, hd95_mm, variant, row.get("weights", ""))
