"""Residual fusion, and the one rule for what stands in for a missing modality.

The rule (the paper's Eq. 4, for any number of missing modalities): a missing modality's feature is the mean of the
available shared features. It holds at the bottom and, in this project, for the skip connections too. A network can be
configured for one of the two other rules that people try (`Substitution`); all of them are here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.model.blocks import CONVOLUTION, convolution
from napari_shaspec.model.config import Substitution


def shares(available: int, rule: Substitution) -> tuple[float, ...]:
    """What each of so many available features contributes to the stand-in, in channel order: every rule is linear."""
    match rule:
        case Substitution.MEAN:
            return (1 / available,) * available
        case Substitution.FIRST:
            return (1.0, *[0.0] * (available - 1))
        case Substitution.ZERO:
            return (0.0,) * available


def stand_in(available: Sequence[Tensor], rule: Substitution = Substitution.MEAN) -> Tensor:
    """What takes the place of a missing modality's feature, by default the mean of the available shared ones.

    Parameters
    ----------
    available
        Shared features in channel order, at least one.
    """
    match rule:
        case Substitution.MEAN:
            return available[0] if len(available) == 1 else torch.stack(tuple(available)).mean(0)
        case Substitution.FIRST:
            return available[0]
        case Substitution.ZERO:
            return torch.zeros_like(available[0])


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
    W'(i) = W(i) + share(i) * sum over missing n of W(n), share(i) being 1 / |A| for the mean, and the stand-in is never
    computed or stored at full resolution.
    `tests/model/test_fusion.py` holds it against plain concatenation.
    """

    def __init__(
        self,
        dims: int,
        modalities: int,
        in_channels: int,
        out_channels: int,
        rule: Substitution = Substitution.MEAN,
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.rule = rule
        self.convolution = CONVOLUTION[dims](modalities * in_channels, out_channels, kernel_size=1)

    def forward(self, available: Mapping[int, Tensor]) -> Tensor:
        """Maps (B, C_in, *size) by the modality's index, at least one -> (B, C_out, *size)."""
        weights = self.convolution.weight.chunk(self.modalities, dim=1)
        there = sorted(available)
        missing = [weights[index] for index in range(self.modalities) if index not in available]
        spread: Tensor | float = torch.stack(missing).sum(0) if missing else 0.0
        parts = shares(len(there), self.rule)
        folded = torch.cat([weights[index] + part * spread for index, part in zip(there, parts, strict=True)], 1)
        maps = torch.cat([available[index] for index in there], 1)
        apply = functional.conv3d if folded.ndim == 5 else functional.conv2d
        return apply(maps, folded, self.convolution.bias)


# The rule for what is missing has a consequence for the skips: with one modality available, its shared map stands in
# for all, the weights of all modalities add up, and the decoder applies the same sum whichever modality it is. What is
# bright on FLAIR and dark on T1 then has to look alike after a convolution or two. Specific maps, projected with
# weights of their own, tell the decoder what it looks at; docs/model.md has the numbers.
class SpecificProjection(nn.Module):
    """What the specific maps of the available modalities add to a skip: a 1 x 1 projection each, summed.

    Residual fusion for the skips, f(i) = r(i) + projection of s(i), after which the decoder's 1 x 1 convolution is
    linear: its product with the projection is one set of weights for each modality. A missing modality adds nothing.
    """

    def __init__(self, dims: int, modalities: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.convolution = CONVOLUTION[dims](modalities * in_channels, out_channels, kernel_size=1, bias=False)

    def forward(self, available: Mapping[int, Tensor]) -> Tensor:
        """Maps (B, C_in, *size) by the modality's index, at least one -> (B, C_out, *size)."""
        weights = self.convolution.weight.chunk(self.modalities, dim=1)
        chosen = torch.cat([weights[index] for index in sorted(available)], 1)
        maps = torch.cat([available[index] for index in sorted(available)], 1)
        apply = functional.conv3d if chosen.ndim == 5 else functional.conv2d
        return apply(maps, chosen)
