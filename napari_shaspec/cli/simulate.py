"""`napari-shaspec simulate`: cases with known truth, in the folders and under the names of BraTS."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from napari_shaspec.cli.screen import progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality

if TYPE_CHECKING:
    from napari_shaspec.volume import Case

FIRST_SEED = 10**12
"""On a CPU torch looks at 32 bits of it, which makes it 3,567,587,328: above all seeds of training, which counts from a
million times its own seed (`training_options.HIGHEST_SEED`)."""

HIGHEST_SEED = 72_736
"""Beyond it those 32 bits begin anew."""

SEEDS_APART = 10**4
"""The most cases of one seed."""

ENDINGS = {Modality.FLAIR: "flair", Modality.T1: "t1", Modality.T1C: "t1ce", Modality.T2: "t2"}
"""As BraTS named its files until 2021."""


class Settings(StrEnum):
    """The named settings of the simulator."""

    TRAINING = "training"
    HELD_OUT = "held-out"
    RELAXATION = "relaxation"


def simulate(
    count: Annotated[int, typer.Option(help="Number of cases.", min=1, max=SEEDS_APART)],
    seed: Annotated[
        int, typer.Option(help="Makes the same cases again; none of them is ever trained on.", min=0, max=HIGHEST_SEED)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the cases; made if it does not exist.")],
    settings: Annotated[
        Settings, typer.Option(help="As in training, held out from it, or that with contrasts by relaxation times.")
    ] = Settings.TRAINING,
    voxel_mm: Annotated[float, typer.Option(help="Edge of a voxel.", min=0.8, max=4.0)] = 1.5,
    healthy: Annotated[bool, typer.Option("--healthy", help="Brains without a tumour.")] = False,
) -> None:
    """Write simulated cases with all four modalities and their label maps."""
    from napari_shaspec.simulate.case import simulate_case
    from napari_shaspec.simulate.settings import SETTINGS, without_tumours

    chosen = without_tumours(SETTINGS[settings.value]) if healthy else SETTINGS[settings.value]
    names = [f"SIM-{seed}-{index:03d}" for index in range(count)]
    if out.exists() and not out.is_dir():
        raise ShaSpecError("a folder to write cases to", f"the file {out}", "Choose another name")
    taken = [name for name in names if _is_taken(out / name)]
    if taken:
        raise ShaSpecError(f"no case {taken[0]} in {out}", "one", "Choose another folder or seed, or remove it first")
    empty = []
    with progress_bar("simulating") as advance:
        for index, name in enumerate(names):
            advance("simulating", index, count)
            case = simulate_case(case_seed(seed, index), name, voxel_mm, chosen)
            write_case(case, out / name)
            if case.truth is not None and not case.truth.data.any():
                empty.append(name)
    if empty and not healthy:
        say(f"Without tumour, as some brains are: {', '.join(empty)}")
    typer.echo(f"Wrote {count} {'case' if count == 1 else 'cases'} to {out}")


def case_seed(seed: int, index: int) -> int:
    """The simulator's seed for a case: no two cases share one, and training uses none of them."""
    return FIRST_SEED + seed * SEEDS_APART + index


def _is_taken(folder: Path) -> bool:
    return any(folder.iterdir()) if folder.is_dir() else folder.exists()


def write_case(case: Case, folder: Path) -> None:
    """Write all files of a case, or none."""
    from napari_shaspec.io.nifti import write_volume

    partial = folder.with_name(f".{uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
        for modality, volume in case.images.items():
            write_volume(volume, partial / f"{case.name}_{ENDINGS[modality]}.nii.gz")
        if case.truth is not None:
            write_volume(case.truth, partial / f"{case.name}_seg.nii.gz")
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        raise ShaSpecError(
            f"to write {folder}", error.strerror or str(error), "Check permissions and free space"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
