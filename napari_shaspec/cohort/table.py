"""The table of a cohort: one row for each case, on the disk at any time, and what a second run may skip.

Columns: ``case,available,ET_ml,TC_ml,WT_ml,seconds,warnings,error,labels,weights,settings,images,labels_sha256``. A
case that failed has an ``error`` and no volumes; one that succeeded, now or earlier, has the name of its label map,
beside the table.
The last two columns tell other images and an edited label map; tables of earlier versions lack them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.io.nifti import is_written_here
from napari_shaspec.io.report import file_sha256, file_stamp
from napari_shaspec.io.text import open_table, write_table
from napari_shaspec.modalities import Modality, parse_subset, subset_name
from napari_shaspec.regions import Region

VOLUMES = {region: f"{region.value}_ml" for region in Region}
_SAID = ("seconds", "warnings", "error", "labels", "weights", "settings")
EARLIER_COLUMNS = ("case", "available", *VOLUMES.values(), *_SAID)
COLUMNS = (*EARLIER_COLUMNS, "images", "labels_sha256")

BETWEEN_WARNINGS = " | "

ASIDE = "cut_short_"
"""Before the name of a label map that was put aside."""

CUT_SHORT = "The run was cut short before this case was in the table. Run again to predict it once more."

OF_BEFORE = "The label map there is of an earlier run."

REWRITING_SHARE = 0.05
"""Of the time may go into writing the table, which is written whole each time: thousands of rows come less often."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a case.

    Parameters
    ----------
    case
        Its name.
    available
        The modalities that the network was given.
    volumes_ml
        Of the regions; empty where the case failed.
    seconds
        From reading to writing; where the case failed, until the failure was known.
    warnings
        What was done to the images on the way, and to the device.
    error
        Empty where all went well.
    labels
        File name of the label map, beside the table; where the case failed that of an earlier run, or empty.
    weights
        SHA-256 of the checkpoint.
    settings
        What else decides the label map.
    images
        `fingerprint` of the files; empty in rows of earlier versions.
    labels_sha256
        Of the label map as it was written; empty there, too.
    """

    case: str
    available: frozenset[Modality]
    volumes_ml: Mapping[Region, float] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str = ""
    labels: str = ""
    weights: str = ""
    settings: str = ""
    images: str = ""
    labels_sha256: str = ""


def labels_name(files: CaseFiles) -> str:
    """The label map of a case, in the cohort's folder."""
    return f"{files.name}_seg.nii.gz"


def fingerprint(images: Mapping[Modality, Path]) -> str:
    """Sizes and times of the files, as one word: another patient's images of the same names have others.

    Empty if one is not there.
    """
    stamps = {modality.value: file_stamp(path) for modality, path in images.items()}
    if not all(stamps.values()):
        return ""
    told = ";".join(f"{name} {stamps[name]}" for name in sorted(stamps))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


