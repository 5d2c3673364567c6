"""What is trained and compared: of each method the network, the loss of a batch, and what it answers to a test.

A method trains many networks at once (`Ensemble`), so its functions take the network as an argument and keep no state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.classification.av_mnist import IMAGE, MODALITIES, SOUND, Pairs, Split
from napari_shaspec.classification.networks import ImageClassifier, ShaSpecClassifier, TwoStreamClassifier
from napari_shaspec.model.losses import feature_losses
from napari_shaspec.model.objective import ALPHA, BETA, AlignmentLoss
from napari_shaspec.model.shaspec import Encoding

if TYPE_CHECKING:
    from napari_shaspec.classification.training import Recipe

Available = frozenset[str]
ONLY_IMAGE: Available = frozenset({IMAGE})
ONLY_SOUND: Available = frozenset({SOUND})
EVERYTHING: Available = frozenset(MODALITIES)


class Batch(NamedTuple):
    """What a step sees: images without their sound, and pairs of both."""

    images: Tensor
    digits: Tensor
    paired_images: Tensor
    paired_sounds: Tensor
    paired_digits: Tensor


class Method(ABC):
    """One row of the table.

    Attributes
    ----------
    title
        Its name in tables.
    tested
        What it may be given in a test; the first of them chooses the epoch.
    images, pairs
        Images without and pairs with sound in each step. Without pairs a method does not depend on the share of sound.
    full_sound
        Whether the pairs are all training pairs, as for the upper bound.
    weight_decay
        Of Adam.
    """

    title: str
    tested: tuple[Available, ...] = (ONLY_IMAGE,)
    images: int = 50
    pairs: int = 8
    full_sound: bool = False
    weight_decay: float = 0.01

    @property
    def depends_on_rate(self) -> bool:
        """Whether the share of training pairs with sound makes a difference."""
        return self.pairs > 0 and not self.full_sound

    def networks(
        self, training: Pairs, splits: Sequence[Split], seeds: Sequence[int], recipe: Recipe
    ) -> list[nn.Module]:
        """Fresh networks, one for each seed."""
        networks = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                networks.append(self.network())
        return networks

    @abstractmethod
    def network(self) -> nn.Module:
        """One network, with random weights."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Objective of a batch, a scalar."""

    @abstractmethod
    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Answer to what is available, (B, 10)."""


class ImageOnly(Method):
    """The lower bound."""

    title = "image only (lower bound)"
    pairs = 0

    def network(self) -> nn.Module:
        """LeNet-5."""
        return ImageClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(network(batch.images), batch.digits)

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Of the image."""
        logits: Tensor = network(inputs[IMAGE])
        return logits


class Both(Method):
    """The upper bound: sound for every training pair, and in the test."""

    title = "both (upper bound)"
    tested = (EVERYTHING,)
    images, pairs, full_sound = 0, 50, True

    def network(self) -> nn.Module:
        """Two streams."""
        return TwoStreamClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(network(batch.paired_images, batch.paired_sounds), batch.paired_digits)

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Of both."""
        logits: Tensor = network(inputs[IMAGE], inputs[SOUND])
        return logits


@dataclass(frozen=True)
class ShaSpecMethod(Method):
    """ShaSpec: every input is encoded once; pairs are decoded with both, with the image and with the sound alone."""

    alignment: AlignmentLoss = AlignmentLoss.L1
    tested = (ONLY_IMAGE, EVERYTHING, ONLY_SOUND)

    @property
    def title(self) -> str:  # type: ignore[override]
        """With the variant of DAO, where it is not the default."""
        return "ShaSpec" if self.alignment is AlignmentLoss.L1 else f"ShaSpec, DAO {self.alignment.value.upper()}"

    def network(self) -> nn.Module:
        """Shared and specific encoders, residual fusion and a head."""
        return ShaSpecClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """L = L_task + 0.1 L_DAO + 0.02 L_DCO; L_task is the mean over samples, a pair's the mean over its subsets."""
        assert isinstance(network, ShaSpecClassifier)
        alone, count = len(batch.digits), len(batch.digits) + len(batch.paired_digits)
        images = network.encode(torch.cat([batch.images, batch.paired_images]), IMAGE)
        of_pairs = {
            IMAGE: Encoding((), images.shared[alone:], images.specific[alone:]),
            SOUND: network.encode(batch.paired_sounds, SOUND),
        }
        # The images without sound and those of the pairs, by one decode: they lack the same.
        of_images = network.decode({IMAGE: images})
        losses = functional.cross_entropy(of_images, torch.cat([batch.digits, batch.paired_digits]), reduction="none")
        task = losses[:alone].sum() + losses[alone:].sum() / 3
        for subset in (EVERYTHING, ONLY_SOUND):
            logits = network.decode({name: of_pairs[name] for name in subset})
            task = task + functional.cross_entropy(logits, batch.paired_digits, reduction="sum") / 3
        alignment, domain = feature_losses(of_pairs, MODALITIES, network.domain_classifier, self.alignment)
        return task / count + ALPHA * alignment + BETA * domain

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Of any subset."""
        logits: Tensor = network(inputs).logits
        return logits


class ShaSpecWithoutSound(Method):
    """A control: ShaSpec's network that never hears anything, so that what sound brings can be told from its size."""

    title = "ShaSpec's network, images only"
    pairs = 0

    def network(self) -> nn.Module:
        """As ShaSpec's."""
        return ShaSpecClassifier()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(network({IMAGE: batch.images}).logits, batch.digits)

    def logits(self, network: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
        """Of the image."""
        logits: Tensor = network({IMAGE: inputs[IMAGE]}).logits
        return logits
