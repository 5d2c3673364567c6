"""Every term of the objective against a computation by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from napari_shaspec.model.losses import alignment_loss, domain_loss, feature_losses, pooled, task_loss
from napari_shaspec.model.objective import AlignmentLoss
from napari_shaspec.model.shaspec import ShaSpec

DISTANCES = (AlignmentLoss.L1, AlignmentLoss.MSE, AlignmentLoss.KL)
each_variant = pytest.mark.parametrize("variant", list(AlignmentLoss))


def random_features(count: int, batch: int = 2, channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn((batch, channels, 2, 3, 4), generator=generator) for _ in range(count)]


@pytest.fixture
def classifier() -> nn.Linear:
    """Tells four modalities apart, at random."""
    torch.manual_seed(1)
    return nn.Linear(3, 4)


@pytest.fixture
def blind_classifier() -> nn.Linear:
    """Gives every modality the same logit, whatever it sees."""
    blind = nn.Linear(3, 4)
    nn.init.zeros_(blind.weight)
    nn.init.constant_(blind.bias, 0.7)
    return blind


def test_pooled_is_the_spatial_mean() -> None:
    (features,) = random_features(1)
    torch.testing.assert_close(pooled(features), features.mean((2, 3, 4)))


@pytest.mark.parametrize("variant", DISTANCES)
def test_9_dao_is_0_for_equal_shared_features(variant: AlignmentLoss, classifier: nn.Linear) -> None:
    (features,) = random_features(1)
    assert alignment_loss([features, features.clone(), features.clone()], variant, classifier) == 0


def test_9_dao_by_cross_entropy_is_0_where_the_modality_cannot_be_told(blind_classifier: nn.Linear) -> None:
    loss = alignment_loss(random_features(3), AlignmentLoss.CE, blind_classifier)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_dao_by_cross_entropy_asks_the_classifier_not_the_features(classifier: nn.Linear) -> None:
    (features,) = random_features(1)  # equal, but the classifier takes them for one of the modalities
    assert alignment_loss([features, features], AlignmentLoss.CE, classifier) > 0.01


def test_9_dco_is_log_n_for_uniform_logits(blind_classifier: nn.Linear) -> None:
    loss = domain_loss(dict(enumerate(random_features(4))), blind_classifier)
    assert loss.item() == pytest.approx(math.log(4), abs=1e-6)


@each_variant
def test_dao_is_positive_for_different_features(variant: AlignmentLoss, classifier: nn.Linear) -> None:
    assert alignment_loss(random_features(2), variant, classifier) > 0.01


@each_variant
def test_dao_is_0_with_one_modality(variant: AlignmentLoss, classifier: nn.Linear) -> None:
    loss = alignment_loss(random_features(1), variant, classifier)
    assert loss == 0
    assert loss.shape == ()


def by_hand(first: Tensor, second: Tensor, variant: AlignmentLoss) -> Tensor:
    if variant is AlignmentLoss.L1:
        return (first - second).abs().mean()
    if variant is AlignmentLoss.MSE:
        return ((first - second) ** 2).mean()
    p, q = first.softmax(1), second.softmax(1)
    both_ways = (p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)
    return both_ways.mean() / 2


@pytest.mark.parametrize("variant", DISTANCES)
def test_dao_is_the_mean_over_all_pairs(variant: AlignmentLoss, classifier: nn.Linear) -> None:
    a, b, c = random_features(3)
    expected = (by_hand(a, b, variant) + by_hand(a, c, variant) + by_hand(b, c, variant)) / 3
    torch.testing.assert_close(alignment_loss([a, b, c], variant, classifier), expected)


def test_dao_by_cross_entropy_by_hand(classifier: nn.Linear) -> None:
    features = random_features(3)
    against_uniform = [
        -(classifier(feature.mean((2, 3, 4))).softmax(1).log() / 4).sum(1).mean() - math.log(4) for feature in features
    ]
    expected = sum(against_uniform) / 3
    torch.testing.assert_close(alignment_loss(features, AlignmentLoss.CE, classifier), expected)


def test_dco_by_hand(classifier: nn.Linear) -> None:
    first, third = random_features(2)
    chances = [classifier(features.mean((2, 3, 4))).softmax(1) for features in (first, third)]
    expected = -(chances[0][:, 0].log().mean() + chances[1][:, 2].log().mean()) / 2
    torch.testing.assert_close(domain_loss({0: first, 2: third}, classifier), expected)


def dice_by_hand(probabilities: Tensor, masks: Tensor) -> Tensor:
    """1 - (2 |P G| + 1) / (|P| + |G| + 1), the mean over samples and regions."""
    axes = tuple(range(2, masks.ndim))
    overlap = (probabilities * masks).sum(axes)
    return (1 - (2 * overlap + 1) / (probabilities.sum(axes) + masks.sum(axes) + 1)).mean()


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)])
def test_task_loss_is_dice_and_binary_cross_entropy(size: Sequence[int]) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((2, 3, *size), generator=generator)
    masks = (torch.rand((2, 3, *size), generator=generator) < 0.3).float()
    p = logits.sigmoid()
    cross_entropy = -(masks * p.log() + (1 - masks) * (1 - p).log()).mean()
    torch.testing.assert_close(task_loss(logits, masks), dice_by_hand(p, masks) + cross_entropy)


def test_task_loss_is_0_for_a_perfect_answer_even_without_a_tumour() -> None:
    masks = torch.zeros(2, 3, 4, 4, 4)
    masks[0, :, :2] = 1
    assert task_loss(40 * (masks - 0.5), masks).item() == pytest.approx(0, abs=1e-4)


def test_of_shares_the_truth_is_the_least() -> None:
    """The Dice of hard masks is less elsewhere, and the smoothing of one coarse voxel would be that of 64 voxels."""
    generator = torch.Generator().manual_seed(5)
    shares = nn.functional.avg_pool3d((torch.rand((2, 3, 8, 8, 8), generator=generator) > 0.7).float(), 4)
    at_truth = torch.logit(shares.double().clamp(1e-9, 1 - 1e-9)).requires_grad_()
    loss = task_loss(at_truth, shares, 64)
    entropy = nn.functional.binary_cross_entropy_with_logits(at_truth.float(), shares)
    assert loss.item() == pytest.approx(entropy.item(), abs=1e-5)
    for step in (0.05, -0.05, 0.5):
        noise = step * torch.randn(shares.shape, generator=generator)
        assert task_loss(at_truth + noise, shares, 64) > loss
    small = torch.zeros(1, 1, 2, 2, 2)
    small[..., 0] = 1 / 64  # one voxel of 64 in each of four
    assert task_loss(torch.full_like(small, -20.0), small, 64) > 0.75


@each_variant
def test_losses_are_means_over_samples(variant: AlignmentLoss, classifier: nn.Linear) -> None:
    features = random_features(3)
    samples = [[feature[index : index + 1] for feature in features] for index in range(2)]
    torch.testing.assert_close(
        alignment_loss(features, variant, classifier),
        sum(alignment_loss(sample, variant, classifier) for sample in samples) / 2,
    )
    torch.testing.assert_close(
        domain_loss(dict(enumerate(features)), classifier),
        sum(domain_loss(dict(enumerate(sample)), classifier) for sample in samples) / 2,
    )
    logits, masks = features[0], (features[1] > 0.5).float()
    torch.testing.assert_close(
        task_loss(logits, masks),
        sum(task_loss(logits[index : index + 1], masks[index : index + 1]) for index in range(2)) / 2,
    )


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_losses_are_computed_in_float32(precision: torch.dtype, classifier: nn.Linear) -> None:
    features = [feature.to(precision) for feature in random_features(2)]
    for variant in AlignmentLoss:
        assert alignment_loss(features, variant, classifier).dtype == torch.float32
    assert domain_loss(dict(enumerate(features)), classifier).dtype == torch.float32
    assert task_loss(features[0], torch.ones(2, 3, 2, 3, 4)).dtype == torch.float32


def test_autocast_does_not_round_the_classifier(model: ShaSpec, images: dict[str, Tensor]) -> None:
    encodings = {name: model.encode(image, name) for name, image in images.items()}
    arguments = (encodings, model.config.modalities, model.domain_classifier, AlignmentLoss.CE)
    expected = feature_losses(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        found = feature_losses(*arguments)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def gradient(module: nn.Module) -> float:
    return sum(float(weight.grad.abs().sum()) for weight in module.parameters() if weight.grad is not None)


@each_variant
def test_dao_trains_the_shared_encoder_and_dco_the_specific_ones(
    model: ShaSpec, images: dict[str, Tensor], variant: AlignmentLoss
) -> None:
    present = {name: images[name] for name in ("t2", "t1")}
    for term, trained, untouched in (
        (0, [model.shared], list(model.specific.values())),
        (1, [model.specific["t1"], model.specific["t2"]], [model.shared, model.specific["flair"]]),
    ):
        model.zero_grad()
        encodings = {name: model.encode(image, name) for name, image in present.items()}
        losses = feature_losses(encodings, model.config.modalities, model.domain_classifier, variant)
        losses[term].backward()
        assert all(gradient(module) > 0 for module in trained)
        assert not any(gradient(module) for module in untouched)
    assert gradient(model.domain_classifier) > 0
    model.zero_grad()


def test_feature_losses_know_each_modality_by_its_place(model: ShaSpec, images: dict[str, Tensor]) -> None:
    encodings = {name: model.encode(images[name], name) for name in ("t2", "t1")}
    alignment, domain = feature_losses(encodings, model.config.modalities, model.domain_classifier)
    t1, t2 = encodings["t1"], encodings["t2"]
    torch.testing.assert_close(alignment, (t1.shared - t2.shared).abs().mean())
    torch.testing.assert_close(domain, domain_loss({1: t1.specific, 3: t2.specific}, model.domain_classifier))
