"""Residual fusion, and the one rule for what stands in for a missing modality.

The rule (the paper's Eq. 4, for any number of missing modalities): a missing modality's feature is the mean of the
available shared features. It holds at the bottom and, in this project, for the skip connections too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.model.blocks import CONVOLUTION, convolution


def stand_in(available: Sequence[Tensor]) -> Tensor:
    """The mean of the available shared features, in place of a missing modality's."""
    return available[0] if len(available) == 1 else torch.stack(tuple(available)).mean(0)


class ResidualFusion(nn.Module):
    """f(i) = r(i) + f_proj([r(i); s(i)]); one f_proj, the same for every modality.

    Parameters
    ----------
    kernel
        1 for features without a neighbourhood.
    """

    def __init__(self, dims: int, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.projection = convolution(dims, 2 * channels, channels, kernel)

    def forward(self, shared: Tensor, specific: Tensor) -> Tensor:
        """Two maps (B, C, *size) -> the fused map of the same shape."""
        fused: Tensor = shared + self.projection(torch.cat([shared, specific], 1))
        return fused


class ModalityProjection(nn.Module):
    """A 1 x 1 convolution over the concatenated maps of all modalities, missing ones being the stand-in.

    Concatenation followed by a 1 x 1 convolution is a sum of one projection W(i) for each modality, and the stand-in
    is linear too. So the missing modalities' weights fold into those of the available ones,
    W'(i) = W(i) + sum over missing n of W(n) / |A|, and the stand-in is never computed or stored at full resolution.
    `tests/model/test_fusion.py` holds it against plain concatenation.
    """

    def __init__(self, dims: int, modalities: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.convolution = CONVOLUTION[dims](modalities * in_channels, out_channels, kernel_size=1)

    def forward(self, available: Mapping[int, Tensor]) -> Tensor:
        """Maps (B, C_in, *size) by the modality's index, at least one -> (B, C_out, *size)."""
        weights = self.convolution.weight.chunk(self.modalities, dim=1)
        missing = [weights[index] for index in range(self.modalities) if index not in available]
        shares = sum(missing) / len(available) if missing else 0.0
        folded = torch.cat([weights[index] + shares for index in sorted(available)], 1)
        maps = torch.cat([available[index] for index in sorted(available)], 1)
        apply = functional.conv3d if folded.ndim == 5 else functional.conv2d
        return apply(maps, folded, self.convolution.bias)
