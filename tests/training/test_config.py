"""A training configuration is valid, or does not exist."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.presets import PRESETS


def test_the_presets() -> None:
    assert PRESETS["bundled"].steps % PRESETS["bundled"].validation_steps == 0
    assert PRESETS["quick"].steps < 100
    # A rule that was measured on simulated cases is for calibrated weights, and not for networks of real ones.
    assert {preset.model.sure for preset in PRESETS.values()} == {None}


def test_the_paper_preset_is_the_published_recipe() -> None:
    paper = PRESETS["paper"]
    assert (paper.optimizer, paper.momentum, paper.learning_rate, paper.schedule) == ("sgd", 0.99, 0.01, "cosine")
    assert (paper.steps, paper.all_steps, paper.batch, paper.full_set) == (180_000, 80_000, 1, False)
    assert (paper.patch, paper.model.voxel_mm, paper.model.normalisation) == ((160, 160, 80), (1.0, 1.0), "zscore")
    assert (paper.alpha, paper.beta, paper.alignment, paper.sampling) == (0.1, 0.02, "l1", "size")
    assert (paper.model.substitution, paper.ema_decay, paper.gradient_clip) == ("mean", 0.0, 0.0)


def test_a_configuration_goes_into_json(config: TrainConfig) -> None:
    entries = json.loads(json.dumps(config.to_dict()))
    assert entries["model"]["widths"] == [4, 8]
    assert entries["alignment"] == "l1"
    assert entries["patch"] == [16, 20, 16]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"steps": 0}, "at least one step"),
        ({"batch": 0}, "at least one step"),
        ({"warmup_steps": 0}, "at least one step"),
        ({"validation_cases": 0}, "at least one step"),
        ({"subsets": -1}, "numbers of steps and subsets of at least 0"),
        ({"checkpoint_steps": -1}, "numbers of steps and subsets of at least 0"),
        ({"all_steps": -1}, "numbers of steps and subsets of at least 0"),
        ({"deep_supervision": -0.1}, "weights of DAO, DCO, deep supervision"),
        ({"alpha": -0.1}, "weights of DAO, DCO, deep supervision, decay and clipping of at least 0"),
        ({"learning_rate": 0.0}, "a learning rate above 0"),
        ({"tumour_share": 1.5}, "shares and decays from 0 to 1"),
        ({"momentum": -1}, "shares and decays from 0 to 1"),
        ({"dedicated": ("t1", "ct")}, "dedicated modalities out of flair, t1, t1c, t2"),
        ({"dedicated": ("t1", "t1")}, "each named once"),
        ({"patch": (16,)}, "three sides of each patch"),
        ({"coarse_patch": (16, 16)}, "three sides of each patch"),
        ({"patch": (16, 17, 16)}, "patch sides that are multiples of 2"),
        ({"coarse_patch": (16, 16, 2)}, "patch sides that are multiples of 2 and at least 4"),
    ],
)
def test_impossible_configurations(config: TrainConfig, entries: dict[str, Any], expected: str) -> None:
    with pytest.raises(ShaSpecError, match=expected):
        replace(config, **entries)
