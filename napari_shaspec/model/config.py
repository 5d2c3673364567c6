"""What rebuilds a network; saved inside every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region


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
    voxel_mm
        Finest and coarsest voxel size that the network was trained on, and works at.
    """

    modalities: tuple[str, ...] = tuple(modality.value for modality in Modality)
    outputs: tuple[str, ...] = tuple(region.value for region in Region)
    spatial_dims: int = 3
    widths: tuple[int, ...] = (8, 16, 32, 64)
    in_channels: int = 1
    voxel_mm: tuple[float, float] = (2.0, 3.0)

    def __post_init__(self) -> None:
        problems = {
            "two or three spatial dimensions": self.spatial_dims in (2, 3),
            "one or more modalities, each named once, without a dot": _are_names(self.modalities),
            "one or more outputs, each named once, without a dot": _are_names(self.outputs),
            "two or more levels of positive width": len(self.widths) > 1 and all(map(_is_count, self.widths)),
            "one or more input channels": _is_count(self.in_channels),
            "a positive finest voxel size and a coarsest, not below it": _is_range(self.voxel_mm),
        }
        for expected, holds in problems.items():
            if not holds:
                raise ShaSpecError(expected, repr(self), "Correct the model's configuration")

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
        return "mean of the shared features of the available modalities"

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
        entries: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        try:
            return cls(**entries)
        except TypeError as error:
            raise ShaSpecError(
                "a ShaSpec model configuration", str(error), "Use a checkpoint written by napari-shaspec"
            ) from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _are_names(values: tuple[str, ...]) -> bool:
    """Whether torch can name submodules after them, which a dot would take apart."""
    return all(value and "." not in value for value in values) and 0 < len(values) == len(set(values))


def _is_range(bounds: tuple[float, ...]) -> bool:
    return len(bounds) == 2 and 0 < bounds[0] <= bounds[1]
