"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Precision(StrEnum):
    """The number formats that a session knows."""

    AUTO = "auto"
    FLOAT32 = "float32"


Weights: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="A checkpoint (.safetensors, or .pth of the released code); the bundled one if left out."),
]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu, cuda or mps; `info` lists those that work here.")]
ChosenPrecision: TypeAlias = Annotated[
    Precision, typer.Option("--precision", help="auto takes the fastest of the device; float32 is the same everywhere.")
]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
