"""One step of training, one of validation, and the loss going down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_shaspec.model.losses import feature_losses, task_loss
from napari_shaspec.model.shaspec import Encoding
from napari_shaspec.training.augment import jitter_intensities
from napari_shaspec.training.config import Augmentation, Optimizer, Schedule, SubsetSampling, TrainConfig
from napari_shaspec.training.data import Batch, Purpose, generator_for
from napari_shaspec.training.module import ShaSpecTraining, draw_subset, draw_subsets, subsets_of_step

NAMES = ("flair", "t1", "t1c", "t2")


class Recorded(ShaSpecTraining):
    """A module without a trainer: it keeps what it would log, and what it encodes and decodes."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(0)
        super().__init__(config)
        self.logged: dict[str, Any] = {}
        self.encoded: list[str] = []
        self.decoded: list[frozenset[str]] = []
        encode, decode = self.model.encode, self.model.decode

        def encode_recorded(image: Tensor, modality: str) -> Encoding:
            self.encoded.append(modality)
            return encode(image, modality)

        def decode_recorded(encodings: Mapping[str, Encoding]) -> Tensor:
            self.decoded.append(frozenset(encodings))
            return decode(encodings)

        self.model.encode, self.model.decode = encode_recorded, decode_recorded

    def log_dict(self, dictionary: Mapping[str, Any], **options: Any) -> None:
        self.logged = dict(dictionary)


@pytest.fixture
def later(config: TrainConfig) -> TrainConfig:
    """A configuration that decodes subsets from the first step on."""
    return replace(config, all_steps=0)


# Subsets


def test_the_full_set_comes_first_then_proper_subsets() -> None:
    subsets = draw_subsets(NAMES, 5, torch.Generator().manual_seed(0))
    assert subsets[0] == frozenset(NAMES)
    assert len(subsets) == 6
    assert all(frozenset() < subset < frozenset(NAMES) for subset in subsets[1:])


def test_the_first_of_several_is_a_single_modality() -> None:
    generator = torch.Generator().manual_seed(0)
    firsts = Counter(draw_subsets(NAMES, 2, generator)[1] for _ in range(400))
    assert set(firsts) == {frozenset([name]) for name in NAMES}
    assert all(count == pytest.approx(100, rel=0.3) for count in firsts.values())
    assert {len(draw_subsets(NAMES, 1, generator)[1]) for _ in range(50)} == {1, 2, 3}


