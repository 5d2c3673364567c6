"""Audiovision-MNIST in the viewer, without its views: a network trained on the spot, and a test pair as layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.plugin.layers import LayerData
from napari_shaspec.plugin.state import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_shaspec.classification.av_mnist import AudiovisionMNIST, Pairs

SOUND_PERCENT = 20.0
"""Training pairs with sound: the most of the published table."""

EPOCHS = 60
SEED = 0
GAP_PIXELS = 4

PAIR = "napari_shaspec_pair"
"""Key of a layer's ``metadata`` that says which part of a pair it shows."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedPairs:
    """The data, and the network after the last epoch."""

    data: AudiovisionMNIST
    network: nn.Module

    def probabilities(self, index: int, available: Collection[str]) -> NDArray[np.float32]:
        """What the network makes of a test pair, given these modalities alone: (10,), their sum 1."""
        import torch

        from napari_shaspec.classification.methods import ShaSpecMethod

        inputs = {name: values[[index]] for name, values in _inputs(self.data.test).items() if name in available}
        with torch.inference_mode():
            shares: NDArray[np.float32] = ShaSpecMethod().logits(self.network, inputs).softmax(1)[0].numpy()
        return shares


def training_steps(folder: Path, cancelled: Event) -> Iterator[Progress | AudiovisionMNIST | TrainedPairs]:
    """Read the data, and train ShaSpec on it; the data come first, the network last, unless somebody cancels."""
    import torch

    from napari_shaspec.classification.av_mnist import draw_split, read_av_mnist
    from napari_shaspec.classification.ensemble import Ensemble
    from napari_shaspec.classification.methods import ShaSpecMethod
    from napari_shaspec.classification.training import Recipe, fit

    yield Progress("reading digits and recordings")
    data = read_av_mnist(folder)
    if cancelled.is_set():
        return
    yield data
    method, split = ShaSpecMethod(), draw_split(data.training, SOUND_PERCENT, SEED)
    recipe = Recipe(epochs=EPOCHS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        ensemble = Ensemble(method.networks(data.training, [split], [SEED], recipe))
        for epoch in fit(ensemble, method, data.training, [split], [SEED], recipe):
            if cancelled.is_set():
                return
            yield Progress("training", epoch, EPOCHS)
    yield TrainedPairs(data, ensemble.network(0).eval())


def pair_layers(pairs: Pairs, index: int) -> list[LayerData]:
    """The image of a pair, and right of it the map of its sound: coefficients from below, frames from the left."""
    image, sound = pairs.images[index, 0].numpy(), pairs.sounds[index, 0].numpy()[::-1]
    below = float(len(image) - len(sound))
    return [
        (
            image,
            {
                "name": "image",
                "colormap": "gray",
                "contrast_limits": (-1.0, 1.0),
                "metadata": {PAIR: "image"},
            },
            "image",
        ),
        (
            sound,
            {
                "name": "sound",
                "colormap": "magma",
                "contrast_limits": _limits(pairs),
                "metadata": {PAIR: "sound"},
                "translate": (below, float(image.shape[1] + GAP_PIXELS)),
            },
            "image",
        ),
    ]


def _inputs(pairs: Pairs) -> dict[str, Tensor]:
    from napari_shaspec.classification.av_mnist import IMAGE, SOUND

    return {IMAGE: pairs.images, SOUND: pairs.sounds}


def _limits(pairs: Pairs) -> tuple[float, float]:
    """One window for all sounds: the first coefficient, loudness, is far below the others."""
    low, high = np.percentile(pairs.sounds.numpy(), (2, 99.5))
    return float(low), max(float(high), float(low) + 1e-3)
