"""`napari-shaspec sweep`: one case from every subset of its images, and where the answers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.regions import Region

if TYPE_CHECKING:
    from napari_shaspec.evaluation.answers import Origin, Sweep
    from napari_shaspec.inference.canvas import TileResult
    from napari_shaspec.inference.session import Session
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.volume import Case


def sweep(  # noqa: PLR0913 (a command's options are its parameters)
    out: Annotated[Path, typer.Option(help="The table to write, .csv.")],
    case: CaseArgument = None,
    flair: File = None,
    t1: File = None,
    t1c: File = None,
    t2: File = None,
    sample: Sample = False,
    reference: Annotated[
        Path | None,
        typer.Option(help="A label map to compare with, instead of the one in the case folder.", metavar="FILE"),
    ] = None,
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
    from napari_shaspec.evaluation.answers import Origin, contributions_path
    from napari_shaspec.inference.session import Session
    from napari_shaspec.io.nifti import check_no_stranger

    thresholds = thresholds_of(threshold)
    tables = [out, contributions_path(out)]
    pictures = {region: out.with_name(f"{out.stem}_{region}_consensus.nii.gz") for region in Region if maps}
    for path in tables:
        check_output(path, (".csv",), overwrite=overwrite)
    for path in pictures.values():
        check_output(path, (".nii.gz",), overwrite=overwrite)
    images = {Modality.FLAIR: flair, Modality.T1: t1, Modality.T1C: t1c, Modality.T2: t2}
    with chosen_case(case, images, sample=sample) as chosen:
        files = chosen if reference is None else replace(chosen.images_only(), truth=reference)
        check_no_stranger(list(pictures.values()), files.paths())
        read = _read(files, asked=reference is not None)
        say_what(read)
        checkpoint = load_weights(weights)
        session = Session(checkpoint.model, read, device=device, precision=precision.value)
        found = _found(session, Origin(read.name, checkpoint.sha256, thresholds, smooth))
    with staged([*tables, *pictures.values()], overwrite=overwrite) as places:
        _write(found, read, [places[path] for path in tables], {each: places[at] for each, at in pictures.items()})
    _show(found)
    for path in (*tables, *pictures.values()):
        typer.echo(f"Wrote {path}")


def _read(files: CaseFiles, *, asked: bool) -> Case:
    """A label map that cannot be compared with is no reason to stop, unless the user has named it."""
    try:
        return files.read()
    except ShaSpecError as error:
        if asked or (files.truth is None and files.truth_refusal is None):
            raise
        case = files.images_only().read()
        say(f"Note: compared with the answer from all images alone: {error}")
        return case


def _found(session: Session, origin: Origin) -> Sweep:
    import numpy as np

    from napari_shaspec.evaluation.subsets import scan_subsets
    from napari_shaspec.evaluation.sweep import sweep as measure
    from napari_shaspec.evaluation.sweep import sweep_order

    case = session.case
    order = sweep_order(case.available)
    reference = None if case.truth is None else case.truth.data.astype(np.uint8)
    found: Sweep | None = None
    done = 0
    with progress_bar("preparing") as advance:

        def tile(result: TileResult) -> None:
            advance(f"subset {done + 1} of {len(order)}", done * result.total + result.done, len(order) * result.total)

        for found in measure(scan_subsets(session, order, tile), origin, reference):
            done = len(found.answers)
    for note in session.notes:
        say(f"Note: {note}")
    assert found is not None, "every case has an image"
    return found


def _write(found: Sweep, case: Case, tables: Sequence[Path], pictures: Mapping[Region, Path]) -> None:
    from napari_shaspec.evaluation.sweep import write_sweep
    from napari_shaspec.io.nifti import write_volume

    write_sweep(found, *tables)
    for region, path in pictures.items():
        write_volume(case.grid.with_data(found.consensus(region)), path, overwrite=True)


def _show(found: Sweep) -> None:
    from rich.console import Console
    from rich.table import Table

    compared = found.best_compared
    table = Table("Images", *(f"{region} ml" for region in Region), *(f"Dice {region}" for region in Region))
    for answer in found.answers:
        volumes = (f"{answer.volumes_ml[region]:.1f}" for region in Region)
        dices = (f"{answer.dice[compared][region]:.2f}" for region in Region)
        table.add_row(subset_name(answer.available), *volumes, *dices)
    table.caption = f"Dice with {compared.title}"
    console = Console()
    console.print(table)
    if found.total == 1:
        say("A single image has no subsets: give another modality of this case to compare.")
        return
    added = found.contributions[compared]
    values = Table("Adds to Dice", *added)
    for modality in (each for each in Modality if each in found.answers[0].available):
        values.add_row(modality.title, *(f"{of_images[modality]:+z.2f}" for of_images in added.values()))
    values.add_row("all", *(f"{sum(of_images.values()):.2f}" for of_images in added.values()))
    if added:
        console.print(values)
    if empty := [region for region in Region if region not in added]:
        say(f"Nothing adds to {', '.join(empty)}, which is empty in {compared.title}.")
