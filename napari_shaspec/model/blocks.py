"""The convolution blocks of the U-Net, in two or three dimensions."""

from __future__ import annotations

from torch import Tensor, nn

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def convolution(dims: int, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A convolution that keeps the size (divided by ``stride``)."""
    return CONVOLUTION[dims](in_channels, out_channels, kernel, stride, padding=kernel // 2)


class ConvBlock(nn.Sequential):
    """Convolution 3, instance norm, leaky ReLU; twice or as often as told, the first with a stride."""

    def __init__(self, dims: int, in_channels: int, out_channels: int, stride: int = 1, convolutions: int = 2) -> None:
        layers: list[nn.Module] = []
        for inputs, step in ((in_channels, stride), *[(out_channels, 1)] * (convolutions - 1)):
            layers += [
                convolution(dims, inputs, out_channels, stride=step),
                INSTANCE_NORM[dims](out_channels, affine=True),
                nn.LeakyReLU(0.01, inplace=True),
            ]
        super().__init__(*layers)


class Upsample(nn.Module):
    """Double the resolution with a transposed convolution."""

    def __init__(self, dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = TRANSPOSED[dims](in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, coarse: Tensor) -> Tensor:
        """(B, in, *size) -> (B, out, *2 size)."""
        upsampled: Tensor = self.convolution(coarse)
        return upsampled
