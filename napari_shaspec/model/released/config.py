"""Shape of a network of the released code, and the rules of that code that belong to its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from napari_shaspec.box import Triple
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import check_conditions, rebuilt
from napari_shaspec.regions import Region

BLOCK_STRIDE = (16, 32, 32)
"""By how much the bottom is smaller than the image, along z, x and y."""


@dataclass(frozen=True, slots=True)
class ReleasedConfig:
    """The published numbers are the defaults; smaller ones make the same network small.

    Parameters
    ----------
    stem
        Channels of the first convolution.
    widths, blocks
        Of the four layers of the backbone: channels inside a bottleneck, of which it gives four times as many, and how
        many bottlenecks.
    features
        Channels of the shared and the specific features.
    rising
        Channels of the decoder's four levels, the coarsest first.
    tile
        Voxels along z, x and y that the network is given at once.
    """

    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 320)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    features: int = 256
    rising: tuple[int, ...] = (256, 128, 64, 32)
    tile: Triple = (80, 160, 160)

    def __post_init__(self) -> None:
        problems = {
            "four layers, each with its width and number of blocks, and four levels of the decoder": all(
                len(numbers) == 4 for numbers in (self.widths, self.blocks, self.rising)
            ),
            "positive numbers of channels": all(
                _is_multiple(number, 1) for number in (self.stem, self.features, *self.widths, *self.rising)
            ),
            "1 to 100 blocks a layer": all(_is_multiple(number, 1) and number <= 100 for number in self.blocks),
            f"a tile whose sides are multiples of {BLOCK_STRIDE}": len(tuple(self.tile)) == 3
            and all(_is_multiple(side, step) for side, step in zip(self.tile, BLOCK_STRIDE, strict=True)),
        }
        conditions = ((expected, self, holds) for expected, holds in problems.items())
        check_conditions(conditions, "Correct the model's configuration")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the inputs, in channel order."""
        return tuple(modality.value for modality in Modality)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the sigmoid maps, in channel order."""
        return tuple(region.value for region in Region)

    @property
    def spatial_dims(self) -> int:
        """Always 3."""
        return 3

    @property
    def in_channels(self) -> int:
        """Of one modality's image: always 1."""
        return 1

    @property
    def stand_in(self) -> str:
        """What is taken for a missing modality, in words."""
        return "shared features of the first available modality"

    @property
    def map_widths(self) -> tuple[int, ...]:
        """Channels of every level of an encoder, full resolution first."""
        return (self.stem, *(4 * width for width in self.widths[:-1]), self.features)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReleasedConfig:
        """Rebuild from `to_dict` after a trip through JSON.

        Raises
        ------
        ShaSpecError
            For an unknown or malformed entry.
        """
        return rebuilt(
            cls, values, "a configuration of the released network", "Use a file written by napari-shaspec convert"
        )


def _is_multiple(value: object, step: int) -> bool:
    return isinstance(value, int) and value > 0 and value % step == 0
