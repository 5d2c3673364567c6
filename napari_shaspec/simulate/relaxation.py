"""Signal from relaxation times: how bright a sequence shows each class, by the Bloch equations.

The table of class means (settings.py) draws every class in every modality by itself. Here one draw of T1 and T2, with
the proton density of the class, decides all four images, as in a patient: fluid that is bright on T2 is dark on FLAIR,
tissue with a long T1 has a long T2, and a T1 by spin echo has hardly any contrast between grey and white matter where
an inversion-prepared one has much. Echoes are ideal, slice profiles and readout trains are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from napari_shaspec.simulate.fields import Dice

PROTONS = (1.0, 1.0, 0.81, 0.78, 0.71, 0.88, 0.92, 0.86)
T1_S = (4.0, 3.2, 1.10, 0.95, 0.75, 1.30, 1.80, 1.45)
T2_S = (1.8, 0.9, 0.092, 0.084, 0.078, 0.140, 0.220, 0.135)
"""At 1.5 T, in the order of `CLASSES`: normal tissue about as in Stanisz et al. 2005, gliomas and oedema as in Just and
Thelen 1988. Sulci are fluid with some cortex and pulsation. The core is necrosis."""

SOLID_CORE = (0.86, 1.50, 0.150)
"""Proton density, T1 and T2 of a core that is solid tumour without contrast agent."""

BOUND = (0.0, 0.0, 0.6, 0.7, 1.0, 0.4, 0.2, 0.4)
"""Share of protons bound to macromolecules, relative to white matter: magnetisation transfer between the slices of a
2-D sequence takes signal in proportion."""

BLOOD = (0.0, 0.02, 0.05, 0.04, 0.022, 0.02, 0.015, 0.0)
"""Share of blood, which holds contrast agent though no tissue with a blood-brain barrier does."""

RELAXIVITY = 4.3
"""Of gadolinium chelates at body temperature, 1 / (mmol/l s)."""


def spin_echo(protons: Tensor, t1: Tensor, t2: Tensor, repetition_s: Tensor, echo_s: Tensor) -> Tensor:
    """Signal after 90 and 180 degree pulses: recovery during the repetition time, decay until the echo."""
    return protons * (1 - torch.exp(-repetition_s / t1)) * torch.exp(-echo_s / t2)


def inversion_recovery(
    protons: Tensor, t1: Tensor, t2: Tensor, repetition_s: Tensor, inversion_s: Tensor, echo_s: Tensor
) -> Tensor:
    """Magnitude of the signal when an inversion precedes the excitation by ``inversion_s``."""
    recovered = 1 - 2 * torch.exp(-inversion_s / t1) + torch.exp(-repetition_s / t1)
    return (protons * recovered).abs() * torch.exp(-echo_s / t2)


def nulling_time_s(t1: Tensor, repetition_s: Tensor) -> Tensor:
    """Inversion time at which tissue of this T1 gives no signal."""
    return t1 * (math.log(2) - torch.log1p(torch.exp(-repetition_s / t1)))


def draw_signals(dice: Dice, solid: Tensor) -> Tensor:
    """Signal of each class in FLAIR, T1, T1c and T2 for random tissue and sequences.

    Parameters
    ----------
    solid
        (B,) whether the core is solid tumour.

    Returns
    -------
    Tensor
        (B, 4, 8), white matter at 1 in each modality.
    """
    protons, t1, t2 = _tissue(dice, solid)

    def draw(low: float, high: float) -> Tensor:
        return dice.uniform((low, high), 1)

    # Pulses for neighbouring slices saturate bound protons: in 2-D sequences, so not in the inversion-prepared T1.
    transfer = 1 - draw(0.0, 0.15) * torch.tensor(BOUND, device=dice.device)
    repetition = draw(6.0, 11.0)
    inversion = nulling_time_s(t1[:, :1], repetition) * draw(0.9, 1.08)
    flair = inversion_recovery(protons, t1, t2, repetition, inversion, draw(0.085, 0.15)) * transfer
    t2_weighted = spin_echo(protons, t1, t2, draw(3.0, 6.5), draw(0.08, 0.12)) * transfer

    def t1_weighted(t1: Tensor, prepared: Tensor, times: Tensor) -> Tensor:
        echo = spin_echo(protons, t1, t2, 0.4 + 0.4 * times[:, :1], 0.008 + 0.012 * times[:, 1:]) * transfer
        gradient = inversion_recovery(
            protons, t1, t2, 1.6 + 0.8 * times[:, :1], 0.8 + 0.3 * times[:, 1:], torch.full_like(times[:, :1], 0.003)
        )
        return torch.where(prepared, gradient, echo)

    prepared, times = dice.chance(0.4, 1), dice.uniform((0.0, 1.0), 2)
    before = t1_weighted(t1, prepared, times)
    same = dice.chance(0.7, 1)
    prepared = torch.where(same, prepared, dice.chance(0.4, 1))
    times = torch.where(same, times, dice.uniform((0.0, 1.0), 2))
    # What the tissue takes up, in mmol/l: blood its share, a leaking tumour much more.
    agent = draw(0.3, 1.2) * torch.tensor(BLOOD, device=dice.device)
    agent = torch.cat([agent[:, :-1], draw(0.15, 0.9)], 1)
    after = t1_weighted(1 / (1 / t1 + RELAXIVITY * agent), prepared, times)

    signals = torch.stack([flair, before, after, t2_weighted], 1)
    signals = signals * (1 + 0.04 * dice.normal(*signals.shape[1:]))
    return signals / signals[..., 4:5]


def _tissue(dice: Dice, solid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 8) proton density, T1 and T2 in s: patients differ, and so do field strengths."""
    table = torch.tensor([PROTONS, T1_S, T2_S], device=dice.device)
    table = table.expand(dice.batch, -1, -1).clone()
    table[:, :, 6] = torch.where(solid[:, None], torch.tensor(SOLID_CORE, device=dice.device), table[:, :, 6])
    protons, t1, t2 = table.unbind(1)
    # Water lengthens both times: most of what differs between tumours moves T1 and T2 together.
    spread = torch.tensor([0.05, 0.10, 0.06, 0.06, 0.06, 0.15, 0.18, 0.15], device=dice.device)
    water = spread * dice.normal(len(T1_S))
    own = 0.5 * spread
    # From 1.5 to 3 T, T1 of tissue grows by a third and T2 falls by a tenth; fluid stays.
    field = dice.uniform((0.0, 1.0), 1) * torch.tensor([0.0, 0.0] + [1.0] * 6, device=dice.device)
    t1 = t1 * torch.exp(water + own * dice.normal(len(T1_S))) * (1 + 0.33 * field)
    t2 = t2 * torch.exp(water + own * dice.normal(len(T2_S))) * (1 - 0.1 * field)
    return protons, t1, t2
