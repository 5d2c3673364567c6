"""`napari-shaspec features`: shared and specific features as points, and how well they tell modalities apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Overwrite, Precision
from napari_shaspec.cli.screen import load_weights, progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.feature_choice import ENCODED
from napari_shaspec.io.atomic import check_output, staged
from napari_shaspec.io.text import open_table

if TYPE_CHECKING:
    from napari_shaspec.evaluation.feature_space import FeaturePlot
    from napari_shaspec.inference.feature_points import CaseFeatures
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.model.checkpoint import Checkpoint


MOST = 2000
"""Points of places, unless others are asked for: what t-SNE takes a minute for."""


class PointsOf(StrEnum):
    """What a point is the features of."""

    PLACES = "places"
    CASES = "cases"


def features(  # noqa: PLR0913 (a command's options are its parameters)
    cases: Annotated[list[Path], typer.Argument(metavar="CASE...", help="Case folders, or folders of cases.")],
    plot: Annotated[Path, typer.Option(help="The picture to write, .png.")],
    points_of: Annotated[
        PointsOf | None,
        typer.Option(
            "--points",
            help="places: cells of the bottom map. cases: their mean over the brain. By default "
            "places of a single case, else cases.",
        ),
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=6, help=f"Points of places at most, drawn by the seed; {MOST} if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Draws places, and begins t-SNE.")] = 0,
    table: Annotated[bool, typer.Option("--table", help="Also write PLOT.csv: every point.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also write PLOT.json: the silhouettes and what made them.")
    ] = False,
    # None of the released code: it has no features of the two kinds apart.
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint of this program (.safetensors); the bundled one if left out.")
    ] = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    overwrite: Overwrite = False,
) -> None:
    """Plot shared and specific features from the bottom of the network (t-SNE), and say how well they cluster."""
    # Said at once if one of them is missing, not after the network has run.
    import matplotlib  # noqa: F401
    import sklearn  # noqa: F401

    from napari_shaspec.evaluation.feature_plot import write_plot
    from napari_shaspec.evaluation.feature_space import (
        FeaturePlot,
        at_places,
        cloud_of,
        draw_places,
        over_brain,
    )
    from napari_shaspec.io.cases import find_cases

    check_output(plot, (".png",), overwrite=overwrite)
    beside = [plot.with_suffix(ending) for ending, wanted in ((".csv", table), (".json", report)) if wanted]
    for path in beside:
        check_output(path, (path.suffix,), overwrite=overwrite)
    found = [each for path in cases for each in find_cases(path)]
    points_of = points_of or (PointsOf.PLACES if len(found) == 1 else PointsOf.CASES)
    points = most or MOST
    if points_of is PointsOf.PLACES:
        _check_most(points, found)
    elif most is not None:
        raise ShaSpecError("points of places to draw", "those of cases, which are all shown", "Leave --most out")
    checkpoint = load_weights(weights)
    measured = [_measured(checkpoint, files, device, precision) for files in found]
    if points_of is PointsOf.CASES:
        groups = [over_brain(each) for each in measured]
        sources = [_Source(each.name) for each in measured]
    else:
        drawn = [draw_places(each, points // len(measured), seed) for each in measured]
        groups = [at_places(each, places) for each, places in zip(measured, drawn, strict=True)]
        sources = [
            _Source(each.name, (float(x), float(y), float(z)))
            for each, places in zip(measured, drawn, strict=True)
            for x, y, z in each.lattice.places_mm(each.cells[places])
        ]
    with progress_bar("t-SNE"):
        made = FeaturePlot.of(cloud_of(groups), seed)
    with staged([plot, *beside], overwrite=overwrite) as staged_at:
        write_plot(staged_at[plot], made)
        for path in beside:
            if path.suffix == ".csv":
                _write_table(staged_at[path], made, sources)
            else:
                how = {"points": points_of.value, "seed": seed, "cases": [each.name for each in measured]}
                content = made.report(how | {"weights_sha256": checkpoint.sha256})
                staged_at[path].write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{len(made.placed)} points, {made.describe()}")
    for path in (plot, *beside):
        typer.echo(f"Wrote {path}")


def _check_most(most: int, cases: Sequence[CaseFiles]) -> None:
    """Refuse what cannot be kept: each case has at least a point of each kind for each of its modalities."""
    fewest = len(cases) * len(ENCODED) * max(len(files.images) for files in cases)
    if most < fewest:
        raise ShaSpecError(
            f"at least {fewest} points for {len(cases)} cases", f"{most}", "Give a larger --most, or fewer cases"
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """The case, and the place in RAS mm if it is one."""

    case: str
    place_mm: tuple[float, ...] = ()


def _measured(checkpoint: Checkpoint, files: CaseFiles, device: str, precision: Precision) -> CaseFeatures:
    from napari_shaspec.inference.feature_points import CaseFeatures, case_features
    from napari_shaspec.inference.session import Session

    try:
        case = files.images_only().read()
    except ShaSpecError as error:  # files of several cases may have the same name
        raise ShaSpecError(f"{error.expected} (case {files.name})", error.found, error.action) from error
    for note in case.notes:
        say(f"{case.name}: {note}")
    session = Session(checkpoint.model, case, device=device, precision=precision.value)
    with progress_bar(case.name) as advance:
        for step in case_features(session):
            if isinstance(step, CaseFeatures):
                return step
            advance(f"{case.name}: {step.doing}", step.done, step.total)
    raise AssertionError("the features come last")


def _write_table(path: Path, plot: FeaturePlot, sources: Sequence[_Source]) -> None:
    cloud = plot.cloud
    with open_table(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "kind", "modality", "x_mm", "y_mm", "z_mm", "tsne_1", "tsne_2"))
        for kind, modality, source, at in zip(cloud.kinds, cloud.modalities, cloud.sources, plot.placed, strict=True):
            where = sources[source]
            place = [f"{value:.2f}" for value in where.place_mm] or [""] * 3
            row = (where.case, ENCODED[kind].value, cloud.names[modality], *place, *(f"{value:.4f}" for value in at))
            writer.writerow(row)
