"""The command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def shaspec() -> None:
    """ShaSpec: brain tumour segmentation from any subset of FLAIR, T1, T1c and T2."""


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    preset: str = "bundled",
    device: str = "auto",
    resume: bool = False,
) -> None:
    """Train on simulated cases."""
    from napari_shaspec.training.config import PRESETS
    from napari_shaspec.training.train import train as run

    run(PRESETS[preset], out, device=device, resume=resume, command=" ".join(["napari-shaspec", *sys.argv[1:]]))


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
