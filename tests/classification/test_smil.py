"""SMIL's second-order step, and the small baselines."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import napari_shaspec.classification.smil as smil
from napari_shaspec.classification.av_mnist import IMAGE, AudiovisionMNIST, draw_split
from napari_shaspec.classification.ensemble import Ensemble
from napari_shaspec.classification.imputation import (
    AdversarialImputation,
    AutoencoderImputation,
    FullToMissing,
    ImputingClassifier,
    adversarial_loss,
    adversary,
    reversed_gradient,
)
from napari_shaspec.classification.methods import Batch, Method
from napari_shaspec.classification.training import Recipe, train_row


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    digits = torch.randint(10, (3,), generator=generator)
    return Batch(draw(3, 1, 28, 28), digits, draw(3, 1, 28, 28), draw(3, 1, 20, 20), digits.flip(0))


@pytest.fixture
def network() -> smil.SmilClassifier:
    """Nothing random in it."""
    torch.manual_seed(2)
    network = smil.SmilClassifier().double()
    network.centres.normal_()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, smil.Noise):
            nn.init.zeros_(module.deviation.weight)
            nn.init.constant_(module.deviation.bias, -1e3)
    return network


@pytest.mark.parametrize("name", ["head.last.weight", "head.first.weight", "image.3.weight", "weights.2.weight"])
def test_the_gradient_goes_through_the_inner_step(
    network: smil.SmilClassifier, batch: Batch, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smil, "INNER_RATE", 0.5)  # so that the second order weighs
    torch.autograd.backward(smil.Smil().loss(network, batch))
    weight = network.get_parameter(name)
    assert weight.grad is not None
    place = int(weight.grad.abs().argmax())
    found = float(weight.grad.flatten()[place])

    def loss(change: float) -> float:
        with torch.no_grad():
            weight.view(-1)[place] += change
        value = float(smil.Smil().loss(network, batch).detach())
        with torch.no_grad():
            weight.view(-1)[place] -= change
        return value

    assert found == pytest.approx((loss(1e-6) - loss(-1e-6)) / 2e-6, rel=1e-5)


def test_without_an_inner_step_the_loss_is_the_sum_of_its_terms(
    network: smil.SmilClassifier, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smil, "INNER_RATE", 0.0)
    alone = network.without_sound(batch.images)
    without = network.without_sound(batch.paired_images)
    target = network.with_sound(batch.paired_images, batch.paired_sounds)
    expected = (
        nn.functional.cross_entropy(alone.logits[0], batch.digits)
        + nn.functional.cross_entropy(without.logits[0], batch.paired_digits)
        + 0.01 * (without.fused[0] - target.fused).square().mean()
        + 0.01 * (without.hidden[0] - target.hidden).square().mean()
    )
    torch.testing.assert_close(smil.Smil().loss(network, batch), expected)
    assert (without.fused.shape, without.hidden.shape) == ((1, 3, 480), (1, 3, 64))


def test_the_inner_rate_falls_tenfold(network: smil.SmilClassifier, batch: Batch) -> None:
    losses = []
    for steps in (0, 999, 1000, 10**6):
        network.steps.fill_(steps)
        losses.append(float(smil.Smil().loss(network, batch).detach()))
    none = losses[3]  # a rate of 10**-1003 is none
    assert losses[0] == losses[1]
    assert losses[2] - none == pytest.approx((losses[0] - none) / 10, rel=0.05)


def test_every_network_counts_its_steps() -> None:
    torch.manual_seed(0)
    ensemble = Ensemble([smil.SmilClassifier(), smil.SmilClassifier()])
    images, sounds, digits = torch.randn(2, 3, 1, 28, 28), torch.randn(2, 3, 1, 20, 20), torch.zeros(2, 3).long()
    for steps in (1, 2):
        ensemble.losses(smil.Smil().loss, Batch(images, digits, images, sounds, digits))
        assert ensemble.buffers["network.steps"].tolist() == [steps, steps]


def test_noise_is_drawn_anew_for_each_pass() -> None:
    torch.manual_seed(0)
    network = smil.SmilClassifier().eval()
    logits = network.without_sound(torch.randn(2, 1, 28, 28), 30).logits
    assert logits.shape == (30, 2, 10)
    assert logits.std(0).min() > 0


def test_centres_are_found() -> None:
    truth = 10 * torch.eye(10, 320)
    features = truth.repeat(20, 1) + 0.01 * torch.randn(200, 320, generator=torch.Generator().manual_seed(0))
    distances = torch.cdist(smil.centres_of(features, 0), truth)
    assert (distances.min(1).values < 0.1).sum() >= 8


def test_a_reversed_gradient_keeps_the_values() -> None:
    features = torch.randn(3, requires_grad=True)
    torch.testing.assert_close(reversed_gradient(features), features)
    reversed_gradient(features).sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [-1, -1, -1]


def test_judge_and_maker_work_against_each_other() -> None:
    torch.manual_seed(0)
    judge, genuine = adversary(5), torch.randn(8, 5)
    made_up = torch.randn(8, 5, requires_grad=True)
    before = adversarial_loss(judge, genuine, made_up)
    torch.autograd.backward(before)
    assert made_up.grad is not None
    with torch.no_grad():
        deceiving = adversarial_loss(judge, genuine, made_up - 0.1 * made_up.grad)
        for weight in judge.parameters():
            assert weight.grad is not None
            weight.sub_(0.1 * weight.grad)
        judging = adversarial_loss(judge, genuine, made_up)
    assert judging < before < deceiving


def test_made_up_sounds_have_the_scale_of_the_known_ones(made_up: AudiovisionMNIST) -> None:
    split = draw_split(made_up.training, 20, 0)
    network = AutoencoderImputation().networks(made_up.training, [split], [0], Recipe())[0]
    assert isinstance(network, ImputingClassifier)
    standard = network.standard(made_up.training.sounds[split.paired])
    torch.testing.assert_close(standard.mean(0), torch.zeros(1, 20, 20), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard.std(0), torch.ones(1, 20, 20), rtol=0, atol=1e-4)
    assert network.made_up(torch.randn(2, 1, 28, 28)).shape == (2, 1, 20, 20)


@pytest.mark.parametrize(
    "method", [smil.Smil(), AutoencoderImputation(), AdversarialImputation(), FullToMissing()], ids=lambda m: m.title
)
def test_every_baseline_learns(method: Method, made_up: AudiovisionMNIST, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smil, "PRETRAINING_EPOCHS", 1)
    (score,) = train_row(method, made_up, 5, [1], Recipe(epochs=5, learning_rate=0.003))
    assert score.accuracy > 50
    assert score.available == {IMAGE}
