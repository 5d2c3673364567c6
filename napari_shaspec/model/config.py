"""What rebuilds a network; saved inside every checkpoint."""

from __future__ import annotations

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
            "one or more modalities, each named once": 0 < len(self.modalities) == len(set(self.modalities)),
            "one or more outputs, each named once": 0 < len(self.outputs) == len(set(self.outputs)),
            "two or more levels of positive width": len(self.widths) > 1 and min(self.widths) > 0,
            "one or more input channels": self.in_channels > 0,
            "finest voxel size <= coarsest, both positive": 0 < self.voxel_mm[0] <= self.voxel_mm[1],
        }
        for expected, holds in problems.items():
            if not holds:
                raise ShaSpecError(expected, repr(self), "Correct the model's configuration")

    @property
    def stride(self) -> int:
        """Sides of an input must be multiples of this."""
        return int(2 ** (len(self.widths) - 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Rebuild from `to_dict` after a trip through JSON.

        Raises
        ------
        ShaSpecError
            For an unknown or malformed entry.
        """
        try:
            return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
        except TypeError as error:
            raise ShaSpecError(
                "a ShaSpec model configuration", str(error), "Use a checkpoint written by napari-shaspec"
            ) from error
