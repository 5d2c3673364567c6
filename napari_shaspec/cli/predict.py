"""`napari-shaspec predict`: label map, probabilities and picture of one case."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.case_choice import CaseArgument, File, Sample, chosen_case, say_what
from napari_shaspec.cli.options import (
    ChosenPrecision,
    Device,
    Overwrite,
    Precision,
    Smooth,
    Threshold,
    Weights,
    thresholds_of,
)
from napari_shaspec.cli.screen import load_weights, progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_output, staged
from napari_shaspec.io.outputs import LabelForm, Outputs
from napari_shaspec.io.report import Report, file_sha256, read_report, writes_report
from napari_shaspec.modalities import Modality, parse_subset, subset_name
from napari_shaspec.regions import Region, masks_to_labels, volumes_ml

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_shaspec.inference.prediction import Prediction
    from napari_shaspec.inference.session import Session
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.reliability import Confidence
    from napari_shaspec.volume import Case

SHOWN_FIRST = (Modality.FLAIR, Modality.T1C, Modality.T2, Modality.T1)
"""The picture shows the first of these that is available: oedema and core stand out most on FLAIR, least on T1."""


def predict(  # noqa: PLR0913 (a command's options are its parameters)
    out: Annotated[Path, typer.Option(help="The label map to write, .nii.gz or .nii.")],
    case: CaseArgument = None,
    flair: File = None,
    t1: File = None,
    t1c: File = None,
    t2: File = None,
    sample: Sample = False,
    available: Annotated[
        str | None, typer.Option(help="Use only these, as in flair,t1c, as if there were no other files.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    convention: Annotated[
        LabelForm,
        typer.Option(help="Numbers for NCR/NET, ED and ET in the label map; regions: a mask each, OUT_ET_mask, ..."),
    ] = LabelForm.BRATS_2018,
    threshold: Threshold = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write OUT_ET, OUT_TC, OUT_WT.")] = False,
    overlay: Annotated[Path | None, typer.Option(help="Also write a picture, .png.")] = None,
    smooth: Smooth = False,
    report: Annotated[bool, typer.Option("--report", help="Also write OUT.json: everything that made it.")] = False,
    from_report: Annotated[
        Path | None, typer.Option("--from", help="Make the labels of this report again, and nothing else.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Segment one case with whichever modalities it has; the labels lie exactly on its images."""
    if from_report is not None:
        if case or flair or t1 or t1c or t2 or sample or available or weights:
            raise ShaSpecError(
                "a report alone", "images or weights beside it", "Leave them out: the report names its own"
            )
        told = {
            "--precision": precision is not Precision.AUTO,
            "--convention": convention is not LabelForm.BRATS_2018,
            "--threshold": bool(threshold),
            "--probabilities": probabilities,
            "--overlay": overlay is not None,
            "--smooth": smooth,
            "--report": report,
        }
        if any(told.values()):
            raise ShaSpecError(
                "a report alone",
                f"{', '.join(name for name, given in told.items() if given)} beside it",
                "Leave that out: the report says how its labels were made",
            )
        predict_again(from_report, out, device, overwrite=overwrite)
        return
    from napari_shaspec.io.nifti import check_no_stranger

    outputs = Outputs(out, convention, probabilities, report)
    outputs = replace(outputs, report=writes_report(outputs))
    thresholds = thresholds_of(threshold)
    outputs.check(overwrite=overwrite)
    if overlay is not None:
        check_output(overlay, (".png",), overwrite=overwrite)
    files = [*outputs.files(), *([overlay] if overlay is not None else [])]
    chosen = None if available is None else parse_subset(available)
    images = {Modality.FLAIR: flair, Modality.T1: t1, Modality.T1C: t1c, Modality.T2: t2}
    with chosen_case(case, images, sample=sample) as case_files:
        check_no_stranger(files, case_files.paths())
        read = _read(case_files, chosen)
        say_what(read)
        run = _predicted(read, read.available, load_weights(weights), device, precision.value)
        _write(run, thresholds, smooth, outputs, overlay, overwrite=overwrite)


def predict_again(path: Path, out: Path, device: str = "auto", *, overwrite: bool) -> None:
    """What a report describes, from its images and weights.

    Parameters
    ----------
    device
        ``auto`` is that of the report, where it works here.

    Raises
    ------
    ShaSpecError
        If the report cannot be read, or if an image or the weights are others than it says.
    """
    from napari_shaspec.inference.devices import working_devices
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.io.nifti import check_no_stranger

    report = read_report(path)
    outputs = Outputs(out, LabelForm(report.labels), probabilities=False, report=False)
    listed = {file.name for file in outputs.files()} <= report.outputs.keys()
    restored = listed and not overwrite and outputs.report_path().resolve() == path.resolve()
    if restored and report.edited:
        raise ShaSpecError(
            f"another name than {out.name}, whose report says that somebody painted on it",
            "that name",
            "Choose another for the network's labels, or allow the report to be overwritten (--overwrite)",
        )
    if not restored:
        outputs = replace(outputs, report=writes_report(outputs))
    outputs.check(overwrite=overwrite)
    images = {}
    for modality, (name, sha256) in report.images.items():
        if not name or file_sha256(Path(name)) != sha256:
            raise ShaSpecError(
                f"the {modality.title} that the report names",
                f"another at {name}" if name else "a layer that was no file, or was changed",
                "Give the images themselves, without --from",
            )
        images[modality] = Path(name)
    checkpoint = load_weights(Path(report.weights[0]) if report.weights[0] else None)
    if checkpoint.sha256 != report.weights[1]:
        raise ShaSpecError(
            f"the weights {report.weights[1][:12]}... of the report",
            f"{checkpoint.sha256[:12]}...",
            "Install the version of napari-shaspec that the report names, or restore the file",
        )
    case_files = CaseFiles(report.case, images)
    check_no_stranger(outputs.files(), case_files.paths())
    if device == "auto" and report.device.partition(":")[0] in working_devices():
        device = report.device
    elif device == "auto":
        say(f"Note: {report.device}, which the report names, does not work here.")
    run = _predicted(case_files.read(), report.available, checkpoint, device, report.precision)
    run = replace(run, described=restored)
    _write(run, report.thresholds, report.smooth, outputs, None, overwrite=overwrite)
    if report.edited:
        say("Note: the exported labels were edited by hand; these are the network's.")
    elif not any(name.lower().endswith(outputs.ending) for name in report.outputs):
        say(f"Note: not compared with the labels of the report, which are no {outputs.ending} file.")
    elif not _are_those_of(report, outputs):
        if restored:  # and the report there is of no others
            for file in outputs.files():
                file.unlink()
            raise ShaSpecError(
                f"the labels that {path.name} describes",
                "others: other versions or another machine made those",
                "Choose another name for these, or allow the report to be overwritten (--overwrite)",
            )
        say("Note: the labels differ from those of the report: other versions or another machine made them.")


