"""`napari-shaspec ablate`: the same training with one thing changed, as tables and a curve."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Precision
from napari_shaspec.cli.screen import say
from napari_shaspec.cli.simulate import case_seed, write_case
from napari_shaspec.cli.training_options import Preset, Seed, Steps, Widths, changed, numbers
from napari_shaspec.errors import ShaSpecError

if TYPE_CHECKING:
    from napari_shaspec.io.cases import CaseFiles

SIMULATED = "cases"
"""Folder of the simulated cases in that of the ablation."""

CASES_SEED = 7
CASES = 18


class Kind(StrEnum):
    """The ablations."""

    DAO = "dao"
    WEIGHTS = "weights"
    DEDICATED = "dedicated"
    SUBSTITUTION = "substitution"


def ablate(  # noqa: PLR0913 (a command's options are its parameters)
    ablation: Annotated[
        Kind,
        typer.Argument(
            metavar="ABLATION",
            help="dao (its four variants), weights (alpha and beta), dedicated (one network for each modality), or "
            "substitution (what stands in for a missing modality).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the runs and tables; what is finished there is not run again.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Real cases with label maps; without it, simulated ones.")
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="small for simulated cases, modern for real ones, if left out.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="JSON file with the case names under train and validation, for real cases.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Run only this one, again for more; for a cluster that runs them at once.")
    ] = None,
    cases: Annotated[
        int | None,
        typer.Option(help=f"Simulated cases, {CASES} if left out; a third of them is kept aside.", min=3, max=999),
    ] = None,
    steps: Steps = None,
    widths: Widths = None,
    seed: Seed = None,
    device: Device = "auto",
    precision: ChosenPrecision = Precision.AUTO,
    workers: Annotated[int, typer.Option(help="Processes that load cases.", min=0)] = 1,
) -> None:
    """Train the variants of an ablation one after the other, and compare them on cases kept aside."""
    from napari_shaspec.io.atomic import make_folder
    from napari_shaspec.io.cases import find_cases
    from napari_shaspec.training.ablation import Ablation, outcomes, run_variants, variants
    from napari_shaspec.training.ablation_tables import write_tables
    from napari_shaspec.training.presets import PRESETS
    from napari_shaspec.training.splits import SPLIT, read_split, write_split
    from napari_shaspec.training.train import Hardware

    chosen = preset or (Preset.SMALL if folder is None else Preset.MODERN)
    base = changed(PRESETS[chosen.value], steps=steps, widths=numbers(widths) if widths else None, seed=seed)
    known = variants(Ablation(ablation), base)
    unknown = [name for name in variant or () if name not in known]
    if unknown:
        raise ShaSpecError(f"a variant out of {', '.join(known)}", unknown[0], "Correct the name")
    if folder is None and split is not None:
        raise ShaSpecError("a folder of cases to split", "none", "Give the folder, or leave the split out")
    if folder is not None and cases is not None:
        raise ShaSpecError("real cases or a number of simulated ones", "both", "Leave --cases or the folder out")
    make_folder(out)
    if folder is None:
        count = CASES if cases is None else cases
        _check_count(out / SPLIT, count)
        found: Sequence[CaseFiles] = _simulated(out / SIMULATED, count, base.model.voxel_mm[0])
        aside = max(1, count // 3)
        if not (out / SPLIT).exists():
            write_split(([*found[:-aside]], [*found[-aside:]]), out / SPLIT)
    else:
        found = find_cases(folder)
        if split is not None and not (out / SPLIT).exists():
            write_split(read_split(split, found), out / SPLIT)
        elif split is not None and read_split(split, found) != read_split(out / SPLIT, found):
            raise ShaSpecError(f"the split of the runs in {out}", f"another one in {split.name}", "Use another folder")
    outcomes(known, out)  # what is there has to go with what is asked for, before hours of training
    wanted = {name: config for name, config in known.items() if not variant or name in variant}
    run_variants(wanted, found, out, Hardware(device, precision=precision.value, workers=workers), say)
    training, aside_cases = read_split(out / SPLIT, found)
    title = (
        f"{len(training)} {'simulated' if folder is None else 'real'} cases to train on, {len(aside_cases)} kept "
        f"aside; preset {chosen}, {base.steps} steps, widths {', '.join(map(str, base.model.widths))}, "
        f"seed {base.seed}. Dice in %, mean over the cases kept aside."
    )
    for path in write_tables(Ablation(ablation), outcomes(known, out), out, title):
        say(f"Wrote {path}")
    typer.echo((out / f"{ablation}.md").read_text(encoding="utf-8"), nl=False)


def _check_count(split: Path, count: int) -> None:
    """Refuse another number than at first: those of a split alone take part."""
    from napari_shaspec.training.splits import split_names

    first = sum(map(len, split_names(split))) if split.exists() else count
    if first != count:
        raise ShaSpecError(
            f"--cases {first}, as at first", f"{count}", "Give that number, or another folder for the runs"
        )


def _simulated(folder: Path, count: int, voxel_mm: float) -> Sequence[CaseFiles]:
    """The cases in the folder; those that are not there yet are simulated first."""
    from napari_shaspec.io.cases import find_cases
    from napari_shaspec.simulate.case import simulate_case

    for index in range(count):
        name = f"SIM-{CASES_SEED}-{index:03d}"
        if not (folder / name).exists():
            say(f"simulating {name}")
            write_case(simulate_case(case_seed(CASES_SEED, index), name, voxel_mm), folder / name)
    found = find_cases(folder)
    if len(found) != count:
        raise ShaSpecError(
            f"{count} simulated cases in {folder}", str(len(found)), "Give --cases as at first, or another folder"
        )
    return found
