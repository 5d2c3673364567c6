"""The convolution blocks of the U-Net, in two or three dimensions.

Two of torch's layers are replaced by faster ones with the same weights and the same results up to rounding; the numbers
behind both are in docs/results.md, section Speed and memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL = 20480
"""Up to so many values of B * C * X * Y torch leaves float32 convolutions of one sample to its own slow code."""


class Conv3d(nn.Conv3d):
    """Torch's, but what torch would do by its slow code on a CPU is done in two slabs, as a batch of two.

    Torch takes oneDNN for one sample only above a size that ignores the last axis, so that the coarse levels of a
    U-Net and images of one channel, which need it as much, go without. (So do the few transposed convolutions and
    projections of skips that are as small, which cost little.)
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> (B, C_out, X', Y', Z')."""
        if not self._slow(input):
            return super().forward(input)
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding
        assert isinstance(padding[0], int)
        out = (input.shape[2] + 2 * padding[0] - kernel) // stride + 1
        # Both slabs make the same number of slices; where that number is odd, the middle one is made twice.
        half = (out + 1) // 2
        reach = (half - 1) * stride + kernel
        begin = (out - half) * stride
        padded = functional.pad(input, (0, 0, 0, 0, padding[0], padding[0]))
        slabs = torch.cat([padded[:, :, :reach], padded[:, :, begin : begin + reach]])
        made = functional.conv3d(slabs, self.weight, self.bias, self.stride, (0, *padding[1:]))
        return torch.cat([made[:1], made[1:, :, 2 * half - out :]], 2)

    def _slow(self, input: Tensor) -> bool:
        plain = self.groups == 1 and set(self.dilation) == {1} and self.padding_mode == "zeros"
        # On one thread torch has another code for kernels of one voxel, in a batch as well.
        wide = self.kernel_size[0] > 1 or torch.get_num_threads() > 1
        return (
            plain
            and wide
            and input.device.type == "cpu"
            and input.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and input.shape[0] == 1
            and input.shape[1] * input.shape[2] * input.shape[3] <= SMALL
            and input.shape[2] > self.stride[0]
        )


class InstanceNorm3d(nn.InstanceNorm3d):
    """Torch's, but in training one sample is left to batch norm, which is the same then and keeps the channels last.

    Instance norm brings them to the front, and the convolutions before and after it want them last. At prediction it is
    torch's all the same: batch norm sums in another order on another number of threads, and answers are to be equal to
    the bit.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> the same shape."""
        if not self.training or input.shape[0] != 1:
            return super().forward(input)
        return functional.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)


CONVOLUTION = {2: nn.Conv2d, 3: Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: InstanceNorm3d}


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
