"""Training on pairs of which some lack the image, and the area under the ROC curve of what each subset tells.

The epoch is chosen on validation pairs by the text alone, which is what the paper tests; the test pairs choose nothing.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.classification.image_text import IMAGE, MODALITIES, TEXT, Pairs, Studies, Vocabulary
from napari_shaspec.classification.image_text_networks import WIDTH, Concatenation, ImageTextShaSpec
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.losses import feature_losses
from napari_shaspec.model.objective import ALPHA, BETA
from napari_shaspec.model.shaspec import Encoding

Available = frozenset[str]
ONLY_IMAGE: Available = frozenset({IMAGE})
ONLY_TEXT: Available = frozenset({TEXT})
EVERYTHING: Available = frozenset(MODALITIES)
TESTED = (ONLY_TEXT, ONLY_IMAGE, EVERYTHING)
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every method is trained: Adam, the same steps on the same pairs.

    Parameters
    ----------
    missing_percent
        Training pairs without their image.
    width
        Of all features.
    """

    missing_percent: float = 30.0
    epochs: int = 30
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    width: int = WIDTH


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Pairs to fit, which of them (N,) still have their image, pairs that choose the epoch, and pairs of the test."""

    fitted: Pairs
    has_image: NDArray[np.bool_]
    validation: Pairs
    test: Pairs
    words: int


def split_studies(studies: Studies, missing_percent: float, seed: int) -> Split:
    """80 % for training, a tenth of them to choose the epoch, and 20 % for the test, of both labels alike.

    Studies with the same words, as two views of one patient have them, are in one part: the test is on text alone, and
    would else be on texts that were trained on.

    Raises
    ------
    ShaSpecError
        If there are too few studies of a label for all three parts.
    """
    draw = np.random.default_rng(seed)
    labels = studies.labels.numpy()
    studies_of: dict[str, list[int]] = {}
    for place, report in enumerate(studies.reports):
        studies_of.setdefault(" ".join(report.lower().split()), []).append(place)
    alike = {places[0]: places for places in studies_of.values()}
    parts: list[list[int]] = [[], [], []]
    for label in (0, 1):
        firsts = draw.permutation([first for first in alike if labels[first] == label])
        count = sum(len(alike[first]) for first in firsts)
        tested = round(TEST_SHARE * count)
        chosen = round(VALIDATION_SHARE * (count - tested))
        some: list[list[int]] = [[], [], []]
        for first in firsts:
            fits = [len(part) + len(alike[first]) <= most for part, most in zip(some, (tested, chosen), strict=False)]
            some[fits.index(True) if any(fits) else 2].extend(alike[first])
        if not all(some):
            raise ShaSpecError(
                f"enough studies with label {label} to train, validate and test",
                f"{count}, {len(firsts)} of them with reports of their own",
                "Add at least ten",
            )
        for part, more in zip(parts, some, strict=True):
            part.extend(more)
    test, validation, fitted = (draw.permutation(part) for part in parts)
    vocabulary = Vocabulary(studies.reports[place] for place in fitted)
    pairs = Pairs(studies.images, vocabulary.tokens(studies.reports), studies.labels)
    has_image = np.ones(len(fitted), bool)
    has_image[: round(len(fitted) * missing_percent / 100)] = False
    return Split(pairs.at(fitted), has_image, pairs.at(validation), pairs.at(test), len(vocabulary))


class Method(ABC):
    """A row of the table; functions of a network, without a state."""

    title: str
    tested: tuple[Available, ...] = TESTED

    @abstractmethod
    def network(self, words: int, width: int) -> nn.Module:
        """With random weights."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Pairs, has_image: NDArray[np.bool_]) -> Tensor:
        """Objective of a batch, a scalar."""

    @abstractmethod
    def logits(self, network: nn.Module, given: Mapping[str, Tensor]) -> Tensor:
        """Answer to what is available, (B,)."""


class Concatenated(Method):
    """Plain concatenation: each pair is seen as it is, zeros standing in for a missing image."""

    title = "concatenation"

    def network(self, words: int, width: int) -> nn.Module:
        """Two encoders and a head."""
        return Concatenation(words, width)

    def loss(self, network: nn.Module, batch: Pairs, has_image: NDArray[np.bool_]) -> Tensor:
        """Binary cross entropy."""
        assert isinstance(network, Concatenation)
        features = network.features({TEXT: batch.tokens, IMAGE: batch.images})
        images = features[IMAGE] * torch.from_numpy(has_image).to(features[IMAGE])[:, None, None, None]
        return functional.binary_cross_entropy_with_logits(network.head([images, features[TEXT]], {}, {}), batch.labels)

    def logits(self, network: nn.Module, given: Mapping[str, Tensor]) -> Tensor:
        """Of any subset."""
        logits: Tensor = network(given)
        return logits


