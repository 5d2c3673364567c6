"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.regions import DEFAULT_THRESHOLDS, Region


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
Smooth: TypeAlias = Annotated[bool, typer.Option("--smooth", help="Remove small components (ShaSpec*).")]
Threshold: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="Where a region begins, as in ET=0.4; again for the next one.", metavar="REGION=P", show_default="0.5"
    ),
]


def thresholds_of(given: Sequence[str] | None) -> dict[Region, float]:
    """Of every region: as `Threshold` was given, or one half.

    Raises
    ------
    ShaSpecError
        For what is no region, or no probability.
    """
    return {**DEFAULT_THRESHOLDS, **dict(map(_threshold, given or ()))}


def _threshold(text: str) -> tuple[Region, float]:
    name, _, value = text.partition("=")
    try:
        region, probability = Region(name.strip().upper()), float(value)
        if not 0 < probability < 1:
            raise ValueError("no probability between 0 and 1")
    except ValueError as error:
        raise ShaSpecError(
            "a region and a probability, as in ET=0.4", text, f"Correct --threshold: {', '.join(Region)}, 0 to 1"
        ) from error
    return region, probability
