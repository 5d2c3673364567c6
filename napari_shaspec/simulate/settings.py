"""The ranges that random cases are drawn from, and the named settings: one to train on, two held out from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from napari_shaspec.modalities import Modality

Range = tuple[float, float]

CLASSES = ("ventricle", "sulcus", "cortex", "deep_grey", "white", "oedema", "core", "enhancing")
"""What a voxel can be made of. The first five are normal tissue, the last three tumour (ED, NCR/NET, ET)."""

TISSUES = 5
"""How many of `CLASSES` are normal tissue."""

# Mean intensity of each class, cerebrospinal fluid to enhancing tumour, in the order of CLASSES. White matter of a T1
# is about 0.8 by definition of the scale; the rest follows from relative signal in clinical 1.5 and 3 T protocols
# (deep grey matter lies between cortex and white matter). Relaxation times bound what
# tumours can look like: at TE 100 ms fluid (T2 2 s) keeps about twice the signal of oedema (T2 about 170 ms), and on a
# T1 with TR 600 ms oedema (T1 about 1.3 s) loses a tenth against cortex (1 s) and solid tumour a fifth, not more.
TRAINING_MEANS = {
    Modality.FLAIR: (0.12, 0.18, 0.55, 0.52, 0.46, 0.92, 0.70, 0.82),
    Modality.T1: (0.20, 0.24, 0.55, 0.63, 0.80, 0.53, 0.42, 0.53),
    Modality.T1C: (0.20, 0.26, 0.57, 0.64, 0.80, 0.55, 0.45, 1.20),
    Modality.T2: (1.95, 1.80, 0.56, 0.50, 0.47, 0.95, 1.20, 0.88),
}
HELD_OUT_MEANS = {
    Modality.FLAIR: (0.08, 0.14, 0.50, 0.50, 0.44, 0.84, 0.60, 0.74),
    Modality.T1: (0.14, 0.20, 0.48, 0.58, 0.72, 0.45, 0.36, 0.47),
    Modality.T1C: (0.16, 0.24, 0.52, 0.60, 0.74, 0.49, 0.39, 1.05),
    Modality.T2: (1.85, 1.60, 0.62, 0.50, 0.44, 0.88, 1.08, 0.82),
}


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Ranges are (low, high) of a uniform draw, chances are probabilities, lengths are in mm.

    Parameters
    ----------
    means
        Mean intensity of each of `CLASSES` in each modality.
    tissue_jitter, tumour_jitter
        Standard deviation of those means between cases.
    wild_contrast_chance
        How often normal tissue gets means far from the table, as with unusual protocols.
    spin_echo_chance
        How often T1 and T1c are by spin echo, with less contrast between all tissues but fluid.
    relaxation_chance
        How often relaxation times decide the contrast of all four images (relaxation.py), and not the table.
    folding, hidden_fluid
        How much folds weigh against what the template says, 0 for not at all; and the share of the template's cortex
        that may be the fluid of sulci, which the average of many brains hides.
    fold_spacing_mm, sulcus_half_width_mm, cortex_mm
        About half the distance between two sulci; half of the fluid between two gyri; thickness of the cortex.
    generous_mask_chance
        How often skull stripping leaves a layer around the brain.
    tumour_counts
        Chance of 0, 1, 2, ... tumours.
    radius_mm, satellite_mm
        Size of the first tumour, and of the others. Gliomas are mostly found large: those of BraTS measure 5 to 350 ml.
    superficial_chance, superficial_mm
        How often the first tumour is small and lies at the brain's surface, where few would come to lie by chance and
        where remnants of skull stripping, dura and sinuses look alike; and its size.
    core_fraction, rim_fraction
        The core relative to the tumour; the enhancing rim relative to the core.
    solid_core_chance
        How often the core is solid tumour, which on FLAIR looks like the oedema around it, and not necrosis.
    boundary_noise
        How far a tumour's surface departs from an ellipsoid, relative to its radius.
    octaves
        Relative weight of the noise at the radius, a half of it, a quarter ..., drawn for each case.
    """

    means: dict[Modality, tuple[float, ...]] = field(default_factory=lambda: dict(TRAINING_MEANS))
    tissue_jitter: float = 0.12
    tumour_jitter: float = 0.16
    wild_contrast_chance: float = 0.10
    spin_echo_chance: float = 0.5
    relaxation_chance: float = 0.0
    rotation_degrees: float = 14.0
    scale: Range = (0.88, 1.10)
    elastic_mm: tuple[Range, ...] = ((60.0, 5.0), (22.0, 1.8))
    ventricle_growth: Range = (-0.25, 1.0)
    sulcus_growth: Range = (-0.3, 0.7)
    hidden_fluid: Range = (0.2, 0.55)
    folding: Range = (0.5, 1.0)
    fold_spacing_mm: Range = (6.0, 10.0)
    sulcus_half_width_mm: Range = (0.2, 1.8)
    cortex_mm: Range = (2.2, 4.0)
    tumour_counts: tuple[float, ...] = (0.08, 0.74, 0.12, 0.04, 0.02)
    radius_mm: Range = (5.0, 40.0)
    satellite_mm: Range = (5.0, 20.0)
    superficial_chance: float = 0.3
    superficial_mm: Range = (6.0, 16.0)
    anisotropy: Range = (0.6, 1.5)
    boundary_noise: Range = (0.04, 0.32)
    octaves: tuple[Range, ...] = ((1.0, 1.0), (0.3, 0.9), (0.1, 0.5))
    core_fraction: Range = (0.35, 0.95)
    rim_fraction: Range = (0.08, 0.6)
    no_enhancement_chance: float = 0.25
    solid_core_chance: float = 0.4
    solid_enhancement_chance: float = 0.15
    patchy_enhancement_chance: float = 0.35
    mass_effect: Range = (0.0, 0.35)
    cavity_chance: float = 0.06
    dura_chance: float = 0.6
    generous_mask_chance: float = 0.6
    haemorrhage_chance: float = 0.12
    texture: Range = (0.01, 0.07)
    bias: Range = (0.0, 0.2)
    blur_mm: Range = (0.0, 1.2)
    thick_slice_chance: float = 0.35
    thick_slice_mm: Range = (3.0, 6.5)
    misregistration_mm: float = 1.2
    noise: Range = (0.004, 0.045)
    gamma: Range = (0.75, 1.35)


