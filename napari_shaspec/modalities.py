"""The four MRI modalities of a glioma case, the subsets of them that may be available, and the names files give them.

The order is FLAIR, T1, T1c, T2 everywhere: in channels, in tables and in names such as ``flair+t1c``.
A file is recognised by its own name only, never by its folder's; a name that could mean two things means nothing,
because a wrong guess costs more than a question (docs/geometry.md lists the names).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path, PurePath
from typing import TypeVar

from napari_shaspec.errors import ShaSpecError

Name = TypeVar("Name", bound=str)

_T1 = {"t1", "t1w", "t1n", "t1c", "ct1", "mprage", "spgr", "fspgr", "bravo"}
_GIVEN = {"t1c", "ct1", "post", "ce", "contrast", "enhanced", "gd", "gad", "gado", "gadolinium", "km", "mkm"}
_GIVEN |= {"dotarem", "gadavist", "gadovist", "magnevist", "multihance", "prohance"}
_DENIED = {"t1n", "pre", "native", "nativ", "plain", "unenhanced"}
_GIVEN |= {"gadobutrol", "gadoterate", "gadobenate", "gadoteridol", "clariscan", "omniscan", "mdc", "gddtpa", "dtpa"}
_GIVEN |= {"contraste", "contrasto", "kontrast", "kontrastmittel", "gadolinio", "enh", "inj", "injected", "injection"}
_NEGATIONS = {"no", "non", "not", "o", "ohne", "pre", "without", "wo", "before", "vor", "sans", "sin", "senza"}
_NEGATIONS |= {"nicht", "kein", "utan", "uten", "uden", "zonder"}
_DENIALS_BEHIND = {"no", "not", "neg", "negative", "free", "none"}
"""Behind the word for the agent they may deny it (contrast_free), or belong to what follows: that says nothing."""

_EVENTS = {"op", "operation", "operative", "surgery", "surgical", "resection", "biopsy", "chemo", "radiotherapy", "rt"}
_EVENTS |= {"therapy", "treatment", "tx", "processed", "processing"}
_TECHNIQUES = {"ax", "axial", "cor", "coronal", "sag", "sagittal", "tra", "2d", "3d", "iso", "w", "wi", "weighted"}
_TECHNIQUES |= {"t2", "t2w", "flair", "dark", "fluid", "tirm", "tse", "fse", "frfse", "se", "ir", "fs", "vibe", "tfe"}
_TECHNIQUES |= {"space", "spc", "cube", "vista", "blade", "propeller", "flash", "ffe", "gre", "fl2d", "fl3d"}
_OTHER_SEQUENCES = {"adc", "dwi", "dti", "diff", "diffusion", "trace", "epi", "bold", "asl", "perf", "perfusion"}
_OTHER_SEQUENCES |= {"dsc", "dce", "cbf", "cbv", "rcbv", "mra", "tof", "swi", "swan", "qsm", "phase", "star", "starw"}
_OTHER_SEQUENCES |= {"map", "mapping", "rho", "pd", "pdw", "stir", "ciss", "fiesta", "hemo", "haemo", "heme", "medic"}
_WRITTEN_HERE = {"shared", "specific", "fused", "consensus"}  # maps of this program
_OTHER_SEQUENCES |= _WRITTEN_HERE
_OTHER_SEQUENCES |= {"scout", "localizer", "localiser", "warp", "subtraction", "subtracted", "prob", "pred", "mask"}
_SEGMENTATION = {"seg", "segm", "dseg", "segmentation", "label", "labels", "labelmap", "truth", "groundtruth", "gt"}
_SEGMENTATION |= {"glistrboost", "annotation", "annotations"}
_OTHER_SEGMENTATIONS = {"et", "tc", "wt", "prob", "probability", "pred", "predicted", "prediction", "uncertainty"}
_OTHER_SEGMENTATIONS |= _WRITTEN_HERE
_OTHER_SEGMENTATIONS |= {"mask", "aseg", "aparc", "aparcaseg", "tissue", "gm", "wm", "csf", "parenchyma", "skull"}
_DRAWN = {"roi", "rois", "contour", "contours", "gtv", "ctv", "ptv", "wmh", "lesion", "lesions", "zmap"}
_DRAWN |= {"gm", "wm", "csf", "pve", "pveseg", "aseg", "aparc", "aparcaseg", "tissue", "jacobian"}
"""Behind a sequence they say what was made of it; before it they may be the name of a study."""

_SAYING = _T1 | _SEGMENTATION | {"t2", "t2w", "flair", "t2f"}
_T1_ALONE = {"t1", "t1w", "t1n", "t1c", "ct1"}
_REGISTERED = {"to", "onto", "in", "on", "2", "reg", "registered", "coreg", "coregistered", "rreg", "aligned", "warped"}
_BIDS = re.compile(r"sub-[a-z0-9]+(_|$)", re.IGNORECASE)
_PATIENT = re.compile(r"^[a-z]{2}[ _-]?[0-9]{2,}(?=[ _-])", re.IGNORECASE)
"""GT-001 at the beginning of a name is a patient, and says neither ground truth nor (GD-001) contrast agent."""

_WHOLE_TOKENS = {"t1n", "t2f", "set1"}  # BraTS 2023, as parts they would misread T2FSE as t2f + se; and no se + t1
_VOCABULARY = sorted(
    (_T1 | _GIVEN | _DENIED | _NEGATIONS | _EVENTS | _TECHNIQUES | _OTHER_SEQUENCES | _SEGMENTATION)
    - _WHOLE_TOKENS
    - {"o"},
    key=lambda word: (-len(word), word),
)


class Modality(StrEnum):
    """An MRI sequence; the value is its name in files, tables and model configurations."""

    FLAIR = "flair"
    T1 = "t1"
    T1C = "t1c"
    T2 = "t2"

    @property
    def title(self) -> str:  # type: ignore[override]
        """The name as radiologists write it."""
        return {"flair": "FLAIR", "t1": "T1", "t1c": "T1c", "t2": "T2"}[self.value]


def nonempty_subsets(modalities: Sequence[Name]) -> tuple[frozenset[Name], ...]:
    """All ``2**N - 1`` subsets, singles first, in the row order of the published tables."""
    return tuple(
        frozenset(chosen) for size in range(1, len(modalities) + 1) for chosen in combinations(modalities, size)
    )


def subset_name(available: Iterable[Modality]) -> str:
    """Write a subset as ``flair+t1+t1c+t2``, always in that order."""
    chosen = frozenset(available)
    return "+".join(modality.value for modality in Modality if modality in chosen)


def subset_title(available: Iterable[Modality]) -> str:
    """Write a subset as ``FLAIR+T1+T1c+T2``, as tables for people have it."""
    chosen = frozenset(available)
    return "+".join(modality.title for modality in Modality if modality in chosen)


def parse_subset(text: str) -> frozenset[Modality]:
    """Read ``flair,t1c`` or ``flair+t1c`` (any case, ``t1ce`` and ``t1gd`` mean T1c).

    Raises
    ------
    ShaSpecError
        For an unknown name or an empty list.
    """
    names = [name.strip() for name in text.replace("+", ",").split(",") if name.strip()]
    if not names:
        raise ShaSpecError("at least one available modality", "none", "Name one or more of flair, t1, t1c, t2")
    return frozenset(parse_modality(name) for name in names)


def parse_modality(name: str) -> Modality:
    """Read ``t1c`` (any case, ``t1ce`` and ``t1gd`` mean T1c).

    Raises
    ------
    ShaSpecError
        For an unknown name.
    """
    lower = name.lower()
    try:
        return Modality({"t1ce": "t1c", "t1gd": "t1c"}.get(lower, lower))
    except ValueError as error:
        raise ShaSpecError(
            "modality names out of flair, t1, t1c, t2", repr(name), "Correct the name and try again"
        ) from error


def recognise(filename: str | Path) -> Modality | None:
    """Tell the modality from a file's name: BraTS 2018-2024, BIDS, UCSF, UPENN, TCGA and clinical names.

    Returns
    -------
    None
        If the name says nothing, says two things (T1 and T2), or names a map, a mask or a sequence that the models do
        not know (ADC, SWI, T2*).
    """
    words = _words(filename)
    known = set(words)
    neighbours = set(pairwise(words))
    if known & (_SEGMENTATION | _OTHER_SEQUENCES) or any(word.endswith(("mask", "biasfield")) for word in words):
        return None
    if ("bias", "field") in neighbours and not known & {"corrected", "correction"}:
        return None
    if _is_subtraction(words) or _is_drawn(words):
        return None
    t1 = bool(known & _T1)
    t2 = bool(known & {"t2", "t2w"})
    flair = bool(known & {"flair", "t2f"}) or bool(neighbours & {("dark", "fluid"), ("da", "fl")})
    if "set1" in known and (flair or t2):
        return None  # of a first set, or a T1 by spin echo
    # "T1 FLAIR" is a T1-weighted inversion recovery; "T2 FLAIR" is the FLAIR of this program.
    flair &= not neighbours & {("t1", "flair"), ("t1w", "flair")}
    if flair:
        return None if t1 else Modality.FLAIR
    if "tirm" in known or (t1 and t2):  # TIRM without "dark fluid" may be a STIR
        return None
    if t2:  # gradient echoes are never T2-weighted, only T2*
        return None if known & {"ffe", "fl2d", "fl3d", "flash", "gre"} else Modality.T2
    given, denied = _contrast(words)
    if (given and denied) or _moved_onto_the_other_t1(words) or not (t1 or ("post", "contrast") in neighbours):
        return None
    return Modality.T1C if given else Modality.T1


def says_nothing(filename: str | Path) -> bool:
    """Whether a file's name tells of no sequence, map or mask at all, so that it may be any of the modalities."""
    words = set(_words(filename))
    told = _SAYING | _OTHER_SEGMENTATIONS | _OTHER_SEQUENCES | {"tirm", "brain"}
    return not words & told and not any(word.endswith(("mask", "biasfield")) for word in words)


