"""What a folder holds, as far as it can be looked into: NIfTI files, and folders below it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.outputs import NIFTI

DEPTH = 4
"""Folders below the given one that are searched: HGG/case, or sub/ses/anat."""

MOST_ENTRIES = 20_000
"""Files and folders that are looked at, at most, to tell whether a folder holds images: a fraction of a second."""


def holds_nifti(folder: Path) -> bool:
    """Whether a folder, or one below it as deep as a case may lie, holds a NIfTI file; no longer than a click may take.

    After `MOST_ENTRIES` the answer is no: so large a tree is some other format, or a whole archive.
    """
    entries = islice(_entries_below(folder), MOST_ENTRIES)
    return any(entry.name.lower().endswith(NIFTI) and not entry.name.startswith(".") for entry in entries)


def nifti_files(folder: Path) -> list[Path]:
    """Those directly in a folder, sorted by name.

    Raises
    ------
    ShaSpecError
        If the folder cannot be looked into.
    """
    return [
        path
        for path in _listing(folder)
        # Names with a leading dot are none of ours; macOS leaves ._case_t1.nii.gz on foreign disks.
        if path.name.lower().endswith(NIFTI)
        and not path.name.startswith(".")
        # A link to nothing is an image that was not fetched, not a missing modality: reading it says so.
        and (_holds(path.is_file) or (path.is_symlink() and not _holds(path.exists)))
    ]


def folders_in(folder: Path) -> list[Path]:
    """Those directly in a folder that are not hidden, sorted by name.

    Raises
    ------
    ShaSpecError
        If the folder cannot be looked into.
    """
    return [inner for inner in _listing(folder) if _holds(inner.is_dir) and not inner.name.startswith(".")]


def _entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Level by level; not below hidden folders, nor below those that are an image of another format."""
    level = [folder]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for entry in chain.from_iterable(map(_entries_in, level)):
            yield entry
            skipped = entry.name.startswith(".") or entry.name.lower().endswith((".zarr", ".n5"))
            if not skipped and _holds(entry.is_dir):
                below.append(Path(entry.path))
        level = below


def _entries_in(place: Path) -> Iterator[os.DirEntry[str]]:
    """None of what is no folder, or cannot be looked into."""
    with suppress(OSError), os.scandir(place) as entries:
        yield from entries


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ShaSpecError(
            f"to look into the folder {folder}", error.strerror or str(error), "Check its permissions"
        ) from error


def _holds(check: Callable[[], bool]) -> bool:
    """Whether it is so; a place that cannot be reached, such as a mount whose machine is gone, is nothing."""
    try:
        return check()
    except OSError:
        return False
