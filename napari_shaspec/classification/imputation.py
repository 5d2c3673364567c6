"""What else the paper compares with: making up the missing sound (autoencoder, GAN), or the features that lack it.

All three put two streams behind it, as the upper bound has them. Adversaries are trained by the same step as their
opponents, behind a reversal of the gradient.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.classification.av_mnist import IMAGE, Pairs, Split
from napari_shaspec.classification.methods import Batch, Method
from napari_shaspec.classification.networks import (
    HIDDEN,
    IMAGE_CHANNELS,
    PLACES,
    SOUND_CHANNELS,
    TwoStreamClassifier,
    image_layers,
)
from napari_shaspec.classification.recordings import SIDE

if TYPE_CHECKING:
    from napari_shaspec.classification.training import Recipe


def reversed_gradient(features: Tensor) -> Tensor:
    """The same values; what comes back to them is turned round."""
    return 2 * features.detach() - features


def adversary(features: int) -> nn.Sequential:
    """Features (B, features) -> (B, 1), above 0 where they are taken for genuine."""
    return nn.Sequential(nn.Linear(features, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1))


def adversarial_loss(judge: nn.Module, genuine: Tensor, made_up: Tensor) -> Tensor:
    """Cross entropy of the judge; what made ``made_up`` learns to raise it."""
    yes, no = judge(genuine.detach()), judge(reversed_gradient(made_up))
    return functional.binary_cross_entropy_with_logits(
        yes, torch.ones_like(yes)
    ) + functional.binary_cross_entropy_with_logits(no, torch.zeros_like(no))


class ImputingClassifier(TwoStreamClassifier):
    """Two streams, the second of which gets a sound map made from the image where there is none."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, SIDE, SIDE))
        self.register_buffer("deviation", torch.ones(1, SIDE, SIDE))
        self.maker = nn.Sequential(
            image_layers(),
            nn.Flatten(),
            nn.Linear(IMAGE_CHANNELS * PLACES, SOUND_CHANNELS * PLACES),
            nn.ReLU(),
            nn.Unflatten(1, (SOUND_CHANNELS, 4, 4)),
            nn.ConvTranspose2d(SOUND_CHANNELS, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 5),
        )
        self.judge = adversary(SIDE * SIDE)

    def standard(self, sounds: Tensor) -> Tensor:
        """Sound maps -> the same, each place standardised over the known sounds."""
        return (sounds - self.mean) / self.deviation

    def made_up(self, images: Tensor) -> Tensor:
        """Images (B, 1, 28, 28) -> standardised sound maps (B, 1, 20, 20)."""
        sounds: Tensor = self.maker(images)
        return sounds

    def imputed(self, images: Tensor) -> Tensor:
        """Images -> sound maps at the scale of true ones; the maker does not learn from what becomes of them."""
        return self.made_up(images).detach() * self.deviation + self.mean


class Imputation(Method):
    """A maker learns to make sounds on the pairs, and the classifier learns on what there is and what is made up."""

    def networks(
        self, training: Pairs, splits: Sequence[Split], seeds: Sequence[int], recipe: Recipe
    ) -> list[nn.Module]:
        """Fresh networks, each of which knows mean and deviation of its own pairs' sounds."""
        networks = super().networks(training, splits, seeds, recipe)
        for network, split in zip(networks, splits, strict=True):
            assert isinstance(network, ImputingClassifier)
            deviation, mean = torch.std_mean(training.sounds[split.paired], 0)
            network.mean.copy_(mean)
            network.deviation.copy_(deviation.clamp_min(1))
        return networks

    def network(self) -> nn.Module:
        """Two streams and a maker."""
        return ImputingClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy with made-up and with true sounds, and what the maker learns from."""
        assert isinstance(network, ImputingClassifier)
        # One pass for both, so that batch norm sees the mixture that its running statistics describe in a test.
        sounds = torch.cat([network.imputed(batch.images), batch.paired_sounds])
        logits = network(torch.cat([batch.images, batch.paired_images]), sounds)
        return (
            functional.cross_entropy(logits[: len(batch.digits)], batch.digits)
            + functional.cross_entropy(logits[len(batch.digits) :], batch.paired_digits)
            + self.making_loss(network, network.made_up(batch.paired_images), network.standard(batch.paired_sounds))
        )

    @abstractmethod
    def making_loss(self, network: ImputingClassifier, made_up: Tensor, genuine: Tensor) -> Tensor:
        """Of standardised sound maps (B, 1, 20, 20)."""

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Of the image and the sound made from it."""
        assert isinstance(network, ImputingClassifier)
        logits: Tensor = network(inputs[IMAGE], network.imputed(inputs[IMAGE]))
        return logits


class AutoencoderImputation(Imputation):
    """The maker learns the mean squared error."""

    title = "autoencoder imputation"

    def making_loss(self, network: ImputingClassifier, made_up: Tensor, genuine: Tensor) -> Tensor:
        """Mean squared error."""
        return functional.mse_loss(made_up, genuine)


class AdversarialImputation(Imputation):
    """The maker learns to deceive a judge."""

    title = "GAN imputation"

    def making_loss(self, network: ImputingClassifier, made_up: Tensor, genuine: Tensor) -> Tensor:
        """Cross entropy of the judge, against which the maker works."""
        return adversarial_loss(network.judge, genuine.flatten(1), made_up.flatten(1))


class FullToMissingClassifier(TwoStreamClassifier):
    """Two streams, a zero where the sound's features are missing, and a judge of the hidden features."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = adversary(HIDDEN)

    def hidden(self, images: Tensor, sounds: Tensor | None) -> Tensor:
        """Images, and sounds if there are any -> hidden features (B, 64)."""
        image = self.image_features(images)
        zeros = image.new_zeros(len(image), SOUND_CHANNELS * PLACES)
        return self.head.hidden(torch.cat([image, zeros if sounds is None else self.sound_features(sounds)], 1))


class FullToMissing(Method):
    """Hidden features of an image alone learn to look like those of image and sound (Full2miss)."""

    title = "Full2miss"

    def network(self) -> nn.Module:
        """Two streams and a judge."""
        return FullToMissingClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy with and without sound, and that of the judge."""
        assert isinstance(network, FullToMissingClassifier)
        alone = network.hidden(batch.images, None)
        full = network.hidden(batch.paired_images, batch.paired_sounds)
        lacking = network.hidden(batch.paired_images, None)
        return (
            functional.cross_entropy(network.head.classified(alone), batch.digits)
            + functional.cross_entropy(network.head.classified(full), batch.paired_digits)
            + functional.cross_entropy(network.head.classified(lacking), batch.paired_digits)
            + 0.1 * adversarial_loss(network.judge, full, lacking)
        )

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Of the image alone."""
        assert isinstance(network, FullToMissingClassifier)
        return network.head.classified(network.hidden(inputs[IMAGE], None))
