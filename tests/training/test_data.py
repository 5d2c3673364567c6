"""What the loop is fed: normalised images, nested masks, and a stream that depends on seed and index only."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_shaspec.inference.intensity import CLAMP, normalise
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import Normalisation
from napari_shaspec.regions import Label, Region, labels_to_masks
from napari_shaspec.simulate.case import SimulatedBatch
from napari_shaspec.simulate.settings import HELD_OUT, TRAINING, SimulatorSettings
from napari_shaspec.training import data
from napari_shaspec.training.config import TrainConfig, continued
from napari_shaspec.training.data import (
    DRAWN_TOGETHER,
    HELD_OUT_FIRST,
    SEEDS,
    Batch,
    Purpose,
    SimulatedBatches,
    generator_for,
    held_out_batches,
    normalised_batch,
    region_masks,
)

CPU = torch.device("cpu")


def equal(first: Batch, second: Batch) -> bool:
    same_images = all(torch.equal(first.images[name], second.images[name]) for name in first.images)
    return same_images and torch.equal(first.masks, second.masks)


# Intensities


@pytest.fixture
def brain() -> Tensor:
    """A ball in a box."""
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 24)] * 3, indexing="ij"))
    return grid.norm(dim=0) < 0.9


@pytest.fixture
def image(brain: Tensor) -> Tensor:
    """Normal intensities around 400, sd 50."""
    noise = torch.randn(brain.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(brain, 400 + 50 * noise, 0.0)


def test_normalised_images_have_median_0_spread_1_and_background_0(image: Tensor, brain: Tensor) -> None:
    normalised = normalise(image, brain)
    assert float(normalised[brain].median()) == pytest.approx(0, abs=1e-3)
    assert float(normalised[brain].std()) == pytest.approx(1, abs=0.05)
    assert not normalised[~brain].any()


def test_units_of_the_scanner_do_not_matter(image: Tensor, brain: Tensor) -> None:
    torch.testing.assert_close(normalise(3.7 * image + 90, brain), normalise(image, brain), rtol=0, atol=1e-4)


def test_a_large_bright_tumour_hardly_moves_the_rest(image: Tensor, brain: Tensor) -> None:
    tumour = brain.clone()
    tumour[:9] = False
    tumour[11:] = False
    healthy = brain & ~tumour
    assert 0.08 < tumour.sum() / brain.sum() < 0.16
    with_tumour = image + 400 * tumour

    def z_score(values: Tensor) -> Tensor:
        return (values - values[brain].mean()) / values[brain].std()

    def shift(method: Callable[[Tensor], Tensor]) -> float:
        return float((method(with_tumour) - method(image))[healthy].abs().mean())

    robust, plain = shift(lambda values: normalise(values, brain)), shift(z_score)
    assert robust < 0.25
    assert robust < 0.4 * plain


def test_outliers_are_clamped(image: Tensor, brain: Tensor) -> None:
    image[12, 12, 11], image[12, 12, 12] = 1e6, -1e6
    normalised = normalise(image, brain)
    assert (normalised.min(), normalised.max()) == CLAMP


def test_the_other_rule_clips_the_tail_then_takes_mean_and_standard_deviation(image: Tensor, brain: Tensor) -> None:
    image[12, 12, 12] = 1e6  # a vessel
    scored = normalise(image, brain, Normalisation.ZSCORE)
    assert float(scored[brain].mean()) == pytest.approx(0, abs=1e-4)
    assert float(scored[brain].std()) == pytest.approx(1, abs=1e-3)
    assert scored[12, 12, 12] == scored.max() < 4
    assert not scored[~brain].any()
    torch.testing.assert_close(normalise(3.7 * image + 90, brain, Normalisation.ZSCORE), scored, rtol=0, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.3])
def test_a_constant_brain_becomes_0(brain: Tensor, value: float) -> None:
    assert not normalise(torch.full(brain.shape, value), brain).any()


def test_an_empty_brain_becomes_0(image: Tensor) -> None:
    assert not normalise(image, torch.zeros(image.shape, dtype=torch.bool)).any()


def test_images_of_few_grey_levels(brain: Tensor) -> None:
    image = torch.where(brain, 1.0, 0.0)
    image[12, 12, :] = 5.0  # 20th and 80th percentile are equal
    normalised = normalise(image, brain)
    assert bool(normalised.isfinite().all())
    assert normalised[12, 12, 12] > 1


def test_each_sample_and_modality_is_normalised_by_itself() -> None:
    images = torch.rand((2, 4, 8, 8, 8), generator=torch.Generator().manual_seed(1)) + 0.1
    images[:, :, :2] = 0
    batch = normalised_batch(images, torch.zeros(2, 8, 8, 8))
    assert list(batch.images) == [modality.value for modality in Modality]
    for channel, name in enumerate(batch.images):
        assert batch.images[name].shape == (2, 1, 8, 8, 8)
        expected = normalise(images[1, channel], images[1, channel] > 0)
        torch.testing.assert_close(batch.images[name][1, 0], expected)


# Masks


def test_masks_nest_and_agree_with_the_labels() -> None:
    labels = np.random.default_rng(0).choice([label.value for label in Label], (2, 5, 6, 7)).astype(np.uint8)
    masks = region_masks(torch.from_numpy(labels))
    assert masks.dtype == torch.float32
    assert masks.shape == (2, len(Region), 5, 6, 7)
    for sample in range(2):
        np.testing.assert_array_equal(masks[sample].numpy(), labels_to_masks(labels[sample]))
    enhancing, core, whole = masks.unbind(1)
    assert bool(((enhancing <= core) & (core <= whole)).all())


# The stream


def test_a_batch_has_the_form_that_the_network_wants(config: TrainConfig, batches: SimulatedBatches) -> None:
    assert {tuple(batch.masks.shape) for batch in batches} == {(1, 3, *config.patch), (1, 3, *config.coarse_patch)}
    for batch in batches:
        assert list(batch.images) == list(config.model.modalities)
        for image in batch.images.values():
            assert image.shape == (1, 1, *batch.masks.shape[2:])
            assert bool(image.isfinite().all())


def test_a_stream_ends(batches: SimulatedBatches) -> None:
    assert len(list(batches)) == len(batches) == 10
    with pytest.raises(IndexError):
        batches[-1]


def test_an_item_depends_on_seed_and_index_only(config: TrainConfig, batches: SimulatedBatches) -> None:
    again = SimulatedBatches(config, TRAINING, 0, 10, CPU)
    assert equal(again[3], batches[3])  # no matter what came before it
    assert not equal(batches[3], batches[4])
    other_seed = SimulatedBatches(replace(config, seed=8), TRAINING, 0, 10, CPU)
    assert not torch.equal(other_seed[0].images["t1"], batches[0].images["t1"])


def test_a_resumed_stream_goes_on_where_it_was(config: TrainConfig, batches: SimulatedBatches) -> None:
    assert equal(SimulatedBatches(config, TRAINING, 3, 2, CPU)[1], batches[4])


def test_a_stream_travels_to_a_loading_process(batches: SimulatedBatches) -> None:
    again = pickle.loads(pickle.dumps(batches))  # noqa: S301
    assert equal(again[1], batches[1])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, int, int], float]]:
    """Seed, size and voxel size of every batch asked of the simulator, which makes none."""
    asked = []

    def simulate(
        seed: int, batch: int, size: tuple[int, int, int], voxel_mm: float, settings: SimulatorSettings, device: object
    ) -> SimulatedBatch:
        asked.append((seed, size, voxel_mm))
        return SimulatedBatch(torch.zeros(batch, 4, 2, 2, 2), torch.zeros(batch, 2, 2, 2), voxel_mm)

    monkeypatch.setattr(data, "simulate_batch", simulate)
    return asked


def test_held_out_seeds_are_none_that_training_reaches(
    config: TrainConfig, drawn: list[tuple[int, tuple[int, int, int], float]]
) -> None:
    sets = []
    for seed in (config.seed, config.seed + 1):
        run = replace(config, seed=seed, validation_cases=50)
        first = SimulatedBatches(run, TRAINING, 0, 300, CPU)
        last = SimulatedBatches(run, TRAINING, HELD_OUT_FIRST - 300, 300, CPU)
        for stream in (first, last, held_out_batches(run, HELD_OUT, CPU)):
            drawn.clear()
            for index in range(len(stream)):
                stream[index]
            sets.append({seed for seed, _, _ in drawn})
    assert sum(map(len, sets)) == len(set.union(*sets)) == 2 * (300 + 300 + 50)
    assert all(step < SEEDS for step in (HELD_OUT_FIRST, HELD_OUT_FIRST + 50))


def test_coarse_steps_have_their_share(
    config: TrainConfig, drawn: list[tuple[int, tuple[int, int, int], float]]
) -> None:
    stream = SimulatedBatches(config, TRAINING, 0, 400, CPU)
    for index in range(len(stream)):
        stream[index]
    coarse, fine = (config.coarse_patch, 6.0), (config.patch, 4.0)
    kinds = [(size, voxel_mm) for _, size, voxel_mm in drawn]
    assert set(kinds) == {coarse, fine}
    assert kinds.count(coarse) / 400 == pytest.approx(config.coarse_share, abs=0.06)


def test_coarse_steps_come_first(config: TrainConfig, drawn: list[tuple[int, tuple[int, int, int], float]]) -> None:
    stream = SimulatedBatches(replace(config, steps=400, coarse_share=0.2), TRAINING, 0, 400, CPU)
    for index in range(len(stream)):
        stream[index]
    coarse = [voxel_mm == 6.0 for _, _, voxel_mm in drawn]
    assert sum(coarse[:50]) > 40
    assert sum(coarse[-100:]) / 100 == pytest.approx(0.3, abs=0.12)


def test_a_run_that_goes_on_has_no_more_coarse_steps_at_its_beginning(
    config: TrainConfig, drawn: list[tuple[int, tuple[int, int, int], float]]
) -> None:
    further = continued(replace(config, steps=10_000, coarse_share=0.2), config.model)
    stream = SimulatedBatches(further, TRAINING, 0, 400, CPU)
    for index in range(len(stream)):
        stream[index]
    assert sum(voxel_mm == 6.0 for _, _, voxel_mm in drawn) / 400 == pytest.approx(0.2, abs=0.06)
    assert further.all_steps == 0


def test_every_case_is_drawn_so_many_times_and_mirrored_in_between(config: TrainConfig) -> None:
    stream = SimulatedBatches(replace(config, draws=2), TRAINING, 0, 4 * DRAWN_TOGETHER, CPU)
    seen = [stream[index] for index in range(2 * DRAWN_TOGETHER + 1)]
    for first, second in zip(seen[:DRAWN_TOGETHER], seen[DRAWN_TOGETHER : 2 * DRAWN_TOGETHER], strict=True):
        assert torch.equal(first.masks, second.masks.flip(2))
        for name, image in first.images.items():
            assert torch.equal(image, second.images[name].flip(2))
    assert not any(equal(seen[-1], batch) for batch in seen[:-1])


def test_a_second_draw_does_not_need_the_first(config: TrainConfig) -> None:
    stream = SimulatedBatches(replace(config, draws=2), TRAINING, 0, 4 * DRAWN_TOGETHER, CPU)
    expected = stream[3].masks.flip(2)
    resumed = SimulatedBatches(replace(config, draws=2), TRAINING, DRAWN_TOGETHER + 3, 1, CPU)
    assert torch.equal(resumed[0].masks, expected)


def test_held_out_cases_are_fine(config: TrainConfig, drawn: list[tuple[int, tuple[int, int, int], float]]) -> None:
    stream = held_out_batches(replace(config, validation_cases=30, coarse_share=1.0), HELD_OUT, CPU)
    assert len(stream) == 30
    for index in range(len(stream)):
        stream[index]
    assert {(size, voxel_mm) for _, size, voxel_mm in drawn} == {(config.patch, 4.0)}


def test_held_out_cases_come_from_their_own_setting(config: TrainConfig) -> None:
    held_out = held_out_batches(config, HELD_OUT, CPU)
    assert held_out.settings is HELD_OUT
    as_training = held_out_batches(config, TRAINING, CPU)
    assert not torch.equal(held_out[0].images["t1"], as_training[0].images["t1"])


def test_some_cases_have_no_tumour_and_those_of_validation_are_left_alone() -> None:
    config = TrainConfig(patch=(48, 56, 48), coarse_patch=(32, 32, 32), coarse_share=0.0)
    settings = replace(TRAINING, tumour_counts=(0.0, 1.0))

    def has_tumour(share: float, first: int) -> list[bool]:
        stream = SimulatedBatches(replace(config, tumour_free_share=share), settings, first, 6, CPU)
        return [bool(stream.simulated(first + index).masks.any()) for index in range(6)]

    assert has_tumour(0.0, 0) == [True] * 6
    assert has_tumour(1.0, 0) == [False] * 6
    assert has_tumour(1.0, HELD_OUT_FIRST) == [True] * 6
    assert set(has_tumour(0.5, 0)) == {True, False}


def test_no_number_of_a_simulated_case_is_drawn_again_in_its_step() -> None:
    seed, step = 2023, 7
    of_case = torch.rand(64, generator=torch.Generator().manual_seed(seed * SEEDS + step))
    drawn = [torch.rand(64, generator=generator_for(purpose, seed, step)) for purpose in Purpose]
    for first, second in itertools.combinations([of_case, *drawn], 2):
        assert not set(first.tolist()) & set(second.tolist())
    again = torch.rand(64, generator=generator_for(Purpose.SUBSETS, seed, step))
    assert torch.equal(again, drawn[-1])