class Alone(Concatenated):
    """One modality, of all training pairs: what it tells at best.

    Parameters
    ----------
    modality
        Which one; nothing else is seen in training or test.
    """

    def __init__(self, modality: str) -> None:
        self.title = f"{modality} only"
        self.tested = (frozenset({modality}),)
        self._modality = modality

    def loss(self, network: nn.Module, batch: Pairs, has_image: NDArray[np.bool_]) -> Tensor:
        """Binary cross entropy; images that are missing are missing here, too."""
        seen = np.ones(len(has_image), bool) if self._modality == TEXT else has_image
        if not seen.any():
            return torch.zeros((), requires_grad=True)
        kept = batch.at(np.flatnonzero(seen))
        given = {TEXT: kept.tokens} if self._modality == TEXT else {IMAGE: kept.images}
        return functional.binary_cross_entropy_with_logits(network(given), kept.labels)


class ShaSpecMethod(Method):
    """ShaSpec: each input is encoded once; pairs are decoded with both and with either alone."""

    title = "ShaSpec"

    def network(self, words: int, width: int) -> nn.Module:
        """Shared and specific encoders, residual fusion and a head."""
        return ImageTextShaSpec(words, width)

    def loss(self, network: nn.Module, batch: Pairs, has_image: NDArray[np.bool_]) -> Tensor:
        """L = L_task + 0.1 L_DAO + 0.02 L_DCO; a pair's L_task is the mean over its subsets, a text's its own."""
        assert isinstance(network, ImageTextShaSpec)
        texts = network.encode(batch.tokens, TEXT)
        alone = functional.binary_cross_entropy_with_logits(
            network.decode({TEXT: texts}), batch.labels, reduction="none"
        )
        pairs = torch.from_numpy(np.flatnonzero(has_image))
        if not len(pairs):
            _, domain = feature_losses({TEXT: texts}, MODALITIES, network.domain_classifier)
            return alone.mean() + BETA * domain
        paired = {
            IMAGE: network.encode(batch.images[pairs], IMAGE),
            TEXT: Encoding((), texts.shared[pairs], texts.specific[pairs]),
        }
        weights = torch.ones_like(alone)
        weights[pairs] = 1 / len(TESTED)
        task = (weights * alone).sum()
        for subset in (ONLY_IMAGE, EVERYTHING):
            logits = network.decode({name: paired[name] for name in subset})
            task = task + functional.binary_cross_entropy_with_logits(
                logits, batch.labels[pairs], reduction="sum"
            ) / len(TESTED)
        alignment, domain = feature_losses(paired, MODALITIES, network.domain_classifier)
        return task / len(alone) + ALPHA * alignment + BETA * domain

    def logits(self, network: nn.Module, given: Mapping[str, Tensor]) -> Tensor:
        """Of any subset."""
        logits: Tensor = network(given).logits
        return logits


METHODS: Mapping[str, Method] = {
    "image": Alone(IMAGE),
    "text": Alone(TEXT),
    "concatenation": Concatenated(),
    "shaspec": ShaSpecMethod(),
}


def train(
    method: Method, split: Split, recipe: Recipe, seed: int, progress: Progress = lambda done, total: None
) -> nn.Module:
    """The network of the epoch that was best on the validation pairs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = method.network(split.words, recipe.width)
        optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        chooses = ONLY_TEXT if ONLY_TEXT in method.tested else method.tested[0]
        best, kept = -1.0, network
        for epoch in range(recipe.epochs):
            network.train()
            for places in _batches(len(split.has_image), recipe.batch, np.random.default_rng((seed, epoch))):
                optimizer.zero_grad()
                torch.autograd.backward(method.loss(network, split.fitted.at(places), split.has_image[places]))
                optimizer.step()
            score = area_under_curve(method, network, split.validation, chooses)
            if score > best:
                best, kept = score, copy.deepcopy(network)
            progress(epoch + 1, recipe.epochs)
    return kept.eval()


def area_under_curve(method: Method, network: nn.Module, pairs: Pairs, available: Available) -> float:
    """ROC AUC, 0 to 1, of what a network says of pairs when it is given these modalities alone."""
    from sklearn.metrics import roc_auc_score

    network.eval()
    inputs = {IMAGE: pairs.images, TEXT: pairs.tokens}
    with torch.inference_mode():
        logits = method.logits(network, {name: inputs[name] for name in MODALITIES if name in available})
    return float(roc_auc_score(pairs.labels.numpy(), logits.numpy()))


def _batches(count: int, size: int, draw: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    order = draw.permutation(count)
    yield from (order[start : start + size] for start in range(0, count, size))
