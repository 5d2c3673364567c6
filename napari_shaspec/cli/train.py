"""`napari-shaspec train`: make the bundled weights again, or weights of one's own."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from napari_shaspec.cli.options import Device


class Preset(StrEnum):
    """The named training configurations."""

    BUNDLED = "bundled"
    QUICK = "quick"


def train(  # noqa: PLR0913 (a command's options are its parameters)
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Real cases with label maps; without it, simulated ones.")
    ] = None,
    preset: Annotated[
        Preset, typer.Option(help="bundled makes the weights in the box again, quick tries out the set-up.")
    ] = Preset.BUNDLED,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps, instead of the preset's.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the preset's.", min=0, max=10**6 - 1)] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="How many of them.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
) -> None:
    """Train a network, on simulated cases or on yours."""
    from napari_shaspec.io.cases import find_cases
    from napari_shaspec.training.config import PRESETS
    from napari_shaspec.training.train import train as run

    config = PRESETS[preset.value]
    config = replace(config, steps=steps or config.steps, seed=config.seed if seed is None else seed)
    best = run(
        config,
        out,
        cases=find_cases(folder) if folder is not None else (),
        device=device,
        devices=devices,
        resume=resume,
        command=" ".join(["napari-shaspec", *map(_without_folders, sys.argv[1:])]),
    )
    typer.echo(f"Wrote {best}")


def _without_folders(argument: str) -> str:
    """Weights travel, and where they were made is nobody's business: /home/me/runs/mine -> mine."""
    option, equals, value = argument.rpartition("=")
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)
