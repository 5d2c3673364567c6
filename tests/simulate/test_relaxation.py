"""Signals by relaxation times, against magnetisation that is followed through the pulses of many repetitions."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_shaspec.simulate.case import simulate_batch
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.relaxation import draw_signals, inversion_recovery, nulling_time_s, spin_echo
from napari_shaspec.simulate.settings import CLASSES, HELD_OUT, RELAXATION, TRAINING

FLAIR, T1, T1C, T2 = range(4)
VENTRICLE, SULCUS, CORTEX, DEEP_GREY, WHITE, OEDEMA, CORE, ENHANCING = range(len(CLASSES))


def recover(magnetisation: float, t1: float, seconds: float) -> float:
    """Longitudinal magnetisation, 1 at rest, after it was left alone for a while."""
    return 1 + (magnetisation - 1) * math.exp(-seconds / t1)


def followed(protons: float, t1: float, t2: float, repetition: float, inversion: float | None, echo: float) -> float:
    """The signal after thirty repetitions of (inversion, wait,) excitation by 90 degrees, echo."""
    magnetisation, signal = 1.0, 0.0
    for _ in range(30):
        if inversion is not None:
            magnetisation = recover(-magnetisation, t1, inversion)
        signal = protons * abs(magnetisation) * math.exp(-echo / t2)
        magnetisation = recover(0.0, t1, repetition - (inversion or 0.0))
    return signal


@pytest.mark.parametrize("seed", range(5))
def test_formulas_are_the_steady_state_of_the_pulses(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    protons, t1, t2, repetition, echo, share = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    t1, t2, repetition, echo = 0.3 + 4 * t1, 0.03 + t2, 0.4 + 8 * repetition, 0.01 + 0.1 * echo
    tensors = [torch.tensor([value], dtype=torch.float64) for value in (protons, t1, t2, repetition, echo)]
    expected = followed(protons, t1, t2, repetition, None, echo)
    assert spin_echo(*tensors).item() == pytest.approx(expected, rel=1e-9)
    tensors.insert(4, torch.tensor([share * repetition], dtype=torch.float64))
    expected = followed(protons, t1, t2, repetition, share * repetition, echo)
    assert inversion_recovery(*tensors).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_fluid_is_nulled_at_its_nulling_time() -> None:
    t1 = torch.tensor([0.8, 2.0, 4.0], dtype=torch.float64)
    ones, repetition = torch.ones_like(t1), torch.full_like(t1, 8.0)
    inversion = nulling_time_s(t1, repetition)
    signal = inversion_recovery(ones, t1, ones, repetition, inversion, 0.0 * ones)
    assert signal.abs().max() < 1e-12
    assert bool((inversion > 0).all())
    assert bool((inversion < repetition).all())


@pytest.fixture(scope="module")
def signals() -> Tensor:
    dice = Dice(12, 2000, torch.device("cpu"))
    return draw_signals(dice, torch.zeros(2000, dtype=torch.bool))


def test_classes_look_as_radiology_knows_them(signals: Tensor) -> None:
    assert signals.shape == (2000, 4, 8)
    assert bool((signals >= 0).all())
    assert signals.isfinite().all()
    assert torch.equal(signals[..., WHITE], torch.ones(2000, 4))
    usually = signals.median(0).values
    assert usually[FLAIR, VENTRICLE] < 0.5, "fluid is dark on FLAIR"
    assert usually[T1, VENTRICLE] < 0.6, "and on T1"
    assert usually[T2, VENTRICLE] > 3, "and brightest on T2"
    assert 0.75 < usually[T1, CORTEX] < 0.95
    assert 1.05 < usually[FLAIR, CORTEX] < 1.3
    assert usually[FLAIR, OEDEMA] > 1.2 * usually[FLAIR, CORTEX]
    assert usually[T1, CORE] < usually[T1, OEDEMA] < 1
    assert usually[T1C, ENHANCING] > 1.5, "contrast agent shortens T1"
    assert abs(usually[T1C, WHITE] - usually[T1, WHITE]) < 0.05, "where it arrives"


def test_one_patient_decides_all_images(signals: Tensor) -> None:
    """Water lengthens T1 and T2 together: an oedema darker on T1 is brighter on T2, and T1c repeats T1."""
    relative = signals[..., OEDEMA] / signals[..., CORTEX]
    correlation = torch.corrcoef(relative.T)
    assert correlation[T1, T2] < -0.3
    assert correlation[T1, T1C] > 0.3
    assert correlation[FLAIR, T2] > 0.1, "less, because a long T1 takes signal from FLAIR"


def test_spin_echoes_show_less_of_grey_against_white_than_inversion_does(signals: Tensor) -> None:
    contrast = signals[:, T1, CORTEX]
    assert contrast.quantile(0.05) < 0.72, "as after an inversion"
    assert contrast.quantile(0.75) > 0.88, "as by spin echo"


def test_a_solid_core_looks_like_tumour_and_necrosis_like_water() -> None:
    solid = torch.arange(2000) % 2 == 0
    core = draw_signals(Dice(3, 2000, torch.device("cpu")), solid)[..., CORE]
    assert core[solid, T2].median() < core[~solid, T2].median()
    assert core[solid, T1].median() > core[~solid, T1].median()


def test_relaxation_times_change_contrasts_and_nothing_else() -> None:
    size = (24, 28, 24)
    table, physics = (simulate_batch(5, 2, size, 6.0, settings) for settings in (HELD_OUT, RELAXATION))
    tumour = table.labels > 0
    assert bool(tumour.any())
    assert ((table.labels > 0) == (physics.labels > 0)).float().mean() > 0.95, "the same heads and tumours"
    assert not torch.equal(table.images, physics.images)
    assert physics.images.isfinite().all()


def test_no_contrast_by_relaxation_times_was_learned() -> None:
    """They are a second opinion of weights that have learned from one table and were chosen by another."""
    assert TRAINING.relaxation_chance == HELD_OUT.relaxation_chance == 0
    assert RELAXATION.relaxation_chance == 1
    assert replace(RELAXATION, relaxation_chance=0.0) == HELD_OUT
