"""Text in which names of files stand, whatever bytes these are.

On Linux a name need not be UTF-8 (folders out of old archives); Python has such bytes as lone surrogates, which UTF-8
cannot write. In a table they are written as they are, so that its rows still go by them; elsewhere as an escape, which
JSON reads back as the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TextIO


def write_table(path: Path, text: str) -> None:
    """Write CSV."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def open_table(path: Path, mode: Literal["r", "w"] = "r") -> TextIO:
    """Open CSV to be read, or to be written row by row."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


def write_text(path: Path, text: str) -> None:
    """Write JSON or Markdown."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
