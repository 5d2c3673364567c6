"""What every command puts on the screen in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from napari_shaspec.model.checkpoint import Checkpoint

Advance = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def say(text: str) -> None:
    """Write a line to standard error."""
    typer.echo(text, err=True)


def load_weights(path: Path | None) -> Checkpoint:
    """Load a checkpoint, and say what its users must be told."""
    from napari_shaspec.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    if checkpoint.statement:
        say(checkpoint.statement)
    return checkpoint


@contextmanager
def progress_bar(first: str) -> Iterator[Advance]:
    """A bar on standard error that vanishes when it is done; nothing where that is no terminal.

    Parameters
    ----------
    first
        What is being done until the first advance.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(first, total=None)

        def advance(doing: str, done: int, total: int) -> None:
            bar.update(task, description=doing, completed=done, total=total)

        yield advance
