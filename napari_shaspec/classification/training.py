"""One row of the table: as many networks as there are seeds, trained together, each on its own draw of the data.

Order of the images, draw of the pairs and augmentation depend on a run's own seed; dropout is drawn for the whole row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.classification.av_mnist import IMAGE, SOUND, AudiovisionMNIST, Pairs, Split, draw_split
from napari_shaspec.classification.ensemble import Ensemble, keep_better
from napari_shaspec.classification.methods import Available, Batch, Method

Progress = Callable[[int, int], None]
"""Called with epochs done and epochs in all."""

ROWS_APART = 10**5
"""Rows of one method never share the random numbers of dropout: a rate in hundredths of a percent is below this."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every method is trained.

    Parameters
    ----------
    epochs, learning_rate
        Of Adam; the learning rate falls by 10 % every 20 epochs.
    batch
        Images of a step; an epoch is one pass over the images that are fitted to.
    augment
        Whether images are turned (10 degrees), scaled (10 %), sheared (10 %) and moved (2 pixels), at most, at random.
    """

    epochs: int = 60
    learning_rate: float = 0.001
    batch: int = 50
    augment: bool = True


@dataclass(frozen=True, slots=True)
class Score:
    """One network, tested once."""

    seed: int
    available: Available
    accuracy: float
    validation_accuracy: float
    epoch: int


def train_row(
    method: Method,
    data: AudiovisionMNIST,
    rate: float,
    seeds: Sequence[int],
    recipe: Recipe,
    progress: Progress = lambda done, total: None,
) -> list[Score]:
    """Train one network for each seed, choose each one's epoch on its validation images, and test it.

    Parameters
    ----------
    rate
        Share of the training pairs with sound, in percent.

    Returns
    -------
    list of Score
        For each seed, one for each subset that the method can be tested with; accuracies in percent.
    """
    with _own_random_numbers(rate, seeds):
        ensemble, accuracy, chosen = _trained(method, data.training, rate, seeds, recipe, progress)
        scores = []
        for available in method.tested:
            right = _percent_right(_answers(ensemble, method, data.test, available, own=False), data.test.digits)
            scores += [
                Score(seed, available, *values)
                for seed, *values in zip(seeds, right.tolist(), accuracy.tolist(), chosen.tolist(), strict=True)
            ]
    return scores


def train_network(
    method: Method,
    training: Pairs,
    rate: float,
    seed: int,
    recipe: Recipe,
    progress: Progress = lambda done, total: None,
) -> nn.Module:
    """Train one network as `train_row` does, and hand it over in evaluation mode; parameters as there."""
    with _own_random_numbers(rate, [seed]):
        ensemble, _, _ = _trained(method, training, rate, [seed], recipe, progress)
    return ensemble.network(0).eval()


@contextmanager
def _own_random_numbers(rate: float, seeds: Sequence[int]) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds[0] * ROWS_APART + round(100 * rate))
        yield


def _trained(
    method: Method, training: Pairs, rate: float, seeds: Sequence[int], recipe: Recipe, progress: Progress
) -> tuple[Ensemble, Tensor, Tensor]:
    """The networks at their best epochs, and for each its validation accuracy in percent and that epoch."""
    splits = [draw_split(training, rate, seed) for seed in seeds]
    ensemble = Ensemble(method.networks(training, splits, seeds, recipe))
    validation = _inputs(training, torch.from_numpy(np.stack([split.validation for split in splits])))
    best, lowest = ensemble.state(), torch.full((len(seeds),), math.inf)
    chosen, accuracy = torch.zeros(len(seeds), dtype=torch.long), torch.zeros(len(seeds))
    for epoch in fit(ensemble, method, training, splits, seeds, recipe):
        logits = _answers(ensemble, method, validation, method.tested[0], own=True)
        wanted = validation.digits.flatten()
        losses = functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="none").view(len(seeds), -1)
        better = losses.mean(1) < lowest
        lowest = torch.where(better, losses.mean(1), lowest)
        best = keep_better(best, ensemble.state(), better)
        chosen = torch.where(better, epoch, chosen)
        accuracy = torch.where(better, _percent_right(logits, validation.digits), accuracy)
        progress(epoch, recipe.epochs)
    ensemble.load(best)
    return ensemble, accuracy, chosen


def fit(
    ensemble: Ensemble, method: Method, training: Pairs, splits: Sequence[Split], seeds: Sequence[int], recipe: Recipe
) -> Iterator[int]:
    """Train, and hand over after each epoch, counted from 1."""
    optimizer = torch.optim.Adam(
        ensemble.parameters.values(), recipe.learning_rate, weight_decay=method.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 20, 0.9)
    draws = [RunDraws(method, split, seed, recipe) for split, seed in zip(splits, seeds, strict=True)]
    for epoch in range(1, recipe.epochs + 1):
        for _ in range(len(splits[0].fitted) // recipe.batch):
            batch = _batch(training, [draw.step() for draw in draws], method)
            optimizer.zero_grad()
            torch.autograd.backward(ensemble.losses(method.loss, batch).sum())
            optimizer.step()
        schedule.step()
        yield epoch


class RunDraws:
    """What one run draws for each step, from its own seed: places of images and pairs, and how images are moved."""

    def __init__(self, method: Method, split: Split, seed: int, recipe: Recipe) -> None:
        # Apart from one another, so that methods with and without pairs see the images in the same order.
        orders = [np.random.default_rng([seed, purpose]) for purpose in (1, 2, 3)]
        self._images = _endless(split.fitted, orders[0])
        self._pairs = _endless(split.fitted if method.full_sound else split.paired, orders[1])
        self._movements = orders[2]
        self._counts = method.images, method.pairs
        self._augment = recipe.augment

    def step(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Places of images, then of pairs, and an affine map (2, 3) for each."""
        images, pairs = self._counts
        places = [next(self._images) for _ in range(images)] + [next(self._pairs) for _ in range(pairs)]
        return np.array(places, np.intp), affine_maps(len(places), self._movements, strength=float(self._augment))


