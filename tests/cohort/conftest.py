"""Two hundred tiny cases on disk, and a tiny network of random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from distributed import Client

from napari_shaspec.cohort.cluster import local_client
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint, save_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec

SHAPE = (12, 14, 10)
SUBSETS = nonempty_subsets(tuple(Modality))
MakeCases = Callable[[int], Path]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(4)
    model = ShaSpec(ModelConfig(widths=(2, 4, 8), voxel_mm=(6.0, 6.0)))
    with torch.no_grad():
        model.decoder.output.bias.zero_()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(model, path, {})
    return path


@pytest.fixture(scope="session")
def sha256(weights: Path) -> str:
    return load_checkpoint(weights).sha256


@pytest.fixture
def make_cases(tmp_path: Path) -> MakeCases:
    """Folders case_000, case_001, ... of noise, each with another subset of modalities, in turn."""

    def make(count: int) -> Path:
        draw = np.random.default_rng(6)
        folder = tmp_path / "cases"
        affine = np.diag([-5.0, -5, 6, 1])
        brain = np.pad(np.ones([side - 4 for side in SHAPE], np.int16), 2)
        for number in range(count):
            inner = folder / f"case_{number:03d}"
            inner.mkdir(parents=True)
            for modality in SUBSETS[number % len(SUBSETS)]:
                data = brain * draw.integers(100, 900, SHAPE, np.int16)
                nib.Nifti1Image(data, affine).to_filename(inner / f"{inner.name}_{modality.value}.nii")
        return folder

    return make


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers on this machine."""
    with local_client(2) as client:
        yield client
