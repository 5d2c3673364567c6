"""What the subsets of a case's images answered, as values; `evaluation.sweep` makes them. Without torch, for views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region

ByRegion = Mapping[Region, float]


class Compared(StrEnum):
    """With what an answer is compared; the value is part of the names of columns in files."""

    ALL = "all"
    REFERENCE = "reference"

    @property
    def title(self) -> str:  # type: ignore[override]
        """In words."""
        return {"all": "the answer from all images", "reference": "the reference"}[self.value]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one subset of the images gave.

    Parameters
    ----------
    available
        The modalities that the network was given.
    volumes_ml
        Of each region.
    dice
        Of each region, 0 to 1, by what it is compared with; both empty counts 1.
    """

    available: frozenset[Modality]
    volumes_ml: ByRegion
    dice: Mapping[Compared, ByRegion]


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What the answers are of.

    Parameters
    ----------
    case
        Its name.
    weights
        Hash of the network's file.
    thresholds, smooth
        What made masks of probabilities.
    """

    case: str
    weights: str
    thresholds: ByRegion
    smooth: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """The answers so far.

    Parameters
    ----------
    origin
        What made them.
    answers
        That from all images first, then in the order of the published tables.
    total
        How many there will be.
    volumes_ml
        Of each region in what the answers are compared with.
    marked
        (R, X, Y, Z) in the order of `Region`: how many answers mark each voxel; None before the last one.
    contributions
        What each image adds to Dice (Shapley values); nothing before the last answer, and nothing of a region that is
        empty in what the answers are compared with: to find nothing needs no image.
    """

    origin: Origin
    answers: tuple[Answer, ...]
    total: int
    volumes_ml: Mapping[Compared, ByRegion]
    marked: NDArray[np.uint8] | None = None
    contributions: Mapping[Compared, Mapping[Region, Mapping[Modality, float]]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether every subset has answered."""
        return len(self.answers) == self.total

    @property
    def best_compared(self) -> Compared:
        """With the reference, where there is one."""
        return Compared.REFERENCE if Compared.REFERENCE in self.volumes_ml else Compared.ALL

    def consensus(self, region: Region) -> NDArray[np.float32]:
        """The share of the answers, 0 to 1, that mark each voxel (X, Y, Z); of a finished sweep."""
        assert self.marked is not None, "the last answer brings it"
        share: NDArray[np.float32] = self.marked[list(Region).index(region)] / np.float32(self.total)
        return share


def contributions_path(answers: Path) -> Path:
    """Where the second table of a sweep stands: subsets.csv -> subsets_adds.csv."""
    return answers.with_name(f"{answers.stem}_adds{answers.suffix}")
