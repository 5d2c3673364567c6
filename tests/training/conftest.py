"""A configuration that trains in seconds, and batches for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_shaspec.io.cases import CaseFiles, find_cases
from napari_shaspec.io.nifti import write_volume
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.simulate.settings import TRAINING
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import Batch, SimulatedBatches
from napari_shaspec.volume import Volume

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


@pytest.fixture
def cases(tmp_path: Path) -> tuple[CaseFiles, ...]:
    """Three cases in LPS order with a bright tumour in a corner of the brain; the last one lacks T1."""
    random = np.random.default_rng(5)
    brain = np.zeros((36, 30, 28), bool)
    brain[3:-3, 3:-3, 3:-3] = True
    labels = np.zeros(brain.shape, np.uint8)
    labels[6:14, 6:14, 6:14], labels[8:12, 8:12, 8:12], labels[9:11, 9:11, 9:11] = 2, 1, 4
    affine = np.diag([-1.0, -1.0, 1.5, 1.0])
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for modality in Modality:
            if (name, modality) != ("c", Modality.T1):
                data = np.where(brain, random.integers(80, 120, brain.shape) + 200 * (labels > 0), 0).astype(np.int16)
                write_volume(Volume(data, affine), tmp_path / name / f"{name}_{modality.value}.nii")
        write_volume(Volume(labels, affine), tmp_path / name / f"{name}_seg.nii")
    return find_cases(tmp_path)
