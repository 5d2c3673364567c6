"""Whole simulated cases: made again by their seed, and as a reader of files would want them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Label
from napari_shaspec.simulate.anatomy import Template
from napari_shaspec.simulate.case import CASE_EXTENT_MM, SimulatedBatch, simulate_batch, simulate_case
from napari_shaspec.simulate.settings import HELD_OUT, SETTINGS, TRAINING
from napari_shaspec.volume import Case

Simulate = Callable[..., SimulatedBatch]


@pytest.fixture(scope="module")
def case() -> Case:
    return simulate_case(3, "sim", voxel_mm=4.0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_seed_makes_the_same_batch_again(simulate: Simulate, setting: str) -> None:
    first, second, other = (simulate(seed, SETTINGS[setting]) for seed in (1, 1, 2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert not torch.equal(first.images, other.images)


def test_a_batch_leaves_the_global_generator_alone(simulate: Simulate) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    simulate(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_cases_of_a_batch_differ(simulate: Simulate) -> None:
    batch = simulate(1)
    assert (batch.images[0] - batch.images[1]).abs().mean() > 0.01


def test_shapes_types_and_background(cases: SimulatedBatch) -> None:
    assert cases.images.shape == (8, 4, 32, 40, 32)
    assert cases.labels.shape == (8, 32, 40, 32)
    assert cases.images.dtype == torch.float32
    assert cases.labels.dtype == torch.uint8
    assert cases.voxel_mm == 5.0
    assert bool(cases.images.isfinite().all())
    assert cases.images.min() == 0  # a brain mask, and nothing below it
    assert set(cases.labels.unique().tolist()) <= {label.value for label in Label}
    filled = (cases.images > 0).float().mean((1, 2, 3, 4))
    assert 0.2 < filled.min() < filled.max() < 0.6


def test_every_class_appears(cases: SimulatedBatch) -> None:
    assert set(cases.labels.unique().tolist()) == {label.value for label in Label}


def test_tumours_lie_in_the_brain(cases: SimulatedBatch) -> None:
    # Not every voxel of them: the simulated skull stripping may cut one at the surface, as the real one does.
    inside = (cases.images > 0).any(1)
    assert inside[cases.labels > 0].float().mean() > 0.97


def test_the_core_lies_deeper_than_the_oedema(cases: SimulatedBatch) -> None:
    deeper = []
    for labels in cases.labels.numpy():
        depth = ndimage.distance_transform_edt(labels > 0)
        core = np.isin(labels, [Label.NCR_NET, Label.ET])
        if min(core.sum(), (labels == Label.ED).sum()) > 20:
            deeper.append(depth[core].mean() > depth[labels == Label.ED].mean())
    assert len(deeper) > 3
    assert np.mean(deeper) > 0.8


@pytest.mark.parametrize(("label", "modality"), [(Label.ED, Modality.FLAIR), (Label.ET, Modality.T1C)])
def test_oedema_is_bright_on_flair_and_enhancing_tumour_on_t1c(
    cases: SimulatedBatch, label: Label, modality: Modality
) -> None:
    brighter = []
    for images, labels in zip(cases.images, cases.labels, strict=True):
        image = images[list(Modality).index(modality)]
        tumour, healthy = image[labels == label], image[(image > 0) & (labels == 0)]
        if len(tumour) > 20:
            brighter.append(bool(tumour.mean() > healthy.mean()))
    assert len(brighter) > 2
    assert np.mean(brighter) > 0.8


def test_a_setting_without_tumours_has_no_labels(simulate: Simulate) -> None:
    batch = simulate(4, replace(TRAINING, tumour_counts=(1.0,)))
    assert not batch.labels.any()
    assert (batch.images > 0).any()


def test_the_settings_differ(simulate: Simulate) -> None:
    assert set(SETTINGS) == {"training", "held-out", "relaxation"}
    for name in ("means", "noise", "anisotropy", "octaves", "elastic_mm", "wild_contrast_chance"):
        assert getattr(TRAINING, name) != getattr(HELD_OUT, name)
    assert not torch.equal(simulate(1, TRAINING).images, simulate(1, HELD_OUT).images)


@pytest.mark.parametrize("size", [(16, 16, 16), (24, 16, 32)])
def test_a_patch_lies_within_the_brain(size: tuple[int, int, int], template: Template) -> None:
    batch = simulate_batch(2, 4, size, 2.0)
    assert batch.images.shape == (4, 4, *size)
    assert (batch.images > 0).float().mean() > 0.3


def test_a_case_is_valid_and_whole(case: Case) -> None:
    assert case.name == "sim"
    assert case.available == frozenset(Modality)
    assert case.truth is not None
    np.testing.assert_allclose(case.grid.voxel_mm, 4.0)
    assert all(side * 4.0 >= extent for side, extent in zip(case.grid.shape, CASE_EXTENT_MM, strict=True))
    for volume in case.images.values():
        assert volume.data.dtype == np.int16
        assert volume.data.min() == 0
        assert 100 < volume.data[volume.data > 0].mean() < 1500
        # The largest heads may touch the edge of the grid, as in a real field of view.
        assert max(float(np.mean(volume.data.take(place, axis) > 0)) for axis in range(3) for place in (0, -1)) < 0.05


def test_a_case_is_centred_in_ras_space(case: Case, template: Template) -> None:
    affine = case.grid.affine
    assert nib.aff2axcodes(affine) == ("R", "A", "S")
    flair = case.images[Modality.FLAIR].data
    brain = flair > 0.4 * np.median(flair[flair > 0])  # without what a generous mask keeps around it
    world = np.argwhere(brain) @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(world.mean(0), 0, atol=12)  # the head is shifted by up to 8 mm

    # Upside down or back to front it would fit the template less well; left and right are alike.
    atlas = torch.nonzero(template.tissues.sum(0) > 0.5) + template.origin_mm

    def overlap(mirrored: list[int]) -> float:
        points = torch.tensor(world - world.mean(0)).float()
        points[:, mirrored] *= -1
        points = (points + atlas.mean(0)).reshape(1, -1, 1, 1, 3)
        return float((template.sample(points).sum(1) > 0.5).float().mean())

    assert overlap([]) > max(overlap([1]), overlap([2])) + 0.02


def test_a_case_is_made_again_by_its_seed(case: Case) -> None:
    again, other = simulate_case(3, "sim", voxel_mm=4.0), simulate_case(4, "sim", voxel_mm=4.0)
    for modality in Modality:
        np.testing.assert_array_equal(again.images[modality].data, case.images[modality].data)
    assert not np.array_equal(other.images[Modality.T1].data, case.images[Modality.T1].data)


def test_voxel_size_changes_the_grid_not_the_extent() -> None:
    coarse = simulate_case(3, "sim", voxel_mm=8.0)
    for side, extent_mm, origin_mm in zip(coarse.grid.shape, CASE_EXTENT_MM, coarse.grid.affine[:3, 3], strict=True):
        assert extent_mm <= side * 8.0 < extent_mm + 64.0
        assert origin_mm == -(side - 1) / 2 * 8.0


def test_folds_and_surroundings_leave_all_else_of_a_case_as_it_was(simulate: Callable[..., SimulatedBatch]) -> None:
    plain = simulate(21, replace(TRAINING, folding=(0.0, 0.0)))
    folded = simulate(21)
    # Tumours grow before folds do, so sulci cut no holes in them.
    assert torch.equal(plain.labels, folded.labels)
    assert torch.equal(plain.images > 0, folded.images > 0)
    assert (plain.images - folded.images).abs().max() > 0.1
    narrow = simulate(21, replace(TRAINING, generous_mask_chance=0.0))
    kept = (folded.images > 0) & (narrow.images > 0)
    torch.testing.assert_close(folded.images[kept], narrow.images[kept])


def test_spin_echo_changes_t1_and_t1c_alone(simulate: Callable[..., SimulatedBatch]) -> None:
    without, with_echo = (simulate(22, replace(TRAINING, spin_echo_chance=chance)) for chance in (0.0, 1.0))
    assert torch.equal(without.labels, with_echo.labels)
    unchanged = [(before == after).all() for before, after in zip(without.images[0], with_echo.images[0], strict=True)]
    assert unchanged == [True, False, False, True]
