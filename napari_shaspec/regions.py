"""Tumour regions, the label conventions of BraTS, and the way between them.

Regions nest: WT contains TC contains ET. Inside the program a label map always uses `Label`
(1 NCR/NET, 2 ED, 4 ET, the convention of BraTS until 2021); files are translated at the border.
Arrays of regions are (3, X, Y, Z) in the order of `Region`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import file_stem


class Region(StrEnum):
    """A nested tumour region; the order is that of the model's output channels."""

    ET = "ET"
    TC = "TC"
    WT = "WT"


CAVITY = "resection cavity"
"""What notes call the 4 of BraTS 2024, which belongs to none of the three regions."""


class Label(IntEnum):
    """A voxel's class inside the program."""

    BACKGROUND = 0
    NCR_NET = 1
    ED = 2
    ET = 4


class Convention(StrEnum):
    """The number that stands for enhancing tumour in a file: 4 until BraTS 2021, 3 from 2023 on."""

    BRATS_2018 = "1-2-4"
    BRATS_2023 = "1-2-3"

    @property
    def enhancing(self) -> int:
        """The file's number for enhancing tumour."""
        return 4 if self is Convention.BRATS_2018 else 3


DEFAULT_THRESHOLDS: Mapping[Region, float] = {Region.ET: 0.5, Region.TC: 0.5, Region.WT: 0.5}


def nested_masks(
    probabilities: NDArray[np.floating], thresholds: Mapping[Region, float] = DEFAULT_THRESHOLDS
) -> NDArray[np.bool_]:
    """Masks of ET, TC, WT, made to nest: TC becomes TC or ET, WT becomes WT or TC (docs/model.md).

    Parameters
    ----------
    probabilities
        (3, X, Y, Z) in the order of `Region`; a voxel belongs to a region at or above its threshold.
    """
    masks = np.stack([probabilities[index] >= thresholds[region] for index, region in enumerate(Region)])
    masks[1] |= masks[0]
    masks[2] |= masks[1]
    return masks


def masks_to_labels(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Nested masks (3, X, Y, Z) to a label map (X, Y, Z) of `Label`."""
    enhancing, core, whole = masks
    labels = np.zeros(whole.shape, np.uint8)
    labels[whole] = Label.ED
    labels[core] = Label.NCR_NET
    labels[enhancing] = Label.ET
    return labels


def labels_to_masks(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """A label map (X, Y, Z) of `Label` to nested masks (3, X, Y, Z) in the order of `Region`."""
    enhancing = labels == Label.ET
    core = enhancing | (labels == Label.NCR_NET)
    return np.stack([enhancing, core, core | (labels == Label.ED)])


def guess_convention(labels: NDArray[np.integer], filename: str | Path) -> tuple[Convention, str]:
    """The convention a label map was written in, and a sentence if the file left room for doubt.

    A 3 settles it (1-2-3), for BraTS until 2021 knew none. A 4 without a 3 is enhancing tumour (1-2-4), unless the name
    ends in ``-seg`` as from BraTS 2023 on: there it is the resection cavity. With neither both conventions agree. A map
    of nothing but 1 may be a mask of the whole tumour.
    """
    three, four = bool((labels == 3).any()), bool((labels == 4).any())
    if labels.max(initial=0) == 1:
        return Convention.BRATS_2018, "it holds only 1, read as NCR/NET; a mask of the whole tumour would be 2"
    stem = file_stem(filename).lower()
    if three and four:
        return Convention.BRATS_2023, f"3 was read as enhancing tumour and 4 as the {CAVITY} (BraTS 2024)"
    if four and stem.endswith("-seg"):
        return Convention.BRATS_2023, f"4 was read as the {CAVITY}, because the name ends in -seg (BraTS 2024)"
    if four and not stem.endswith("_seg"):
        return Convention.BRATS_2018, "4 was read as enhancing tumour (BraTS until 2021)"
    return (Convention.BRATS_2023 if three else Convention.BRATS_2018), ""


def check_name(filename: str | Path, convention: Convention) -> None:
    """Refuse a name from which `guess_convention` would read enhancing tumour as something else.

    Raises
    ------
    ShaSpecError
        For 1-2-4 in a file whose name ends in ``-seg``.
    """
    if convention is Convention.BRATS_2018 and file_stem(filename).lower().endswith("-seg"):
        raise ShaSpecError(
            f"the numbers 1, 2 and 3 in {Path(filename).name}, because such names are of BraTS 2023 and later",
            "1, 2 and 4, which would be read as a resection cavity there",
            "Choose 1-2-3 (--convention 1-2-3), or a name that ends in _seg",
        )


def from_convention(labels: NDArray[np.integer], convention: Convention) -> NDArray[np.uint8]:
    """Translate a file's numbers to `Label`.

    With 1-2-3, a 4 is the resection cavity of BraTS 2024, which belongs to none of the three regions: it becomes 0.

    Raises
    ------
    ShaSpecError
        If the file holds a number that the convention does not know.
    """
    known = {0, 1, 2, 4} if convention is Convention.BRATS_2018 else {0, 1, 2, 3, 4}
    unknown = sorted(set(np.unique(labels).tolist()) - known)
    if unknown:
        raise ShaSpecError(
            f"labels out of {sorted(known)} (convention {convention})",
            f"the values {unknown[:5]}",
            "Check that the file is a BraTS label map, not an image",
        )
    lookup = np.zeros(5, np.uint8)
    lookup[1], lookup[2], lookup[convention.enhancing] = Label.NCR_NET, Label.ED, Label.ET
    translated: NDArray[np.uint8] = lookup[labels]
    return translated


def check_labels(labels: NDArray[np.integer]) -> None:
    """Refuse a number that is no `Label`: in a file it would be read as another tissue, or not at all.

    Raises
    ------
    ShaSpecError
        Naming it.
    """
    unknown = sorted(set(np.unique(labels).tolist()) - {int(label) for label in Label})
    if unknown:
        raise ShaSpecError(
            f"labels out of {', '.join(str(int(label)) for label in Label)}",
            f"voxels of {', '.join(map(str, unknown[:5]))}",
            "Paint over them with one of these numbers",
        )


def to_convention(labels: NDArray[np.integer], convention: Convention) -> NDArray[np.uint8]:
    """Translate `Label` to a file's numbers.

    Raises
    ------
    ShaSpecError
        As `check_labels`.
    """
    check_labels(labels)
    return np.where(labels == Label.ET, convention.enhancing, labels).astype(np.uint8)


def volumes_ml(masks: NDArray[np.bool_], voxel_volume_mm3: float) -> dict[Region, float]:
    """Volume of each region in millilitres."""
    return {
        region: float(np.count_nonzero(masks[index])) * voxel_volume_mm3 / 1000.0 for index, region in enumerate(Region)
    }
