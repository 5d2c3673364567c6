"""`napari-shaspec train`: make weights like the bundled ones, or of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from napari_shaspec.cli.options import ChosenPrecision, Device, Precision
from napari_shaspec.cli.training_options import Preset, Seed, Steps, Widths, changed, numbers
from napari_shaspec.modalities import Modality, parse_subset
from napari_shaspec.model.config import Substitution
from napari_shaspec.model.objective import AlignmentLoss
from napari_shaspec.training.config import Augmentation, Optimizer, Schedule, SubsetSampling
from napari_shaspec.training.presets import PRESETS


def train(  # noqa: PLR0913 (a command's options are its parameters)
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Real cases with label maps; without it, simulated ones.")
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="bundled makes weights like those in the box, paper is the published recipe for BraTS, modern a "
            "faster one, small and quick try things out."
        ),
    ] = Preset.BUNDLED,
    split: Annotated[
        Path | None,
        typer.Option(help="JSON file with the case names under train and validation; drawn and written if not there."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Weights to begin with instead of random ones: a .safetensors file, or bundled for those in the box. "
            "The network's shape is theirs; with --widths its levels may be wider."
        ),
    ] = None,
    dedicated: Annotated[
        str | None, typer.Option(help="Train for these modalities alone, like flair+t1c, instead of for all subsets.")
    ] = None,
    steps: Steps = None,
    all_steps: Annotated[int | None, typer.Option(help="The first of them, with all modalities.", min=0)] = None,
    seed: Seed = None,
    widths: Widths = None,
    patch: Annotated[
        str | None, typer.Option(help="Voxels of a crop to the right, front and top, like 160,160,80.")
    ] = None,
    coarse_start: Annotated[
        float | None, typer.Option(help="Share of the first steps that are coarse, which cost a third.", min=0, max=1)
    ] = None,
    draws: Annotated[int | None, typer.Option(help="How often each simulated case is trained on.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Cases in each step, for each device.", min=1)] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of DAO.", min=0)] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of DCO.", min=0)] = None,
    alignment: Annotated[AlignmentLoss | None, typer.Option(help="The variant of DAO.")] = None,
    deep_supervision: Annotated[
        float | None, typer.Option(help="Weight of the task at each coarser level of the decoder.", min=0)
    ] = None,
    substitution: Annotated[Substitution | None, typer.Option(help="What stands in for a missing modality.")] = None,
    sampling: Annotated[
        SubsetSampling | None, typer.Option(help="Random subsets uniform over their sizes, or over all subsets.")
    ] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="SGD has Nesterov momentum 0.99.")] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="poly is (1 - step / steps) to the power 0.9.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest one.")] = None,
    tumour_free_share: Annotated[
        float | None, typer.Option(help="Share of the simulated cases that have no tumour.", min=0, max=1)
    ] = None,
    tumour_share: Annotated[
        float | None, typer.Option(help="Share of the crops that are centred on tumour.", min=0, max=1)
    ] = None,
    augmentation: Annotated[
        Augmentation | None, typer.Option(help="full adds flips, small rotations and scales, gamma and noise.")
    ] = None,
    validation_steps: Annotated[int | None, typer.Option(help="How often the network is scored.", min=1)] = None,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="How often the run's state is written between validations; 0 for never.", min=0)
    ] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="How many of them in each machine.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="How many machines, started by torchrun or SLURM.", min=1)] = 1,
    precision: ChosenPrecision = Precision.AUTO,
    workers: Annotated[int, typer.Option(help="Processes that load real cases, for each device.", min=0)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
) -> None:
    """Train a network, on simulated cases or on yours."""
    from napari_shaspec.cli.screen import load_weights
    from napari_shaspec.errors import ShaSpecError
    from napari_shaspec.io.cases import find_cases
    from napari_shaspec.model.shaspec import ShaSpec
    from napari_shaspec.training.config import continued
    from napari_shaspec.training.export import begun_with
    from napari_shaspec.training.train import LAST, Hardware
    from napari_shaspec.training.train import train as run

    subset = parse_subset(dedicated) if dedicated else frozenset()
    of_simulated = {"--draws": draws, "--tumour-free-share": tumour_free_share}
    given = [option for option, value in of_simulated.items() if value is not None]
    if folder is not None and given:
        raise ShaSpecError("options of real cases", ", ".join(given), "Leave it out: it is for simulated cases")
    sides = numbers(patch) if patch else None
    base = PRESETS[preset.value]
    begin = load_weights(None if start == "bundled" else Path(start)) if start else None
    if begin is not None and isinstance(begin.model, ShaSpec):
        base = continued(base, begin.model.config)
    # What followed from the number of steps at the first start stays, whatever their number is now.
    first = begun_with(out / LAST) if resume and (out / LAST).is_file() else {}
    config = changed(
        base,
        steps=steps,
        all_steps=first.get("all_steps") if all_steps is None else all_steps,
        warmup_steps=first.get("warmup_steps"),
        seed=seed,
        widths=numbers(widths) if widths else None,
        patch=sides,
        coarse_patch=sides,
        coarse_start=coarse_start,
        draws=draws,
        batch=batch,
        alpha=alpha,
        beta=beta,
        alignment=alignment,
        deep_supervision=deep_supervision,
        substitution=substitution,
        sampling=sampling,
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=learning_rate,
        tumour_free_share=tumour_free_share,
        tumour_share=tumour_share,
        augmentation=augmentation,
        validation_steps=validation_steps,
        checkpoint_steps=checkpoint_steps,
        dedicated=tuple(modality.value for modality in Modality if modality in subset) or None,
    )
    best = run(
        config,
        out,
        cases=find_cases(folder) if folder is not None else (),
        split=split,
        start=begin,
        hardware=Hardware(device, devices, nodes, precision.value, workers),
        resume=resume,
        command=" ".join(["napari-shaspec", *map(_without_folders, sys.argv[1:])]),
    )
    typer.echo(f"Wrote {best}")


def _without_folders(argument: str) -> str:
    """Weights travel, and where they were made is nobody's business: /home/me/runs/mine -> mine."""
    option, equals, value = argument.rpartition("=")
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)
