"""How far to trust a region, from what the weights reached on cases whose truth is known.

The table belongs to the weights and travels in their file (`model.checkpoint`): the mean Dice of each region for every
subset of modalities, measured by ``napari-shaspec evaluate --attach``. Weights without one are not measured, and
nothing is guessed for them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality, parse_subset, subset_name
from napari_shaspec.regions import Region

if TYPE_CHECKING:  # help and verdicts do not wait for nibabel
    from napari_shaspec.volume import Extent

RELIABLE_DICE = 0.75
"""Experts who outline the same glioma agree at 0.74 to 0.85 (Menze et al., BRATS, IEEE TMI 2015)."""

FAIR_DICE = 0.5
"""Below it more of prediction and truth lies apart than together, and a volume says nothing."""

LARGEST_BRAIN_ML = 2300.0
"""A brain with its fluid fills up to about 2 litres, a head in the scanner more than 3."""

SMALLEST_BRAIN_ML = 700.0
"""Brains of adults are larger, however narrow their mask; what fills less is a slab, a slice or a child's."""

THICKEST_MM = 6.5
"""Of the slices of simulated cases, on which the bundled weights are measured (`simulate.settings`)."""


class Verdict(StrEnum):
    """What a mean Dice amounts to."""

    RELIABLE = "reliable"
    FAIR = "fair"
    UNRELIABLE = "unreliable"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Limits:
    """Which images of one modality a table speaks of; by default whole, skull-stripped brains.

    Parameters
    ----------
    smallest_ml, largest_ml
        Of what differs from the background.
    thickest_mm
        Of the voxels.

    Raises
    ------
    ShaSpecError
        If there is no image between them.
    """

    smallest_ml: float = SMALLEST_BRAIN_ML
    largest_ml: float = LARGEST_BRAIN_ML
    thickest_mm: float = THICKEST_MM

    def __post_init__(self) -> None:
        if not (0 <= self.smallest_ml <= self.largest_ml < math.inf and 0 < self.thickest_mm < math.inf):
            raise _unreadable(f"limits of {self.described}")

    @classmethod
    def around(cls, extents: Sequence[Extent]) -> Limits:
        """Around what most of these images are: whole brains (the default), or what holds more or less than one.

        Few odd images do not count: where most are whole brains, those beyond change nothing (simulated heads reach 2.8
        litres, and a real one of that size has its skull), and where most are none, the outermost tenth does not. Whole
        brains then lie outside, unless more than a tenth of the images are such.
        """
        if not extents:
            return cls()
        few = len(extents) // 10
        filled = sorted(each.filled_ml for each in extents)
        voxels = sorted(round(each.voxel_mm, 2) for each in extents)
        most, least = filled[-1 - few], filled[few]
        thickest = voxels[-1 - few] if median(voxels) > THICKEST_MM else THICKEST_MM
        if median(filled) > LARGEST_BRAIN_ML:
            return cls(min(least, LARGEST_BRAIN_ML), most, thickest)
        if median(filled) < SMALLEST_BRAIN_ML:
            return cls(least, max(most, SMALLEST_BRAIN_ML), thickest)
        return cls(thickest_mm=thickest)

    @property
    def described(self) -> str:
        """``0.7 to 2.3 litres, voxels to 6.5 mm``."""
        litres = f"{self.smallest_ml / 1000:.3g} to {self.largest_ml / 1000:.3g} litres"
        return f"{litres}, voxels to {self.thickest_mm:.3g} mm"

    def beyond(self, extent: Extent) -> str:
        """In what an image lies outside, in words; empty if in nothing."""
        more = "more than a brain" if self.largest_ml == LARGEST_BRAIN_ML else "more than was measured"
        less = "less than a brain" if self.smallest_ml == SMALLEST_BRAIN_ML else "less than was measured"
        differences = {
            more: extent.filled_ml > self.largest_ml,
            less: extent.filled_ml < self.smallest_ml,
            f"voxels of {extent.voxel_mm:.3g} mm": round(extent.voxel_mm, 2) > self.thickest_mm,
        }
        return ", ".join(difference for difference, holds in differences.items() if holds)