def test_a_seed_makes_the_same_subsets_again() -> None:
    first, again, other = (draw_subsets(NAMES, 9, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_sizes_are_uniform_and_so_are_the_members_of_each_size() -> None:
    draws = Counter(draw_subsets(NAMES, 6000, torch.Generator().manual_seed(3))[1:])
    assert len(draws) == 14
    for size, members in ((1, 4), (2, 6), (3, 4)):
        of_size = {subset: count for subset, count in draws.items() if len(subset) == size}
        assert len(of_size) == members
        assert sum(of_size.values()) == pytest.approx(2000, rel=0.1)
        for count in of_size.values():
            assert count == pytest.approx(2000 / members, rel=0.2)


@pytest.mark.parametrize(("names", "count"), [(NAMES, 0), (("t1",), 3)])
def test_without_subsets_there_is_the_full_set(names: tuple[str, ...], count: int) -> None:
    assert draw_subsets(names, count, torch.Generator()) == [frozenset(names)]


def test_subsets_can_be_uniform_over_all_of_them() -> None:
    generator = torch.Generator().manual_seed(4)
    draws = Counter(draw_subset(NAMES, 4, SubsetSampling.UNIFORM, generator) for _ in range(6000))
    assert len(draws) == 15
    assert all(count == pytest.approx(400, rel=0.25) for count in draws.values())
    sizes = Counter(len(draw_subset(NAMES, 4, SubsetSampling.SIZE, generator)) for _ in range(4000))
    assert all(count == pytest.approx(1000, rel=0.15) for count in sizes.values())


def test_the_subsets_of_a_step_depend_on_seed_and_step_only(config: TrainConfig) -> None:
    published = replace(config, full_set=False, all_steps=2)
    assert [subsets_of_step(published, NAMES, step) for step in (0, 1)] == [[frozenset(NAMES)]] * 2
    later = [subsets_of_step(published, NAMES, step) for step in range(2, 60)]
    assert all(len(subsets) == 1 for subsets in later)
    assert {len(subsets[0]) for subsets in later} == {1, 2, 3, 4}
    torch.manual_seed(99)
    assert later == [subsets_of_step(published, NAMES, step) for step in range(2, 60)]
    assert later != [subsets_of_step(replace(published, seed=8), NAMES, step) for step in range(2, 60)]


# Training


def test_every_modality_is_encoded_once_and_decoded_for_several_subsets(later: TrainConfig, batch: Batch) -> None:
    module = Recorded(later)
    module.training_step(batch, 0)
    assert sorted(module.encoded) == list(NAMES)
    assert module.decoded[0] == frozenset(NAMES)
    assert len(module.decoded) == 1 + later.subsets


def test_the_objective_is_the_sum_of_its_terms(later: TrainConfig, batch: Batch) -> None:
    module = Recorded(later)
    loss = module.training_step(batch, 0)
    logged = module.logged
    torch.testing.assert_close(loss, logged["task"] + 0.1 * logged["dao"] + 0.02 * logged["dco"])
    images = jitter_intensities(batch.images, generator_for(Purpose.INTENSITIES, later.seed, 0))
    encodings = {name: module.model.encode(image, name) for name, image in images.items()}
    dao, dco = feature_losses(encodings, NAMES, module.model.domain_classifier)
    chosen = module.decoded[: 1 + later.subsets]
    logits = [module.model.decode({name: encodings[name] for name in subset}) for subset in chosen]
    torch.testing.assert_close(logged["task"], sum(task_loss(each, batch.masks) for each in logits) / len(chosen))
    torch.testing.assert_close((logged["dao"], logged["dco"]), (dao, dco))


def test_deep_supervision_asks_every_level_of_the_decoder(later: TrainConfig, batch: Batch) -> None:
    torch.manual_seed(3)
    module = ShaSpecTraining(replace(later, deep_supervision=0.5))
    encodings = {name: module.model.encode(image, name) for name, image in batch.images.items()}
    loss = module.supervised(encodings, batch.masks)
    fused, *_ = module.model.decoder_inputs(encodings)
    bottom = module.model.decoder.bottom(torch.cat(fused, 1))
    blocks = batch.masks.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2)  # the smallest network has two levels
    coarse = task_loss(module.coarse_outputs[0](bottom), blocks.mean((5, 6, 7)), 8)
    torch.testing.assert_close(loss, task_loss(module.model.decode(encodings), batch.masks) + 0.5 * coarse)
    assert loss > task_loss(module.model.decode(encodings), batch.masks)

    loss.backward()
    optimizer = module.configure_optimizers()["optimizer"]
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert {id(parameter) for parameter in module.coarse_outputs.parameters()} < trained
    assert all(parameter.grad is not None for parameter in module.coarse_outputs.parameters())


def test_without_deep_supervision_there_is_nothing_more_to_train(later: TrainConfig) -> None:
    module = ShaSpecTraining(later)
    assert {name.partition(".")[0] for name, _ in module.named_parameters()} == {"model"}


def test_at_first_there_is_only_the_full_set_and_its_task(config: TrainConfig, batch: Batch) -> None:
    module = Recorded(replace(config, all_steps=1))
    loss = module.training_step(batch, 0)
    assert module.decoded == [frozenset(NAMES)]
    torch.testing.assert_close(loss, module.logged["task"])


def test_published_steps_train_the_drawn_subset_and_nothing_else(later: TrainConfig, batch: Batch) -> None:
    published = replace(later, full_set=False, features_wait=False)
    seed = next(seed for seed in range(50) if len(subsets_of_step(replace(published, seed=seed), NAMES, 0)[0]) == 2)
    module = Recorded(replace(published, seed=seed))
    module.training_step(batch, 0).backward()
    (drawn,) = module.decoded
    assert sorted(module.encoded) == sorted(drawn)
    assert module.logged["dao"] > 0
    for name in NAMES:
        grads = [parameter.grad for parameter in module.model.specific[name].parameters()]
        assert all((grad is not None) == (name in drawn) for grad in grads)


def test_features_count_from_the_first_step_on_where_they_do_not_wait(config: TrainConfig, batch: Batch) -> None:
    module = Recorded(replace(config, all_steps=1, features_wait=False))
    loss = module.training_step(batch, 0)
    logged = module.logged
    torch.testing.assert_close(loss, logged["task"] + 0.1 * logged["dao"] + 0.02 * logged["dco"])


def test_a_dedicated_network_sees_its_subset_in_training_and_validation(later: TrainConfig, batch: Batch) -> None:
    module = Recorded(replace(later, dedicated=("flair", "t1c")))
    module.training_step(batch, 0)
    with torch.no_grad():
        found = module.validation_step(batch, 0)
    assert set(module.encoded) == {"flair", "t1c"}
    assert module.decoded == [frozenset({"flair", "t1c"})] * 2
    assert list(found) == ["flair+t1c"]
    assert "score" in module.logged


def test_without_augmentation_the_network_sees_the_images_themselves(later: TrainConfig, batch: Batch) -> None:
    plain = Recorded(replace(later, augmentation=Augmentation.NONE, all_steps=1))
    loss = plain.training_step(batch, 0)
    torch.testing.assert_close(loss, task_loss(plain.model(batch.images).logits, batch.masks))
    changed = Recorded(replace(later, augmentation=Augmentation.INTENSITY, all_steps=1)).training_step(batch, 0)
    assert not torch.allclose(loss, changed)


def test_losses_are_means_over_the_samples_of_a_batch(later: TrainConfig, batch: Batch) -> None:
    plain = replace(later, augmentation=Augmentation.NONE)
    other = {name: image.flip(2) * 1.1 for name, image in batch.images.items()}
    halves = [batch, Batch(other, batch.masks.flip(2))]
    whole = Batch(
        {name: torch.cat([half.images[name] for half in halves]) for name in NAMES},
        torch.cat([half.masks for half in halves]),
    )
    gradients = []
    for batches in (halves, [whole]):
        module = Recorded(plain)
        for each in batches:
            (module.training_step(each, 0) / len(batches)).backward()
        gradients.append([parameter.grad for parameter in module.model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def test_a_step_is_the_same_again(later: TrainConfig, batch: Batch) -> None:
    first, second = Recorded(later), Recorded(later)
    assert torch.equal(first.training_step(batch, 0), second.training_step(batch, 0))
    assert first.decoded == second.decoded


def test_cases_with_missing_modalities_train_too(later: TrainConfig, batch: Batch) -> None:
    module = Recorded(later)
    present = {name: batch.images[name] for name in ("t1", "t2")}
    loss = module.training_step(Batch(present, batch.masks), 0)
    assert bool(loss.isfinite())
    assert module.decoded[0] == {"t1", "t2"}
    assert all(subset < {"t1", "t2"} for subset in module.decoded[1:])


def test_13_a_few_training_steps_lower_the_loss(later: TrainConfig, batch: Batch) -> None:
    module = Recorded(replace(later, learning_rate=0.02))
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(12):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


def learning_rates(module: ShaSpecTraining, steps: int) -> Iterator[float]:
    optimizers = module.configure_optimizers()
    for _ in range(steps):
        yield optimizers["optimizer"].param_groups[0]["lr"]
        optimizers["optimizer"].step()
        optimizers["lr_scheduler"]["scheduler"].step()


def test_the_learning_rate_rises_then_falls_to_0(config: TrainConfig) -> None:
    module = ShaSpecTraining(replace(config, steps=200, warmup_steps=10, learning_rate=0.01))
    rates = list(learning_rates(module, 201))
    assert rates[0] == pytest.approx(0.001)
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert rates[100] == pytest.approx(0.005)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[200] == pytest.approx(0, abs=1e-12)


def test_the_published_optimizer_and_both_schedules(config: TrainConfig) -> None:
    published = replace(config, optimizer=Optimizer.SGD, steps=100, warmup_steps=1, learning_rate=0.01)
    optimizer = ShaSpecTraining(published).configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["nesterov"]
    assert optimizer.defaults["momentum"] == 0.99
    for schedule, middle in ((Schedule.COSINE, 0.5), (Schedule.POLY, 0.5**0.9)):
        rates = list(learning_rates(ShaSpecTraining(replace(published, schedule=schedule)), 101))
        assert rates[0] == pytest.approx(0.01)
        assert rates[50] == pytest.approx(0.01 * middle)
        assert rates[100] == pytest.approx(0, abs=1e-12)


# Validation


def answer(module: ShaSpecTraining, found: Tensor) -> None:
    """Let the network find these masks, whatever it sees."""
    module.model.decode = lambda encodings: 20 * (found - 0.5)


@torch.no_grad()
def test_validation_scores_all_subsets(config: TrainConfig, batch: Batch) -> None:
    module = Recorded(config)
    module.validation_step(batch, 0)
    assert sorted(module.encoded) == list(NAMES)
    assert len(module.decoded) == len(set(module.decoded)) == 15
    regions = ("ET", "TC", "WT")
    assert module.logged.keys() == {
        "score",
        *(f"{prefix}_{region}" for prefix in ("all", "mean") for region in regions),
        *(f"{name}_WT" for name in NAMES),
    }


@torch.no_grad()
def test_a_perfect_answer_scores_1_and_none_scores_0(config: TrainConfig, batch: Batch) -> None:
    module = Recorded(config)
    answer(module, batch.masks)
    module.validation_step(batch, 0)
    assert all(float(value) == 1 for value in module.logged.values())
    answer(module, torch.zeros_like(batch.masks))
    module.validation_step(batch, 0)
    assert all(float(value) == 0 for value in module.logged.values())
    module.validation_step(Batch(batch.images, torch.zeros_like(batch.masks)), 0)
    assert float(module.logged["score"]) == 1  # nothing found where there is nothing


@torch.no_grad()
def test_scores_tell_subsets_and_regions_apart(config: TrainConfig, batch: Batch) -> None:
    module = Recorded(config)
    nothing = torch.zeros_like(batch.masks)
    only_wt = torch.stack([nothing[:, 0], nothing[:, 1], batch.masks[:, 2]], 1)
    module.model.decode = lambda encodings: 20 * ((only_wt if "t2" in encodings else nothing) - 0.5)
    module.validation_step(batch, 0)
    logged = {name: round(float(value), 4) for name, value in module.logged.items()}
    assert (logged["all_ET"], logged["all_TC"], logged["all_WT"]) == (0, 0, 1)
    assert (logged["flair_WT"], logged["t1_WT"], logged["t1c_WT"], logged["t2_WT"]) == (0, 0, 0, 1)
    assert logged["mean_WT"] == round(8 / 15, 4)
    assert logged["score"] == round(8 / 45, 4)


@torch.no_grad()
def test_cases_with_missing_modalities_are_scored_on_what_they_have(config: TrainConfig, batch: Batch) -> None:
    module = Recorded(config)
    module.validation_step(Batch({name: batch.images[name] for name in ("t1", "t2")}, batch.masks), 0)
    assert set(module.decoded) == {frozenset({"t1"}), frozenset({"t2"}), frozenset({"t1", "t2"})}
    assert "flair_WT" not in module.logged