class CohortTable:
    """Rows by case in a CSV file that is complete at any moment; leaving the context writes the last ones.

    Beside it lies, while a run goes on or after it was cut short, a journal of the cases that workers have: their label
    maps may be newer than their rows.

    Parameters
    ----------
    path
        The file; rows of an earlier run in it are kept until their case is predicted again.

    Raises
    ------
    ShaSpecError
        If there is a file that is no such table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = {row.case: row for row in read_rows(path)} if path.exists() else {}
        self._writing_seconds = 0.0
        self._written = 0.0
        self._begun: set[str] = set()
        self._journal = path.with_suffix(".journal")
        for name in _names(self._journal):
            self._own_up(name)

    def __enter__(self) -> CohortTable:
        self.save()  # a folder that cannot be written is known before the first case
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.save()

    def begin(self, name: str) -> None:
        """Note that a case is handed to a worker: its label map may be replaced before its row is on the disk.

        One that no row explains, since a run was cut short, is put aside: somebody may have corrected it after all.
        """
        row = self.rows.get(name)
        if row is not None and CUT_SHORT in row.error and row.labels:
            labels = self.path.with_name(row.labels)
            if labels.is_file():
                labels.replace(labels.with_name(ASIDE + labels.name))
            self.rows[name] = replace(row, labels="", labels_sha256="")
        self._begun.add(name)
        with self._journal.open("a", encoding="ascii") as file:
            file.write(_line(name))

    def add(self, row: Row) -> None:
        """Put a row in the place of the case's older one; on the disk now, or soon.

        A case that fails keeps the label map of an earlier run, if it has one, and its row says so.
        """
        before = self.rows.get(row.case)
        if row.error and before is not None and before.labels and self.path.with_name(before.labels).is_file():
            error = row.error if OF_BEFORE in row.error else f"{row.error} {OF_BEFORE}"
            row = replace(row, error=error, labels=before.labels, labels_sha256=before.labels_sha256)
        self.rows[row.case] = row
        if row.error and row.case in self._begun:
            self._own_up(row.case)  # it may have failed after the label map was there
        self._begun.discard(row.case)
        if time.monotonic() - self._written >= self._writing_seconds / REWRITING_SHARE:
            self.save()

    def save(self) -> None:
        """Write the file atomically, its rows sorted by case."""
        began = time.monotonic()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(self.rows[case]) for case in sorted(self.rows))
        with replacing(self.path) as place:
            write_table(place, text.getvalue())
        if self._begun:
            with replacing(self._journal) as place:
                place.write_text("".join(map(_line, sorted(self._begun))), encoding="ascii")
        else:
            self._journal.unlink(missing_ok=True)
        self._written = time.monotonic()
        self._writing_seconds = self._written - began

    def is_finished(self, files: CaseFiles, weights: str, settings: str) -> bool:
        """Whether these weights and settings have segmented the case, from these very images."""
        row = self.rows.get(files.name)
        if row is None or row.error or not row.labels:
            return False
        if (row.weights, row.settings, row.available) != (weights, settings, frozenset(files.images)):
            return False
        try:
            written = self.path.with_name(row.labels).stat().st_mtime
            if row.images:
                return row.images == fingerprint(files.images)
            return all(path.stat().st_mtime <= written for path in files.images.values())
        except OSError:
            return False

    def of_other_images(self, files: CaseFiles) -> bool:
        """Whether the row of that name is of other images: another patient's, or newer ones."""
        row = self.rows.get(files.name)
        try:
            return row is not None and bool(row.labels and row.images) and row.images != fingerprint(files.images)
        except OSError:
            return False

    def was_edited(self, files: CaseFiles) -> bool:
        """Whether the case's label map is another than the one that was written: somebody has made or corrected it.

        Where no row tells, because a run was killed before it was written or is of an earlier version, a file that
        says that this program wrote it counts as that.
        """
        row = self.rows.get(files.name)
        labels = self.path.with_name(labels_name(files))
        if not labels.is_file():
            return False
        if row is None or not row.labels_sha256:
            return not is_written_here(labels)
        return file_sha256(labels) != row.labels_sha256

    def _own_up(self, name: str) -> None:
        """Where this program has put another label map there than the row is of, the case is not done."""
        row = self.rows.get(name)
        labels = self.path.with_name(row.labels) if row is not None and row.labels else None
        if row is None or labels is None or not labels.is_file() or not is_written_here(labels):
            return
        if (found := file_sha256(labels)) != row.labels_sha256:
            error = " ".join(filter(None, (row.error.replace(OF_BEFORE, "").strip(), CUT_SHORT)))
            self.rows[name] = replace(row, error=error, volumes_ml={}, labels_sha256=found)


def _line(name: str) -> str:
    return json.dumps(name) + "\n"


def _names(journal: Path) -> list[str]:
    """Of the cases that a run has begun and not brought to an end; a line that was cut off is none."""
    names = []
    with suppress(OSError, UnicodeDecodeError):
        for line in journal.read_text(encoding="ascii").splitlines():
            with suppress(ValueError):
                names.append(str(json.loads(line)))
    return names


def read_rows(path: Path) -> list[Row]:
    """Read a file of `CohortTable`.

    Raises
    ------
    ShaSpecError
        If the file cannot be read, its columns differ, or a row cannot be understood.
    """
    try:
        with open_table(path) as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) not in (COLUMNS, EARLIER_COLUMNS):
                raise ValueError(f"the columns {','.join(reader.fieldnames or ()) or 'of an empty file'}")
            return [_row(cells) for cells in reader]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ShaSpecError(
            f"a table of napari-shaspec cohort at {path}", str(error), "Choose another folder, or move the file away"
        ) from error


def _cells(row: Row) -> tuple[str, ...]:
    volumes = (f"{row.volumes_ml[region]:.3f}" if region in row.volumes_ml else "" for region in Region)
    warnings = BETWEEN_WARNINGS.join(map(_one_line, row.warnings))
    said = (f"{row.seconds:.2f}", warnings, _one_line(row.error), row.labels, row.weights, row.settings)
    return (row.case, subset_name(row.available), *volumes, *said, row.images, row.labels_sha256)


def _row(cells: Mapping[str, str]) -> Row:
    if Path(cells["labels"]).name != cells["labels"]:
        raise ValueError(f"a label map that is not beside it: {cells['labels']}")
    return Row(
        case=cells["case"],
        available=parse_subset(cells["available"]) if cells["available"] else frozenset(),
        volumes_ml={region: float(cells[name]) for region, name in VOLUMES.items() if cells[name]},
        seconds=float(cells["seconds"]),
        warnings=tuple(cells["warnings"].split(BETWEEN_WARNINGS)) if cells["warnings"] else (),
        error=cells["error"],
        labels=cells["labels"],
        weights=cells["weights"],
        settings=cells["settings"],
        images=cells.get("images", ""),
        labels_sha256=cells.get("labels_sha256", ""),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
