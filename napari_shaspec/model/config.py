"""What rebuilds a network; saved inside every checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region

WIDEST = 2**14
"""Channels of a level at most; no U-Net has as many, and a file that asks for more is damaged."""

Choice = TypeVar("Choice", bound=StrEnum)
Config = TypeVar("Config")


class Substitution(StrEnum):
    """What stands in for a missing modality's feature, in `fusion.stand_in`.

    The mean of the available shared features is the paper's Eq. 4; the first available one, in channel order, is what
    the authors' released code takes; zero is the plain alternative.
    """

    MEAN = "mean"
    FIRST = "first"
    ZERO = "zero"


class Normalisation(StrEnum):
    """How intensities are scaled before the network sees them, in training and in prediction alike.

    ``robust`` uses median and percentiles, ``zscore`` clips the tail and uses mean and standard deviation.
    """

    ROBUST = "robust"
    ZSCORE = "zscore"


_IN_WORDS = {
    Substitution.MEAN: "mean of the shared features of the available modalities",
    Substitution.FIRST: "shared features of the first available modality",
    Substitution.ZERO: "zero",
}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a ShaSpec segmentation network.

    Parameters
    ----------
    modalities
        Names of the inputs, in channel order. MRI's `Modality` is one instance of many.
    outputs
        Names of the sigmoid maps, in channel order.
    spatial_dims
        2 or 3.
    widths
        Channels of each level of the U-Net, full resolution first; each further level halves the resolution.
    in_channels
        Channels of one modality's image.
    stem_convolutions
        Convolutions of each encoder at full resolution, where they cost most; every further level has two.
    specific_skips
        Whether available modalities bring their specific maps to the skip connections too, as they do at the bottom.
    voxel_mm
        Finest and coarsest voxel size that the network was trained on, and works at.
    substitution
        What stands in for a missing modality.
    normalisation
        How the intensities of its inputs are scaled.
    sure
        What a piece of tumour must reach somewhere to be one, from above 0.5 to below 1: such a piece is kept below one
        half otherwise. None: every probability counts as it is.
    sure_each
        The same for the pieces of each output by itself, in the order of outputs; 0 asks nothing of them, and an empty
        tuple of none.
    """

    modalities: tuple[str, ...] = tuple(modality.value for modality in Modality)
    outputs: tuple[str, ...] = tuple(region.value for region in Region)
    spatial_dims: int = 3
    widths: tuple[int, ...] = (8, 16, 32, 64)
    in_channels: int = 1
    voxel_mm: tuple[float, float] = (2.0, 3.0)
    stem_convolutions: int = 2
    specific_skips: bool = False
    substitution: Substitution = Substitution.MEAN
    normalisation: Normalisation = Normalisation.ROBUST
    sure: float | None = None
    sure_each: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # Out of a file both come as plain text.
        object.__setattr__(self, "substitution", _member(Substitution, self.substitution))
        object.__setattr__(self, "normalisation", _member(Normalisation, self.normalisation))
        each = self.sure_each
        sure_of_each = len(each) in (0, len(self.outputs)) and all(sure == 0 or 0.5 < sure < 1 for sure in each)
        widths = len(self.widths) > 1 and all(_is_count(width) and width <= WIDEST for width in self.widths)
        stem = _is_count(self.stem_convolutions)
        sure = self.sure is None or 0.5 < self.sure < 1
        conditions = (
            ("two or three spatial dimensions", self.spatial_dims, self.spatial_dims in (2, 3)),
            ("one or more modalities, each named once, without a dot", self.modalities, _are_names(self.modalities)),
            ("one or more outputs, each named once, without a dot", self.outputs, _are_names(self.outputs)),
            (f"two or more levels of 1 to {WIDEST} channels", self.widths, widths),
            ("one or more input channels", self.in_channels, _is_count(self.in_channels)),
            ("one or more convolutions at full resolution", self.stem_convolutions, stem),
            ("a positive finest voxel size and a coarsest, not below it", self.voxel_mm, _is_range(self.voxel_mm)),
            ("a probability between one half and 1 to be sure from, or none", self.sure, sure),
            ("such a probability, or 0, for each output, or for none", each, sure_of_each),
        )
        check_conditions(conditions, "Correct the model's configuration")

    @property
    def stride(self) -> int:
        """Sides of an input must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))

    @property
    def map_widths(self) -> tuple[int, ...]:
        """Channels of every level of an encoder, full resolution first."""
        return self.widths

    @property
    def stand_in(self) -> str:
        """What is taken for a missing modality, in words."""
        return _IN_WORDS[self.substitution]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Rebuild from `to_dict` after a trip through JSON.

        Raises
        ------
        ShaSpecError
            For an unknown or malformed entry.
        """
        return rebuilt(cls, values, "a ShaSpec model configuration", "Use a checkpoint written by napari-shaspec")


def check_conditions(conditions: Iterable[tuple[str, object, bool]], advice: str) -> None:
    """Raise for the first of (what is expected, what is there, whether it holds) that does not hold.

    Raises
    ------
    ShaSpecError
        With these words.
    """
    for expected, found, holds in conditions:
        if not holds:
            listed = ", ".join(map(str, found)) if isinstance(found, tuple) else str(found)
            raise ShaSpecError(expected, listed or "none", advice)


def rebuilt(kind: Callable[..., Config], values: Mapping[str, Any], expected: str, advice: str) -> Config:
    """A configuration from its entries after a trip through JSON, which knows lists and no tuples.

    Raises
    ------
    ShaSpecError
        For an unknown or malformed entry, with these words.
    """
    entries = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return kind(**entries)
    except TypeError as error:
        raise ShaSpecError(expected, str(error), advice) from error


def _member(kind: type[Choice], value: str) -> Choice:
    try:
        return kind(value)
    except ValueError as error:
        raise ShaSpecError(
            f"a {kind.__name__.lower()} out of {', '.join(kind)}", repr(value), "Correct the model's configuration"
        ) from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _are_names(values: tuple[str, ...]) -> bool:
    """Whether torch can name submodules after them, which a dot would take apart."""
    return all(value and "." not in value for value in values) and 0 < len(values) == len(set(values))


def _is_range(bounds: tuple[float, ...]) -> bool:
    return len(bounds) == 2 and 0 < bounds[0] <= bounds[1]
