"""Brains: tissue maps of the ICBM 152 template, moved, bent, folded, with ventricles and sulci of another size.

Coordinates are millimetres in the template's RAS space, (B, X, Y, Z, 3); the grid's axes run along R, A, S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_shaspec.simulate.fields import Dice, Stream, column, dilate
from napari_shaspec.simulate.settings import SimulatorSettings

DEEP_MM = 22.0
"""Grey matter further than this from the brain's surface is deep grey; fluid further in than this is ventricle."""


BRAIN_CENTRE_MM = (0.0, -18.0, 6.0)
"""Middle of the template's brain in RAS mm."""

FOLD_RADIUS_MM = 70.0
"""About how far the cortex lies from there."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Tissue maps at 1 mm: (5, X, Y, Z) in the order of the first five `CLASSES`, and the RAS mm of voxel 0."""

    tissues: Tensor
    origin_mm: Tensor
    ventricle_centre_mm: Tensor

    def sample(self, points_mm: Tensor) -> Tensor:
        """Tissue maps at RAS points (B, X, Y, Z, 3) -> (B, 5, X, Y, Z), 0 outside the brain."""
        sizes = torch.tensor(self.tissues.shape[1:], device=points_mm.device)
        normalised = 2 * (points_mm - self.origin_mm) / (sizes - 1) - 1
        batch = self.tissues.expand(points_mm.shape[0], -1, -1, -1, -1)
        # grid_sample wants the last axis first.
        return functional.grid_sample(batch, normalised.flip(-1), align_corners=True)


@cache
def load_template(device: torch.device) -> Template:
    """Tissue maps from the files that nilearn carries (no network), split into the classes of the simulator.

    Raises
    ------
    ModuleNotFoundError
        Where nilearn, part of the ``train`` extra, is not installed.
    """
    from nilearn import datasets

    grey_image = datasets.load_mni152_gm_template(resolution=1)
    grey = np.asarray(grey_image.dataobj, np.float32)
    white = np.asarray(datasets.load_mni152_wm_template(resolution=1).dataobj, np.float32)
    # The mask has a few one-voxel holes; around each, the distance to the surface would be 0.
    brain = ndimage.binary_fill_holes(np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0)
    fluid = np.clip(brain - grey - white, 0, 1)
    depth_mm = ndimage.distance_transform_edt(brain)
    # The ventricles are the largest body of fluid well inside the brain; sulci and cisterns reach the surface.
    inner, count = ndimage.label((fluid > 0.5) & (depth_mm > DEEP_MM))
    sizes = ndimage.sum_labels(np.ones_like(inner), inner, range(1, count + 1))
    ventricle_core = np.isin(inner, 1 + np.flatnonzero(np.asarray(sizes) > 500))
    ventricle = fluid * ndimage.binary_dilation(ventricle_core, iterations=2)
    deep_grey = grey * (depth_mm > DEEP_MM)
    maps = np.stack([ventricle, fluid - ventricle, grey - deep_grey, deep_grey, white])
    bounds = ndimage.find_objects(brain.astype(np.int8))[0]
    origin = grey_image.affine[:3, 3] + [axis.start for axis in bounds]
    centre = np.array(ndimage.center_of_mass(ventricle_core)) + grey_image.affine[:3, 3]
    return Template(
        tissues=torch.from_numpy(np.ascontiguousarray(maps[(slice(None), *bounds)])).float().to(device),
        origin_mm=torch.tensor(origin, dtype=torch.float32, device=device),
        ventricle_centre_mm=torch.tensor(centre, dtype=torch.float32, device=device),
    )


def grid_mm(size: tuple[int, int, int], voxel_mm: float, device: torch.device) -> Tensor:
    """(1, X, Y, Z, 3): millimetres from the centre of the grid."""
    axes = [(torch.arange(side, device=device) - (side - 1) / 2) * voxel_mm for side in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]


def pose(dice: Dice, settings: SimulatorSettings) -> Tensor:
    """Head position and size: (B, 3, 3) rotation, scale of each axis, and left-right mirror."""
    angles = torch.deg2rad(dice.uniform((-settings.rotation_degrees, settings.rotation_degrees), 3))
    matrix = torch.eye(3, device=dice.device).expand(dice.batch, 3, 3)
    for axis in range(3):
        generator = torch.zeros(3, 3, device=dice.device)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        generator[first, second], generator[second, first] = -1.0, 1.0
        matrix = matrix @ torch.linalg.matrix_exp(generator * angles[:, axis, None, None])
    scale = dice.uniform(settings.scale, 1) * dice.uniform((0.95, 1.05), 3)
    mirror = torch.where(dice.chance(0.5), -1.0, 1.0)
    scale = torch.cat([scale[:, :1] * mirror[:, None], scale[:, 1:]], 1)
    return matrix / scale[:, None, :]


def elastic(dice: Dice, settings: SimulatorSettings, size: tuple[int, int, int], voxel_mm: float) -> Tensor:
    """Subject variety: (B, X, Y, Z, 3) mm of smooth displacement, a few octaves."""
    total = torch.zeros(dice.batch, *size, 3, device=dice.device)
    for wavelength_mm, amplitude_mm in settings.elastic_mm:
        strength = column(dice.uniform((0.2, 1.0)) * amplitude_mm)
        total += (dice.field(size, wavelength_mm / voxel_mm, 3) * strength).movedim(1, -1)
    return total


