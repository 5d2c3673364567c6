"""`napari-shaspec predict`: label map, probabilities and picture of one case."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Overwrite, Precision, Weights
from napari_shaspec.cli.screen import load_weights, progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_output, staged
from napari_shaspec.modalities import Modality, parse_subset, recognise, subset_name
from napari_shaspec.regions import Convention, Region, to_convention

if TYPE_CHECKING:
    from napari_shaspec.inference.prediction import Prediction
    from napari_shaspec.inference.session import Session
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.volume import Case

NIFTI = (".nii.gz", ".nii")
SHOWN_FIRST = (Modality.FLAIR, Modality.T1C, Modality.T2, Modality.T1)
"""The picture shows the first of these that is available: oedema and core stand out most on FLAIR, least on T1."""

File = Annotated[Path | None, typer.Option(help="The file of this modality, whatever its name.", metavar="FILE")]


def predict(  # noqa: PLR0913 (a command's options are its parameters)
    out: Annotated[Path, typer.Option(help="The label map to write, .nii.gz or .nii.")],
    case: Annotated[
        list[Path] | None, typer.Argument(metavar="CASE...", help="A case folder, or the files of one case.")
    ] = None,
    flair: File = None,
    t1: File = None,
    t1c: File = None,
    t2: File = None,
    sample: Annotated[bool, typer.Option("--sample", help="Take the simulated case that comes with it.")] = False,
    available: Annotated[
        str | None, typer.Option(help="Use only these, as in flair,t1c, as if there were no other files.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    convention: Annotated[
        Convention, typer.Option(help="Numbers for NCR/NET, ED and ET in the label map.")
    ] = Convention.BRATS_2018,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write OUT_ET, OUT_TC, OUT_WT.")] = False,
    overlay: Annotated[Path | None, typer.Option(help="Also write a picture, .png.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Segment one case with whichever modalities it has; the labels lie exactly on its images."""
    regions = _region_paths(out) if probabilities else {}
    for path in (out, *regions.values()):
        check_output(path, NIFTI, overwrite=overwrite)
    if overlay is not None:
        check_output(overlay, (".png",), overwrite=overwrite)
    outputs = [path for path in (out, *regions.values(), overlay) if path is not None]
    chosen = None if available is None else parse_subset(available)
    given = {Modality.FLAIR: flair, Modality.T1: t1, Modality.T1C: t1c, Modality.T2: t2}
    images = {modality: path for modality, path in given.items() if path is not None}
    with _found(case or [], images, sample) as case_files:
        _check_apart(case_files, outputs)
        read = _read(case_files, chosen)
    _say_what(read)

    prediction = _predicted(read, weights, device, precision)
    with staged(outputs, overwrite=overwrite) as places:
        _write_volumes(prediction, convention, places[out], {region: places[path] for region, path in regions.items()})
        if overlay is not None:
            _write_picture(read, prediction, places[overlay])
    _show_volumes(prediction)
    for path in outputs:
        typer.echo(f"Wrote {path}")


def _region_paths(out: Path) -> dict[Region, Path]:
    """seg.nii.gz -> seg_ET.nii.gz and so on, beside it."""
    ending = next((ending for ending in NIFTI if out.name.lower().endswith(ending)), "")
    stem, ending = out.name[: len(out.name) - len(ending)], out.name[len(out.name) - len(ending) :]
    return {region: out.with_name(f"{stem}_{region.value}{ending}") for region in Region}


@contextmanager
def _found(case: list[Path], images: Mapping[Modality, Path], sample: bool) -> Iterator[CaseFiles]:
    """The files of the case, which exactly one of the three ways has to name."""
    from napari_shaspec.io.cases import CaseFiles, case_files

    if sum(map(bool, (case, images, sample))) != 1:
        raise ShaSpecError(
            "one of a case, files with their modality, and --sample",
            "more than one" if case or images else "none",
            "Give a case folder or its files, or --flair FILE and so on, or --sample",
        )
    if sample:
        with as_file(files("napari_shaspec") / "resources" / "sample") as folder:
            yield case_files(folder)
    else:
        yield CaseFiles("the case", images) if images else case_files(*case)


def _check_apart(case_files: CaseFiles, outputs: Sequence[Path]) -> None:
    """Even with --overwrite no image is replaced by its own segmentation, nor is the label map of an expert."""
    inputs = {path.resolve() for path in (*case_files.images.values(), case_files.truth) if path is not None}
    for path in outputs:
        if path.resolve() in inputs:
            raise ShaSpecError("an output apart from the case", f"{path}, a file of the case", "Choose another name")


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
    return replace(case_files, images=kept, truth=None).read()


def _say_what(case: Case) -> None:
    """Which file is taken for which modality, so that a wrong guess or slip is seen."""
    for note in case.notes:
        say(f"Note: {note}")
    for modality, path in case.files.items():
        likely = recognise(path)
        doubt = "" if likely in (modality, None) else f" (named like {likely.title}!)"
        say(f"{modality.title}: {path}{doubt}")


def _predicted(case: Case, weights: Path | None, device: str, precision: Precision) -> Prediction:
    from napari_shaspec.inference.session import Session

    checkpoint = load_weights(weights)
    start = time.perf_counter()
    session = Session(checkpoint.model, case, device=device, precision=precision.value)
    with progress_bar("preparing") as advance:
        prediction = session.predict(progress=lambda tile: advance(f"{tile.stage} pass", tile.done, tile.total))
    _say_how(session, prediction, time.perf_counter() - start)
    return prediction


def _say_how(session: Session, prediction: Prediction, seconds: float) -> None:
    for note in session.notes:
        say(f"Note: {note}")
    used = [modality.title for modality in Modality if modality in prediction.available]
    missing = [modality.title for modality in Modality if modality not in prediction.available]
    say(f"Predicted from {', '.join(used)} in {seconds:.1f} s.")
    if missing:
        say(f"Missing: {', '.join(missing)}; the mean of the available shared features stood in.")


def _write_volumes(
    prediction: Prediction, convention: Convention, labels: Path, regions: Mapping[Region, Path]
) -> None:
    from napari_shaspec.io.nifti import write_volume

    grid = prediction.grid
    write_volume(grid.with_data(to_convention(prediction.labels(), convention)), labels)
    for channel, region in enumerate(Region):
        if region in regions:
            write_volume(grid.with_data(prediction.probabilities[channel]), regions[region])


def _write_picture(case: Case, prediction: Prediction, path: Path) -> None:
    from napari_shaspec.io.overlay import write_overlay

    shown = next(modality for modality in SHOWN_FIRST if modality in case.images)
    write_overlay(case.images[shown], prediction.labels(), path)


def _show_volumes(prediction: Prediction) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Region", "Volume")
    for region, volume_ml in prediction.volumes_ml().items():
        table.add_row(region.value, f"{volume_ml:.2f} ml")
    Console().print(table)
