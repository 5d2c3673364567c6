"""Whether a file or folder is there; a place that may not be looked at is an error, and not a traceback."""

from __future__ import annotations

from pathlib import Path

from napari_shaspec.errors import unreadable


def is_file(path: Path) -> bool:
    """As `Path.is_file`.

    Raises
    ------
    ShaSpecError
        If the system does not let one look, or knows no such names.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def is_folder(path: Path) -> bool:
    """As `Path.is_dir`; errors as those of `is_file`."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error