def _are_those_of(report: Report, outputs: Outputs) -> bool:
    made = {file_sha256(file) for file in outputs.files() if file != outputs.report_path()}
    return made <= set(report.outputs.values())


def _read(case_files: CaseFiles, chosen: frozenset[Modality] | None) -> Case:
    """Read the chosen images and nothing else: what is not used can neither fail nor decide the grid."""
    wanted = chosen or frozenset(case_files.images)
    absent = wanted - set(case_files.images)
    if absent:
        raise ShaSpecError(
            f"modalities that the case has ({subset_name(case_files.images)})",
            f"{subset_name(absent)} in --available",
            "Leave it out, or give its file",
        )
    kept = {modality: path for modality, path in case_files.images.items() if modality in wanted}
    return replace(case_files.images_only(), images=kept).read()


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A prediction, with what made it; ``described``: a report of its labels is there already."""

    case: Case
    checkpoint: Checkpoint
    prediction: Prediction
    device: str
    precision: str
    notes: tuple[str, ...]
    described: bool = False


def _predicted(case: Case, available: frozenset[Modality], checkpoint: Checkpoint, device: str, precision: str) -> _Run:
    from napari_shaspec.inference.session import Session

    start = time.perf_counter()
    session = Session(checkpoint.model, case, device=device, precision=precision)
    with progress_bar("preparing") as advance:
        prediction = session.predict(
            available, progress=lambda tile: advance(f"{tile.stage} pass", tile.done, tile.total)
        )
    _say_how(session, prediction, time.perf_counter() - start)
    return _Run(case, checkpoint, prediction, session.device, precision, tuple(session.notes))


def _say_how(session: Session, prediction: Prediction, seconds: float) -> None:
    for note in session.notes:
        say(f"Note: {note}")
    used = [modality.title for modality in Modality if modality in prediction.available]
    missing = [modality.title for modality in Modality if modality not in prediction.available]
    say(f"Predicted from {', '.join(used)} in {seconds:.1f} s.")
    if missing:
        say(f"Missing: {', '.join(missing)}; the {session.config.stand_in} stood in.")


def _write(
    run: _Run,
    thresholds: Mapping[Region, float],
    smooth: bool,
    outputs: Outputs,
    overlay: Path | None,
    *,
    overwrite: bool,
) -> None:
    from napari_shaspec.inference.export import describe, export
    from napari_shaspec.inference.smoothing import Postprocessing

    prediction, grid = run.prediction, run.case.grid
    masks = Postprocessing(thresholds, smooth).masks(prediction.probabilities, grid.voxel_volume_mm3)
    labels = masks_to_labels(masks)
    report = describe(
        run.case,
        prediction.available,
        run.checkpoint,
        run.device,
        run.precision,
        thresholds,
        smooth=smooth,
        notes=run.notes,
    )
    with staged([overlay] if overlay is not None else [], overwrite=overwrite) as places:
        if overlay is not None:
            _write_picture(run.case, labels, places[overlay])
        told = None if run.described else report
        files = export(outputs, grid, labels, prediction.probabilities, told, overwrite=overwrite)
    _show_volumes(volumes_ml(masks, grid.voxel_volume_mm3), report.confidence)
    for path in (*files, *([overlay] if overlay is not None else [])):
        typer.echo(f"Wrote {path}")
    if older := outputs.older():
        say(f"Note: left from before, not of these labels: {', '.join(path.name for path in older)}.")


def _write_picture(case: Case, labels: NDArray[np.uint8], path: Path) -> None:
    from napari_shaspec.io.overlay import write_overlay

    shown = next(modality for modality in SHOWN_FIRST if modality in case.images)
    write_overlay(case.images[shown], labels, path)


def _show_volumes(volumes: Mapping[Region, float], confidence: Mapping[Region, Confidence]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Region", "Volume", "Trust")
    for region, volume_ml in volumes.items():
        table.add_row(region.value, f"{volume_ml:.2f} ml", confidence[region].verdict.value)
    Console().print(table)
    if any(each.dice is not None or each.unlike for each in confidence.values()):
        for each in confidence.values():
            say(f"{each.line}. {each.evidence}")
