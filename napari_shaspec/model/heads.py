"""The task's output: for segmentation, the decoder half of the U-Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from napari_shaspec.model.blocks import CONVOLUTION, ConvBlock, Upsample
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.fusion import ModalityProjection, SpecificProjection

RARE_LOGIT = -3.0
"""Initial bias of the output: a prior of 5 % in every map."""


def output_layer(config: ModelConfig, channels: int) -> nn.Module:
    """Maps of so many channels -> logits of the outputs."""
    output = CONVOLUTION[config.spatial_dims](channels, len(config.outputs), kernel_size=1)
    # Tumour fills a few percent of a brain: to start from that spares the first hundred steps of finding it out.
    assert output.bias is not None
    nn.init.constant_(output.bias, RARE_LOGIT)
    return output


class UNetDecoder(nn.Module):
    """y = f_dec([f(1), ..., f(N)]): all fused maps, concatenated, climb back to full resolution."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims, widths, count = config.spatial_dims, config.widths, len(config.modalities)
        self.bottom = ConvBlock(dims, count * widths[-1], widths[-1])
        rising = range(len(widths) - 2, -1, -1)
        self.upsample = nn.ModuleList(Upsample(dims, widths[level + 1], widths[level]) for level in rising)
        self.project = nn.ModuleList(
            ModalityProjection(dims, count, widths[level], widths[level], config.substitution) for level in rising
        )
        self.project_specific = nn.ModuleList(
            SpecificProjection(dims, count, widths[level], widths[level]) for level in rising if config.specific_skips
        )
        self.blocks = nn.ModuleList(ConvBlock(dims, widths[level], widths[level]) for level in rising)
        self.output = output_layer(config, widths[0])

    def forward(
        self,
        fused: Sequence[Tensor],
        skips: Mapping[int, Sequence[Tensor]],
        specific_skips: Mapping[int, Sequence[Tensor]],
    ) -> Tensor:
        """All N fused maps, and the available modalities' skips -> logits (B, outputs, *size)."""
        logits: Tensor = self.output(self.maps(fused, skips, specific_skips)[-1])
        return logits

    def maps(
        self,
        fused: Sequence[Tensor],
        skips: Mapping[int, Sequence[Tensor]],
        specific_skips: Mapping[int, Sequence[Tensor]],
    ) -> list[Tensor]:
        """What each level makes of them, bottom first: (B, C_l, *size / 2**l)."""
        rising = [self.bottom(torch.cat(tuple(fused), 1))]
        for place, (upsample, project, block) in enumerate(zip(self.upsample, self.project, self.blocks, strict=True)):
            level = len(self.blocks) - 1 - place
            skip = project({index: maps[level] for index, maps in skips.items()})
            if self.project_specific:
                skip = skip + self.project_specific[place](
                    {index: maps[level] for index, maps in specific_skips.items()}
                )
            rising.append(block(upsample(rising[-1]) + skip))
        return rising