@dataclass(frozen=True, slots=True)
class Confidence:
    """In one region of one result.

    Parameters
    ----------
    region
        Of the tumour.
    available
        What the network was given.
    dice
        Mean over the measured cases, 0 to 1; None where nothing was measured.
    source
        Over which cases.
    unlike
        In what images of this case are unlike most that were measured, by modality; there is no Dice then.
    """

    region: Region
    available: frozenset[Modality]
    dice: float | None
    source: str = ""
    unlike: Mapping[Modality, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Reliable from 0.75 on, fair from 0.5 on."""
        if self.dice is None:
            return Verdict.NOT_MEASURED
        if self.dice >= RELIABLE_DICE:
            return Verdict.RELIABLE
        return Verdict.FAIR if self.dice >= FAIR_DICE else Verdict.UNRELIABLE

    @property
    def line(self) -> str:
        """``ET without T1c: unreliable``."""
        return f"{self.region.value} {_given(self.available)}: {self.verdict.value}"

    @property
    def evidence(self) -> str:
        """Where the verdict comes from."""
        if self.unlike:
            told = "; ".join(f"{modality.title}: {why}" for modality, why in self.unlike.items())
            reached = "are not like that, and what is reached there is no measure"
            return f"In this case {told}. Most of {self.source} {reached}."
        if self.dice is None:
            return "These weights bring no table of what they reach with this subset."
        return f"Mean Dice {self.dice:.2f} of {self.source}, thresholds at 0.5. It says nothing of this case."

    @property
    def explained(self) -> str:
        """The line, and where it comes from."""
        return f"{self.line}. {self.evidence}"


@dataclass(frozen=True, slots=True)
class Reliability:
    """Mean Dice by subset and region.

    Parameters
    ----------
    dice
        0 to 1; subsets that were not measured are absent.
    source
        Which cases, as in "20 simulated cases".
    limits
        Which images that holds for; for all four modalities, those that are not given get the limits of whole brains.
    fewer
        How many of those cases have a subset, where not all of them do.
    """

    dice: Mapping[frozenset[Modality], Mapping[Region, float]]
    source: str
    limits: Mapping[Modality, Limits] = field(default_factory=dict)
    fewer: Mapping[frozenset[Modality], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frozen = {available: MappingProxyType(dict(row)) for available, row in self.dice.items()}
        object.__setattr__(self, "dice", MappingProxyType(frozen))
        limits = {modality: self.limits.get(modality, Limits()) for modality in Modality}
        object.__setattr__(self, "limits", MappingProxyType(limits))
        object.__setattr__(self, "fewer", MappingProxyType(dict(self.fewer)))

    def source_of(self, available: frozenset[Modality]) -> str:
        """Over which cases the mean of a subset is: ``3 of 20 simulated cases`` where not all of them have it."""
        return f"{self.fewer[available]} of {self.source}" if available in self.fewer else self.source

    def to_dict(self) -> dict[str, Any]:
        """JSON: ``{"source": ..., "limits": {"flair": {...}, ...}, "dice": {"flair+t1": {...}, ...}}``."""
        rows = {
            subset_name(available): {region.value: dice for region, dice in row.items()}
            for available, row in self.dice.items()
        }
        limits = {modality.value: asdict(each) for modality, each in self.limits.items()}
        fewer = {subset_name(available): count for available, count in self.fewer.items()}
        return {"source": self.source, "limits": limits, "dice": rows, **({"fewer": fewer} if fewer else {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reliability:
        """The inverse of `to_dict`.

        Raises
        ------
        ShaSpecError
            If it is another form, names another region or modality, or a number cannot be.
        """
        try:
            rows = {
                parse_subset(name): {Region(region): float(dice) for region, dice in row.items()}
                for name, row in values["dice"].items()
            }
            source = str(values["source"])
            written = values.get("limits", {})
            if "smallest_ml" in written:  # as an earlier version wrote it
                written = dict.fromkeys(Modality, written)
            limits = {
                Modality(modality): Limits(**{name: float(value) for name, value in each.items()})
                for modality, each in written.items()
            }
            fewer = {parse_subset(name): int(count) for name, count in values.get("fewer", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}") from error
        for row in rows.values():
            for dice in row.values():
                if not 0 <= dice <= 1:
                    raise _unreadable(f"a Dice of {dice}")
        return cls(rows, source, limits, fewer)


def confidence(
    reliability: Reliability | None,
    available: Collection[Modality],
    extents: Mapping[Modality, Extent] = MappingProxyType({}),
) -> dict[Region, Confidence]:
    """What to say of each region of a result from this subset.

    Parameters
    ----------
    extents
        Of the case's images, as of `Case`; those that are not used do not count.
    """
    chosen = frozenset(available)
    if reliability is None:
        return {region: Confidence(region, chosen, None) for region in Region}
    beyond = {
        modality: reliability.limits[modality].beyond(extent)
        for modality, extent in extents.items()
        if modality in chosen
    }
    unlike = {modality: why for modality, why in beyond.items() if why}
    row: Mapping[Region, float] = {} if unlike else reliability.dice.get(chosen, {})
    source = reliability.source if unlike else reliability.source_of(chosen)
    return {region: Confidence(region, chosen, row.get(region), source, unlike) for region in Region}


def _given(available: Collection[Modality]) -> str:
    there = [modality.title for modality in Modality if modality in available]
    missing = [modality.title for modality in Modality if modality not in available]
    if not missing:
        return "from all four"
    return f"from {there[0]} alone" if len(there) == 1 else f"without {', '.join(missing)}"


def _unreadable(found: str) -> ShaSpecError:
    return ShaSpecError("a table of mean Dice by subset and region", found, "Get the file again, or attach a new table")
