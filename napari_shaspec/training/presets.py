"""The named configurations of training runs."""

from __future__ import annotations

from dataclasses import replace

from napari_shaspec.model.config import ModelConfig, Normalisation
from napari_shaspec.training.config import Augmentation, Optimizer, TrainConfig

_ONE_MM = ModelConfig(widths=(16, 32, 64, 128, 256), voxel_mm=(1.0, 1.0), normalisation=Normalisation.ZSCORE)
_BRATS_CROP = (160, 160, 80)
"""80 x 160 x 160 in the paper, whose arrays are (z, x, y)."""

PRESETS = {
    "bundled": replace(
        TrainConfig(),
        model=ModelConfig(stem_convolutions=1, specific_skips=True),
        steps=18_000,
        patch=(80, 96, 80),
        coarse_share=0.3,
        draws=4,
        tumour_free_share=0.25,
        calibration_cases=20,
        learning_rate=3e-3,
        alpha=0.005,
        deep_supervision=0.5,
        all_steps=500,
        subsets=2,
        validation_steps=1000,
        checkpoint_steps=200,
    ),
    "quick": replace(
        TrainConfig(),
        model=ModelConfig(widths=(4, 8, 16)),
        steps=20,
        patch=(48, 48, 48),
        coarse_patch=(32, 32, 32),
        all_steps=5,
        validation_steps=10,
        validation_cases=2,
    ),
    "small": TrainConfig(
        model=ModelConfig(widths=(4, 8, 16), voxel_mm=(4.0, 4.0)),
        steps=300,
        patch=(32, 40, 32),
        coarse_patch=(32, 40, 32),
        learning_rate=8e-3,
        warmup_steps=20,
        all_steps=60,
        subsets=2,
        ema_decay=0.98,
        validation_steps=100,
        validation_cases=4,
        picture_steps=0,
    ),
    "paper": TrainConfig(
        model=_ONE_MM,
        steps=180_000,
        patch=_BRATS_CROP,
        coarse_patch=_BRATS_CROP,
        tumour_share=0.0,
        augmentation=Augmentation.NONE,
        optimizer=Optimizer.SGD,
        learning_rate=0.01,
        weight_decay=0.0,
        warmup_steps=1,
        gradient_clip=0.0,
        all_steps=80_000,
        features_wait=False,
        full_set=False,
        ema_decay=0.0,
        validation_steps=2000,
        validation_cases=16,
        checkpoint_steps=500,
    ),
    "modern": TrainConfig(
        model=_ONE_MM,
        steps=60_000,
        patch=_BRATS_CROP,
        coarse_patch=_BRATS_CROP,
        augmentation=Augmentation.FULL,
        learning_rate=2e-3,
        warmup_steps=1000,
        all_steps=12_000,
        subsets=2,
        ema_decay=0.999,
        validation_steps=2000,
        validation_cases=16,
        checkpoint_steps=500,
    ),
}
"""The named configurations.

``bundled`` makes weights like those in the box; ``quick`` shows within a minute that a set-up works; ``small`` is what
the ablations train on simulated cases. ``paper`` is the published recipe for BraTS at 1 mm, and ``modern`` one that
decodes the full set and subsets in each step, with AdamW and averaged weights (benchmarks/learning.py compares them).
"""
