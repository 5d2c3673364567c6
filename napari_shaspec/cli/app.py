"""The commands under one name, and what becomes of errors: one line and an exit code."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from napari_shaspec import __version__
from napari_shaspec.cli.ablate import ablate
from napari_shaspec.cli.avmnist import avmnist
from napari_shaspec.cli.cohort import cohort
from napari_shaspec.cli.convert import convert
from napari_shaspec.cli.evaluate import evaluate
from napari_shaspec.cli.features import features
from napari_shaspec.cli.imagetext import imagetext
from napari_shaspec.cli.info import info
from napari_shaspec.cli.predict import predict
from napari_shaspec.cli.screen import say
from napari_shaspec.cli.simulate import simulate
from napari_shaspec.cli.sweep import sweep
from napari_shaspec.cli.train import train
from napari_shaspec.cli.view import view
from napari_shaspec.errors import ShaSpecError

PROGRAM = "napari-shaspec"
DEBUG = "--debug"
EXTRAS = {
    "lightning": "train",
    "nilearn": "train",
    "dask": "cohort",
    "distributed": "cohort",
    "librosa": "avmnist",
    "matplotlib": "plots",
    "napari": "napari",
    "psutil": "avmnist",
    "qtpy": "napari",
    "sklearn": "plots",
}
"""The extra that brings a package which not everybody needs."""

INTERRUPTED = 130
"""What shells expect after Ctrl-C (128 + SIGINT)."""

app = typer.Typer(add_completion=False)
COMMANDS = (
    view,
    predict,
    sweep,
    cohort,
    evaluate,
    features,
    simulate,
    train,
    ablate,
    convert,
    avmnist,
    imagetext,
    info,
)
for command in COMMANDS:
    app.command()(command)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def shaspec(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which version this is.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error comes from; anywhere on the line.")] = False,
) -> None:
    """Segment gliomas on brain MRI with whichever of FLAIR, T1, T1c and T2 exist (ShaSpec, CVPR 2023)."""


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns
    -------
    int
        0; 1 after an error that the user can act on, 2 for a wrong option, 130 after Ctrl-C.
    """
    # Taken out here, because it has to work behind the command as well, and when the command's options are wrong.
    debug = DEBUG in arguments
    arguments = [argument for argument in arguments if argument != DEBUG] or ["--help"]
    try:
        code: int | None = typer.main.get_command(app).main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except ShaSpecError as error:
        if debug:
            raise
        return _failed(str(error), 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if debug or package not in EXTRAS:
            raise
        hint = f'pip install "{PROGRAM}[{EXTRAS[package]}]"'
        return _failed(f"This command needs {package}, which is not installed. Install it: {hint}", 1)
    except (OSError, MemoryError) as error:
        # What the checks before did not foresee: a disk that fills up, a folder that vanishes, a machine that is full.
        if debug:
            raise
        return _failed(str(error) or "Out of memory", 1)
    except typer.TyperException as error:
        return _failed(error.format_message(), error.exit_code)
    if code == INTERRUPTED:
        say("Stopped.")
    return code or 0


def main() -> None:
    """Entry point."""
    signal.signal(signal.SIGTERM, _end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is: names of files need not be text
    sys.exit(run(sys.argv[1:]))


def _end(number: int, frame: object) -> None:
    """Asked to end, by a scheduler whose time is up for one: leave as after Ctrl-C, with half-written files removed."""
    signal.signal(number, signal.SIG_IGN)  # once is enough: a second one would break into the tidying up
    say("Stopped.")
    sys.exit(128 + number)


def _failed(message: str, code: int) -> int:
    say("Error: " + " ".join(message.splitlines()))
    return code
