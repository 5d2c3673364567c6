"""The encoder half of the U-Net: one image in, one feature map a level out."""

from __future__ import annotations

from torch import Tensor, nn

from napari_shaspec.model.blocks import ConvBlock


class UNetEncoder(nn.Module):
    """The shared encoder and every specific encoder are instances of this class.

    Parameters
    ----------
    dims
        2 or 3 spatial dimensions.
    in_channels
        Channels of the image.
    widths
        Channels of each level; the last is the bottom.
    stem_convolutions
        Convolutions at full resolution; every further level has two.
    """

    def __init__(self, dims: int, in_channels: int, widths: tuple[int, ...], stem_convolutions: int = 2) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.levels = nn.ModuleList(
            ConvBlock(dims, before, width, 2, 2) if level else ConvBlock(dims, before, width, 1, stem_convolutions)
            for level, (before, width) in enumerate(zip(inputs, widths, strict=True))
        )

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(B, C, *size) -> skips of every level but the last, full resolution first, and the bottom map."""
        maps: list[Tensor] = []
        for level in self.levels:
            maps.append(level(maps[-1] if maps else image))
        return tuple(maps[:-1]), maps[-1]
