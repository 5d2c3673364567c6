"""`napari-shaspec evaluate`: Dice and HD95 for every subset of modalities of every case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Overwrite, Precision
from napari_shaspec.cli.screen import load_weights, progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_output, staged
from napari_shaspec.io.text import write_text
from napari_shaspec.modalities import subset_name
from napari_shaspec.regions import Region

if TYPE_CHECKING:
    from napari_shaspec.evaluation.subsets import Score, Variant
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.modalities import Modality
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.reliability import Reliability
    from napari_shaspec.volume import Case, Extent

BUNDLED = "bundled"
COPIED = 0.95
"""Dice of every region that two people, or a network and an expert, do not reach."""


def evaluate(  # noqa: PLR0913 (a command's options are its parameters)
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of cases with label maps, or one such case.")
    ],
    out: Annotated[Path, typer.Option(help="The table to write, .csv.")],
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint; give it again for the next one beside it. The bundled one if left out."),
    ] = None,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables",
            help="Score ShaSpec* smoothing and ET_postpro too; write OUT_summary.csv, OUT.md and OUT.png beside OUT.",
        ),
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="As --tables, with the published rows (BraTS 2018) beside.")
    ] = False,
    attach: Annotated[
        Path | None,
        typer.Option(help="Also write the weights with their mean Dice in the header: what the viewer's Trust shows."),
    ] = None,
    cases_are: Annotated[
        str, typer.Option(help='What --attach calls the cases, as in "simulated cases".')
    ] = "evaluated cases",
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    overwrite: Overwrite = False,
) -> None:
    """Score ET, TC and WT against the label maps, for all 15 subsets of modalities, case by case."""
    from napari_shaspec.evaluation.measured import measured
    from napari_shaspec.evaluation.subsets import Variant
    from napari_shaspec.inference.devices import choose_device
    from napari_shaspec.io.cases import find_cases

    chosen: list[Path | None] = [*weights] if weights else [None]
    more = tables or published or len(chosen) > 1
    files = [out, *(_beside(out) if more else ())]
    for path in files:
        check_output(path, (".csv", ".md", ".png") if path != out else (".csv",), overwrite=overwrite)
    if attach is not None:
        check_output(attach, (".safetensors",), overwrite=overwrite)
        if len(chosen) > 1:
            raise ShaSpecError("one checkpoint with --attach", f"{len(chosen)}", "Evaluate them one by one")
        if chosen[0] is not None and chosen[0].suffix != ".safetensors":
            raise ShaSpecError(
                "safetensors weights with --attach", chosen[0].name, "Convert them first: napari-shaspec convert"
            )
    if more:
        import matplotlib  # noqa: F401 (missing, it is named before the work and not after it)
    choose_device(device)  # a wrong name is one error, not one for each case
    cases = _with_truth(find_cases(folder))
    networks = [
        _Network(name, load_weights(path), device, precision, tuple(Variant) if more else (Variant.RAW,))
        for name, path in zip(_names(chosen), chosen, strict=True)
    ]
    scores: list[Score] = []
    extents: list[Mapping[Modality, Extent]] = []
    failed = set()
    for network in networks:
        for number, case in enumerate(cases, 1):
            try:
                found, sizes = _scores(network, case, f"case {number} of {len(cases)}")
            except ShaSpecError as error:
                failed.add(case.name)
                say(f"{case.name} failed: {error}")
            else:
                scores.extend(found)
                extents.append(sizes)
    if scores:
        _write(scores, [network.name for network in networks], files, overwrite=overwrite, published=published)
    if failed:
        raise ShaSpecError(
            f"to evaluate all {len(cases)} cases with a label map",
            f"{len(failed)} that failed",
            "Correct what is said above, or take these cases out",
        )
    if attach is not None:
        _attach(networks[0].checkpoint, measured(scores, cases_are, extents), attach)


def _write(
    scores: Sequence[Score], networks: Sequence[str], files: Sequence[Path], *, overwrite: bool, published: bool
) -> None:
    """The scores, and where further files are asked for the tables made of them; what is printed besides."""
    from napari_shaspec.evaluation.contribution import contributions, contributions_markdown
    from napari_shaspec.evaluation.tables import markdown_table, write_scores

    more = len(files) > 1
    compared = _answered_by_all(scores, networks) if more else scores
    if not compared:
        say("There is no case that every network has an answer for: no tables are written.")
        files = files[:1]
    with staged(files, overwrite=overwrite) as places:
        write_scores(scores, places[files[0]], more=more)
        if more and compared:
            _write_tables(compared, [places[path] for path in files[1:]], published=published)
            typer.echo(places[files[2]].read_text(encoding="utf-8"), nl=False)
        elif not more:
            typer.echo(markdown_table(scores))
            if added := contributions(scores):
                typer.echo(f"\n{contributions_markdown(added)}")
    say(f"Wrote {', '.join(map(str, files))}")


def _answered_by_all(scores: Sequence[Score], networks: Sequence[str]) -> list[Score]:
    """Of the cases that all have answered: means over different ones would not be comparable."""
    cases = {name: {score.case for score in scores if score.weights == name} for name in networks}
    if silent := [name for name, answered in cases.items() if not answered]:
        say(f"Without any answer: {', '.join(silent)}")
    answering = [answered for answered in cases.values() if answered]
    common = set.intersection(*answering) if answering else set()
    if left := sorted(set().union(*answering) - common):
        say(f"Left out of the tables, since not every network has an answer: {', '.join(left)}")
    return [score for score in scores if score.case in common]


@dataclass(frozen=True, slots=True, eq=False)
class _Network:
    name: str
    checkpoint: Checkpoint
    device: str
    precision: Precision
    variants: tuple[Variant, ...]


def _beside(out: Path) -> tuple[Path, Path, Path]:
    """table.csv -> table_summary.csv, table.md, table.png."""
    return out.with_name(f"{out.stem}_summary.csv"), out.with_suffix(".md"), out.with_suffix(".png")


def _names(paths: Sequence[Path | None]) -> list[str]:
    """What the tables call the networks: file names, as long as these differ."""
    stems = [BUNDLED if path is None else path.stem for path in paths]
    whole = [BUNDLED if path is None else str(path) for path in paths]
    if len(set(whole)) < len(whole):
        raise ShaSpecError("every checkpoint once", "one twice", "Leave it out")
    return [stem if stems.count(stem) == 1 else name for stem, name in zip(stems, whole, strict=True)]


def _with_truth(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    for files in cases:
        if files.truth is None and files.refusal_to_compare is None:
            say(f"{files.name} skipped: it has no label map.")
    kept = [files for files in cases if files.truth is not None or files.refusal_to_compare is not None]
    if not any(files.truth for files in kept):
        for files in kept:
            if files.refusal_to_compare is not None:
                raise files.refusal_to_compare
        raise ShaSpecError(
            "at least one case with a label map",
            f"{len(cases)} without",
            "Add label maps named like case_seg.nii.gz to the case folders",
        )
    return kept


def _scores(network: _Network, files: CaseFiles, position: str) -> tuple[list[Score], Mapping[Modality, Extent]]:
    from napari_shaspec.evaluation.subsets import evaluate_case
    from napari_shaspec.inference.session import Session

    case = files.read()
    for note in case.notes:
        say(f"{case.name}: {note}")
    if case.truth is not None and not case.truth.data.any():
        say(f"{case.name}: the label map is empty: what is found at all counts 0, what is not counts 1.")
    session = Session(network.checkpoint.model, case, device=network.device, precision=network.precision.value)
    doing = f"{position}, {case.name}"
    with progress_bar(doing) as advance:
        scores = evaluate_case(
            session,
            case,
            lambda done, total: advance(doing, done, total),
            variants=network.variants,
            weights=network.name,
        )
    for note in session.notes:
        say(f"{case.name}: {note}")
    if copied := _nearly_answered(case, scores):
        say(f"{case.name}: the label map is nearly what the network answers from {copied}: its own output, perhaps?")
    return scores, case.extents


def _nearly_answered(case: Case, scores: Sequence[Score]) -> str:
    """The subset whose answer is the label map, if there is tumour in it; else nothing.

    Nearly is enough: the answer of before may have been made with another threshold, or smoothed. A variant that scores
    ET alone does not tell: right is there to find none.
    """
    if case.truth is None or not case.truth.data.any():
        return ""
    dice: dict[tuple[frozenset[Modality], Variant], list[float]] = {}
    for score in scores:
        dice.setdefault((score.available, score.variant), []).append(score.dice)
    return next(
        (
            subset_name(available)
            for (available, _), values in dice.items()
            if len(values) == len(Region) and min(values) >= COPIED
        ),
        "",
    )


def _write_tables(scores: Sequence[Score], places: Sequence[Path], *, published: bool) -> None:
    from napari_shaspec.evaluation import summary
    from napari_shaspec.evaluation.contribution import contributions, contributions_markdown
    from napari_shaspec.evaluation.heat_map import write_heat_map

    measured = summary.summarise(scores)
    shown = summary.side_by_side(measured, summary.published()) if published else measured
    table, text, picture = places
    summary.write_summary(shown, table)
    names = dict.fromkeys(score.weights for score in scores)
    added = {name: contributions([score for score in scores if score.weights == name]) for name in names}
    values = [
        f"What each modality adds (Shapley value), {name}:\n\n{contributions_markdown(found)}\n"
        for name, found in added.items()
        if found
    ]
    write_text(text, "\n".join([summary.summary_markdown(shown), *values]))
    write_heat_map(shown, picture)


def _attach(checkpoint: Checkpoint, table: Reliability, out: Path) -> None:
    from napari_shaspec.model.checkpoint import attach_reliability

    attach_reliability(checkpoint.path, table, out)
    say(f"Wrote {out}: the same weights, with what they reach on {table.source}")
