"""How far to trust a region, from what the weights reached on cases whose truth is known.

The table belongs to the weights and travels in their file (`model.checkpoint`): the mean Dice of each region for every
subset of modalities, measured by ``napari-shaspec evaluate --attach``. Weights without one are not measured, and
nothing is guessed for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality, parse_subset, subset_name
from napari_shaspec.regions import Region

RELIABLE_DICE = 0.75
"""Experts who outline the same glioma agree at 0.74 to 0.85 (Menze et al., BRATS, IEEE TMI 2015)."""

FAIR_DICE = 0.5
"""Below it more of prediction and truth lies apart than together, and a volume says nothing."""


class Verdict(StrEnum):
    """What a mean Dice amounts to."""

    RELIABLE = "reliable"
    FAIR = "fair"
    UNRELIABLE = "unreliable"
    NOT_MEASURED = "not measured"


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
    more_than_brain
        Modalities of this case that were not skull-stripped; no table says anything of those.
    """

    region: Region
    available: frozenset[Modality]
    dice: float | None
    source: str = ""
    more_than_brain: frozenset[Modality] = frozenset()

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
        if self.more_than_brain:
            named = ", ".join(modality.title for modality in Modality if modality in self.more_than_brain)
            return f"{named} of this case: more than a brain. What weights reach is measured on skull-stripped images."
        if self.dice is None:
            return "These weights bring no table of what they reach with this subset."
        return f"Mean Dice {self.dice:.2f} of {self.source}, thresholds at 0.5. It says nothing of this case."


@dataclass(frozen=True, slots=True)
class Reliability:
    """Mean Dice by subset and region.

    Parameters
    ----------
    dice
        0 to 1; subsets that were not measured are absent.
    source
        Which cases, as in "20 simulated cases".
    """

    dice: Mapping[frozenset[Modality], Mapping[Region, float]]
    source: str

    def __post_init__(self) -> None:
        frozen = {available: MappingProxyType(dict(row)) for available, row in self.dice.items()}
        object.__setattr__(self, "dice", MappingProxyType(frozen))

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: ``{"source": ..., "dice": {"flair+t1c": {"ET": 0.57, ...}, ...}}``."""
        rows = {
            subset_name(available): {region.value: dice for region, dice in row.items()}
            for available, row in self.dice.items()
        }
        return {"source": self.source, "dice": rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reliability:
        """The inverse of `to_dict`.

        Raises
        ------
        ShaSpecError
            If it is another form, names another region or modality, or a Dice is not from 0 to 1.
        """
        try:
            rows = {
                parse_subset(name): {Region(region): float(dice) for region, dice in row.items()}
                for name, row in values["dice"].items()
            }
            source = str(values["source"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}") from error
        for row in rows.values():
            for dice in row.values():
                if not 0 <= dice <= 1:
                    raise _unreadable(f"a Dice of {dice}")
        return cls(rows, source)


def confidence(
    reliability: Reliability | None,
    available: Collection[Modality],
    more_than_brain: frozenset[Modality] = frozenset(),
) -> dict[Region, Confidence]:
    """What to say of each region of a result from this subset.

    Parameters
    ----------
    more_than_brain
        The modalities whose images were not skull-stripped, as of `Case`; those that are not used do not count.
    """
    chosen = frozenset(available)
    unlike = chosen & more_than_brain
    row: Mapping[Region, float] = {} if reliability is None or unlike else reliability.dice.get(chosen, {})
    source = "" if reliability is None else reliability.source
    return {region: Confidence(region, chosen, row.get(region), source, unlike) for region in Region}


def _given(available: Collection[Modality]) -> str:
    there = [modality.title for modality in Modality if modality in available]
    missing = [modality.title for modality in Modality if modality not in available]
    if not missing:
        return "from all four"
    return f"from {there[0]} alone" if len(there) == 1 else f"without {', '.join(missing)}"


def _unreadable(found: str) -> ShaSpecError:
    return ShaSpecError("a table of mean Dice by subset and region", found, "Get the file again, or attach a new table")