def affine_maps(count: int, draw: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Random maps (count, 2, 3) from places of the output to places of the input, both between -1 and 1.

    At strength 1: turned by up to 10 degrees, scaled and sheared by up to 10 %, moved by up to 2 pixels.
    """
    angle, wide, high, shear, right, down = strength * draw.uniform(-1, 1, (6, count))
    angle *= np.pi / 18
    rows = (
        (np.cos(angle) * (1 + 0.1 * wide), -np.sin(angle) + 0.1 * shear, right / 7),
        (np.sin(angle), np.cos(angle) * (1 + 0.1 * high), down / 7),
    )
    return np.array(rows, np.float32).transpose(2, 0, 1)


def moved(images: Tensor, maps: Tensor) -> Tensor:
    """Images (B, 1, H, W) with background -1, each under its affine map (B, 2, 3)."""
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1


def _endless(places: NDArray[np.intp], draw: np.random.Generator) -> Iterator[int]:
    while True:
        yield from draw.permutation(places).tolist()


def _batch(training: Pairs, steps: Sequence[tuple[NDArray[np.intp], NDArray[np.float32]]], method: Method) -> Batch:
    places = torch.from_numpy(np.stack([places for places, _ in steps]))
    maps = torch.from_numpy(np.stack([maps for _, maps in steps]))
    images = moved(training.images[places.flatten()], maps.flatten(0, 1))
    images = images.view(*places.shape, *images.shape[1:])
    alone, pairs = places[:, : method.images], places[:, method.images :]
    return Batch(
        images[:, : method.images],
        training.digits[alone],
        images[:, method.images :],
        training.sounds[pairs],
        training.digits[pairs],
    )


def _inputs(pairs: Pairs, places: Tensor) -> Pairs:
    return Pairs(pairs.images[places], pairs.sounds[places], pairs.digits[places], pairs.speakers[places])


def _answers(ensemble: Ensemble, method: Method, pairs: Pairs, available: Available, *, own: bool) -> Tensor:
    """Logits (networks, N, 10); what is not available is not handed over."""
    inputs = {name: values for name, values in ((IMAGE, pairs.images), (SOUND, pairs.sounds)) if name in available}
    return ensemble.predictions(method.logits, inputs, own=own)


def _percent_right(logits: Tensor, digits: Tensor) -> Tensor:
    return 100 * (logits.argmax(-1) == digits).float().mean(-1)
