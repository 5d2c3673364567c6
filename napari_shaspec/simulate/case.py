"""A simulated case from beginning to end: anatomy, tumours, then one list of effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Label
from napari_shaspec.simulate import acquisition, anatomy, contrast, tumour
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.scene import CHANNELS, Effect, Scene
from napari_shaspec.simulate.settings import TRAINING, SimulatorSettings
from napari_shaspec.volume import Case, Volume

BRAIN_EXTENT_MM = (172.0, 204.0, 180.0)
"""A box that holds nearly all of the brain at every pose: what a training patch is placed in."""

CASE_EXTENT_MM = (192.0, 224.0, 208.0)
"""Field of view of a whole case: holds all of the brain at every pose."""

EFFECTS: tuple[Effect, ...] = (
    contrast.tissue_signal,
    contrast.uneven_tissue,
    contrast.uneven_tumour,
    contrast.haemorrhage_and_cysts,
    contrast.bright_white_matter,
    contrast.vessels,
    contrast.choroid_plexus,
    contrast.dura_and_sinuses,
    contrast.meninges_and_bone,
    contrast.resection_cavity,
    contrast.skull_stripping_rim,
    contrast.texture,
    acquisition.misregistration,
    acquisition.point_spread,
    acquisition.thick_slices,
    acquisition.bias_field,
    acquisition.gamma,
    acquisition.rician_noise,
    acquisition.brain_mask,
)
"""From tissue to image, in the order in which nature, scanner and preprocessing act."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedBatch:
    """Images (B, 4, X, Y, Z) in the order of `Modality`, 0 outside the brain, and labels (B, X, Y, Z) of `Label`."""

    images: Tensor
    labels: Tensor
    voxel_mm: float


@torch.no_grad()
def simulate_batch(
    seed: int,
    batch: int,
    size: tuple[int, int, int],
    voxel_mm: float,
    settings: SimulatorSettings = TRAINING,
    device: torch.device | str = "cpu",
) -> SimulatedBatch:
    """Draw a batch of cases.

    Parameters
    ----------
    seed
        Makes the batch reproducible on the same kind of device.
    size, voxel_mm
        The grid, axes along R, A, S. A grid smaller than the brain is placed at random within it, and tumours grow
        within the grid.
    """
    device = torch.device(device)
    dice = Dice(seed, batch, device)
    template = anatomy.load_template(device)
    grid = anatomy.grid_mm(size, voxel_mm, device)
    free_mm = [max(8.0, (extent - side * voxel_mm) / 2) for extent, side in zip(BRAIN_EXTENT_MM, size, strict=True)]
    centre = torch.tensor(anatomy.BRAIN_CENTRE_MM, device=device) + dice.uniform((-1.0, 1.0), 3) * torch.tensor(
        free_mm, device=device
    )
    matrix = anatomy.pose(dice, settings)
    ventricle_growth = dice.uniform(settings.ventricle_growth)

    def to_template(points_mm: Tensor) -> Tensor:
        moved = (points_mm.flatten(1, 3) @ matrix.transpose(1, 2)).reshape(batch, *points_mm.shape[1:])
        moved = moved + centre[:, None, None, None, :]
        return anatomy.grow_ventricles(ventricle_growth, template, moved)

    coarse = grid[:, ::4, ::4, ::4]
    seeds = tumour.plant(dice, settings, coarse.expand(batch, -1, -1, -1, -1), template.sample(to_template(coarse)))
    pushed = tumour.push_aside(dice, settings, grid.expand(batch, -1, -1, -1, -1), seeds)
    bent = to_template(pushed) + anatomy.elastic(dice, settings, size, voxel_mm)
    tissues = anatomy.widen_sulci(dice, settings, template.sample(bent))
    # Tumours grow in tissue without folds, and press shut those that they lie on: sulci would cut holes in oedema.
    scene = Scene(
        dice=dice,
        settings=settings,
        voxel_mm=voxel_mm,
        tissues=anatomy.fold_cortex(dice, settings, tissues, bent, voxel_mm),
        ranks=tumour.grow(dice, settings, grid, seeds, tissues, voxel_mm),
        brain=(tissues.sum(1, keepdim=True) > 0.5).float(),
        from_midline_mm=bent[..., 0].abs()[:, None],
        images=torch.zeros(batch, len(CHANNELS), *size, device=device),
    )
    for effect in EFFECTS:
        scene.images = effect(scene)
    lookup = torch.tensor([Label.BACKGROUND, Label.ED, Label.NCR_NET, Label.ET], dtype=torch.uint8, device=device)
    return SimulatedBatch(scene.images, lookup[scene.ranks[:, 0].long()], voxel_mm)


def simulate_case(
    seed: int, name: str, voxel_mm: float = 1.5, settings: SimulatorSettings = TRAINING, device: str = "cpu"
) -> Case:
    """One whole-brain case with all four modalities and its truth, integers as from a scanner.

    The grid has RAS axes and its origin at its centre, within a centimetre of the brain's.
    """
    sides = [int(np.ceil(extent / voxel_mm / 8)) * 8 for extent in CASE_EXTENT_MM]
    batch = simulate_batch(seed, 1, (sides[0], sides[1], sides[2]), voxel_mm, settings, device)
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = -(np.array(sides) - 1) / 2 * voxel_mm
    # 500 units for a signal of 1 is the order of magnitude of clinical images.
    arrays = (batch.images[0] * 500).round().clamp(0, 32767).to(torch.int16).cpu().numpy()
    images = {modality: Volume(arrays[channel], affine) for channel, modality in enumerate(Modality)}
    return Case(name, images, Volume(batch.labels[0].cpu().numpy(), affine))
