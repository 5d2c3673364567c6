"""The JSON beside every export: everything that made it, so that the same file can be made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_shaspec.errors import ShaSpecError, unreadable
from napari_shaspec.io.outputs import LabelForm, Outputs
from napari_shaspec.modalities import Modality, parse_subset, subset_name
from napari_shaspec.regions import Region
from napari_shaspec.reliability import Confidence

FORMAT = "napari-shaspec report 1"


@dataclass(frozen=True, slots=True)
class Report:
    """How labels were made.

    Parameters
    ----------
    case
        Its name.
    images
        Path and SHA-256 of every image that took part in choosing the grid, by modality.
    available
        The modalities that the network was given.
    weights
        Path and SHA-256 of the checkpoint; the path is empty for the bundled one.
    statement
        What the checkpoint says of itself.
    stand_in_rule
        What the network takes for a missing modality.
    device, precision
        What the network ran on, and in.
    thresholds, smooth
        What made labels of probabilities.
    labels
        ``1-2-4``, ``1-2-3`` or ``regions``: how they are written.
    edited
        Whether somebody painted on the labels by hand, so that they cannot be made again in full.
    volumes_ml
        Of the regions as written.
    outputs
        SHA-256 of every file written, by name.
    confidence
        What the weights reach with this subset on cases whose truth is known; empty in reports of older versions.
    versions
        Of the programs that took part.
    notes
        What was said on the way.
    """

    case: str
    images: Mapping[Modality, tuple[str, str]]
    available: frozenset[Modality]
    weights: tuple[str, str]
    statement: str
    stand_in_rule: str
    device: str
    precision: str
    thresholds: Mapping[Region, float]
    smooth: bool
    labels: str
    edited: bool
    volumes_ml: Mapping[Region, float]
    outputs: Mapping[str, str] = field(default_factory=dict)
    confidence: Mapping[Region, Confidence] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As text, one entry a line."""
        entries = asdict(self) | {
            "images": {str(modality): {"path": path, "sha256": sha} for modality, (path, sha) in self.images.items()},
            "available": subset_name(self.available),
            "weights": {"path": self.weights[0], "sha256": self.weights[1]},
            "confidence": {
                region.value: {
                    "verdict": each.verdict.value,
                    "mean_dice": each.dice,
                    "source": each.source,
                    "unlike": {str(modality): why for modality, why in each.unlike.items()},
                }
                for region, each in self.confidence.items()
            },
        }
        return json.dumps({"format": FORMAT, **entries}, indent=2, ensure_ascii=False) + "\n"


_KINDS: Mapping[type, tuple[str, ...]] = {
    str: ("case", "statement", "stand_in_rule", "device", "precision"),
    bool: ("smooth", "edited"),
    dict: ("outputs", "versions"),
}
"""What the entries of a report are that nothing else is made of."""


def read_report(path: Path) -> Report:
    """Read a report that `Report.to_json` wrote.

    Raises
    ------
    ShaSpecError
        If the file is missing, is no report, or lacks an entry.
    """
    try:
        entries: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        if entries.pop("format", None) != FORMAT:
            raise ValueError("another format")
        available = parse_subset(entries["available"])
        LabelForm(entries["labels"])  # a ValueError for another
        if set(entries["thresholds"]) != {region.value for region in Region}:
            raise ValueError("thresholds of other regions")
        if not all(0 <= float(value) <= 1 for value in entries["thresholds"].values()):
            raise ValueError("thresholds that are no probabilities")
        for kind, names in _KINDS.items():
            wrong = [name for name in names if name in entries and not isinstance(entries[name], kind)]
            if wrong:
                raise ValueError(f"{wrong[0]} is no {kind.__name__}")
        return Report(
            **entries
            | {
                "images": {
                    Modality(name): (str(each["path"]), str(each["sha256"])) for name, each in entries["images"].items()
                },
                "available": available,
                "confidence": {
                    Region(name): Confidence(
                        Region(name),
                        available,
                        None if each["mean_dice"] is None else float(each["mean_dice"]),
                        str(each["source"]),
                        {Modality(modality): str(why) for modality, why in each.get("unlike", {}).items()},
                    )
                    for name, each in entries.get("confidence", {}).items()
                },
                "weights": (str(entries["weights"]["path"]), str(entries["weights"]["sha256"])),
                "thresholds": {Region(name): float(value) for name, value in entries["thresholds"].items()},
                "volumes_ml": {Region(name): float(value) for name, value in entries["volumes_ml"].items()},
                "notes": tuple(entries["notes"]),
            }
        )
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        no_json = isinstance(error, UnicodeDecodeError | json.JSONDecodeError)
        raise ShaSpecError(
            f"a report of format {FORMAT!r} at {path}",
            "no JSON" if no_json else f"{type(error).__name__}: {error}",
            "Give the .json file that was written beside an export",
        ) from error


def is_report(path: Path) -> bool:
    """Whether a file is a report of ours."""
    try:
        read_report(path)
    except ShaSpecError:
        return False
    return True


def writes_report(outputs: Outputs) -> bool:
    """Whether one is asked for, or there from before: that one would say of these labels how others were made."""
    return outputs.report or is_report(outputs.report_path())


def check_no_report(labels: Path) -> None:
    """Refuse to put labels that nothing describes beside a report of others.

    Raises
    ------
    ShaSpecError
        If a report of ours lies beside this name.
    """
    report = Outputs(labels).report_path()
    if is_report(report):
        raise ShaSpecError(
            f"no report beside {labels.name}, for none describes these labels",
            f"{report.name}, which tells how others were made",
            "Choose another name, or move the report away",
        )


def is_own_answer(path: Path) -> bool:
    """Whether a file holds labels as the network gave them: a report beside it says so, and nobody painted on them.

    Labels that somebody has corrected, here or in another program, are as good a reference as any.
    """
    try:
        report = read_report(Outputs(path).report_path())
        return not report.edited and report.outputs.get(path.name) == file_sha256(path)
    except ShaSpecError:
        return False  # no report, such as the sidecar of a BIDS file


def file_stamp(path: Path) -> str:
    """Size and time of a file, which change when something else is put in its place; empty if it is not there."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns}"


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes.

    Raises
    ------
    ShaSpecError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
