"""What ablations leave: a tidy CSV file, a Markdown table, and for alpha and beta the curve as a PNG file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from math import nan
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.subsets import Score
from napari_shaspec.evaluation.tables import ROWS
from napari_shaspec.io.atomic import replacing
from napari_shaspec.modalities import Modality, subset_name, subset_title
from napari_shaspec.model.objective import ALPHA, BETA
from napari_shaspec.regions import Region
from napari_shaspec.training.ablation import GRID, Ablation, Outcome

COLUMNS = (
    "ablation",
    "variant",
    "alignment",
    "alpha",
    "beta",
    "substitution",
    "dedicated",
    "available",
    "region",
    "cases",
    "dice_mean",
    "dice_sd",
)


def write_tables(ablation: Ablation, finished: Sequence[Outcome], out: Path, title: str) -> list[Path]:
    """Write ``NAME.csv``, ``NAME.md`` and, once the whole grid is finished, ``weights.png``; over older ones.

    Parameters
    ----------
    title
        What was trained on what, above the Markdown table.

    Raises
    ------
    ShaSpecError
        If no variant is finished, or if a file cannot be written.
    """
    if not finished:
        raise ShaSpecError("at least one finished variant", "none", "Run the ablation first")
    paths = [out / f"{ablation}.csv", out / f"{ablation}.md"]
    for path, text in zip(paths, (tidy(ablation, finished), f"{title}\n\n{markdown(finished)}\n"), strict=True):
        with replacing(path) as place:
            place.write_text(text, encoding="utf-8", newline="")
    if ablation is Ablation.WEIGHTS and len(finished) == 2 * len(GRID) - 1:
        paths.append(out / "weights.png")
        with replacing(paths[-1]) as place:
            curve(finished).savefig(place, format="png", dpi=120)
    return paths


def tidy(ablation: Ablation, finished: Iterable[Outcome]) -> str:
    """CSV with a row for each variant, subset and region; Dice from 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for outcome in finished:
        config = outcome.config
        what = (ablation, outcome.variant, config.alignment, config.alpha, config.beta, config.model.substitution)
        for available in ROWS:
            for region in Region:
                dice = _dice(outcome.scores, available, region)
                if dice:
                    spread = f"{stdev(dice):.6f}" if len(dice) > 1 else ""
                    numbers = (len(dice), f"{fmean(dice):.6f}", spread)
                    row = (*what, "+".join(config.dedicated), subset_name(available), region.value, *numbers)
                    writer.writerow(row)
    return text.getvalue()


def markdown(finished: Iterable[Outcome]) -> str:
    """Dice in percent, means over cases: each single modality, all of them, and the mean over all subsets."""
    lines = ["| variant | available | ET | TC | WT |", "|---|---|---:|---:|---:|"]
    for outcome in finished:
        shown = [available for available in ROWS if len(available) in (1, len(Modality))]
        for available in shown:
            if any(score.available == available for score in outcome.scores):
                title = subset_title(available)
                lines.append(_line(outcome.variant, title, [_percent(outcome, available, each) for each in Region]))
        subsets = len({score.available for score in outcome.scores})
        if subsets > 1:
            lines.append(_line(outcome.variant, f"average of {subsets}", [average(outcome, each) for each in Region]))
    return "\n".join(lines)


def average(outcome: Outcome, region: Region) -> float:
    """Dice in percent, the plain mean over the subsets of the means over the cases."""
    present = {score.available for score in outcome.scores}
    return fmean(_percent(outcome, available, region) for available in ROWS if available in present)


def curve(finished: Sequence[Outcome]) -> Figure:
    """Mean Dice against alpha with beta at its best, and against beta with alpha at its best."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    first, second = figure.subplots(1, 2, sharey=True)
    along_alpha = {outcome.config.alpha: outcome for outcome in finished if outcome.config.beta == BETA}
    along_beta = {outcome.config.beta: outcome for outcome in finished if outcome.config.alpha == ALPHA}
    for axes, along, name, fixed in (
        (first, along_alpha, "alpha", f"beta = {BETA}"),
        (second, along_beta, "beta", f"alpha = {ALPHA}"),
    ):
        values = sorted(along)
        for region in Region:
            axes.plot(range(len(values)), [average(along[value], region) for value in values], "o-", label=region.value)
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axes.set_xlabel(f"{name} ({fixed})")
        axes.grid(visible=True, alpha=0.3)
    first.set_ylabel("Dice %, mean over subsets")
    figure.legend(*first.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _dice(scores: Iterable[Score], available: frozenset[Modality], region: Region) -> list[float]:
    return [score.dice for score in scores if score.available == available and score.region is region]


def _percent(outcome: Outcome, available: frozenset[Modality], region: Region) -> float:
    dice = _dice(outcome.scores, available, region)
    return 100 * fmean(dice) if dice else nan


def _line(variant: str, available: str, numbers: Iterable[float]) -> str:
    return f"| {variant} | {available} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |"
