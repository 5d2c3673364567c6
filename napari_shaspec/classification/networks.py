"""The networks of Audiovision-MNIST: SMIL's two encoders, ShaSpec made of them, and what it is compared with.

Both specific encoders end in maps of 4 x 4, of 10 channels for an image (1, 28, 28) and 20 for a sound (1, 20, 20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.classification.av_mnist import DIGITS, IMAGE, SOUND
from napari_shaspec.model.fusion import ResidualFusion
from napari_shaspec.model.shaspec import SharedSpecific

IMAGE_CHANNELS, SOUND_CHANNELS = 10, 20
PLACES = 16
"""4 x 4."""

HIDDEN = 64
SHARED_SIDE = 28
Skips = tuple[Tensor, ...]


def image_layers(channels: int = IMAGE_CHANNELS, width: int = 5) -> nn.Sequential:
    """LeNet-5 as SMIL has it: (B, 1, 28, 28) -> (B, channels, 4, 4)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(width, channels, 5),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )


def sound_layers() -> nn.Sequential:
    """SMIL's encoder of sounds: (B, 1, 20, 20) -> (B, 20, 4, 4)."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 32), (32, 48), (48, SOUND_CHANNELS)):
        layers += [nn.Conv2d(inputs, outputs, 2), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2, 4), nn.Dropout(0.25))


class SpecificEncoder(nn.Module):
    """Layers of one modality, brought to the channels of the shared features by a 1 x 1 convolution."""

    def __init__(self, layers: nn.Sequential, channels: int, shared_channels: int) -> None:
        super().__init__()
        self.layers = layers
        self.adapt = nn.Conv2d(channels, shared_channels, 1)

    def forward(self, image: Tensor) -> tuple[Skips, Tensor]:
        """An image or a sound -> no skips, and s(i) (B, shared channels, 4, 4)."""
        return (), self.adapt(self.layers(image))


class SharedEncoder(nn.Module):
    """One encoder with the same weights for both shapes.

    Each input is standardised by its own mean and deviation, because pixels lie between -1 and 1 and cepstral
    coefficients between -1,200 and 200, and a sound is padded with its mean to the size of an image.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = image_layers(channels, width)

    def forward(self, image: Tensor) -> tuple[Skips, Tensor]:
        """(B, 1, side, side), side 28 at most -> no skips, and r(i) (B, channels, 4, 4)."""
        standard = functional.layer_norm(image, image.shape[1:])
        missing = SHARED_SIDE - image.shape[-1]
        if missing:
            standard = functional.pad(standard, (missing // 2, missing - missing // 2) * 2)
        return (), self.layers(standard)


class Head(nn.Module):
    """FC, ReLU, dropout, FC."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, HIDDEN)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(HIDDEN, DIGITS)

    def hidden(self, features: Tensor) -> Tensor:
        """(..., features) -> (..., 64)."""
        return functional.relu(self.first(features))

    def classified(self, hidden: Tensor) -> Tensor:
        """(..., 64) -> logits (..., 10)."""
        logits: Tensor = self.last(self.dropout(hidden))
        return logits

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) -> logits (B, 10)."""
        return self.classified(self.hidden(features))


class FusedHead(nn.Module):
    """The decoder of ShaSpec for a class instead of a map."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = Head(features)

    def forward(self, fused: Sequence[Tensor], skips: Mapping[int, Sequence[Tensor]]) -> Tensor:
        """The fused maps of both modalities (B, C, 4, 4), and no skips -> logits (B, 10)."""
        logits: Tensor = self.head(torch.cat([feature.flatten(1) for feature in fused], 1))
        return logits


class ShaSpecClassifier(SharedSpecific):
    """ShaSpec for Audiovision-MNIST: `encode`, `decode` and `forward` as for segmentation."""

    def __init__(self, channels: int = 20, width: int = 10) -> None:
        super().__init__(
            SharedEncoder(channels, width),
            {
                IMAGE: SpecificEncoder(image_layers(), IMAGE_CHANNELS, channels),
                SOUND: SpecificEncoder(sound_layers(), SOUND_CHANNELS, channels),
            },
            ResidualFusion(2, channels),
            FusedHead(2 * channels * PLACES),
        )


class ImageClassifier(nn.Module):
    """The lower bound: the image encoder and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.image = image_layers()
        self.head = Head(IMAGE_CHANNELS * PLACES)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) -> logits (B, 10)."""
        logits: Tensor = self.head(self.image(images).flatten(1))
        return logits


class TwoStreamClassifier(nn.Module):
    """The upper bound: 160 features of the image and 320 of the sound, concatenated, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.image = image_layers()
        self.sound = sound_layers()
        self.head = Head((IMAGE_CHANNELS + SOUND_CHANNELS) * PLACES)

    def image_features(self, images: Tensor) -> Tensor:
        """(B, 1, 28, 28) -> (B, 160)."""
        features: Tensor = self.image(images)
        return features.flatten(1)

    def sound_features(self, sounds: Tensor) -> Tensor:
        """(B, 1, 20, 20) -> (B, 320)."""
        features: Tensor = self.sound(sounds)
        return features.flatten(1)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        """Both -> logits (B, 10)."""
        logits: Tensor = self.head(torch.cat([self.image_features(images), self.sound_features(sounds)], 1))
        return logits
