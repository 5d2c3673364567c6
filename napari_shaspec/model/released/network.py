"""The released network on our two verbs: `encode` one modality once, `decode` any subset.

Its skips are projected when a modality is encoded: a 1x1x1 convolution over the concatenated skips of four modalities
is a sum of four projections, each of which needs one modality only. They have two fifths of the raw skips' values, so
they are what is kept. Shapes are (B, C, z, x, y).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.released.blocks import (
    Bottleneck,
    ConvNorm,
    Convolution,
    Pyramid,
    ResidualBlock,
    activated,
    normalised,
)
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.shaspec import Encoding

BlankKey = tuple[tuple[int, ...], torch.dtype, torch.device]


class ResidualEncoder(nn.Module):
    """The shared encoder and every specific one: a bottleneck ResNet in 3-D and ASPP."""

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        self.stem = ConvNorm(1, config.stem, 7, (1, 2, 2))
        self.layers = nn.ModuleList()
        channels = config.stem
        for number, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            stride = 1 if number == 0 else 2
            self.layers.append(
                nn.Sequential(
                    Bottleneck(channels, width, stride, project=True),
                    *(Bottleneck(4 * width, width, 1, project=False) for _ in range(count - 1)),
                )
            )
            channels = 4 * width
        self.reduce = ConvNorm(channels, config.features)
        self.pyramid = Pyramid(config.features)

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(B, 1, z, x, y) -> four skips, the finest first, and the features (B, C, z / 16, x / 32, y / 32)."""
        maps = [self.stem(image)]
        deep = functional.max_pool3d(maps[0], 3, 2, 1)
        for layer in self.layers:
            deep = layer(deep)
            maps.append(deep)
        return tuple(maps[:-1]), self.pyramid(self.reduce(deep))


