"""Options that change a named training configuration, for the commands that train."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from napari_shaspec.errors import ShaSpecError

if TYPE_CHECKING:
    from napari_shaspec.training.config import TrainConfig


HIGHEST_SEED = 3566
"""Of training, which counts from a million times its seed: of that, torch looks at 32 bits on a CPU."""


class Preset(StrEnum):
    """The named training configurations."""

    BUNDLED = "bundled"
    QUICK = "quick"
    SMALL = "small"
    PAPER = "paper"
    MODERN = "modern"


Steps: TypeAlias = Annotated[int | None, typer.Option(help="Optimizer steps, instead of the preset's.", min=1)]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Instead of the preset's.", min=0, max=HIGHEST_SEED)]
Widths: TypeAlias = Annotated[str | None, typer.Option(help="Channels of each level of the network, like 8,16,32.")]


def numbers(text: str) -> tuple[int, ...]:
    """Read ``8,16,32``.

    Raises
    ------
    ShaSpecError
        For anything else.
    """
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise ShaSpecError("whole numbers like 8,16,32", repr(text), "Correct the list and try again") from error


def changed(config: TrainConfig, **changes: Any) -> TrainConfig:
    """The configuration with the changes that are not None; a few of them are the network's.

    Where a shorter run would end before the first subset is decoded, the steps with all modalities and the warm-up
    shorten alike, unless one of them is among the changes.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    of_model = {name: given.pop(name) for name in ("widths", "substitution") if name in given}
    steps = given.get("steps", config.steps)
    if not {"all_steps", "warmup_steps"} & given.keys() and config.all_steps >= steps:
        given["all_steps"] = config.all_steps * steps // config.steps
        given["warmup_steps"] = max(1, config.warmup_steps * steps // config.steps)
    return replace(config, model=replace(config.model, **of_model), **given)
