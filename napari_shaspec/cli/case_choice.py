"""How a command is told which images make the one case it works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from napari_shaspec.cli.screen import say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality, recognise

if TYPE_CHECKING:
    from napari_shaspec.io.cases import CaseFiles
    from napari_shaspec.volume import Case

CaseArgument: TypeAlias = Annotated[
    list[Path] | None, typer.Argument(metavar="CASE...", help="A case folder, or the files of one case.")
]
File: TypeAlias = Annotated[
    Path | None, typer.Option(help="The file of this modality, whatever its name.", metavar="FILE")
]
Sample: TypeAlias = Annotated[bool, typer.Option("--sample", help="Take the simulated case that comes with it.")]


@contextmanager
def chosen_case(
    case: Sequence[Path] | None, images: Mapping[Modality, Path | None], *, sample: bool
) -> Iterator[CaseFiles]:
    """The files of the case, which exactly one of the three ways has to name.

    Raises
    ------
    ShaSpecError
        If none does, or more than one.
    """
    from napari_shaspec.io.cases import CaseFiles, case_files

    given = {modality: path for modality, path in images.items() if path is not None}
    if sum(map(bool, (case, given, sample))) != 1:
        raise ShaSpecError(
            "one of a case, files with their modality, and --sample",
            "more than one" if case or given else "none",
            "Give a case folder or its files, or --flair FILE and so on, or --sample",
        )
    if sample:
        with as_file(files("napari_shaspec") / "resources" / "sample") as folder:
            yield case_files(folder)
    elif given:
        yield CaseFiles("the case", given)
    else:
        assert case
        yield case_files(*case)


def say_what(case: Case) -> None:
    """Which file is taken for which modality, so that a wrong guess or slip is seen."""
    for note in case.notes:
        say(f"Note: {note}")
    for modality, path in case.files.items():
        likely = recognise(path)
        doubt = "" if likely in (modality, None) else f" (named like {likely.title}!)"
        say(f"{modality.title}: {path}{doubt}")
