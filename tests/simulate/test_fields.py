"""Random numbers that a seed makes again, and the fields and filters made of them."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch.nn.functional import pad

from napari_shaspec.simulate.fields import Dice, Stream, blur, column, dilate

CPU = torch.device("cpu")


def test_a_seed_makes_the_same_draws_again() -> None:
    first, second, other = Dice(3, 2, CPU), Dice(3, 2, CPU), Dice(4, 2, CPU)
    for dice in (first, second):
        dice.normal(5)
    assert torch.equal(first.uniform((0, 1), 50), second.uniform((0, 1), 50))
    assert not torch.equal(first.normal(5), other.normal(5))


def test_draws_aside_are_others_and_take_none_away() -> None:
    with_aside, without = Dice(3, 2, CPU), Dice(3, 2, CPU)
    with_aside.normal(4)
    without.normal(4)
    first = with_aside.aside(Stream.FOLDS).normal(50)
    assert torch.equal(with_aside.normal(50), without.normal(50))
    assert torch.equal(first, without.aside(Stream.FOLDS).normal(50))  # whatever was drawn before
    assert not torch.equal(first, without.aside(Stream.MASKS).normal(50))
    assert not torch.equal(first, Dice(3, 2, CPU).normal(50))
    assert not torch.equal(first, Dice(4, 2, CPU).aside(Stream.FOLDS).normal(50))
    assert Dice(-3, 2, CPU).aside(Stream.FOLDS).normal(50).isfinite().all()


def test_draws_keep_their_bounds() -> None:
    dice = Dice(0, 3, CPU)
    draw = dice.uniform((-2.0, 5.0), 400)
    assert draw.shape == (3, 400)
    assert -2 <= draw.min() < -1.9
    assert 4.9 < draw.max() <= 5
    assert dice.uniform((0.3, 0.3)).tolist() == pytest.approx([0.3] * 3)
    assert not dice.chance(0.0, 100).any()
    assert dice.chance(1.0, 100).all()
    assert dice.chance(0.25, 2000).float().mean() == pytest.approx(0.25, abs=0.03)
    assert {dice.integer(3) for _ in range(50)} == {0, 1, 2}


@pytest.mark.parametrize("wavelength", [0.5, 1.0, 1.3, 2.0, 3.7, 8.0])
def test_fields_have_unit_variance(wavelength: float) -> None:
    field = Dice(1, 8, CPU).field((32, 40, 24), wavelength, 4)
    assert field.shape == (8, 4, 32, 40, 24)
    assert float(field.var()) == pytest.approx(1, abs=0.15)
    assert float(field.mean()) == pytest.approx(0, abs=0.05)


def test_fields_longer_than_the_grid_vary_between_samples() -> None:
    field = Dice(1, 100, CPU).field((24, 20, 24), 50.0, 4)
    assert float(field.var(0).mean()) == pytest.approx(1, abs=0.15)


def test_fields_are_as_smooth_as_their_wavelength() -> None:
    def roughness(wavelength: float) -> float:
        return float(Dice(1, 2, CPU).field((32, 32, 32), wavelength, 4).diff(dim=2).std())

    assert roughness(12.0) < 0.5 * roughness(4.0) < 0.5 * roughness(1.0)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.7])
def test_blur_is_a_gaussian(sigma: float) -> None:
    volumes = Dice(2, 1, CPU).normal(1, 14, 9, 11)
    radius = max(1, -int(-2.5 * sigma // 1))
    expected = ndimage.gaussian_filter(volumes[0, 0].numpy(), sigma, mode="nearest", radius=radius)
    torch.testing.assert_close(blur(volumes, torch.tensor([[sigma]]))[0, 0], torch.from_numpy(expected))


def test_blur_has_one_sigma_for_each_volume() -> None:
    volumes = Dice(2, 2, CPU).normal(3, 10, 10, 10)
    sigmas = torch.tensor([[0.0, 0.5, 1.0], [1.5, 0.0, 0.7]])
    together = blur(volumes, sigmas)
    torch.testing.assert_close(together[0, 0], volumes[0, 0])
    for sample, channel in ((0, 2), (1, 0), (1, 2)):
        sigma = float(sigmas[sample, channel])
        expected = ndimage.gaussian_filter(volumes[sample, channel].numpy(), sigma, mode="nearest", radius=4)
        torch.testing.assert_close(together[sample, channel], torch.from_numpy(expected))


def test_blur_keeps_a_constant() -> None:
    constant = torch.full((1, 2, 6, 6, 6), 3.0)
    torch.testing.assert_close(blur(constant, torch.tensor([[2.0, 0.3]])), constant)


def test_dilate_grows_by_a_cube() -> None:
    mask = torch.zeros(1, 1, 7, 7, 7)
    mask[0, 0, 3, 3, 0] = 1
    grown = dilate(mask, 2)[0, 0]
    assert int(grown.sum()) == 5 * 5 * 3
    assert bool(grown[1:6, 1:6, :3].all())


@pytest.mark.parametrize(("size", "voxels"), [((9, 12, 7), 1), ((11, 8, 10), 3), ((6, 1, 5), 2), ((4, 5, 3), 7)])
def test_dilate_is_the_largest_value_of_a_cube(size: tuple[int, int, int], voxels: int) -> None:
    generator = torch.Generator().manual_seed(voxels)
    mask = torch.rand((2, 3, *size), generator=generator)
    side = 2 * voxels + 1
    cubes = pad(mask, [voxels] * 6).unfold(2, side, 1).unfold(3, side, 1).unfold(4, side, 1)
    torch.testing.assert_close(dilate(mask, voxels), cubes.amax((-3, -2, -1)), rtol=0, atol=0)


def test_column_lines_values_up_with_volumes() -> None:
    assert column(torch.zeros(2)).shape == (2, 1, 1, 1, 1)
    assert column(torch.zeros(2, 3)).shape == (2, 3, 1, 1, 1)
