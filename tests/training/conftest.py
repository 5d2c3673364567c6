"""A configuration that trains in seconds, and batches for it."""

from __future__ import annotations

import pytest
import torch

from napari_shaspec.model.config import ModelConfig
from napari_shaspec.simulate.settings import TRAINING
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import Batch, SimulatedBatches

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    """The smallest network and patches, at voxel sizes that still show a tumour."""
    return TrainConfig(
        model=ModelConfig(widths=(4, 8), voxel_mm=(4.0, 6.0)),
        seed=7,
        steps=4,
        patch=(16, 20, 16),
        coarse_patch=(16, 16, 16),
        coarse_share=0.3,
        warmup_steps=1,
        all_steps=1,
        subsets=2,
        validation_steps=2,
        validation_cases=1,
    )


@pytest.fixture(scope="session")
def batches(config: TrainConfig) -> SimulatedBatches:
    """The first ten of a training run."""
    return SimulatedBatches(config, TRAINING, 0, 10, CPU)


@pytest.fixture(scope="session")
def batch(batches: SimulatedBatches) -> Batch:
    """One whose patch holds all three regions."""
    return next(batch for batch in batches if bool((batch.masks.sum((0, 2, 3, 4)) > 30).all()))
