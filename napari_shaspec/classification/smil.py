"""SMIL (Ma et al., "SMIL: Multimodal Learning with Severely Missing Modality", AAAI 2021), the baseline that counts.

Two streams are trained on the pairs first. Then a missing sound is a weighted sum of 10 centres of the known sound
features, its weights predicted from the image; learned noise perturbs the fused and the hidden features; and all of it
is meta-learned: one gradient step on images without sound, second order, before the loss on the pairs is taken.

This follows the paper where its released code departs from it: the predicted deviation of the noise is used, and a test
averages over 30 draws of it, all in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn import functional

from napari_shaspec.classification.av_mnist import IMAGE, Pairs, Split
from napari_shaspec.classification.ensemble import Ensemble
from napari_shaspec.classification.methods import Batch, Method
from napari_shaspec.classification.networks import (
    HIDDEN,
    IMAGE_CHANNELS,
    PLACES,
    SOUND_CHANNELS,
    TwoStreamClassifier,
)
from napari_shaspec.classification.training import Recipe, fit

CENTRES = 10
TEST_DRAWS = 30
INNER_RATE = 0.001
INNER_RATE_STEPS = 1000
"""After so many steps the inner rate falls tenfold."""

FEATURES_WEIGHT = 0.01
PRETRAINING_EPOCHS = 20
IMAGE_FEATURES, SOUND_FEATURES = IMAGE_CHANNELS * PLACES, SOUND_CHANNELS * PLACES
UNCHANGED = math.log(math.e - 1)
"""Its softplus is 1."""


class Pass(NamedTuple):
    """What a pass of the network makes: fused (B, 480), hidden (B, 64), logits (B, 10)."""

    fused: Tensor
    hidden: Tensor
    logits: Tensor


class Noise(nn.Module):
    """Features times softplus(r), r drawn from a Gaussian whose mean and deviation are predicted from the image."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mean = nn.Linear(IMAGE_FEATURES, features)
        self.deviation = nn.Linear(IMAGE_FEATURES, features)
        # At first little happens: a factor near 1, with a small deviation.
        for layer, bias in ((self.mean, UNCHANGED), (self.deviation, -3.0)):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)

    def forward(self, features: Tensor, image_features: Tensor) -> Tensor:
        """(..., B, features), each leading axis another draw, and (B, 160) -> perturbed features of the same shape."""
        deviation = functional.softplus(self.deviation(image_features))
        drawn = self.mean(image_features) + deviation * torch.randn_like(features)
        return features * functional.softplus(drawn)


class SmilClassifier(TwoStreamClassifier):
    """Two streams, a stand-in for the sound, and noise."""

    centres: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(CENTRES, SOUND_FEATURES))
        self.register_buffer("steps", torch.zeros(()))
        self.weights = nn.Sequential(nn.Linear(IMAGE_FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CENTRES))
        self.fused_noise = Noise(IMAGE_FEATURES + SOUND_FEATURES)
        self.hidden_noise = Noise(HIDDEN)

    def without_sound(self, images: Tensor, draws: int = 1) -> Pass:
        """Images (B, 1, 28, 28) -> a pass for each draw of the noise, (draws, B, ...)."""
        image = self.image_features(images)
        sound = self.weights(image).softmax(1) @ self.centres
        fused = torch.cat([image, sound], 1).expand(draws, -1, -1)
        return self._classified(self.fused_noise(fused, image), image)

    def with_sound(self, images: Tensor, sounds: Tensor) -> Pass:
        """Pairs -> the pass that the one without sound should be like; without noise."""
        fused = torch.cat([self.image_features(images), self.sound_features(sounds)], 1)
        return self._classified(fused, None)

    def forward(self, images: Tensor, sounds: Tensor | None = None) -> Tensor:
        """Images (B, 1, 28, 28) -> logits (B, 10) of one draw."""
        return self.without_sound(images).logits[0]

    def _classified(self, fused: Tensor, image_features: Tensor | None) -> Pass:
        hidden = self.head.hidden(fused)
        if image_features is not None:
            hidden = self.hidden_noise(hidden, image_features)
        return Pass(fused, hidden, self.head.classified(hidden))


