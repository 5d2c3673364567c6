"""Whose images they are, as far as the names of files tell: patient and visit, one or several."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import bids_entity, patient_part, recognise

_SERIES = re.compile(r"(?:s|se|ser|series|im|img)?_?\d{1,5}(?:a\d+)?")
_SERIES_BEHIND = re.compile(r"[\W_]+[1-9]\d{0,3}$")
_YEAR_BEHIND = re.compile(r"[\W_](?:19|20)\d\d$")
_SAYS_NO_PATIENT = {"bet", "brain", "ep", "head", "mni", "nav", "reg", "registered", "stealth", "stripped", "wip"}
"""What names begin with that tells protocol or processing."""


_VISIT = re.compile(
    r"(?<=BraTS-[A-Z]{3}-\d{5})-\d{3}$"  # since 2023 the time point
    r"|(?<=UPENN-GBM-\d{5})_\d{2}$"
    r"|[\W_]+(?:fu|ses|session|tp|time_?point|visit|week|month)[\W_]*\d+[a-z]?(?:[\W_]\d+)*$",
    re.IGNORECASE,
)
"""What names of cases end in where a patient was seen more than once."""


def patient_of(name: str, images: Iterable[Path]) -> str:
    """Whose case it is, by its name, or by the folder around it where the name tells the visit only."""
    first = next(iter(images), None)
    subject = "" if first is None else bids_entity(first, "sub")
    patient = subject or _VISIT.sub("", "_" + name)[1:]
    return patient or (name if first is None else first.resolve().parent.parent.name)


def check_one_patient(files: Iterable[Path]) -> None:
    """Refuse files whose BIDS names say that they are of several patients, or visits.

    Raises
    ------
    ShaSpecError
        Naming them.
    """
    files = list(files)
    for entity, called in (("sub", "patient"), ("ses", "visit")):
        named = sorted({value for path in files if (value := bids_entity(path, entity))})
        if len(named) > 1:
            raise ShaSpecError(
                f"images of one {called}",
                ", ".join(named),
                "Keep each in a folder of its own (on the command line, --flair FILE and so on take files of any name)",
            )


def doubt_about(images: Iterable[Path]) -> str:
    """What to say of images whose names begin differently; empty where they name one patient, or none.

    Not compared are numbers of series, before or behind the patient, what tells protocol or processing (``reg_T1``),
    upper case and separators.
    """
    begins: dict[str, str] = {}
    told = [patient_part(path) for path in images if recognise(path) is not None]  # else somebody has said what it is
    visits = all(map(_YEAR_BEHIND.search, told))  # one of them by itself is the twentieth series of a Philips scanner
    for begin in told:
        if bare := _bare(begin, years=visits):
            begins.setdefault(bare, begin)
    if len(begins) < 2:
        return ""
    named = ", ".join(sorted(begins.values()))
    return f"the names begin differently ({named}): check that all are of one patient and visit"


def named_patient(path: Path) -> str:
    """Patient and visit as a file's name tells them, apart from numbers of series, upper case and separators, or empty.

    Where it ends in what may be a year it is taken for one.
    """
    begin = patient_part(path)
    return _bare(begin, years=bool(_YEAR_BEHIND.search(begin)))


def _bare(begin: str, *, years: bool) -> str:
    bare = re.sub(r"[\W_]+", "_", begin if years else _SERIES_BEHIND.sub("", begin)).casefold()
    return "" if _SERIES.fullmatch(bare) or bare in _SAYS_NO_PATIENT else bare


def case_name(images: Iterable[Path], fallback: str) -> str:
    """The part that all names share before the sequence's name, else the folder's name."""
    parts = {patient_part(path) for path in images}
    shared = parts.pop() if len(parts) == 1 else ""
    return shared or fallback or next((path.resolve().parent.name for path in images), "") or "case"


def folder_name(folder: Path) -> str:
    """What a folder's case is called: by its own name, a BIDS folder ``anat`` by patient and visit."""
    bids = [part for part in folder.parts[-3:-1] if part.lower().startswith(("sub-", "ses-"))]
    return "_".join(bids) if folder.name.lower() == "anat" and bids else folder.name
