"""`napari-shaspec imagetext`: a yes-or-no question to images and their reports, answered from either or both."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from napari_shaspec.cli.options import Overwrite
from napari_shaspec.cli.screen import progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_no_input, check_output, replacing

if TYPE_CHECKING:
    from torch import nn

    from napari_shaspec.classification.image_text_training import Method, Recipe, Split


class _Score(NamedTuple):
    method: str
    available: str
    missing_percent: float
    seed: int
    auc: float


def imagetext(  # noqa: PLR0913 (a command's options are its parameters)
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds the images that the table names.")],
    out: Annotated[Path, typer.Option(help="The scores to write, .csv.")],
    reports: Annotated[
        Path | None,
        typer.Option(help="The table, with the columns image, report and label; FOLDER/reports.csv if left out."),
    ] = None,
    missing: Annotated[float, typer.Option(min=0, max=99, help="Training pairs without an image, in percent.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Splits and networks of each method, from seed 0.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training pairs.")] = 30,
    side: Annotated[int, typer.Option(min=16, max=512, help="Images are made squares of this side.")] = 64,
    methods: Annotated[
        str | None, typer.Option(help="Comma-separated: image, text, concatenation, shaspec; all if left out.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train and test ShaSpec on pairs of an image and a text, of which some images are missing (AUC)."""
    import sklearn  # noqa: F401 (said at once if it is missing, not after the training)

    from napari_shaspec.classification.image_text import read_studies
    from napari_shaspec.classification.image_text_training import METHODS, Recipe, area_under_curve, split_studies

    check_output(out, (".csv",), overwrite=overwrite)
    if not folder.is_dir():
        raise ShaSpecError(f"a folder of images at {folder}", "none", "Check the path")
    chosen = methods.split(",") if methods else list(METHODS)
    unknown = [name for name in chosen if name not in METHODS]
    if unknown:
        raise ShaSpecError(f"methods out of {', '.join(METHODS)}", unknown[0], "Correct the name")
    table = reports or folder / "reports.csv"
    check_no_input([out], [table])
    studies = read_studies(folder, table, side)
    recipe = Recipe(missing_percent=missing, epochs=epochs)
    scores: list[_Score] = []
    for seed in range(seeds):
        split = split_studies(studies, missing, seed)
        for name in chosen:
            method = METHODS[name]
            network = _trained(method, split, recipe, seed)
            for available in method.tested:
                auc = area_under_curve(method, network, split.test, available)
                scores.append(_Score(method.title, "+".join(sorted(available)), missing, seed, auc))
    with replacing(out, overwrite=overwrite) as place, place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_Score._fields)
        writer.writerows((*score[:-1], f"{score.auc:.6f}") for score in scores)
    typer.echo(_markdown(scores))
    say(f"Wrote {out}")


def _trained(method: Method, split: Split, recipe: Recipe, seed: int) -> nn.Module:
    from napari_shaspec.classification.image_text_training import train

    doing = f"{method.title}, seed {seed}"
    with progress_bar(doing) as advance:
        return train(method, split, recipe, seed, lambda done, total: advance(doing, done, total))


def _markdown(scores: Sequence[_Score]) -> str:
    rows = list(dict.fromkeys((score.method, score.available) for score in scores))
    lines = ["| method | tested on | AUC |", "|---|---|---|"]
    for row in rows:
        mean = fmean(score.auc for score in scores if (score.method, score.available) == row)
        lines.append(f"| {row[0]} | {row[1]} | {mean:.3f} |")
    return "\n".join(lines)