def is_label_map(filename: str | Path) -> bool:
    """Whether the name is that of a tumour label map (``_seg``, ``-seg``, ``_dseg``, ``_tumor_segmentation``, ...).

    Tissue and brain segmentations, binary masks, single regions, probabilities and predictions are none.
    """
    known = set(_words(filename))
    of_tumour = bool(known & {"tumor", "tumour", "glioma", "lesion"})
    return bool(known & _SEGMENTATION) and not known & _OTHER_SEGMENTATIONS and ("brain" not in known or of_tumour)


def patient_part(filename: str | Path) -> str:
    """The part of a file's name that names patient and visit: BIDS ``sub`` and ``ses``, else all before the sequence.

    Empty if the name starts with the sequence, as clinical names do.
    """
    stem = file_stem(filename)
    if _BIDS.match(stem):
        return "_".join(part for part in stem.split("_") if part.lower().startswith(("sub-", "ses-")))
    patient = _PATIENT.match(stem)
    for match in re.compile(r"[A-Za-z0-9]+").finditer(stem, patient.end() if patient else 0):
        parts = _split(match[0].lower())
        if parts and not _NEGATIONS.issuperset(parts):
            return stem[: match.start()].rstrip("_-. +")
    return stem


def bids_entity(filename: str | Path, entity: str) -> str:
    """``sub-01`` for ``sub``, in lower case; empty where the name does not have the entity, or is none of BIDS."""
    stem = file_stem(filename).lower()
    if not _BIDS.match(stem):
        return ""
    return next((part for part in stem.split("_") if part.startswith(f"{entity}-")), "")