class SkipProjection(nn.Module):
    """One level's 1x1x1 convolution over the skips of all modalities, taken apart into one for each."""

    def __init__(self, modalities: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.weight = nn.Parameter(torch.empty(out_channels, modalities * in_channels, 1, 1, 1))
        self.scale = nn.Parameter(torch.empty(out_channels))
        self.shift = nn.Parameter(torch.empty(out_channels))

    def project(self, skip: Tensor, index: int) -> Tensor:
        """The modality's part of the sum, (B, in, *size) -> (B, out, *size)."""
        return functional.conv3d(skip, self.weight.chunk(self.modalities, 1)[index])

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Parts of all modalities, in channel order, some perhaps a single voxel that stands for all of a map."""
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return activated(normalised(total, self.scale, self.shift))


class ResidualDecoder(nn.Module):
    """From the fused features of all modalities and the projected skips back to the image's resolution."""

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        count = len(config.modalities)
        inputs = (count * config.features, *config.rising[:-1])
        self.upsample = nn.ModuleList(
            nn.ConvTranspose3d(before, after, 2, 2, bias=False)
            for before, after in zip(inputs, config.rising, strict=True)
        )
        self.skips = nn.ModuleList(
            SkipProjection(count, channels, after)
            for channels, after in zip(config.map_widths[-2::-1], config.rising, strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlock(channels) for channels in config.rising)
        self.output = nn.Conv3d(config.rising[-1], len(config.outputs), 1)

    def project(self, skips: Sequence[Tensor], index: int) -> tuple[Tensor, ...]:
        """A modality's skips, the finest first -> its parts of the decoder's sums, in the same order."""
        return tuple(
            projection.project(skip, index)  # type: ignore[operator]  # a ModuleList forgets what it holds
            for projection, skip in zip(reversed(self.skips), skips, strict=True)
        )

    def forward(self, fused: Sequence[Tensor], parts: Sequence[Sequence[Tensor]]) -> Tensor:
        """Fused features and projected skips of all modalities, in channel order -> logits (B, 3, z, x, y)."""
        rising = torch.cat(tuple(fused), 1)
        levels = range(len(self.blocks) - 1, -1, -1)
        for upsample, skip, block, level in zip(self.upsample, self.skips, self.blocks, levels, strict=True):
            rising = block(upsample(rising).add_(skip([each[level] for each in parts])))
        logits: Tensor = self.output(rising)
        return functional.interpolate(logits.float(), scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)


class ReleasedShaSpec(nn.Module):
    """The network of a checkpoint of the released code.

    A missing modality is, as in that code, an image of zeros for the skips, and the shared feature of the first
    available modality at the bottom. The zeros are encoded once for each shape of tile.
    """

    def __init__(self, config: ReleasedConfig) -> None:
        super().__init__()
        self.config = config
        self.shared = ResidualEncoder(config)
        self.specific = nn.ModuleDict({name: ResidualEncoder(config) for name in config.modalities})
        self.fusion = Convolution(2 * config.features, config.features, 3)
        self.decoder = ResidualDecoder(config)
        self.domain_classifier = nn.Linear(config.features, len(config.modalities))
        self._blank: dict[BlankKey, tuple[tuple[Tensor, ...], ...]] = {}

    def encode(self, image: Tensor, modality: str) -> Encoding:
        """(B, 1, z, x, y), sides multiples of 16, 32 and 32 -> the modality's encoding, its skips projected."""
        self._check_known([modality])
        skips, shared = self.shared(image)
        parts = self.decoder.project(skips, self.config.modalities.index(modality))
        del skips  # half a gigabyte that the second encoder can use
        _, specific = self.specific[modality](image)
        return Encoding(parts, shared, specific)

    def specific_maps(self, image: Tensor, modality: str) -> tuple[Tensor, ...]:
        """Every level of the modality's specific encoder, the finest first; `decode` needs only the last."""
        self._check_known([modality])
        skips, specific = self.specific[modality](image)
        return (*skips, specific)

    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, Tensor]:
        """f(i) for every modality: residual fusion where it is available, the first shared feature where not."""
        self._check_known(encodings)
        first = next(encodings[name].shared for name in self.config.modalities if name in encodings)
        return {
            name: encodings[name].shared + self.fusion(torch.cat([encodings[name].shared, encodings[name].specific], 1))
            if name in encodings
            else first
            for name in self.config.modalities
        }

    def decode(self, encodings: Mapping[str, Encoding]) -> Tensor:
        """Encodings of the available modalities, in any order -> logits (B, 3, z, x, y)."""
        fused = self.fused(encodings)
        # Asked for even where nothing is missing: a first prediction pays for it, and no toggle ever does.
        blank = self.blank_parts(next(iter(encodings.values())).skips[0])
        parts = [
            encodings[name].skips if name in encodings else blank[index]
            for index, name in enumerate(self.config.modalities)
        ]
        logits: Tensor = self.decoder(list(fused.values()), parts)
        return logits

    def blank_parts(self, like: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """What an image of zeros gives as each modality's projected skips.

        Parameters
        ----------
        like
            The finest projected skip of a tile of the same shape.
        """
        depth, height, width = like.shape[2:]
        key = (tuple(like.shape[2:]), like.dtype, like.device)
        if key not in self._blank:
            skips, _ = self.shared(torch.zeros(1, 1, depth, 2 * height, 2 * width, device=like.device))
            # Zeros stay zeros in the first convolution, and the norm makes them its shift everywhere: one voxel says it
            # all, and saves three quarters of the memory.
            smaller = (skips[0][:, :, :1, :1, :1], *skips[1:])
            self._blank[key] = tuple(self.decoder.project(smaller, index) for index in range(len(self.specific)))
        return self._blank[key]

    def _check_known(self, names: Mapping[str, object] | list[str]) -> None:
        unknown = [name for name in names if name not in self.config.modalities]
        if unknown or not names:
            raise ShaSpecError(
                f"one or more of the modalities {', '.join(self.config.modalities)}",
                ", ".join(unknown) or "none",
                "Pass only modalities that the checkpoint was trained on",
            )
