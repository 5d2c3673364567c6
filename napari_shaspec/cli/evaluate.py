"""`napari-shaspec evaluate`: Dice and HD95 for every subset of modalities of every case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Overwrite, Precision, Weights
from napari_shaspec.cli.screen import load_weights, progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_output, staged

if TYPE_CHECKING:
    from napari_shaspec.evaluation.subsets import Score
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.model.networks import Network


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of cases with label maps, or one such case.")
    ],
    out: Annotated[Path, typer.Option(help="The table to write, .csv.")],
    weights: Weights = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    overwrite: Overwrite = False,
) -> None:
    """Score ET, TC and WT against the label maps, for all 15 subsets of modalities, case by case."""
    from napari_shaspec.evaluation.tables import markdown_table, write_scores
    from napari_shaspec.inference.devices import choose_device
    from napari_shaspec.io.cases import find_cases

    check_output(out, (".csv",), overwrite=overwrite)
    choose_device(device)  # a wrong name is one error, not one for each case
    cases = _with_truth(find_cases(folder))
    model = load_weights(weights).model
    scores: list[Score] = []
    failed = 0
    for number, files in enumerate(cases, 1):
        try:
            scores.extend(_scores(model, files, f"case {number} of {len(cases)}", device, precision))
        except ShaSpecError as error:
            failed += 1
            say(f"{files.name} failed: {error}")
    if scores:
        with staged([out], overwrite=overwrite) as places:
            write_scores(scores, places[out])
        typer.echo(markdown_table(scores))
        say(f"Wrote {out}")
    if failed:
        raise ShaSpecError(
            f"to evaluate all {len(cases)} cases with a label map",
            f"{failed} that failed",
            "Correct what is said above, or take these cases out",
        )


def _with_truth(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    for files in cases:
        if files.truth is None and files.refusal is None:
            say(f"{files.name} skipped: it has no label map.")
    kept = [files for files in cases if files.truth is not None or files.refusal is not None]
    if not any(files.truth for files in kept):
        raise ShaSpecError(
            "at least one case with a label map",
            f"{len(cases)} without",
            "Add label maps named like case_seg.nii.gz to the case folders",
        )
    return kept


def _scores(model: Network, files: CaseFiles, position: str, device: str, precision: Precision) -> list[Score]:
    from napari_shaspec.evaluation.subsets import evaluate_case
    from napari_shaspec.inference.session import Session

    case = files.read()
    for note in case.notes:
        say(f"{case.name}: {note}")
    session = Session(model, case, device=device, precision=precision.value)
    with progress_bar(f"{position}, {case.name}") as advance:
        scores = evaluate_case(session, case, lambda done, total: advance(f"{position}, {case.name}", done, total))
    for note in session.notes:
        say(f"{case.name}: {note}")
    return scores
