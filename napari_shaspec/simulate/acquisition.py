"""From signal to image: what scanner, patient and preprocessing add, drawn for each modality by itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from napari_shaspec.simulate.fields import Stream, blur, column
from napari_shaspec.simulate.scene import CHANNELS, Scene


def misregistration(scene: Scene) -> Tensor:
    """Registration between the sequences is off by a fraction of a voxel to about a millimetre."""
    limit = scene.settings.misregistration_mm / scene.voxel_mm
    shift = scene.dice.uniform((-limit, limit), len(CHANNELS), 3) * scene.dice.chance(0.5, len(CHANNELS), 1)
    moved = []
    sides = torch.tensor(scene.size, device=shift.device)
    for channel in range(len(CHANNELS)):
        if not shift[:, channel].any():
            moved.append(scene.images[:, channel : channel + 1])
            continue
        matrix = torch.eye(3, 4, device=shift.device).repeat(scene.dice.batch, 1, 1)
        matrix[:, :, 3] = (2 * shift[:, channel] / (sides - 1)).flip(-1)
        grid = functional.affine_grid(matrix, [scene.dice.batch, 1, *scene.size], align_corners=True)
        image = scene.images[:, channel : channel + 1]
        moved.append(functional.grid_sample(image, grid, align_corners=True, padding_mode="border"))
    return torch.cat(moved, 1)


def point_spread(scene: Scene) -> Tensor:
    """Finite k-space, motion and earlier resampling blur an image by up to 1.2 mm."""
    return blur(scene.images, scene.dice.uniform(scene.settings.blur_mm, len(CHANNELS)) / scene.voxel_mm)


def thick_slices(scene: Scene) -> Tensor:
    """Clinical 2-D sequences have slices of 3 to 6.5 mm along one axis, interpolated back afterwards."""
    images = []
    for channel in range(len(CHANNELS)):
        image = scene.images[:, channel : channel + 1]
        slice_mm = float(scene.dice.uniform(scene.settings.thick_slice_mm)[0])
        axis = scene.dice.integer(3)
        chosen = scene.dice.chance(scene.settings.thick_slice_chance)
        slices = max(2, round(scene.size[axis] * scene.voxel_mm / slice_mm))
        if chosen.any() and slices < scene.size[axis]:
            x, y, z = (slices if place == axis else side for place, side in enumerate(scene.size))
            thick = functional.adaptive_avg_pool3d(image, (x, y, z))
            thick = functional.interpolate(thick, scene.size, mode="trilinear", align_corners=False)
            image = torch.where(column(chosen), thick, image)
        images.append(image)
    return torch.cat(images, 1)


def bias_field(scene: Scene) -> Tensor:
    """Coils are more sensitive nearby: a smooth factor of up to about two across the head."""
    strength = column(scene.dice.uniform(scene.settings.bias, len(CHANNELS)))
    return scene.images * torch.exp(strength * scene.field(100.0, len(CHANNELS)))


def gamma(scene: Scene) -> Tensor:
    """Reconstruction and display scaling bend the intensity axis."""
    exponent = column(scene.dice.uniform(scene.settings.gamma, len(CHANNELS)))
    return scene.images.clamp(min=1e-4) ** exponent


def rician_noise(scene: Scene) -> Tensor:
    """The magnitude of a complex signal with Gaussian noise in both parts."""
    strength = column(scene.dice.uniform(scene.settings.noise, len(CHANNELS)))
    real = scene.images + strength * scene.dice.normal(len(CHANNELS), *scene.size)
    imaginary = strength * scene.dice.normal(len(CHANNELS), *scene.size)
    return torch.sqrt(real**2 + imaginary**2)


def brain_mask(scene: Scene) -> Tensor:
    """Skull stripping: one mask for all modalities, or now and then one for each, a voxel or two off; 0 outside.

    Masks are tight, or generous: then they are smoother, and keep a few mm of what lies around the brain, at most 9.
    """
    dice, aside = scene.dice, scene.dice.aside(Stream.MASKS)
    generous = aside.chance(scene.settings.generous_mask_chance, 1)
    # A blur of 4 mm falls to 0.4 about 1 mm outside a flat surface, to 0.1 at 5 mm; bumps add a millimetre or two.
    smooth_mm = torch.where(generous, 4.0, dice.uniform((1.0, 2.5), 1))
    soft = blur(scene.brain, smooth_mm / scene.voxel_mm)
    bumps = 0.12 * scene.field(20.0)
    common = torch.where(generous, aside.uniform((0.1, 0.4), 1), dice.uniform((0.35, 0.6), 1))
    own = torch.where(dice.chance(0.15, 1), dice.uniform((-0.15, 0.15), len(CHANNELS)), 0.0)
    # Bumps move the border of the brain; they make no islands outside it and no holes inside.
    floor = torch.where(generous, 0.06, 0.1)
    inside = (soft > column(floor)) & (soft + bumps * (soft < 0.95) > column(common + own))
    # What was stripped from every image cannot be labelled either.
    scene.ranks = torch.where(inside.any(1, keepdim=True), scene.ranks, 0.0)
    return torch.where(inside, scene.images.clamp(min=1e-3), 0.0)
