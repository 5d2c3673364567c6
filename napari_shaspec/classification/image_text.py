"""Images with their reports: a folder and a CSV file become tensors, and words become numbers.

The CSV has the columns ``image`` (a file below the folder), ``report`` (text) and ``label`` (0 or 1), in any order and
with others beside them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from napari_shaspec.errors import ShaSpecError, unreadable

IMAGE, TEXT = "image", "text"
MODALITIES = (IMAGE, TEXT)
COLUMNS = ("image", "report", "label")
PADDING, UNKNOWN = 0, 1
"""Tokens that are no word: behind the end of a report, and for words that training has not seen."""

MOST_WORDS = 5000
LONGEST_REPORT = 128
"""Words; what is further behind is left out."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True, eq=False)
class Studies:
    """Images (N, 1, side, side) from -1 to 1, one text for each, and labels (N,), 0 or 1."""

    images: Tensor
    reports: tuple[str, ...]
    labels: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Images (N, 1, side, side), tokens (N, length), labels (N,)."""

    images: Tensor
    tokens: Tensor
    labels: Tensor

    def at(self, places: NDArray[np.intp]) -> Pairs:
        """Some of them."""
        return Pairs(self.images[places], self.tokens[places], self.labels[places])


class Vocabulary:
    """The most frequent words of the texts that training may see.

    Parameters
    ----------
    reports
        Of the training set alone.
    """

    def __init__(self, reports: Iterable[str]) -> None:
        counts = Counter(word for report in reports for word in _words(report))
        # Equally frequent words by the alphabet, so that the order of the reports does not matter.
        frequent = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
        self._tokens = {word: token for token, word in enumerate(frequent, UNKNOWN + 1)}

    def __len__(self) -> int:
        return len(self._tokens) + UNKNOWN + 1

    def tokens(self, reports: Sequence[str]) -> Tensor:
        """(N, length) int64, as long as the longest report; an empty one is a single unknown word."""
        rows = [[self._tokens.get(word, UNKNOWN) for word in _words(report)] or [UNKNOWN] for report in reports]
        tokens = torch.full((len(rows), max(map(len, rows))), PADDING)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.tensor(row)
        return tokens


def read_studies(folder: Path, table: Path, side: int) -> Studies:
    """Read a table and the images that it names, as grey squares.

    Raises
    ------
    ShaSpecError
        If a column, a file or a label is missing or unreadable.
    """
    images, reports, labels = [], [], []
    for line, row in _rows(table):
        label = (row["label"] or "").strip()
        if label not in {"0", "1"}:
            raise ShaSpecError(f"0 or 1 as label in line {line} of {table.name}", repr(label), "Correct the line")
        images.append(_read_image(folder / (row["image"] or ""), side))
        reports.append(row["report"] or "")
        labels.append(float(label))
    if len(set(labels)) < 2:
        raise ShaSpecError(
            f"both labels, 0 and 1, in {table.name}", f"{len(labels)} lines", "Add studies of both kinds"
        )
    return Studies(torch.from_numpy(np.stack(images))[:, None], tuple(reports), torch.tensor(labels))


def _rows(table: Path) -> list[tuple[int, dict[str, str | None]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
            missing = [column for column in COLUMNS if column not in names]
            if missing:
                raise ShaSpecError(
                    f"the columns {', '.join(COLUMNS)} in {table.name}",
                    f"no {missing[0]}",
                    "Name the columns in the first line",
                )
            return [(reader.line_num, {column: row[names[column]] for column in COLUMNS}) for row in reader]
    except OSError as error:
        raise unreadable(table, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ShaSpecError(f"a table in UTF-8 at {table}", str(error), "Check the path and the file") from error


def _read_image(path: Path, side: int) -> NDArray[np.float32]:
    try:
        with Image.open(path) as picture:
            grey = _grey(picture).resize((side, side), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ShaSpecError(f"an image at {path}", str(error), "Correct the table or the file") from error
    scaled: NDArray[np.float32] = np.asarray(grey, np.float32) / 127.5 - 1
    return scaled


def _grey(picture: Image.Image) -> Image.Image:
    """From 0 to 255. Pillow cuts 12 and 16 bits, as radiographs have them, off at 255; their own range is taken."""
    if not picture.mode.startswith(("I", "F")):
        return picture.convert("L")
    values = np.asarray(picture, np.float32)
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite((lowest, highest)).all():
        raise ValueError("values that are not a number or infinite")
    return Image.fromarray((values - lowest) * (255 / max(highest - lowest, 1e-12)))


def _words(report: str) -> list[str]:
    return _WORD.findall(report.lower())[:LONGEST_REPORT]
