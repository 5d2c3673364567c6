"""Tumours grow in tissue, in shells, in the number and size that the settings ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from napari_shaspec.simulate import anatomy, tumour
from napari_shaspec.simulate.anatomy import Template
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.settings import TRAINING, SimulatorSettings
from napari_shaspec.simulate.tumour import CORE, ENHANCING, OEDEMA, Seeds

CPU = torch.device("cpu")
SIZE = (36, 44, 36)
VOXEL_MM = 4.0
WHITE_MATTER_MM = (26.0, -2.0, 26.0)
"""Centrum semiovale, on a grid centred on the brain."""


@pytest.fixture(scope="module")
def points() -> Tensor:
    return anatomy.grid_mm(SIZE, VOXEL_MM, CPU)


@pytest.fixture(scope="module")
def tissues(template: Template, points: Tensor) -> Tensor:
    return template.sample(points + torch.tensor([0.0, -18.0, 6.0]))


def planted(points: Tensor, tissues: Tensor, settings: SimulatorSettings, cases: int = 64) -> Seeds:
    return tumour.plant(
        Dice(0, cases, CPU), settings, points.expand(cases, -1, -1, -1, -1), tissues.expand(cases, -1, -1, -1, -1)
    )


def grown(points: Tensor, tissues: Tensor, radius_mm: float = 30.0, seed: int = 0, **settings: object) -> Tensor:
    """Ranks of one tumour in the centrum semiovale."""
    seeds = Seeds(torch.tensor([[WHITE_MATTER_MM]]), torch.tensor([[radius_mm]]))
    return tumour.grow(Dice(seed, 1, CPU), replace(TRAINING, **settings), points, seeds, tissues, VOXEL_MM)


def test_seeds_lie_in_tissue_and_mostly_in_white_matter(points: Tensor, tissues: Tensor) -> None:
    seeds = planted(points, tissues, TRAINING)
    centres = (seeds.centres_mm - points[0, 0, 0, 0]) / VOXEL_MM
    x, y, z = centres.round().long().flatten(0, 1).unbind(1)
    shares = tissues[0][:, x, y, z]
    assert bool((shares[2:].sum(0) > 0.01).all())
    assert shares[4].mean() > 0.5


def test_the_number_of_tumours_follows_its_chances(points: Tensor, tissues: Tensor) -> None:
    counts = (planted(points, tissues, TRAINING, 400).radii_mm > 0).sum(1)
    shares = torch.bincount(counts, minlength=5) / 400
    torch.testing.assert_close(shares, torch.tensor(TRAINING.tumour_counts), rtol=0, atol=0.08)
    two = planted(points, tissues, replace(TRAINING, tumour_counts=(0.0, 0.0, 1.0)))
    assert bool((two.radii_mm > 0).all())
    assert two.radii_mm.shape == (64, 2)


def test_satellites_are_smaller(points: Tensor, tissues: Tensor) -> None:
    radii = planted(points, tissues, replace(TRAINING, tumour_counts=(0.0, 0.0, 0.0, 1.0))).radii_mm
    for drawn, (low, high) in ((radii[:, 0], TRAINING.radius_mm), (radii[:, 1:], TRAINING.satellite_mm)):
        assert low <= drawn.min()
        assert drawn.max() <= high


def test_superficial_tumours_are_small_and_at_the_surface(points: Tensor, tissues: Tensor) -> None:
    two = replace(TRAINING, tumour_counts=(0.0, 0.0, 1.0), superficial_chance=0.5)
    seeds = planted(points, tissues, two, 400)
    others = planted(points, tissues, replace(two, superficial_chance=0.0), 400)
    superficial = (seeds.centres_mm[:, 0] != others.centres_mm[:, 0]).any(1)
    assert 0.4 < superficial.float().mean() < 0.6
    low, high = two.superficial_mm
    assert low <= seeds.radii_mm[superficial, 0].min()
    assert seeds.radii_mm[superficial, 0].max() <= high
    x, y, z = ((seeds.centres_mm[superficial, 0] - points[0, 0, 0, 0]) / VOXEL_MM).round().long().unbind(1)
    shares = tissues[0, :, x, y, z]
    assert bool((shares[2:].sum(0) > 0.01).all())
    around = -functional.max_pool3d(functional.pad(-tissues.sum(1), [1] * 6), 3, stride=1)[0]
    assert around[x, y, z].max() < 0.5  # a step away the brain ends
    # Nothing else is drawn otherwise: the other cases, and further tumours of these.
    assert torch.equal(seeds.radii_mm[~superficial], others.radii_mm[~superficial])
    assert torch.equal(seeds.centres_mm[:, 1], others.centres_mm[:, 1])
    assert torch.equal(seeds.radii_mm[:, 1], others.radii_mm[:, 1])


def test_a_grid_within_the_brain_has_no_surface_to_grow_at(points: Tensor, tissues: Tensor) -> None:
    always, never = (replace(TRAINING, superficial_chance=chance) for chance in (1.0, 0.0))
    inside = tissues.clone()
    inside[:, 4:] += 1 - tissues.sum(1, keepdim=True)  # white matter as far as the grid reaches
    seeds, others = (planted(points, inside, settings) for settings in (always, never))
    assert torch.equal(seeds.centres_mm, others.centres_mm)
    assert torch.equal(seeds.radii_mm, others.radii_mm)


def test_a_setting_without_tumours(points: Tensor, tissues: Tensor) -> None:
    seeds = planted(points, tissues, replace(TRAINING, tumour_counts=(1.0,)))
    assert not seeds.radii_mm.any()
    assert torch.equal(tumour.push_aside(Dice(0, 64, CPU), TRAINING, points, seeds), points)


def test_mass_effect_moves_tissue_outwards_and_leaves_the_rest(points: Tensor) -> None:
    seeds = Seeds(torch.tensor([[WHITE_MATTER_MM]]), torch.tensor([[20.0]]))
    settings = replace(TRAINING, mass_effect=(0.35, 0.35))
    pushed = tumour.push_aside(Dice(0, 1, CPU), settings, points, seeds)
    before, after = ((grid - torch.tensor(WHITE_MATTER_MM)).norm(dim=-1) for grid in (points, pushed))
    assert bool((after <= before + 1e-4).all())  # what shows here came from nearer the centre
    near, far = (before - after)[(before > 10) & (before < 25)], (before - after)[before > 80]
    assert near.min() > 2
    assert far.max() < 1
    assert after[before > 0].min() > 0  # nothing folds


def test_tumours_are_nested_shells_in_brain(points: Tensor, tissues: Tensor) -> None:
    ranks = grown(points, tissues, no_enhancement_chance=0.0)
    assert set(ranks.unique().tolist()) == {0.0, float(OEDEMA), float(CORE), float(ENHANCING)}
    assert bool((tissues.sum(1, keepdim=True)[ranks > 0] > 0.5).all())
    fluid = tissues[:, :2].sum(1, keepdim=True)
    assert bool((fluid[ranks == OEDEMA] < 0.5).all())
    assert bool((fluid[ranks >= CORE] < 0.8).all())
    distance = (points - torch.tensor(WHITE_MATTER_MM)).norm(dim=-1)[:, None]
    assert distance[ranks >= CORE].mean() < distance[ranks == OEDEMA].mean()


def test_tumours_have_about_the_size_they_are_told(points: Tensor, tissues: Tensor) -> None:
    volumes = [
        torch.stack([(grown(points, tissues, radius, seed) > 0).sum() for seed in range(6)]).float().mean()
        for radius in (12.0, 24.0)
    ]
    ball = 4 / 3 * torch.pi * 24.0**3 / VOXEL_MM**3
    assert 0.4 * ball < volumes[1] < 2 * ball
    assert volumes[1] > 3 * volumes[0]


def test_low_grade_tumours_do_not_enhance(points: Tensor, tissues: Tensor) -> None:
    for seed in range(3):
        ranks = grown(points, tissues, seed=seed, no_enhancement_chance=1.0)
        assert bool((ranks == CORE).any())
        assert not (ranks == ENHANCING).any()


def test_solid_tumours_enhance_throughout(points: Tensor, tissues: Tensor) -> None:
    whole = {"solid_enhancement_chance": 1.0, "patchy_enhancement_chance": 0.0, "no_enhancement_chance": 0.0}
    ranks = grown(points, tissues, **whole)
    assert bool((ranks == ENHANCING).any())
    assert not (ranks == CORE).any()
    patchy = grown(points, tissues, **whole | {"patchy_enhancement_chance": 1.0})
    assert bool((patchy == CORE).any())
    assert torch.equal(patchy >= CORE, ranks >= CORE)


def test_a_rim_encloses_a_necrotic_centre(points: Tensor, tissues: Tensor) -> None:
    ranks = grown(
        points,
        tissues,
        solid_enhancement_chance=0.0,
        patchy_enhancement_chance=0.0,
        no_enhancement_chance=0.0,
        rim_fraction=(0.3, 0.3),
        core_fraction=(0.9, 0.9),
        boundary_noise=(0.0, 0.0),
    )
    distance = (points - torch.tensor(WHITE_MATTER_MM)).norm(dim=-1)[:, None]
    assert distance[ranks == CORE].mean() < distance[ranks == ENHANCING].mean()


def test_tumours_of_a_batch_are_their_own(points: Tensor, tissues: Tensor) -> None:
    seeds = Seeds(torch.tensor([[WHITE_MATTER_MM]] * 2), torch.tensor([[25.0], [0.0]]))
    both = tissues.expand(2, -1, -1, -1, -1)
    ranks = tumour.grow(Dice(0, 2, CPU), TRAINING, points, seeds, both, VOXEL_MM)
    assert bool(ranks[0].any())
    assert not ranks[1].any()


def test_weight_of_the_finer_octaves_makes_a_surface_ragged(points: Tensor, tissues: Tensor) -> None:
    white = torch.zeros_like(tissues)
    white[:, 4] = 1.0  # nothing but noise shapes the tumour

    def surface(finer: float) -> float:
        """Faces between tumour and the rest for each voxel of tumour to the power 2/3, which has no size."""
        inside = grown(
            points,
            white,
            boundary_noise=(0.2, 0.2),
            octaves=((1.0, 1.0), (finer, finer), (finer, finer)),
        )[0, 0].gt(0)
        faces = sum(int((inside.diff(dim=axis)).sum()) for axis in range(3))
        return faces / float(inside.sum()) ** (2 / 3)

    assert surface(0.0) < surface(0.5) < surface(1.0)


def test_drawing_the_octaves_leaves_every_other_draw_as_it_was(points: Tensor, tissues: Tensor) -> None:
    seeds = Seeds(torch.tensor([[WHITE_MATTER_MM]]), torch.tensor([[30.0]]))
    shapes, following = [], []
    for octaves in (((1.0, 1.0), (0.2, 0.2)), ((1.0, 1.0), (0.2, 0.9))):
        dice = Dice(3, 1, CPU)
        shapes.append(tumour.grow(dice, replace(TRAINING, octaves=octaves), points, seeds, tissues, VOXEL_MM))
        following.append(dice.normal(5))
    assert not torch.equal(*shapes)
    assert torch.equal(*following)
