"""The faster layers against torch's own, and that they are the faster ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from napari_shaspec.model.blocks import Conv3d, ConvBlock, InstanceNorm3d, convolution
from napari_shaspec.model.encoder import UNetEncoder


def answers(layer: nn.Module, image: Tensor) -> list[Tensor]:
    """What a layer makes of an image, and the gradients of a random projection of it: image first, then weights."""
    image = image.clone().requires_grad_()
    made = layer(image)
    made.backward(torch.randn(made.shape, generator=torch.Generator().manual_seed(3)))
    return [made, image.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 10, 11])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_convolution_is_torchs_own(channels: int, kernel: int, stride: int, length: int, batch: int) -> None:
    torch.manual_seed(1)
    plain = nn.Conv3d(channels, 4, kernel, stride, padding=kernel // 2)
    ours = Conv3d(channels, 4, kernel, stride, padding=kernel // 2)
    ours.load_state_dict(plain.state_dict())
    image = torch.randn(batch, channels, length, 6, 9)
    for found, wanted in zip(answers(ours, image), answers(plain, image), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(
    "layer",
    [
        lambda: convolution(3, 1, 8),
        lambda: convolution(3, 8, 8, stride=2),
        lambda: ConvBlock(3, 32, 64, stride=2),
        lambda: UNetEncoder(3, 1, (8, 16, 32)),
    ],
)
@pytest.mark.parametrize("size", [(80, 32, 9), (20, 24, 20), (16, 16, 16), (81, 32, 7)])
def test_torchs_slow_convolution_is_never_taken(layer: Callable[[], nn.Module], size: tuple[int, ...]) -> None:
    """8 channels of 80 x 32 are the last that torch does slowly, and 81 x 32 the first that it does not."""
    net = layer()
    channels = next(net.parameters()).shape[1]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        made = net(torch.randn(1, channels, *size))
        (made if isinstance(made, Tensor) else made[1]).sum().backward()
    names = {event.key for event in profiled.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert not any("slow_conv" in name for name in names)
    assert "aten::instance_norm" not in names


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("shape", [(1, 6, 9, 11, 7), (1, 6, 1, 2, 1), (2, 6, 9, 11, 7)])
def test_an_instance_norm_is_torchs_own(layout: torch.memory_format, shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    plain, ours = nn.InstanceNorm3d(6, affine=True), InstanceNorm3d(6, affine=True)
    for parameter in plain.parameters():
        nn.init.uniform_(parameter)
    ours.load_state_dict(plain.state_dict())
    image = (5 + 3 * torch.randn(shape)).contiguous(memory_format=layout)
    for found, wanted in zip(answers(ours, image), answers(plain, image), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_an_instance_norm_keeps_channels_last_in_training_and_torchs_bits_at_prediction() -> None:
    image = torch.randn(1, 4, 6, 8, 10).contiguous(memory_format=torch.channels_last_3d)
    layer = InstanceNorm3d(4, affine=True)
    assert layer(image).is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(layer.eval()(image), nn.InstanceNorm3d(4, affine=True)(image), rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"dilation": 2}, {"padding_mode": "circular"}, {"groups": 3}])
def test_convolutions_of_other_kinds_are_left_to_torch(options: dict[str, Any]) -> None:
    torch.manual_seed(5)
    plain, ours = (kind(3, 6, 3, padding=1, **options) for kind in (nn.Conv3d, Conv3d))
    ours.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 8, 7, 6)
    torch.testing.assert_close(ours(image), plain(image))
