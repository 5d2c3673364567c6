"""Crops of real cases: what the loop sees of a folder."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.cases import CaseFiles, find_cases
from napari_shaspec.io.nifti import write_volume
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.folder import FolderCrops, prepared_case, random_crop, split_cases
from napari_shaspec.volume import Volume

CONFIG = TrainConfig(
    model=ModelConfig(widths=(2, 4), voxel_mm=(2.0, 4.0)),
    steps=2,
    patch=(16, 12, 8),
    coarse_patch=(8, 8, 8),
    validation_steps=1,
    validation_cases=1,
)


@pytest.fixture
def cases(tmp_path: Path) -> tuple[CaseFiles, ...]:
    """Three cases in LPS order with a bright tumour in a corner of the brain; the last one lacks T1."""
    random = np.random.default_rng(5)
    brain = np.zeros((36, 30, 28), bool)
    brain[3:-3, 3:-3, 3:-3] = True
    labels = np.zeros(brain.shape, np.uint8)
    labels[6:14, 6:14, 6:14], labels[8:12, 8:12, 8:12], labels[9:11, 9:11, 9:11] = 2, 1, 4
    affine = np.diag([-1.0, -1.0, 1.5, 1.0])
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for modality in Modality:
            if (name, modality) != ("c", Modality.T1):
                data = np.where(brain, random.integers(80, 120, brain.shape) + 200 * (labels > 0), 0).astype(np.int16)
                write_volume(Volume(data, affine), tmp_path / name / f"{name}_{modality.value}.nii")
        write_volume(Volume(labels, affine), tmp_path / name / f"{name}_seg.nii")
    return find_cases(tmp_path)


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


def test_the_split_is_seeded_and_disjoint(cases: tuple[CaseFiles, ...]) -> None:
    training, validation = split_cases(cases, seed=3)
    assert sorted(files.name for files in [*training, *validation]) == ["a", "b", "c"]
    assert len(validation) == 1
    assert [files.name for files in split_cases(cases, seed=3)[0]] == [files.name for files in training]


def test_too_few_labelled_cases(cases: tuple[CaseFiles, ...]) -> None:
    unlabelled = [replace(files, truth=None) for files in cases[1:]]
    with pytest.raises(ShaSpecError, match="at least two cases with a label map"):
        split_cases([cases[0], *unlabelled], seed=0)


def test_a_bad_case_stops_the_run_before_it_starts(cases: tuple[CaseFiles, ...]) -> None:
    bad = replace(cases[0], refusal=ShaSpecError("one", "two", "Remove one"))
    with pytest.raises(ShaSpecError, match="Remove one"):
        split_cases([*cases, bad], seed=0)


def test_crops_travel_to_a_loading_process(cases: tuple[CaseFiles, ...]) -> None:
    crops = FolderCrops(CONFIG, cases[:2], 0, 3)
    again = pickle.loads(pickle.dumps(crops))  # noqa: S301
    torch.testing.assert_close(again[1].masks, crops[1].masks)
