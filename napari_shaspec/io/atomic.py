"""Writing so that a file is either there in full or not at all, and is never replaced unless that was asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.reach import is_folder

PREFIX = ".napari-shaspec-"
"""Of the folders in which files are written before they get their names."""


def check_output(path: Path, endings: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a path where the result could not be put, before the work starts.

    Raises
    ------
    ShaSpecError
        If the name has another ending, if there is no such folder or no permission, or if there is such a file already.
    """
    if not path.name.lower().endswith(tuple(endings)) or path.name.lower() in endings:
        raise ShaSpecError(f"an output name that ends in {' or '.join(endings)}", str(path), "Change the name")
    if not is_folder(path.parent):
        raise ShaSpecError(f"an existing folder for {path.name}", f"none at {path.parent}", "Create the folder first")
    if not os.access(path.parent, os.W_OK):
        raise ShaSpecError(f"to write into {path.parent}", "no permission", "Choose another folder")
    _check_free(path, overwrite=overwrite)


def check_no_input(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """No image is ever replaced by its own segmentation, nor is the label map of an expert, whatever else may be.

    Raises
    ------
    ShaSpecError
        If an output is one of the inputs, by whatever name or link.
    """
    taken = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in taken:
            raise ShaSpecError("an output apart from the case", f"{path}, a file of the case", "Choose another name")


def make_folder(folder: Path) -> None:
    """A folder for results, with those around it; one that is there is as good.

    Raises
    ------
    ShaSpecError
        If there is a file of that name, or no permission.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShaSpecError(
            f"a folder to write to at {folder}", error.strerror or str(error), "Choose another, or check permissions"
        ) from error


@contextmanager
def staged(paths: Sequence[Path], *, overwrite: bool) -> Iterator[Mapping[Path, Path]]:
    """Lend a place beside each path to write to; all files move where they belong once all are complete.

    After an error in the block none is there. Only the moves themselves come one by one.

    Raises
    ------
    ShaSpecError
        If somebody else has put a file there in the meantime, or if the disk refuses.
    """
    try:
        with ExitStack() as stack:
            # In the folder of the file itself, because only within one file system is moving a single step.
            folders = {
                parent: Path(stack.enter_context(TemporaryDirectory(dir=parent, prefix=PREFIX)))
                for parent in {path.parent for path in paths}
            }
            places = {path: folders[path.parent] / path.name for path in paths}
            yield places
            for path, place in places.items():
                _check_free(path, overwrite=overwrite)
                _flush(place)
            with _all_or_none(overwrite) as moved:
                for path, place in places.items():
                    _move(place, path, overwrite=overwrite)
                    moved.append(path)
    except OSError as error:
        place_name = f"to write {error.filename}" if error.filename else "to write the results"
        raise ShaSpecError(
            place_name, error.strerror or str(error), "Check permissions and free space, or choose another folder"
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left in a folder; nobody may be writing there."""
    for path in folder.glob(f"{PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """`staged` for a single file."""
    with staged([path], overwrite=overwrite) as places:
        yield places[path]


@contextmanager
def _all_or_none(overwrite: bool) -> Iterator[list[Path]]:
    """Files that took the place of none are removed again where a later one finds its place taken."""
    moved: list[Path] = []
    try:
        yield moved
    except (OSError, ShaSpecError):
        if not overwrite:
            for path in moved:
                path.unlink(missing_ok=True)
        raise


def _check_free(path: Path, *, overwrite: bool) -> None:
    if is_folder(path):
        raise ShaSpecError("a file name", f"the folder {path}", "Add a file name such as seg.nii.gz")
    if os.path.lexists(path) and not overwrite:  # a link that leads nowhere may be a file that was not fetched yet
        raise _taken(path)


def _move(place: Path, path: Path, *, overwrite: bool) -> None:
    """To where it belongs, in a single step that fails where meanwhile somebody else has put a file there."""
    if not overwrite:
        try:
            os.link(place, path)
        except FileExistsError:
            raise _taken(path) from None
        except OSError:
            pass  # a file system without hard links
        else:
            return
    place.replace(path)


def _taken(path: Path) -> ShaSpecError:
    found = "a link" if path.is_symlink() else "one"
    return ShaSpecError(f"no file at {path}", found, "Choose another name, or allow it to be overwritten (--overwrite)")


def _flush(path: Path) -> None:
    """Onto the disk before the name is taken: after a power cut no empty file has the name of a result."""
    with path.open("rb+") as file:  # Windows flushes only what it may write
        os.fsync(file.fileno())
