"""The networks for images and texts: ShaSpec, and the plain concatenation that it is compared with.

Features are vectors of `WIDTH`, kept as maps (B, width, 1, 1), which is what fusion and losses take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from napari_shaspec.classification.image_text import IMAGE, MODALITIES, PADDING, TEXT
from napari_shaspec.model.fusion import ResidualFusion
from napari_shaspec.model.shaspec import SharedSpecific

WIDTH = 128
DROPOUT = 0.5
Skips = tuple[Tensor, ...]


class ImageEncoder(nn.Sequential):
    """Four convolutions, each halving the side, and the mean over what is left: (B, 1, side, side) -> (B, width)."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in (
            (1, width // 8),
            (width // 8, width // 4),
            (width // 4, width // 2),
            (width // 2, width),
        ):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.GroupNorm(1, outputs), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class TextEncoder(nn.Module):
    """Embedding and LSTM: tokens (B, length) -> the state after the last word, (B, width)."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=PADDING)
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Padding behind the last word has no influence."""
        states, _ = self.lstm(self.embedding(tokens))
        last = (tokens != PADDING).sum(1) - 1
        after: Tensor = states[torch.arange(len(tokens), device=tokens.device), last]
        return after


class SpecificEncoder(nn.Module):
    """An encoder of one modality."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, given: Tensor) -> tuple[Skips, Tensor]:
        """An image or tokens -> no skips, and s(i) (B, width, 1, 1)."""
        return (), self.encoder(given)[:, :, None, None]


class SharedEncoder(nn.Module):
    """What both modalities go through.

    The paper does not say how one encoder takes an image and a text. Here each is brought to a vector by a stem of its
    own, because pixels and words have no layer in common, and the layers above have the same weights for both.
    """

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.image_stem = ImageEncoder(width)
        self.text_stem = TextEncoder(words, width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, given: Tensor) -> tuple[Skips, Tensor]:
        """An image or tokens, told by their type -> no skips, and r(i) (B, width, 1, 1)."""
        stem = self.image_stem if given.is_floating_point() else self.text_stem
        return (), self.layers(stem(given))[:, :, None, None]


class BinaryHead(nn.Module):
    """FC, ReLU, dropout, FC: the features of both modalities -> a logit (B,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(len(MODALITIES) * width, width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(width, 1)
        )

    def forward(
        self,
        fused: Sequence[Tensor],
        skips: Mapping[int, Sequence[Tensor]],
        specific_skips: Mapping[int, Sequence[Tensor]],
    ) -> Tensor:
        """Maps (B, width, 1, 1) of both modalities, and no skips."""
        logits: Tensor = self.layers(torch.cat([feature.flatten(1) for feature in fused], 1))
        return logits[:, 0]


class ImageTextShaSpec(SharedSpecific):
    """ShaSpec for an image and a text: `encode`, `decode` and `forward` as for segmentation."""

    def __init__(self, words: int, width: int = WIDTH) -> None:
        super().__init__(
            SharedEncoder(words, width),
            {IMAGE: SpecificEncoder(ImageEncoder(width)), TEXT: SpecificEncoder(TextEncoder(words, width))},
            ResidualFusion(2, width, kernel=1),
            BinaryHead(width),
        )


class Concatenation(nn.Module):
    """The features of both, zeros for what is missing, and a head."""

    def __init__(self, words: int, width: int = WIDTH) -> None:
        super().__init__()
        self.image = SpecificEncoder(ImageEncoder(width))
        self.text = SpecificEncoder(TextEncoder(words, width))
        self.head = BinaryHead(width)

    def features(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of what is there."""
        encoders = {IMAGE: self.image, TEXT: self.text}
        return {name: encoders[name](each)[1] for name, each in given.items()}

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        """What is there -> a logit (B,)."""
        features = self.features(given)
        like = next(iter(features.values()))
        logits: Tensor = self.head([features.get(name, torch.zeros_like(like)) for name in MODALITIES], {}, {})
        return logits
