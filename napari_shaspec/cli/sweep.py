"""`napari-shaspec sweep`: one case from every subset of its images, and where the answers agree."""

from __future__ import annotations

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
from napari_shaspec.io.atomic import check_output, staged
from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.regions import Region

if TYPE_CHECKING:
    from napari_shaspec.evaluation.answers import Sweep
    from napari_shaspec.inference.session import Session
    from napari_shaspec.inference.smoothing import Postprocessing
    from napari_shaspec.volume import Case


def sweep(  # noqa: PLR0913 (a command's options are its parameters)
    out: Annotated[Path, typer.Option(help="The table to write, .csv.")],
    case: CaseArgument = None,
    flair: File = None,
    t1: File = None,
    t1c: File = None,
    t2: File = None,
    sample: Sample = False,
    maps: Annotated[
        bool,
        typer.Option(
            "--maps", help="Also write OUT_ET_consensus.nii.gz and so on: the share of the answers that mark a voxel."
        ),
    ] = False,
    threshold: Threshold = None,
    smooth: Smooth = False,
    weights: Weights = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    overwrite: Overwrite = False,
) -> None:
    """Segment one case from every subset of its images: volumes, Dice, and what each image adds."""
    from napari_shaspec.evaluation.answers import Compared
    from napari_shaspec.inference.session import Session
    from napari_shaspec.inference.smoothing import Postprocessing
    from napari_shaspec.io.nifti import check_no_stranger

    post = Postprocessing(thresholds_of(threshold), smooth)
    check_output(out, (".csv",), overwrite=overwrite)
    pictures = {region: out.with_name(f"{out.stem}_{region}_consensus.nii.gz") for region in Region if maps}
    for path in pictures.values():
        check_output(path, (".nii.gz",), overwrite=overwrite)
    images = {Modality.FLAIR: flair, Modality.T1: t1, Modality.T1C: t1c, Modality.T2: t2}
    with chosen_case(case, images, sample=sample) as case_files:
        check_no_stranger(list(pictures.values()), case_files.paths())
        if case_files.truth_refusal is not None:
            say(f"Note: compared with {Compared.ALL} alone: {case_files.truth_refusal}")
        read = (case_files.images_only() if case_files.truth_refusal is not None else case_files).read()
        say_what(read)
        session = Session(load_weights(weights).model, read, device=device, precision=precision.value)
        found = _found(session, read, post)
    _write(found, read, out, pictures, overwrite=overwrite)
    _show(found)
    for path in (out, *pictures.values()):
        typer.echo(f"Wrote {path}")


def _found(session: Session, case: Case, post: Postprocessing) -> Sweep:
    import numpy as np

    from napari_shaspec.evaluation.subsets import scan_subsets
    from napari_shaspec.evaluation.sweep import sweep as measure
    from napari_shaspec.evaluation.sweep import sweep_order

    reference = None if case.truth is None else case.truth.data.astype(np.uint8)
    found: Sweep | None = None
    with progress_bar("all images first") as advance:
        for found in measure(scan_subsets(session, sweep_order(case.available)), post, reference):
            done = len(found.answers)
            advance(f"subset {done} of {found.total}", done, found.total)
    for note in session.notes:
        say(f"Note: {note}")
    assert found is not None, "every case has an image"
    return found


def _write(found: Sweep, case: Case, out: Path, pictures: dict[Region, Path], *, overwrite: bool) -> None:
    from napari_shaspec.evaluation.sweep import write_sweep
    from napari_shaspec.io.nifti import write_volume

    with staged([out, *pictures.values()], overwrite=overwrite) as places:
        write_sweep(found, places[out])
        for region, path in pictures.items():
            write_volume(case.grid.with_data(found.consensus(region)), places[path], overwrite=True)


def _show(found: Sweep) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Images", *(f"{region} ml" for region in Region), *(f"Dice {region}" for region in Region))
    compared = list(found.volumes_ml)[-1]  # the reference, where there is one
    for answer in found.answers:
        volumes = (f"{answer.volumes_ml[region]:.1f}" for region in Region)
        dices = (f"{answer.dice[compared][region]:.2f}" for region in Region)
        table.add_row(subset_name(answer.available), *volumes, *dices)
    table.caption = f"Dice with {compared}"
    console = Console()
    console.print(table)
    added = found.contributions[compared]
    if added and found.total > 1:
        values = Table("Adds to Dice", *added)
        for modality in (each for each in Modality if each in found.answers[0].available):
            values.add_row(modality.title, *(f"{of_images[modality]:+z.2f}" for of_images in added.values()))
        console.print(values)
