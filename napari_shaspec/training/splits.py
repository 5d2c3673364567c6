"""Which cases train and which validate: a JSON file with the case names of both, or a seeded draw."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.io.patients import patient_of
from napari_shaspec.io.text import write_text

TRAIN, VALIDATION = "train", "validation"
"""The two entries of the file, each a list of case names."""

SPLIT = "split.json"
"""Its file in the folder of a run."""

Split = tuple[list[CaseFiles], list[CaseFiles]]
"""Cases to train on, and cases to validate on."""


def split_cases(cases: Sequence[CaseFiles], seed: int) -> Split:
    """Cases with label maps for training and for validation: about a tenth, at least one, for the latter.

    All visits of a patient are in one part, or what is validated would have been trained on.

    Raises
    ------
    ShaSpecError
        For fewer than two patients with a label map, or for a case that is none.
    """
    for files in cases:
        if files.refusal_to_compare is not None:
            raise files.refusal_to_compare
    labelled = [files for files in cases if files.truth is not None]
    sizes = Counter(map(_patient, labelled))
    if len(sizes) < 2:
        raise ShaSpecError(
            "at least two patients with a label map",
            f"{len(labelled)} cases of {len(sizes)}",
            "Add cases, or label maps named like case_seg",
        )
    drawn = [labelled[place] for place in np.random.default_rng(seed).permutation(len(labelled))]
    held_out = max(1, round(len(labelled) / 10))
    aside: set[str] = set()
    *first, _ = dict.fromkeys(map(_patient, drawn))  # the last one is left to train on
    for patient in first:
        if sum(sizes[each] for each in aside) < held_out:
            aside.add(patient)
    training, validation = ([files for files in drawn if (_patient(files) in aside) is part] for part in (False, True))
    return training, validation


def _patient(files: CaseFiles) -> str:
    return patient_of(files.name, files.images.values())


def write_split(split: Split, path: Path) -> None:
    """Write the case names of a split, atomically.

    Raises
    ------
    ShaSpecError
        If there is such a file already, or if it cannot be written.
    """
    names = {key: [files.name for files in part] for key, part in zip((TRAIN, VALIDATION), split, strict=True)}
    with replacing(path, overwrite=False) as place:
        write_text(place, json.dumps(names, indent=2, ensure_ascii=False) + "\n")


def read_split(path: Path, cases: Sequence[CaseFiles]) -> Split:
    """Look up the names of a split among the cases of a folder; cases that it does not name take no part.

    Warns of patients who are in both parts.

    Raises
    ------
    ShaSpecError
        If the file is no split; if it names a case twice, one that is not there, or one that cannot be trained on.
    """
    names = split_names(path)
    known = {files.name: files for files in cases}
    counts = Counter(name for part in names for name in part)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ShaSpecError(
            f"each case once in {path.name}", f"{_listed(twice)} twice", "Keep it in one of train and validation"
        )
    unknown = [name for name in counts if name not in known]
    if unknown:
        raise ShaSpecError(
            f"cases of the folder in {path.name}",
            f"none named {_listed(unknown)}",
            "Correct the names, or the folder",
        )
    for name in counts:
        refusal = known[name].refusal_to_compare
        if refusal is not None:
            raise refusal
    unlabelled = [name for name in counts if known[name].truth is None]
    if unlabelled:
        raise ShaSpecError(
            f"a label map for each case in {path.name}",
            f"none for {_listed(unlabelled)}",
            "Add label maps named like case_seg.nii.gz, or take these cases out",
        )
    train, validation = ([known[name] for name in part] for part in names)
    if in_both := sorted(set(map(_patient, train)) & set(map(_patient, validation))):
        warnings.warn(
            f"{path.name} trains and validates on {_listed(in_both)}: what is validated has been trained on",
            stacklevel=2,
        )
    return train, validation


def split_names(path: Path) -> tuple[list[str], list[str]]:
    """The names of cases that a file has for training and for validation.

    Raises
    ------
    ShaSpecError
        If the file is no split.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        train, validation = entries[TRAIN], entries[VALIDATION]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ShaSpecError(
            f'a split like {{"{TRAIN}": ["case-1", ...], "{VALIDATION}": ["case-2", ...]}} in {path}',
            f"{type(error).__name__}: {error}",
            "Correct the file, or name one that does not exist yet to have it written",
        ) from error
    for key, part in ((TRAIN, train), (VALIDATION, validation)):
        if not isinstance(part, list) or not part or not all(isinstance(name, str) for name in part):
            raise ShaSpecError(
                f"one or more case names in {key!r} of {path.name}",
                f"{part!r:.80}",
                "Name at least one case to train on and one to validate on",
            )
    return train, validation


def _listed(names: Iterable[str], most: int = 4) -> str:
    *shown, last = [*names][: most + 1]
    return ", ".join([*shown, "..." if len(shown) == most else last])
