"""Crops of real cases: what the loop sees of a folder."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig, Normalisation
from napari_shaspec.training.config import Augmentation, TrainConfig
from napari_shaspec.training.folder import FolderCrops, prepared_case, random_crop

CONFIG = TrainConfig(
    model=ModelConfig(widths=(2, 4), voxel_mm=(2.0, 4.0)),
    steps=2,
    patch=(16, 12, 8),
    coarse_patch=(8, 8, 8),
    validation_steps=1,
    validation_cases=1,
)


def test_a_crop_shows_the_tumour_where_its_mask_is(cases: tuple[CaseFiles, ...]) -> None:
    for seed in range(6):
        crop = random_crop(prepared_case(cases[0], 2.0), (16, 12, 8), np.random.default_rng(seed))
        enhancing, core, whole = crop.masks > 0
        assert whole.shape == (16, 12, 8)
        assert (enhancing <= core).all()
        assert (core <= whole).all()
        if whole.any():
            image = crop.images[Modality.FLAIR]
            assert image[whole].mean() > image[~whole & (image != 0)].mean() + 1


def test_items_depend_on_seed_and_index_only(cases: tuple[CaseFiles, ...]) -> None:
    first = FolderCrops(CONFIG, cases[:2], 0, 10)
    later = FolderCrops(CONFIG, cases[:2], 4, 6)
    for name in CONFIG.model.modalities:
        torch.testing.assert_close(first[5].images[name], later[1].images[name], rtol=0, atol=0)
    other = FolderCrops(replace(CONFIG, seed=1), cases[:2], 0, 10)
    assert any(not torch.equal(first[index].masks, other[index].masks) for index in range(10))


def test_patches_alternate_between_the_two_voxel_sizes(cases: tuple[CaseFiles, ...]) -> None:
    crops = FolderCrops(replace(CONFIG, coarse_share=0.5), cases[:2], 0, 30)
    assert {tuple(crops[index].masks.shape[2:]) for index in range(30)} == {CONFIG.patch, CONFIG.coarse_patch}


def test_a_batch_holds_the_modalities_that_its_cases_share(cases: tuple[CaseFiles, ...]) -> None:
    crops = FolderCrops(replace(CONFIG, batch=2), cases[1:], 0, 40)
    kinds = {frozenset(crops[index].images) for index in range(40)}
    assert kinds == {frozenset({"flair", "t1c", "t2"}), frozenset({"flair", "t1", "t1c", "t2"})}


def test_a_case_larger_than_a_patch_is_cut_and_a_smaller_one_is_padded(cases: tuple[CaseFiles, ...]) -> None:
    crop = random_crop(prepared_case(cases[0], 2.0), (64, 64, 64), np.random.default_rng(0))
    assert crop.masks.shape == (3, 64, 64, 64)
    assert crop.masks[2].sum() == prepared_case(cases[0], 2.0).masks[2].sum()


def test_two_processes_see_in_a_step_what_one_with_a_double_batch_sees(cases: tuple[CaseFiles, ...]) -> None:
    config = replace(CONFIG, batch=1, steps=20)
    halves = FolderCrops(config, cases[:2], 0, 40, processes=2)
    whole = FolderCrops(replace(config, batch=2), cases[:2], 0, 20)
    for step in range(20):
        torch.testing.assert_close(
            torch.cat([halves[2 * step].masks, halves[2 * step + 1].masks]), whole[step].masks, rtol=0, atol=0
        )


def test_validation_sees_other_samples_all_of_them_fine(cases: tuple[CaseFiles, ...]) -> None:
    training = FolderCrops(replace(CONFIG, coarse_share=0.0), cases[:1], CONFIG.steps, 8)
    validation = FolderCrops(replace(CONFIG, coarse_share=1.0), cases[:1], CONFIG.steps, 8, validation=True)
    for index in range(8):
        assert validation[index].masks.shape == training[index].masks.shape == (1, 3, *CONFIG.patch)
        assert not torch.equal(validation[index].images["t2"], training[index].images["t2"])


def test_every_case_kept_aside_is_scored_where_its_tumour_is(cases: tuple[CaseFiles, ...]) -> None:
    count = len(cases)
    crops = FolderCrops(replace(CONFIG, patch=(8, 8, 8), tumour_share=0.0), cases, 0, 2 * count, validation=True)
    for index in range(2 * count):
        names = {each.value for each in cases[index % count].images}
        assert (set(crops[index].images), bool(crops[index].masks[:, -1].any())) == (names, True)


def test_only_training_is_augmented(cases: tuple[CaseFiles, ...]) -> None:
    full = replace(CONFIG, augmentation=Augmentation.FULL)
    for validation in (False, True):
        plain = FolderCrops(CONFIG, cases[:1], 0, 4, validation=validation)
        changed = FolderCrops(full, cases[:1], 0, 4, validation=validation)
        same = [torch.equal(plain[index].images["t2"], changed[index].images["t2"]) for index in range(4)]
        assert all(same) if validation else not any(same)


def test_the_share_of_crops_around_tumour_is_an_option(cases: tuple[CaseFiles, ...]) -> None:
    case = prepared_case(cases[0], 2.0)
    shares = []
    for tumour_share in (0.0, 1.0):
        crops = [random_crop(case, (8, 8, 8), np.random.default_rng(seed), tumour_share) for seed in range(40)]
        shares.append(sum(bool(crop.masks[-1].any()) for crop in crops) / 40)
    assert shares[1] == 1 > shares[0] + 0.4


def test_intensities_are_scaled_by_the_rule_of_the_network(cases: tuple[CaseFiles, ...]) -> None:
    zscored = prepared_case(cases[0], 2.0, Normalisation.ZSCORE).images[Modality.T2]
    assert float(zscored[zscored != 0].std()) == pytest.approx(1, abs=0.05)
    assert not torch.allclose(zscored, prepared_case(cases[0], 2.0).images[Modality.T2])


def test_crops_travel_to_a_loading_process(cases: tuple[CaseFiles, ...]) -> None:
    crops = FolderCrops(CONFIG, cases[:2], 0, 3)
    again = pickle.loads(pickle.dumps(crops))  # noqa: S301
    torch.testing.assert_close(again[1].masks, crops[1].masks)
