"""Many networks at once are the same networks one by one; and the test set has no say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_shaspec.classification.av_mnist import AudiovisionMNIST, draw_split
from napari_shaspec.classification.ensemble import Ensemble, keep_better
from napari_shaspec.classification.methods import (
    EVERYTHING,
    ONLY_IMAGE,
    ONLY_SOUND,
    Batch,
    Both,
    ImageOnly,
    Method,
    ShaSpecMethod,
    ShaSpecWithoutSound,
)
from napari_shaspec.classification.training import Recipe, RunDraws, affine_maps, fit, moved, train_network, train_row
from napari_shaspec.model.objective import AlignmentLoss

QUICK = Recipe(epochs=2, batch=95, learning_rate=0.003)


def without_dropout(networks: list[nn.Module]) -> list[nn.Module]:
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    return networks


def random_batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(6, 1, 28, 28, generator=generator),
        torch.randint(10, (6,), generator=generator),
        torch.randn(4, 1, 28, 28, generator=generator),
        50 * torch.randn(4, 1, 20, 20, generator=generator),
        torch.randint(10, (4,), generator=generator),
    )


@pytest.mark.parametrize(
    "method", [*map(ShaSpecMethod, AlignmentLoss), ShaSpecWithoutSound(), ImageOnly(), Both()], ids=lambda m: m.title
)
def test_networks_trained_together_equal_networks_trained_alone(method: Method, made_up: AudiovisionMNIST) -> None:
    splits = [draw_split(made_up.training, 5, seed) for seed in (0, 1)]
    alone = without_dropout(method.networks(made_up.training, splits, [0, 1], Recipe()))
    ensemble = Ensemble(alone)
    optimizer = torch.optim.Adam(ensemble.parameters.values(), 0.001, weight_decay=0.01)
    batches = [[random_batch(10 * step + index) for index in range(2)] for step in range(3)]
    for step in batches:
        optimizer.zero_grad()
        stacked = Batch(*(torch.stack(parts) for parts in zip(*step, strict=True)))
        torch.autograd.backward(ensemble.losses(method.loss, stacked).sum())
        optimizer.step()
    for index, network in enumerate(alone):
        optimizer = torch.optim.Adam(network.parameters(), 0.001, weight_decay=0.01)
        for step in batches:
            optimizer.zero_grad()
            torch.autograd.backward(method.loss(network, step[index]))
            optimizer.step()
        together = ensemble.network(index).state_dict()
        if not isinstance(method, ShaSpecWithoutSound):  # whose other encoders have nothing to learn
            assert all(weight.grad is not None for weight in network.parameters())
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=2e-4, msg=name)


def test_dropout_differs_between_networks() -> None:
    torch.manual_seed(0)
    network = ImageOnly().network()
    ensemble = Ensemble([network, network])
    batch = Batch(*(torch.stack([part, part]) for part in random_batch(0)))
    first, second = ensemble.losses(ImageOnly().loss, batch)
    assert first != second


def test_only_marked_networks_are_taken_over() -> None:
    best, now = {"weight": torch.zeros(2, 3)}, {"weight": torch.ones(2, 3)}
    kept = keep_better(best, now, torch.tensor([False, True]))
    assert kept["weight"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_row_learns_and_repeats_itself(made_up: AudiovisionMNIST) -> None:
    scores = train_row(ShaSpecMethod(), made_up, 5, range(2), QUICK)
    assert train_row(ShaSpecMethod(), made_up, 5, range(2), QUICK) == scores
    assert [(score.seed, score.available) for score in scores] == [
        (seed, available) for available in (ONLY_IMAGE, EVERYTHING, ONLY_SOUND) for seed in range(2)
    ]
    assert all(score.accuracy > 50 for score in scores if score.available != ONLY_SOUND)


def test_the_test_set_has_no_say(made_up: AudiovisionMNIST) -> None:
    test = made_up.test
    other = replace(made_up, test=replace(test, images=-test.images, digits=test.digits.flip(0)))
    first, second = (train_row(ImageOnly(), data, 5, range(2), QUICK) for data in (made_up, other))
    assert [score.accuracy for score in first] != [score.accuracy for score in second]
    assert [(score.epoch, score.validation_accuracy) for score in first] == [
        (score.epoch, score.validation_accuracy) for score in second
    ]


def test_nothing_is_fitted_to_validation_images_or_unheard_sounds(made_up: AudiovisionMNIST) -> None:
    split = draw_split(made_up.training, 5, 3)
    draws = RunDraws(ShaSpecMethod(), split, 3, QUICK)
    places = np.array([draws.step()[0] for _ in range(19)])
    assert set(places[:, :50].flatten()) == set(split.fitted)  # one epoch, each image once
    assert set(places[:, 50:].flatten()) == set(split.paired)
    heard = RunDraws(Both(), split, 3, QUICK).step()[0]
    assert len(heard) == 50


def test_the_learning_rate_and_the_epochs_are_those_of_the_recipe(made_up: AudiovisionMNIST) -> None:
    split = draw_split(made_up.training, 5, 0)
    ensemble = Ensemble([ImageOnly().network()])
    before = ensemble.state()
    epochs = list(fit(ensemble, ImageOnly(), made_up.training, [split], [0], Recipe(epochs=1, learning_rate=0.0)))
    assert epochs == [1]
    torch.testing.assert_close(ensemble.state(), before, rtol=0, atol=0)


def test_images_move_as_told() -> None:
    images = -torch.ones(1, 1, 28, 28)
    images[0, 0, 10, 12] = 1
    still = torch.from_numpy(affine_maps(1, np.random.default_rng(0), 0.0))
    torch.testing.assert_close(moved(images, still), images, rtol=0, atol=1e-5)
    right = still + torch.tensor([[0, 0, 2 / 14], [0, 0, 0]])
    expected = -torch.ones(1, 1, 28, 28)
    expected[0, 0, 10, 10] = 1
    torch.testing.assert_close(moved(images, right), expected, rtol=0, atol=1e-4)
    maps = affine_maps(1000, np.random.default_rng(0), 1.0)
    assert 1.9 / 14 < np.abs(maps[:, :, 2]).max() <= 2 / 14
    assert 9 < np.degrees(np.arcsin(np.abs(maps[:, 1, 0]))).max() <= 10.0001


def test_a_network_trained_for_its_features_is_that_of_the_row(made_up: AudiovisionMNIST) -> None:
    network = train_network(ShaSpecMethod(), made_up.training, 10, 3, QUICK)
    assert not network.training
    inputs = {"image": made_up.test.images}
    right = 100 * float((ShaSpecMethod().logits(network, inputs).argmax(-1) == made_up.test.digits).float().mean())
    row = train_row(ShaSpecMethod(), made_up, 10, [3], QUICK)
    assert next(score.accuracy for score in row if score.available == ONLY_IMAGE) == pytest.approx(right, abs=0.3)