TRAINING = SimulatorSettings()

HELD_OUT = replace(
    TRAINING,
    means=dict(HELD_OUT_MEANS),
    tissue_jitter=0.07,
    tumour_jitter=0.12,
    wild_contrast_chance=0.0,
    spin_echo_chance=0.0,
    hidden_fluid=(0.5, 0.5),
    elastic_mm=((45.0, 4.5), (18.0, 1.5)),
    radius_mm=(13.0, 40.0),
    superficial_chance=0.0,
    octaves=((0.7, 0.7), (0.7, 0.7), (0.3, 0.3)),
    anisotropy=(0.6, 1.6),
    boundary_noise=(0.08, 0.26),
    rim_fraction=(0.12, 0.5),
    no_enhancement_chance=0.2,
    noise=(0.006, 0.04),
    texture=(0.02, 0.06),
)
"""Other contrasts, noise and tumour shapes than `TRAINING`: checkpoints are chosen on cases drawn from here."""

RELAXATION = replace(HELD_OUT, relaxation_chance=1.0)
"""The held-out setting with contrasts by relaxation times: a second opinion that knows neither of the two tables."""

SETTINGS = {"training": TRAINING, "held-out": HELD_OUT, "relaxation": RELAXATION}


def without_tumours(settings: SimulatorSettings) -> SimulatorSettings:
    """The same scanners and anatomies without a tumour; whatever else is bright or dark in a head stays."""
    return replace(settings, tumour_counts=(1.0,))
