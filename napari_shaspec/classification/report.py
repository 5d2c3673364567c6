"""The table of accuracies, with the published column beside it, as CSV, Markdown and PNG.

Rows that were not run stay empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from scipy import stats

from napari_shaspec.classification.methods import ONLY_IMAGE, Available, ShaSpecMethod
from napari_shaspec.classification.results import METHODS, Results, Row, available_name
from napari_shaspec.io.atomic import staged

PUBLISHED: Mapping[str, Mapping[float, float]] = {
    "image": dict.fromkeys((5, 10, 15, 20), 92.35),
    "both": dict.fromkeys((5, 10, 15, 20), 98.22),
    "autoencoder": {5: 89.78, 10: 89.33, 15: 89.78, 20: 88.89},
    "gan": {5: 89.11, 10: 89.78, 15: 88.67, 20: 89.56},
    "full2miss": {5: 90.00, 10: 91.11, 15: 92.23, 20: 92.67},
    "smil": {5: 92.89, 10: 93.11, 15: 93.33, 20: 94.44},
    "shaspec": {5: 93.33, 10: 93.56, 15: 93.78, 20: 94.67},
}
"""Accuracy in percent by share of sound; the test is on images, that of ``both`` on both."""

COLUMNS = (
    "method", "sound_percent", "available", "seeds", "mean", "spread", "published",
    "above_image_only", "interval_low", "interval_high",
    "above_same_network", "same_network_low", "same_network_high",
)  # fmt: skip
BASELINE, CONTROL = Row("image", None), Row("shaspec-images", None)


@dataclass(frozen=True, slots=True)
class Paired:
    """Mean difference of two methods over the same seeds, with its 95 % interval (Student's t)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table, in percent; None where nothing was run or published.

    Parameters
    ----------
    above_image_only
        Against the lower bound, for what is tested on images.
    above_same_network
        For ShaSpec, against its own network without any sound: what the sound brings, and not the network's size.
    """

    row: Row
    available: Available
    seeds: int
    mean: float | None
    spread: float | None
    published: float | None
    above_image_only: Paired | None
    above_same_network: Paired | None

    @property
    def title(self) -> str:
        """Name of the method."""
        return METHODS[self.row.method].title


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Of two or more pairs, first minus second."""
    differences = [one - other for one, other in zip(first, second, strict=True)]
    mean, count = fmean(differences), len(differences)
    margin = float(stats.t.ppf(0.975, count - 1)) * stdev(differences) / sqrt(count)
    return Paired(mean, mean - margin, mean + margin)


def table(results: Results, rates: Sequence[float]) -> list[Line]:
    """Every method at every share of sound, each with all that it is tested with."""
    baseline, control = _by_seed(results, BASELINE, ONLY_IMAGE), _by_seed(results, CONTROL, ONLY_IMAGE)
    lines = []
    for name, method in METHODS.items():
        for rate in rates:
            row = Row(name, rate if method.depends_on_rate else None)
            for available in method.tested:
                found = _by_seed(results, row, available)
                on_images = available == ONLY_IMAGE
                published = PUBLISHED.get(name, {}).get(rate) if available == method.tested[0] else None
                lines.append(
                    Line(
                        Row(name, rate),
                        available,
                        len(found),
                        fmean(found.values()) if found else None,
                        stdev(found.values()) if len(found) > 1 else None,
                        published,
                        _above(found, baseline) if on_images and row != BASELINE else None,
                        _above(found, control) if on_images and isinstance(method, ShaSpecMethod) else None,
                    )
                )
    return lines


def _by_seed(results: Results, row: Row, available: Available) -> dict[int, float]:
    return {score.seed: score.accuracy for score in results.get(row, []) if score.available == available}


def _above(found: Mapping[int, float], other: Mapping[int, float]) -> Paired | None:
    common = sorted(found.keys() & other.keys())
    return paired_difference([found[seed] for seed in common], [other[seed] for seed in common]) if common[1:] else None


def markdown(lines: Sequence[Line]) -> str:
    """One line for each method, share of sound and test."""
    rows = [
        "| model | sound in training | tested on | networks | accuracy % | spread | published % "
        "| above image only, 95 % interval | above the same network without sound |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {line.title} | {line.row.sound_percent:g} % | {available_name(line.available)} | {line.seeds or ''} "
        f"| {_number(line.mean)} | {_number(line.spread)} | {_number(line.published)} "
        f"| {_interval(line.above_image_only)} | {_interval(line.above_same_network)} |"
        for line in lines
    ]
    return "\n".join(rows) + "\n"


def comma_separated(lines: Sequence[Line]) -> str:
    """The same as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(
            (
                line.row.method,
                f"{line.row.sound_percent:g}",
                available_name(line.available),
                line.seeds,
                *map(_number, (line.mean, line.spread, line.published)),
                *(
                    _number(getattr(paired, part, None))
                    for paired in (line.above_image_only, line.above_same_network)
                    for part in ("mean", "low", "high")
                ),
            )
        )
    return text.getvalue()


def write_table(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Write ``table.csv``, ``table.md`` and ``table.png``, all or none, over older ones."""
    comma, text, picture = (folder / f"table.{ending}" for ending in ("csv", "md", "png"))
    with staged([comma, text, picture], overwrite=True) as places:
        places[comma].write_text(comma_separated(lines), encoding="utf-8", newline="")
        places[text].write_text(markdown(lines), encoding="utf-8", newline="")
        _draw(lines, places[picture])
    return [comma, text, picture]


def _draw(lines: Sequence[Line], path: Path) -> None:
    """Accuracy against the share of sound: means with their spread, and the published figures as open circles."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.add_subplot()
    # Ten colours for what ShaSpec is compared with, and black for itself.
    colours = {name: f"C{number}" for number, name in enumerate(each for each in METHODS if each != "shaspec")}
    for number, name in enumerate(METHODS):
        available, colour = METHODS[name].tested[0], colours.get(name, "black")
        chosen = [line for line in lines if line.row.method == name and line.available == available]
        measured = [(line.row.sound_percent, line.mean, line.spread or 0.0) for line in chosen if line.mean is not None]
        if measured:
            # Beside one another, so that the bars can be told apart.
            places = [(rate or 0.0) + 0.15 * (number - len(METHODS) / 2) for rate, _, _ in measured]
            means, spreads = [mean for _, mean, _ in measured], [spread for _, _, spread in measured]
            axes.errorbar(places, means, spreads, marker="o", capsize=2, color=colour, label=METHODS[name].title)
            published = [
                (place, line.published)
                for place, line in zip(places, (line for line in chosen if line.mean is not None), strict=True)
                if line.published is not None
            ]
            if published:
                axes.plot(*zip(*published, strict=True), "o", markerfacecolor="none", markersize=9, color=colour)
    axes.set_xticks(sorted({line.row.sound_percent for line in lines if line.row.sound_percent is not None}))
    axes.set_xlabel("training pairs with sound, %")
    axes.set_ylabel("accuracy on 450 test images, %")
    axes.set_title("Audiovision-MNIST: mean and spread over seeds; open circles: published")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=120)


def _interval(paired: Paired | None) -> str:
    return f"{paired.mean:+.2f} ({paired.low:+.2f} to {paired.high:+.2f})" if paired else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
