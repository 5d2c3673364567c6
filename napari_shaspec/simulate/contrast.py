"""From tissue to signal: what each class looks like in each modality, and what else shines in a head.

Each effect has its physical reason in the first line of its docstring and its range in the code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_shaspec.modalities import Modality
from napari_shaspec.simulate.fields import Stream, blur, column, dilate
from napari_shaspec.simulate.relaxation import draw_signals
from napari_shaspec.simulate.scene import CHANNELS, Scene
from napari_shaspec.simulate.settings import CLASSES, TISSUES
from napari_shaspec.simulate.tumour import CORE, ENHANCING, OEDEMA

FLAIR, T1, T1C, T2 = (CHANNELS.index(modality) for modality in Modality)


def class_means(scene: Scene) -> Tensor:
    """(B, 4, 8) mean of each class in each modality: from a table, or from relaxation times; tumour can be seen."""
    dice, settings = scene.dice, scene.settings
    means, solid = _table_means(scene)
    means = _by_spin_echo(scene, means)
    if settings.relaxation_chance:
        # White matter keeps what the table gives it: other effects add to that scale.
        signals = draw_signals(dice, solid) * means[:, :, 4:5]
        means = torch.where(dice.chance(settings.relaxation_chance, 1, 1), signals, means)
    # An oedema that cannot be told from white matter on FLAIR would only teach to guess.
    means[:, FLAIR, 5] = torch.maximum(means[:, FLAIR, 5], means[:, FLAIR, 2:5].amax(1) + 0.16)
    means[:, FLAIR, 6] = torch.where(solid, means[:, FLAIR, 5] + 0.08 * dice.normal(), means[:, FLAIR, 6])
    means[:, T1C, 7] = torch.maximum(means[:, T1C, 7], means[:, T1C, 4:7].amax(1) + 0.2)
    return means.clamp(min=0.03)


def _table_means(scene: Scene) -> tuple[Tensor, Tensor]:
    """(B, 4, 8) means of the table, jittered and sometimes far from it, and (B,) whether the core is solid tumour."""
    dice, settings = scene.dice, scene.settings
    table = torch.tensor([settings.means[modality] for modality in CHANNELS], device=dice.device)
    jitter = torch.tensor(
        [settings.tissue_jitter] * TISSUES + [settings.tumour_jitter] * (len(CLASSES) - TISSUES), device=dice.device
    )
    means = table + dice.normal(len(CHANNELS), len(CLASSES)) * jitter
    wild = dice.chance(settings.wild_contrast_chance, len(CHANNELS), 1)
    means[..., :TISSUES] += wild * 0.2 * dice.normal(len(CHANNELS), TISSUES)
    # T1c is mostly the T1 sequence again: then its normal tissue looks the same.
    same = dice.chance(0.6, 1)
    means[:, T1C, :TISSUES] = torch.where(
        same, means[:, T1, :TISSUES] + 0.03 * dice.normal(TISSUES), means[:, T1C, :TISSUES]
    )
    solid = dice.chance(settings.solid_core_chance)
    # Contrast agent does not reach oedema and core, or they would be enhancing tumour: on T1c they depart from the
    # table as on T1. Otherwise much of what looks like enhancement bears another label, and cannot be learned.
    as_on_t1 = table[T1C, 5:7] + means[:, T1, 5:7] - table[T1, 5:7]
    means[:, T1C, 5:7] = torch.where(same, means[:, T1, 5:7], as_on_t1)
    return means, solid


def _by_spin_echo(scene: Scene, means: Tensor) -> Tensor:
    """A T1 by spin echo, and the T1c after it, tells little of grey from white matter; the table's is by inversion.

    Every tissue but fluid and what enhances moves towards white matter, to no less than a fifth of its distance.
    """
    dice, settings = scene.dice.aside(Stream.SPIN_ECHO), scene.settings
    left = torch.where(dice.chance(settings.spin_echo_chance, 1), dice.uniform((0.2, 1.0), 1), 1.0)
    closer = means.clone()
    for channel, classes in ((T1, (2, 3, 5, 6, 7)), (T1C, (2, 3))):
        white = means[:, channel, 4:5]
        closer[:, channel, classes] = white + left * (means[:, channel, classes] - white)
    # What agent does not reach changes on T1c as on T1.
    closer[:, T1C, 5:7] += (closer - means)[:, T1, 5:7]
    return closer


def tissue_signal(scene: Scene) -> Tensor:
    """Every class shows its mean; oedema fades out over up to 3 mm, because infiltration has no edge."""
    dice = scene.dice
    tumour = torch.cat([(scene.ranks == rank).float() for rank in (1.0, 2.0, 3.0)], 1)
    soft_mm = torch.cat([dice.uniform((0.2, 3.0), 1), dice.uniform((0.2, 1.0), 1).expand(-1, 2)], 1)
    soft = blur(tumour, soft_mm / scene.voxel_mm)
    # The fade stays out of fluid and of the background, where there is nothing to infiltrate.
    soft[:, :1] *= ((scene.tissues[:, :2].sum(1, keepdim=True) < 0.5) | (scene.ranks > 0)) * scene.brain
    soft = soft / soft.sum(1, keepdim=True).clamp(min=1.0)
    normal = scene.tissues * (1 - soft.sum(1, keepdim=True))
    return torch.einsum("bmc,bcxyz->bmxyz", class_means(scene), torch.cat([normal, soft], 1))


def uneven_tissue(scene: Scene) -> Tensor:
    """Iron, myelin and age differ between lobes, basal ganglia and cerebellum: each tissue varies over 4 cm."""
    strength = column(scene.dice.uniform((0.0, 0.08), len(CHANNELS)))
    return scene.images * (1 + strength * scene.field(40.0, len(CHANNELS)))


def uneven_tumour(scene: Scene) -> Tensor:
    """Cells, water and blood are mixed unevenly within a tumour; what does not enhance is so on T1c as on T1."""
    strength = column(scene.dice.uniform((0.0, 0.22), len(CHANNELS)))
    change = strength * scene.field(9.0, len(CHANNELS))
    change[:, T1C] = torch.where(scene.ranks[:, 0] == ENHANCING, change[:, T1C], change[:, T1])
    return scene.images * (1 + change * (scene.ranks > 0))


def haemorrhage_and_cysts(scene: Scene) -> Tensor:
    """Blood of any age and protein-rich cysts look like anything, but on T1c as on T1: part of the core."""
    dice = scene.dice
    present = column(dice.chance(scene.settings.haemorrhage_chance))
    where = present & (scene.ranks == CORE) & (scene.field(14.0) > column(dice.uniform((-0.8, 0.8))))
    value = dice.uniform((0.1, 1.1), len(CHANNELS))
    value[:, T1C] = value[:, T1]
    return torch.where(where, column(value), scene.images)


def bright_white_matter(scene: Scene) -> Tensor:
    """Small-vessel disease: white matter is bright on FLAIR and T2 in spots of 2 to 6 mm and caps at the ventricles."""
    dice = scene.dice
    size_mm = float(dice.uniform((3.0, 7.0))[0])
    spots = scene.field(size_mm) > column(dice.uniform((2.3, 3.4)))
    near_ventricles = dilate(scene.tissues[:, :1], max(1, round(3 / scene.voxel_mm)))
    caps = (near_ventricles > 0.5) & (scene.field(12.0) > column(dice.uniform((0.5, 2.5))))
    present = column(dice.chance(0.4)) & (scene.tissues[:, 4:] > 0.5) & (scene.ranks == 0)
    gain = column(dice.uniform((0.1, 0.4), len(CHANNELS)))
    gain = gain * torch.tensor([1.0, -0.4, -0.4, 0.6], device=dice.device).reshape(1, -1, 1, 1, 1)
    return scene.images + gain * blur(((spots | caps) & present).float(), dice.uniform((0.6, 1.6), 1) / scene.voxel_mm)


def vessels(scene: Scene) -> Tensor:
    """Vessels in fluid and on the surface enhance on T1c, and are dark or bright elsewhere by flow."""
    dice = scene.dice
    ridge = torch.exp(-((scene.field(11.0) / 0.12) ** 2)) * (scene.field(16.0) > 0)
    near_fluid = dilate(scene.tissues[:, 1:2], 1) * scene.brain
    gain = torch.stack([dice.uniform(bounds) for bounds in ((-0.3, 0.2), (-0.1, 0.4), (0.0, 1.1), (-0.5, 0.1))], dim=1)
    return scene.images + column(gain) * ridge * near_fluid * (scene.ranks == 0)


def choroid_plexus(scene: Scene) -> Tensor:
    """The plexus within the ventricles enhances on T1c and is greyer than fluid elsewhere."""
    dice = scene.dice
    where = (scene.tissues[:, :1] > 0.5) & (scene.field(7.0) > column(dice.uniform((0.9, 2.5)))) & (scene.ranks == 0)
    value = torch.stack([dice.uniform(bounds) for bounds in ((0.3, 0.8), (0.4, 0.7), (0.6, 1.3), (0.5, 0.9))], dim=1)
    return torch.where(where, column(value), scene.images)


def dura_and_sinuses(scene: Scene) -> Tensor:
    """Contrast agent fills venous sinuses and the dura, which has no blood-brain barrier, so both are bright on T1c.

    Wider than in any head, on purpose: dura up to 6 mm deep, the falx in all fluid of the midline, a sinus along the
    whole outline of the midline. What skull stripping leaves, and how far it is smeared, is not known beforehand, and a
    network that has seen worse is not misled by less.
    """
    dice = scene.dice

    def shell(millimetres: float) -> Tensor:
        return dilate(1 - scene.brain, max(1, round(millimetres / scene.voxel_mm))) * scene.brain > 0

    present = column(dice.chance(scene.settings.dura_chance, 3))
    dura = shell(float(dice.uniform((1.0, 6.0))[0])) & (scene.field(35.0) > column(dice.uniform((0.0, 1.8))))
    falx = (scene.from_midline_mm < column(dice.uniform((1.0, 2.5)))) & (scene.tissues[:, 1:2] > 0.3)
    sinus = shell(10.0) & (scene.from_midline_mm < column(dice.uniform((2.0, 5.0))))
    where = torch.cat([dura, falx & (scene.field(30.0) > -0.5), sinus], 1) & present & (scene.ranks == 0)
    ranges = ((-0.25, 0.1), (-0.1, 0.15), (0.2, 1.4), (-0.4, 0.1))
    # The three enhance alike in a patient, the falx, thinner than a voxel, by less.
    gain = torch.stack([dice.uniform(bounds) for bounds in ranges], dim=1)
    share = (where * torch.tensor([1.0, 0.6, 1.0], device=dice.device).reshape(1, 3, 1, 1, 1)).amax(1, keepdim=True)
    soft = blur(share, dice.uniform((0.4, 1.2), 1) / scene.voxel_mm) * (scene.ranks == 0) * scene.brain
    return (scene.images + column(gain) * soft).clamp(min=0)


def meninges_and_bone(scene: Scene) -> Tensor:
    """Around the brain lie up to 4 mm of fluid, then dura and the inner table of the skull, dark but where agent is.

    They show where masks are generous, and blur into the surface where they are not.
    """
    dice = scene.dice.aside(Stream.SURROUNDINGS)
    fluid = torch.tensor([scene.settings.means[modality][1] for modality in CHANNELS], device=dice.device)
    fluid = fluid * (1 + 0.15 * dice.normal(len(CHANNELS)))
    dark = torch.stack([dice.uniform(bounds) for bounds in ((0.02, 0.3), (0.02, 0.35), (0.02, 0.8), (0.02, 0.3))], 1)
    uneven = (1 + 0.4 * dice.field(scene.size, 8.0 / scene.voxel_mm, len(CHANNELS))).clamp(min=0)
    # A blur of 3 mm falls to one half at the surface and to a tenth 4 mm outside it.
    near = blur(scene.brain, torch.full((dice.batch, 1), 3.0 / scene.voxel_mm, device=dice.device))
    around = torch.where(near > column(dice.uniform((0.1, 0.6))), column(fluid), column(dark) * uneven)
    return scene.images * scene.brain + around * (1 - scene.brain)


def resection_cavity(scene: Scene) -> Tensor:
    """After surgery a hole full of fluid lies where tumour or tissue was; it belongs to no region."""
    dice = scene.dice
    present = column(dice.chance(scene.settings.cavity_chance))
    hole = present & (scene.field(30.0) + 0.8 * (scene.ranks >= OEDEMA) > 2.2) & (scene.brain > 0)
    scene.ranks = torch.where(hole, 0.0, scene.ranks)
    fluid = torch.tensor([scene.settings.means[modality][0] for modality in CHANNELS], device=dice.device)
    fluid = fluid * (1 + 0.15 * dice.normal(len(CHANNELS)))
    return torch.where(hole, column(fluid), scene.images)


def skull_stripping_rim(scene: Scene) -> Tensor:
    """Dura, marrow and fat left by skull stripping make patches of bright or dark rim, 1 or 2 voxels thick."""
    dice = scene.dice
    thickness = 1 + dice.integer(2)
    rim = dilate(1 - scene.brain, thickness) * scene.brain
    patches = (scene.field(25.0) > column(dice.uniform((-0.5, 1.5)))) & column(dice.chance(0.7))
    factor = column(dice.uniform((0.3, 2.0), len(CHANNELS)))
    return torch.where((rim > 0) & patches, scene.images * factor, scene.images)


def texture(scene: Scene) -> Tensor:
    """Fine structure that the tissue maps do not hold."""
    strength = column(scene.dice.uniform(scene.settings.texture, len(CHANNELS)))
    return scene.images * (1 + strength * scene.field(3.0, len(CHANNELS)))
