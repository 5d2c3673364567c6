"""The pieces of the released network: weight-standardised convolutions, bottlenecks, and pyramid pooling (ASPP).

Weights are standardised once, when they are loaded (`standardised`); the modules here hold the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.01
"""Of the leaky ReLU."""

TINY = 1e-12


def standardised(weight: Tensor) -> Tensor:
    """(out, in, *kernel) with mean 0 and unbiased variance 1 for each output channel."""
    rows = weight.detach().double().flatten(1)
    rows = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, keepdim=True) + TINY).sqrt()
    return rows.reshape(weight.shape).float()


def normalised(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance norm; of a single voxel, whose normalised value is 0, the shift alone remains."""
    if maps[0, 0].numel() == 1:
        return shift.to(maps.dtype).reshape(1, -1, 1, 1, 1).expand_as(maps).clone()
    return functional.instance_norm(maps, weight=scale, bias=shift, eps=1e-5)


def activated(maps: Tensor) -> Tensor:
    """Leaky ReLU of a map that nobody else holds."""
    return functional.leaky_relu(maps, SLOPE, inplace=True)


class Convolution(nn.Module):
    """A weight-standardised 3-D convolution without bias, padded so that a stride of 1 keeps the size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int | tuple[int, int, int] = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel, kernel))
        self.stride = stride
        self.dilation = dilation
        self.padding = dilation * (kernel // 2)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in, *size) -> (B, out, *size / stride)."""
        return functional.conv3d(maps, self.weight, None, self.stride, self.padding, self.dilation)


class ConvNorm(Convolution):
    """The same, with instance norm and, unless it is told otherwise, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int | tuple[int, int, int] = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, dilation)
        self.scale = nn.Parameter(torch.empty(out_channels))
        self.shift = nn.Parameter(torch.empty(out_channels))

    def forward(self, maps: Tensor, activate: bool = True) -> Tensor:
        """(B, in, *size) -> (B, out, *size / stride)."""
        maps = normalised(super().forward(maps), self.scale, self.shift)
        return activated(maps) if activate else maps


class Bottleneck(nn.Module):
    """1x1x1, 3x3x3 with the stride, 1x1x1 to four times the width; activation after the sum with the input."""

    def __init__(self, in_channels: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, width)
        self.middle = ConvNorm(width, width, 3, stride)
        self.last = ConvNorm(width, 4 * width)
        self.shortcut = ConvNorm(in_channels, 4 * width, 1, stride) if project else None

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in, *size) -> (B, 4 * width, *size / stride)."""
        beside = maps if self.shortcut is None else self.shortcut(maps, activate=False)
        return activated(self.last(self.middle(self.first(maps)), activate=False) + beside)


class Pyramid(nn.Module):
    """ASPP: four convolutions of growing reach and the mean of all, concatenated and brought back together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvNorm(channels, channels), *(ConvNorm(channels, channels, 3, dilation=reach) for reach in (2, 4, 8))]
        )
        self.pooled = ConvNorm(channels, channels)
        self.join = ConvNorm(5 * channels, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, *size) -> the same shape."""
        # Whatever the mean is, instance norm of one voxel forgets it: the branch gives its shift, as in that code.
        mean = activated(self.pooled.shift.to(maps.dtype).reshape(1, -1, 1, 1, 1).clone())
        joined: Tensor = self.join(torch.cat([*(branch(maps) for branch in self.branches), mean.expand_as(maps)], 1))
        return joined


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions, and activation after the sum with the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = ConvNorm(channels, channels, 3)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, *size) -> the same shape."""
        return activated(self.second(self.first(maps), activate=False) + maps)
