"""Brains have their tissues where an atlas has them, whatever pose they take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_shaspec.simulate import anatomy
from napari_shaspec.simulate.anatomy import Template
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.settings import CLASSES, TRAINING, SimulatorSettings

CPU = torch.device("cpu")
VENTRICLE, SULCUS, CORTEX, DEEP_GREY, WHITE = range(5)


def at(template: Template, *point_mm: float) -> Tensor:
    """Shares of the five tissues at one point of MNI space."""
    return template.sample(torch.tensor(point_mm).reshape(1, 1, 1, 1, 3))[0, :, 0, 0, 0]


def test_the_template_shares_out_each_voxel(template: Template) -> None:
    assert CLASSES[:5] == ("ventricle", "sulcus", "cortex", "deep_grey", "white")
    assert template.tissues.min() >= 0
    assert template.tissues.sum(0).max() <= 1 + 1e-5


def test_tissues_have_plausible_volumes(template: Template) -> None:
    ventricle, sulcus, cortex, deep_grey, white = template.tissues.sum((1, 2, 3)) / 1000
    assert 10 < ventricle < 60
    assert 100 < sulcus < 500
    assert 600 < cortex + deep_grey < 1200
    assert 400 < white < 800


@pytest.mark.parametrize("side", [-1, 1])
def test_landmarks_in_mni_space(template: Template, side: int) -> None:
    assert at(template, side * 26, -20, 32)[WHITE] > 0.8  # centrum semiovale
    assert at(template, 0, 27, 6)[WHITE] > 0.8  # genu of the corpus callosum
    assert at(template, side * 8, 0, 20)[VENTRICLE] > 0.8  # body of the lateral ventricle
    assert at(template, side * 10, -18, 8)[CORTEX : DEEP_GREY + 1].sum() > 0.6  # thalamus
    assert at(template, side * 40, -4, 2)[CORTEX : DEEP_GREY + 1].sum() > 0.6  # insula
    assert at(template, side * 90, 0, 0).sum() == 0  # outside


def test_ventricles_lie_near_the_centre(template: Template) -> None:
    points = template.origin_mm + torch.nonzero(template.tissues[VENTRICLE] > 0.5)
    assert points[:, 0].abs().max() < 45
    assert points[:, 0].mean().abs() < 1
    assert -45 < points[:, 1].mean() < 0
    assert template.ventricle_centre_mm.tolist() == pytest.approx([0, -25, 14], abs=8)


def test_the_grid_is_centred_and_in_millimetres() -> None:
    grid = anatomy.grid_mm((3, 4, 5), 2.0, CPU)
    assert grid.shape == (1, 3, 4, 5, 3)
    torch.testing.assert_close(grid.mean((0, 1, 2, 3)), torch.zeros(3))
    torch.testing.assert_close(grid[0, 2, 3, 4] - grid[0, 1, 3, 4], torch.tensor([2.0, 0.0, 0.0]))
    torch.testing.assert_close(grid[0, 0, 0, 0], torch.tensor([-2.0, -3.0, -4.0]))


def test_poses_turn_scale_and_mirror_within_their_ranges() -> None:
    matrices = anatomy.pose(Dice(0, 200, CPU), TRAINING)
    mirrored = torch.linalg.det(matrices) < 0
    assert 0.3 < mirrored.float().mean() < 0.7
    # Each column is a unit vector divided by the axis' scale.
    scales = 1 / matrices.norm(dim=1)
    assert scales.min() > TRAINING.scale[0] * 0.95 - 1e-6
    assert scales.max() < TRAINING.scale[1] * 1.05 + 1e-6
    upright = anatomy.pose(Dice(0, 20, CPU), SimulatorSettings(rotation_degrees=0.0, scale=(1.0, 1.0)))
    off_diagonal = upright - torch.diag_embed(upright.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() == 0


def test_elastic_displacement_has_the_amplitude_of_its_octaves() -> None:
    displacement = anatomy.elastic(Dice(0, 20, CPU), TRAINING, (16, 20, 16), 5.0)
    assert displacement.shape == (20, 16, 20, 16, 3)
    # Strengths are uniform from 0.2 to 1 of the amplitude, whose mean square is 0.413.
    expected = (0.413 * sum(amplitude**2 for _, amplitude in TRAINING.elastic_mm)) ** 0.5
    assert float(displacement.std()) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(("growth", "larger"), [(0.6, True), (-0.25, False)])
def test_ventricles_grow_and_shrink(template: Template, growth: float, larger: bool) -> None:
    points = anatomy.grid_mm((40, 50, 40), 4.0, CPU) + torch.tensor([0.0, -18.0, 6.0])
    before = template.sample(points)
    after = template.sample(anatomy.grow_ventricles(torch.tensor([growth]), template, points))
    change = float(after[:, VENTRICLE].sum() / before[:, VENTRICLE].sum())
    assert change > 1.2 if larger else change < 0.9
    assert float((after - before).sum(1).abs().mean()) < 0.02  # the brain keeps its shape


@pytest.mark.parametrize(("growth", "wider"), [(0.7, True), (-0.3, False)])
def test_sulci_widen_and_close_within_the_same_brain(template: Template, growth: float, wider: bool) -> None:
    before = template.sample(anatomy.grid_mm((40, 50, 40), 4.0, CPU) + torch.tensor([0.0, -18.0, 6.0]))
    settings = SimulatorSettings(sulcus_growth=(growth, growth))
    after = anatomy.widen_sulci(Dice(0, 1, CPU), settings, before)
    change = float(after[:, SULCUS].sum() / before[:, SULCUS].sum())
    assert change > 1.1 if wider else change < 0.95
    torch.testing.assert_close(after.sum(1), before.sum(1), rtol=0, atol=1e-3)
    assert after.min() >= 0


def folded(template: Template, points: Tensor, **settings: object) -> tuple[Tensor, Tensor]:
    """Tissues at 2 mm before and after."""
    before = template.sample(points)
    after = anatomy.fold_cortex(Dice(4, 1, CPU), replace(TRAINING, **settings), before, points, 2.0)
    return before, after


@pytest.fixture(scope="module")
def hemisphere() -> Tensor:
    """Points 2 mm apart: a slab through the left half of the brain, above the ventricles and through them."""
    return anatomy.grid_mm((40, 90, 24), 2.0, CPU) + torch.tensor([-40.0, -18.0, 30.0])


def test_folding_shares_out_each_voxel_and_leaves_sure_tissue_alone(template: Template, hemisphere: Tensor) -> None:
    before, after = folded(template, hemisphere)
    assert after.min() >= 0
    torch.testing.assert_close(after.sum(1), before.sum(1), rtol=0, atol=1e-3)
    for tissue in (VENTRICLE, DEEP_GREY, WHITE):
        sure = before[:, tissue] > 0.99
        assert sure.any()
        assert after[:, tissue][sure].min() > 0.75
        assert after[:, tissue][sure].mean() > 0.98
    _, same = folded(template, hemisphere, folding=(0.0, 0.0))
    torch.testing.assert_close(same, before, rtol=0, atol=1e-3)


def test_folding_makes_thin_sulci_between_cortex(template: Template, hemisphere: Tensor) -> None:
    before, after = folded(template, hemisphere, folding=(1.0, 1.0), sulcus_half_width_mm=(1.0, 1.0))
    band = before[:, CORTEX] > 0.4
    assert after[:, SULCUS][band].std() > 1.5 * before[:, SULCUS][band].std()
    fluid = (after[:, SULCUS] > 0.5) & band
    assert 0.03 < fluid.sum() / band.sum() < 0.3
    # Beside fluid lies cortex, a voxel of 2 mm or two further on, much more often than white matter.
    near = torch.nn.functional.max_pool3d(fluid.float(), 5, stride=1, padding=2).bool() & band & ~fluid
    assert after[:, CORTEX][near].mean() > 2 * after[:, WHITE][near].mean()


def test_wider_sulci_hold_more_fluid(template: Template, hemisphere: Tensor) -> None:
    narrow, wide = (
        folded(template, hemisphere, sulcus_half_width_mm=(width, width))[1][:, SULCUS].sum() for width in (0.3, 1.5)
    )
    assert wide > 1.2 * narrow


def test_every_case_hides_its_own_share_of_fluid(template: Template, hemisphere: Tensor) -> None:
    least, own, most = (
        folded(template, hemisphere, hidden_fluid=bounds)[1][:, SULCUS].sum()
        for bounds in ((0.1, 0.1), (0.1, 0.9), (0.9, 0.9))
    )
    assert least < own < most


def test_sulci_run_inwards(template: Template, hemisphere: Tensor) -> None:
    # Along a radius fluid changes more slowly than across it.
    _, after = folded(template, hemisphere, folding=(1.0, 1.0))
    inwards = hemisphere - torch.tensor(anatomy.BRAIN_CENTRE_MM)
    inwards = inwards / inwards.norm(dim=-1, keepdim=True)
    slope = torch.stack(torch.gradient(after[:, SULCUS], dim=(1, 2, 3)), -1)
    band = template.sample(hemisphere)[:, CORTEX] > 0.4
    along = (slope * inwards).sum(-1)[band].square().mean()
    assert along < 0.7 * slope.square().sum(-1)[band].mean() / 3


def test_every_case_of_a_batch_has_folds_of_its_own(template: Template) -> None:
    points = (anatomy.grid_mm((50, 60, 24), 3.0, CPU) + torch.tensor([0.0, -18.0, 40.0])).expand(3, -1, -1, -1, -1)
    before = template.sample(points)
    after = anatomy.fold_cortex(Dice(8, 3, CPU), TRAINING, before, points, 3.0)
    torch.testing.assert_close(after.sum(1), before.sum(1), rtol=0, atol=1e-3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (after[first] - after[second]).abs().max() > 0.5


@pytest.mark.parametrize("spacing_mm", [6.0, 10.0])
def test_sulci_are_about_twice_the_spacing_apart(spacing_mm: float) -> None:
    # Along a circle around the brain's centre, at the radius of the cortex.
    angle = torch.linspace(0, 2 * torch.pi, 2 * round(torch.pi * anatomy.FOLD_RADIUS_MM))[:-1]
    circle = anatomy.FOLD_RADIUS_MM * torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], -1)
    around = circle.reshape(1, -1, 1, 1, 3).expand(8, -1, 3, 3, 3) + torch.tensor(anatomy.BRAIN_CENTRE_MM)
    settings = replace(TRAINING, fold_spacing_mm=(spacing_mm, spacing_mm))
    distance = anatomy.to_sheets_mm(Dice(2, 8, CPU), settings, around, 1.0)[:, 0, :, 1, 1]
    near = distance < 1.0
    sulci = float((near[:, 1:] & ~near[:, :-1]).sum(1).float().mean())
    assert 2 * torch.pi * anatomy.FOLD_RADIUS_MM / sulci == pytest.approx(2 * spacing_mm, rel=0.35)