def grow_ventricles(growth: Tensor, template: Template, points_mm: Tensor) -> Tensor:
    """Age and pressure: pull the points near the ventricles towards their centre, so that they look larger.

    Parameters
    ----------
    growth
        (B,), 0 for ventricles as in the template.
    """
    growth = growth[:, None, None, None, None]
    from_centre = points_mm - template.ventricle_centre_mm
    # The lateral ventricles are longer than wide: the pull reaches 25, 45 and 25 mm.
    reach = torch.tensor([25.0, 45.0, 25.0], device=points_mm.device)
    near = torch.exp(-((from_centre / reach) ** 2).sum(-1, keepdim=True))
    return template.ventricle_centre_mm + from_centre / (1 + growth * near)


def widen_sulci(dice: Dice, settings: SimulatorSettings, tissues: Tensor) -> Tensor:
    """Atrophy or a full brain: fluid of the sulci wins or loses volume against the cortex around it."""
    growth = column(dice.uniform(settings.sulcus_growth))
    fluid = tissues[:, 1:2]
    around = functional.avg_pool3d(fluid, 3, stride=1, padding=1)
    widened = (fluid + growth * around).clamp(min=0) * (tissues.sum(1, keepdim=True) > 0)
    grown = torch.cat([tissues[:, :1], widened, tissues[:, 2:]], 1)
    brain = tissues.sum(1, keepdim=True)
    return grown * brain / grown.sum(1, keepdim=True).clamp(min=1e-3)


def to_sheets_mm(dice: Dice, settings: SimulatorSettings, points_mm: Tensor, voxel_mm: float) -> Tensor:
    """(B, 1, X, Y, Z): distance of points (B, X, Y, Z, 3) in the template to the nearest of random radial sheets."""
    from_centre = points_mm - torch.tensor(BRAIN_CENTRE_MM, device=dice.device)
    radius_mm = from_centre.norm(dim=-1, keepdim=True).clamp(min=1.0)
    # Where smooth noise is 0 there are sheets. It is looked up at points drawn out to about one sphere, so that it
    # changes little along a radius, and the sheets run inwards; drawn all the way, they would run on to the centre.
    on_surface = from_centre * (FOLD_RADIUS_MM / radius_mm) ** 0.7
    spacing_mm = dice.uniform(settings.fold_spacing_mm)
    # A cube of knots that holds all of a head at the narrowest spacing.
    knots = 2 * math.ceil(1.6 * FOLD_RADIUS_MM / settings.fold_spacing_mm[0]) + 1
    places = on_surface / (spacing_mm[:, None, None, None, None] * (knots - 1) / 2)
    noise = functional.grid_sample(dice.normal(1, knots, knots, knots), places, align_corners=True)
    steepness = torch.stack(torch.gradient(noise, spacing=voxel_mm, dim=(2, 3, 4))).norm(dim=0)
    # Where noise is flat near 0 the quotient would call everything near.
    return noise.abs() / torch.maximum(steepness, 0.3 / column(spacing_mm))


def fold_cortex(dice: Dice, settings: SimulatorSettings, tissues: Tensor, points_mm: Tensor, voxel_mm: float) -> Tensor:
    """Gyri and sulci where the template, an average of 152 people, has only a blurred mixture of fluid, grey and white.

    Random sheets run inwards from the surface, each a sulcus: fluid, then cortex on both of its sides, then white
    matter. They weigh the template's shares like evidence weighs what was believed before, so that deep white matter,
    deep grey matter and ventricles, of which the template is sure, stay what they are.

    Parameters
    ----------
    tissues
        (B, 5, X, Y, Z) of the template.
    points_mm
        (B, X, Y, Z, 3), where in the template.

    Returns
    -------
    Tensor
        (B, 5, X, Y, Z), which share out each voxel as ``tissues`` do.
    """
    dice = dice.aside(Stream.FOLDS)
    distance_mm = to_sheets_mm(dice, settings, points_mm, voxel_mm)
    half_width_mm = column(dice.uniform(settings.sulcus_half_width_mm))
    inner_mm = half_width_mm + column(dice.uniform(settings.cortex_mm))
    edge_mm = max(0.4, 0.3 * voxel_mm)
    beyond_fluid = torch.sigmoid((distance_mm - half_width_mm) / edge_mm)
    beyond_cortex = torch.sigmoid((distance_mm - inner_mm) / edge_mm)
    everywhere = torch.ones_like(distance_mm)
    # Where there is no white matter, at the crown of a gyrus, what lies far from every sulcus is cortex.
    cortex = beyond_fluid * (1 - 0.8 * beyond_cortex)
    evidence = torch.cat([everywhere, 1 - beyond_fluid, cortex, everywhere, beyond_cortex], 1)
    # Only near cortex and outer fluid of the template; sheets go on inwards, folds do not.
    near_cortex = dilate(tissues[:, 1:3].sum(1, keepdim=True), max(1, round(4 / voxel_mm))).clamp(max=1.0)
    strength = near_cortex * column(dice.uniform(settings.folding))
    # Never quite 0: what the template is sure of outweighs any evidence.
    evidence = evidence.clamp(min=0.03) ** strength
    # Averaged over people, a sulcus leaves next to no fluid in the template's cortex.
    hidden = tissues[:, 2:3] * column(dice.uniform(settings.hidden_fluid)) * strength
    believed = torch.cat([tissues[:, :1], tissues[:, 1:2] + hidden, tissues[:, 2:3] - hidden, tissues[:, 3:]], 1)
    folded = believed * evidence
    return folded * tissues.sum(1, keepdim=True) / folded.sum(1, keepdim=True).clamp(min=1e-4)