def file_stem(filename: str | Path) -> str:
    """The name without folder and without ``.nii`` or ``.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$", "", PurePath(filename).name, flags=re.IGNORECASE)


def _words(filename: str | Path) -> tuple[str, ...]:
    """Lower-case words of a name; words written together (``AXT1POST``) are taken apart where all parts are known."""
    stem = file_stem(filename)
    if _BIDS.match(stem):
        return _words_of(_bids_text(stem))
    behind = _words_of(_PATIENT.sub("", stem))
    return behind if _SAYING.intersection(behind) else _words_of(stem)  # gt_001_new.nii.gz is what it says


def _words_of(text: str) -> tuple[str, ...]:
    text = text.lower().replace("t2*", "t2star")
    text = re.sub(r"(?<![a-z0-9])w[ _-]o(?![a-z0-9])", " without ", text)
    text = re.sub(r"(?<![a-z0-9])set1(?!\d)", " set1 ", text)
    text = re.sub(r"\s-c(?![a-z0-9])|(?<=t1|1w)cm?-$", " without contrast ", text)
    text = re.sub(r"((?:t1|1w|mprage|bravo|spgr)[a-z0-9 _-]*?[ _-])c-(?![a-z0-9])", r"\1 without contrast ", text)
    text = re.sub(r"\+ ?(c|gd|km|contrast)(?![a-z])|(?<![a-z])c\+", " contrast ", text)
    text = re.sub(r"(?<=t1|1w)(?:[ _-]cm?(?![a-z0-9])|\+(?![a-z0-9]))", " contrast ", text)
    text = re.sub(r"(?<![a-z0-9])(km|gd|gado|post|contrast)[1-9](?![a-z0-9])", r"\1", text)  # the second of its kind
    words: list[str] = []
    for token in re.findall(r"[a-z0-9]+", text):
        words.extend(_split(token) or (token,))
    return tuple(words)


def _bids_text(stem: str) -> str:
    """What of a BIDS name speaks of the image: ses-post is a visit, and space-T1w says where another image lies."""
    kept: list[str] = []
    for part in stem.split("_"):
        entity, dash, value = part.partition("-")
        if entity.lower() == "ce" and dash:
            kept.append("no contrast" if value.lower() in {"none", "no", "pre", "without"} else "contrast")
        elif not dash or entity.lower() in {"acq", "desc", "part"}:
            kept.append(part)
    return "_".join(kept)


@cache
def _split(token: str) -> tuple[str, ...] | None:
    """Take a token apart into known words, the longest first; None where a rest stays unknown (``t10``)."""
    if not token or token in _WHOLE_TOKENS:
        return (token,) if token else ()
    for word in _VOCABULARY:
        if token.startswith(word):
            rest = _split(token[len(word) :])
            if rest is not None:
                return (word, *rest)
    return None


def _moved_onto_the_other_t1(words: Sequence[str]) -> bool:
    """``T1_to_T1c`` is a T1 that lies on a T1c, by one way of naming, and a T1c by another."""
    places = [place for place, word in enumerate(words) if word in _T1_ALONE]
    between = [words[first:second] for first, second in pairwise(places)]
    if not any(_REGISTERED.intersection(part) for part in between):
        return False
    behind = (*between, words[places[-1] :])
    return len({_contrast(part)[0] for part in behind}) == 2


def _is_subtraction(words: Sequence[str]) -> bool:
    """``t1_sub`` and ``t1c_minus_t1`` say so; ``sub01_t1``, ``sub_01_t1`` and ``t1_sub-01`` name a subject."""
    first = next((place for place, word in enumerate(words) if word in _T1), len(words))
    behind = words[first:]
    return bool({"minus", "delta"} & set(behind)) or any(
        word == "sub" and not after.isdigit() for word, after in pairwise((*behind, ""))
    )


def _is_drawn(words: Sequence[str]) -> bool:
    """A mask or tissue map that was made of an image: ``t1c_gtv``, ``flair_wmh``, ``t1_brain_pve_1``."""
    first = next((place for place, word in enumerate(words) if word in _SAYING), len(words))
    return not _DRAWN.isdisjoint(words[first:])


def _contrast(words: Sequence[str]) -> tuple[bool, bool]:
    """Whether the name says that contrast agent was given, and whether it says that none was."""
    given = denied = done = False
    for word, following in pairwise((*words, "")):
        if done:
            done = False
        elif word in {"pre", "post"} and following in _EVENTS:
            done = True  # before or after an operation, not an injection
        elif word in _NEGATIONS and following in _GIVEN - {"post"}:
            denied = done = True
        elif word in _GIVEN - {"post", "t1c", "ct1"} and following in _DENIALS_BEHIND:
            given = denied = True
        elif word in {"w", "with"} and following in {"and", "wo", "without"}:
            given = True
        else:
            given |= word in _GIVEN
            denied |= word in _DENIED
    return given, denied
