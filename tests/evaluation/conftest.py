"""A small case whose truth is known, and sessions on it."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.regions import Label, labels_to_masks
from napari_shaspec.volume import Case, Volume


@pytest.fixture
def truth() -> Volume:
    """A cube of oedema around core and enhancing tumour, on anisotropic voxels."""
    labels = np.zeros((16, 18, 12), np.uint8)
    labels[3:13, 4:14, 2:10] = Label.ED
    labels[5:11, 6:12, 4:8] = Label.NCR_NET
    labels[6:9, 7:10, 5:7] = Label.ET
    return Volume(labels, np.diag([2.0, 3.0, 4.0, 1.0]))


@pytest.fixture
def case(truth: Volume) -> Case:
    """Four images of noise on the truth's grid."""
    draw = np.random.default_rng(3)
    images = {modality: truth.with_data(draw.uniform(1, 9, truth.shape).astype(np.float32)) for modality in Modality}
    return Case("small", images, truth)


@pytest.fixture
def session(case: Case) -> Session:
    """The real session with a tiny network of random weights."""
    torch.manual_seed(5)
    model = ShaSpec(ModelConfig(widths=(2, 4, 8), voxel_mm=(3.0, 4.0)))
    return Session(model, case, device="cpu", precision="float32")


@dataclass
class OnlyFlairSees:
    """A session that finds all of the tumour with FLAIR and nothing without."""

    case: Case

    def predict(self, available: Collection[Modality] | None = None, progress: object = None) -> Prediction:
        assert available is not None
        assert self.case.truth is not None
        masks = labels_to_masks(self.case.truth.data) & (Modality.FLAIR in available)
        return Prediction(masks.astype(np.float32), self.case.grid, frozenset(available))


@pytest.fixture
def only_flair_sees(case: Case) -> OnlyFlairSees:
    return OnlyFlairSees(case)
