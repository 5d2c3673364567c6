"""All subsets of a case's modalities with one session, and the scores of each against the label map.

The session encodes each modality once; after the first prediction a further subset costs only its decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.metrics import dice, hd95_mm
from napari_shaspec.inference.canvas import TileResult
from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.inference.session import Session
from napari_shaspec.inference.smoothing import LEAST_ENHANCING_ML, smoothed
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.volume import Case


class Variant(StrEnum):
    """What was done to the masks before they were scored.

    Sizes that others give in voxels are taken in ml (1,000 voxels of 1 mm), so that they mean the same at any spacing.
    """

    RAW = "raw"
    SMOOTHED = "smoothed"
    """ShaSpec*: see `inference.smoothing`."""
    ET_POSTPRO = "et_postpro"
    """ET alone, and none where there is less than 0.5 ml of it in all."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one region of one case was found from one subset of modalities.

    Parameters
    ----------
    case
        The case's name.
    available
        The modalities that the network was given.
    dice
        From 0 to 1.
    hd95_mm
        373.13 where only one of prediction and truth has the region.
    variant
        What was done to the masks.
    weights
        The network, where there are several.
    """

    case: str
    available: frozenset[Modality]
    region: Region
    dice: float
    hd95_mm: float
    variant: Variant = Variant.RAW
    weights: str = ""


def scan_subsets(
    session: Session,
    subsets: Iterable[frozenset[Modality]] | None = None,
    progress: Callable[[TileResult], object] | None = None,
) -> Iterator[tuple[frozenset[Modality], Prediction]]:
    """Predict from one subset after the other, by default from every non-empty one that the case allows.

    The order is that of the published tables: single modalities first, the full set last.

    Parameters
    ----------
    progress
        Called with each result of each prediction; an exception of its own ends the scan.
    """
    if subsets is None:
        subsets = nonempty_subsets([modality for modality in Modality if modality in session.case.available])
    for available in subsets:
        yield available, session.predict(available, progress)


def evaluate_case(
    session: Session,
    case: Case,
    progress: Callable[[int, int], object] | None = None,
    *,
    variants: Iterable[Variant] = (Variant.RAW,),
    weights: str = "",
) -> list[Score]:
    """Score every subset that the case allows: up to 15 subsets, three regions each.

    Parameters
    ----------
    session
        Of this case.
    case
        With a label map.
    progress
        Called with the number of subsets done and the number of all.
    variants
        What to score; in the order of `Variant`.
    weights
        Name of the network, for the scores.

    Raises
    ------
    ShaSpecError
        If the case has no label map.
    """
    if case.truth is None:
        raise ShaSpecError(
            f"a label map with {case.name}", "images only", "Add one named like case_seg.nii.gz to the case"
        )
    truths = labels_to_masks(case.truth.data.astype(np.uint8, copy=False))
    total = 2 ** len(case.available) - 1
    wanted = frozenset(variants)
    scores: list[Score] = []
    for done, (available, prediction) in enumerate(scan_subsets(session), 1):
        raw = prediction.masks()
        for variant in (each for each in Variant if each in wanted):
            masks = _processed(raw, variant, case.grid.voxel_volume_mm3)
            for region, mask, truth in zip(Region, masks, truths, strict=False):
                distance_mm = hd95_mm(mask, truth, case.grid.voxel_mm)
                scores.append(Score(case.name, available, region, dice(mask, truth), distance_mm, variant, weights))
        if progress is not None:
            progress(done, total)
    return scores


def _processed(raw: NDArray[np.bool_], variant: Variant, voxel_mm3: float) -> NDArray[np.bool_]:
    """Masks of the regions that the variant knows, in the order of `Region`."""
    if variant is Variant.SMOOTHED:
        return smoothed(raw, voxel_mm3)
    if variant is Variant.ET_POSTPRO:
        enough = np.count_nonzero(raw[0]) * voxel_mm3 / 1000 >= LEAST_ENHANCING_ML
        return raw[:1] & enough
    return raw