class Pretraining(Method):
    """Two streams on the pairs that there are."""

    title = "SMIL's pre-training"
    images, pairs = 0, 16
    weight_decay = 1e-4

    def network(self) -> nn.Module:
        """Two streams."""
        return TwoStreamClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(network(batch.paired_images, batch.paired_sounds), batch.paired_digits)

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Never asked for."""
        raise NotImplementedError


class Smil(Method):
    """Meta-learning after pre-training."""

    title = "SMIL"
    pairs = 16
    weight_decay = 1e-4

    def networks(
        self, training: Pairs, splits: Sequence[Split], seeds: Sequence[int], recipe: Recipe
    ) -> list[nn.Module]:
        """Pre-trained networks, each with the centres of its own pairs' sound features."""
        pretraining = Pretraining()
        streams = Ensemble(pretraining.networks(training, splits, seeds, recipe))
        for _ in fit(streams, pretraining, training, splits, seeds, replace(recipe, epochs=PRETRAINING_EPOCHS)):
            pass
        networks = super().networks(training, splits, seeds, recipe)
        for index, (network, split, seed) in enumerate(zip(networks, splits, seeds, strict=True)):
            stream = streams.network(index).eval()
            assert isinstance(stream, TwoStreamClassifier)
            assert isinstance(network, SmilClassifier)
            with torch.no_grad():
                features = stream.sound_features(training.sounds[split.paired])
            network.load_state_dict(stream.state_dict(), strict=False)
            network.centres.copy_(centres_of(features, seed))
        return networks

    def network(self) -> nn.Module:
        """Two streams and what SMIL adds."""
        return SmilClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Inner loss, on images without sound, and the loss on the pairs after the step that it asks for."""
        assert isinstance(network, SmilClassifier)
        fast: dict[str, Tensor] = {
            name: tensor for name, tensor in network.named_parameters() if name.startswith(("image.", "head."))
        }

        def inner(weights: dict[str, Tensor]) -> Tensor:
            return functional.cross_entropy(functional_call(network, weights, (batch.images,)), batch.digits)

        gradients, inner_loss = grad_and_value(inner)(fast)
        rate = INNER_RATE * 10.0 ** -torch.floor(network.steps / INNER_RATE_STEPS)
        network.steps += 1
        stepped = {name: tensor - rate * gradients[name] for name, tensor in fast.items()}
        loss: Tensor = inner_loss + functional_call(_Outer(network), _prefixed(stepped), (batch,))
        return loss

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logarithm of the mean probability over draws of the noise."""
        assert isinstance(network, SmilClassifier)
        logs = network.without_sound(inputs[IMAGE], TEST_DRAWS).logits.log_softmax(-1)
        return logs.logsumexp(0) - math.log(TEST_DRAWS)


class _Outer(nn.Module):
    """The loss on the pairs: the pass without sound must be right, and like the one with it."""

    def __init__(self, network: SmilClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> Tensor:
        without = self.network.without_sound(batch.paired_images)
        target = self.network.with_sound(batch.paired_images, batch.paired_sounds)
        return (
            functional.cross_entropy(without.logits[0], batch.paired_digits)
            + FEATURES_WEIGHT * functional.mse_loss(without.fused[0], target.fused)
            + FEATURES_WEIGHT * functional.mse_loss(without.hidden[0], target.hidden)
        )


def centres_of(features: Tensor, seed: int) -> Tensor:
    """k-means centres (10, features) of at least as many features (N, features)."""
    centres, _ = kmeans2(features.double().numpy(), CENTRES, minit="++", seed=np.random.default_rng(seed))
    return torch.from_numpy(centres).float()


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"network.{name}": tensor for name, tensor in weights.items()}
