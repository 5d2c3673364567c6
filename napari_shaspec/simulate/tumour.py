"""Tumours: where they grow, which shape they take, how they push the tissue around them aside.

A tumour is described by its level, 1 at the centre and 0 at the surface, so that noise added to the level makes the
surface irregular, and a threshold on it makes shells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_shaspec.simulate.fields import Dice, Stream, column, dilate
from napari_shaspec.simulate.settings import SimulatorSettings

OEDEMA, CORE, ENHANCING = 1, 2, 3
"""Ranks: where tumours overlap the higher one stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Seeds:
    """Tumours of a batch before they have a shape: (B, N) radii, 0 where there is none, and (B, N, 3) centres."""

    centres_mm: Tensor
    radii_mm: Tensor


def plant(dice: Dice, settings: SimulatorSettings, coarse_points_mm: Tensor, coarse_tissues: Tensor) -> Seeds:
    """Choose how many tumours there are, and their centres: mostly in white matter, never in fluid.

    In some cases the first is a small one at the surface instead.

    Parameters
    ----------
    coarse_points_mm
        (B, x, y, z, 3), the grid at a coarse spacing.
    coarse_tissues
        (B, 5, x, y, z) at those points.
    """
    chances = torch.tensor(settings.tumour_counts, device=dice.device)
    counts = torch.multinomial(chances, dice.batch, replacement=True, generator=dice.generator)
    most = max(1, len(settings.tumour_counts) - 1)  # a setting without tumours draws one that does not exist
    weights = coarse_tissues[:, 4] + 0.5 * (coarse_tissues[:, 2] + coarse_tissues[:, 3])
    weights = weights.flatten(1) + 1e-9
    places = torch.multinomial(weights, most, replacement=True, generator=dice.generator)
    centres = coarse_points_mm.flatten(1, 3).gather(1, places[..., None].expand(-1, -1, 3))
    first = dice.uniform(settings.radius_mm, 1)
    satellites = dice.uniform(settings.satellite_mm, most - 1)
    radii = torch.cat([first, satellites], 1)
    exists = torch.arange(most, device=dice.device) < counts[:, None]
    # Drawn aside: what is not superficial stays what it is without any.
    aside = dice.aside(Stream.SUPERFICIAL)
    outside = 1 - coarse_tissues.sum(1, keepdim=True)
    near = weights * (dilate(outside, 1) > 0.5).flatten(1)
    superficial = aside.chance(settings.superficial_chance, 1) & (near.sum(1, keepdim=True) > 1)
    place = torch.multinomial(near + 1e-9, 1, generator=aside.generator)
    at_surface = coarse_points_mm.flatten(1, 3).gather(1, place[..., None].expand(-1, -1, 3))
    centres[:, :1] = torch.where(superficial[..., None], at_surface, centres[:, :1])
    radii[:, :1] = torch.where(superficial, aside.uniform(settings.superficial_mm, 1), radii[:, :1])
    return Seeds(centres, radii * exists)


def push_aside(dice: Dice, settings: SimulatorSettings, points_mm: Tensor, seeds: Seeds) -> Tensor:
    """Mass effect: tissue around a growing tumour is displaced outwards, most at its surface.

    Sampling the undeformed brain nearer to the centre shows tissue that was there before, moved outwards.
    """
    strength = dice.uniform(settings.mass_effect, seeds.radii_mm.shape[1])
    for index in range(seeds.radii_mm.shape[1]):
        radius = seeds.radii_mm[:, index]
        if not radius.any():
            continue
        offset = points_mm - seeds.centres_mm[:, index, None, None, None, :]
        reach = (1.6 * radius).clamp(min=1.0)[:, None, None, None]
        pull = strength[:, index, None, None, None] * torch.exp(-(offset.square().sum(-1) / reach**2))
        points_mm = points_mm - offset * (pull * (radius > 0)[:, None, None, None])[..., None]
    return points_mm


def grow(
    dice: Dice, settings: SimulatorSettings, points_mm: Tensor, seeds: Seeds, tissues: Tensor, voxel_mm: float
) -> Tensor:
    """Ranks of tumour classes (B, 1, X, Y, Z): 0 none, then `OEDEMA`, `CORE`, `ENHANCING`."""
    ranks = torch.zeros_like(tissues[:, :1])
    for index in range(seeds.radii_mm.shape[1]):
        radius = seeds.radii_mm[:, index]
        if radius.any():
            grown = one_tumour(
                dice, settings, points_mm - seeds.centres_mm[:, index, None, None, None, :], radius, tissues, voxel_mm
            )
            ranks = torch.maximum(ranks, grown * column(radius > 0))
    return ranks


def one_tumour(
    dice: Dice, settings: SimulatorSettings, offset_mm: Tensor, radius_mm: Tensor, tissues: Tensor, voxel_mm: float
) -> Tensor:
    """Ranks (B, 1, X, Y, Z) of one tumour in each case of the batch; ``offset_mm`` points from its centre."""
    size = tuple(tissues.shape[2:])
    brain = tissues.sum(1, keepdim=True) > 0.5
    fluid = tissues[:, :2].sum(1, keepdim=True)
    shape = dice.normal(3, 3) * 0.3
    axes = torch.linalg.matrix_exp(shape - shape.transpose(1, 2)) * dice.uniform(settings.anisotropy, 1, 3)
    distance = (offset_mm.flatten(1, 3) @ axes).norm(dim=-1).reshape(offset_mm.shape[:-1])[:, None]
    distance = distance / column(radius_mm).clamp(min=1.0)
    typical_mm = float(radius_mm[radius_mm > 0].mean())
    # Smooth or ragged is a matter of the disease: one draw for all tumours of a case.
    aside = dice.aside(Stream.OUTLINES)
    noise = sum(
        column(aside.uniform(weight)) * dice.field(size, typical_mm * 0.5**octave / voxel_mm, 2)
        for octave, weight in enumerate(settings.octaves)
    )
    noise = noise * column(dice.uniform(settings.boundary_noise))
    # Oedema follows white matter and stays out of fluid.
    level = 1 - distance + noise[:, :1]
    attraction = column(dice.uniform((0.0, 0.5)))
    oedema = (level + attraction * (tissues[:, 4:] - 0.5) > 0) & (fluid < 0.5) & brain
    fraction = column(dice.uniform(settings.core_fraction))
    depth = 1 - distance / fraction + noise[:, 1:]
    core = (depth > 0) & (level > -0.2) & brain & (fluid < 0.8)
    enhancing = core & enhancement(dice, settings, depth, typical_mm / voxel_mm)
    ranks = oedema * float(OEDEMA)
    ranks = torch.where(core, float(CORE), ranks)
    return torch.where(enhancing, float(ENHANCING), ranks)


def enhancement(dice: Dice, settings: SimulatorSettings, depth: Tensor, radius_voxels: float) -> Tensor:
    """Which part of the core takes up contrast agent: a rim, all of it, patches, or nothing (low grade)."""
    thickness = column(dice.uniform(settings.rim_fraction))
    solid = column(dice.chance(settings.solid_enhancement_chance))
    none = column(dice.chance(settings.no_enhancement_chance))
    patchy = column(dice.chance(settings.patchy_enhancement_chance))
    patches = dice.field(tuple(depth.shape[2:]), max(2.0, 0.5 * radius_voxels)) > column(dice.uniform((-0.8, 0.6)))
    return (solid | (depth < thickness)) & (~patchy | patches) & ~none
