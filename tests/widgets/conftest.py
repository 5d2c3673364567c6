"""A real napari window on a virtual screen, a small random network, and a small case on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from napari import Viewer
from pytestqt.qtbot import QtBot

from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import attach_reliability, save_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.plugin import settings
from napari_shaspec.regions import Region
from napari_shaspec.reliability import Limits, Reliability
from napari_shaspec.widgets.shaspec import ShaSpecWidget

NAMES = {Modality.FLAIR: "flair", Modality.T1: "t1", Modality.T1C: "t1ce", Modality.T2: "t2"}
LONG_MS = 60_000
ALL = frozenset(Modality)
TABLE = Reliability(
    {
        ALL: {Region.ET: 0.8, Region.TC: 0.6, Region.WT: 0.9},
        ALL - {Modality.T1C}: {Region.ET: 0.1, Region.TC: 0.2, Region.WT: 0.9},
    },
    "7 made-up cases",
    dict.fromkeys(Modality, Limits(smallest_ml=0)),  # as small as those of these tests
)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network, sharpened so that labels of all kinds come out and every subset gives others."""
    torch.manual_seed(11)
    model = ShaSpec(ModelConfig(widths=(4, 6, 8), voxel_mm=(2.0, 4.0))).eval()
    with torch.no_grad():
        model.decoder.output.weight *= 8
        model.decoder.output.bias.copy_(torch.tensor([-1.0, -0.5, 0.0]))
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(model, path, {}, "A random network, for tests.")
    attach_reliability(path, TABLE, path)
    return path


def write_case(folder: Path, *, seed: int = 0, shift_mm: float = 0.0, oblique: bool = False) -> Path:
    """A skull-stripped head with a bright ball in it, four modalities and a label map, in LPS order, anisotropic."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    shape = (40, 48, 30)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij"))
    brain = (grid**2).sum(0) < 0.8
    ball = ((grid - np.array([0.3, 0.2, 0.1])[:, None, None, None]) ** 2).sum(0) < 0.08
    affine = np.diag([-1.5, -1.5, 2.0, 1.0])
    affine[:3, 3] = (30 + shift_mm, 40, -30)
    if oblique:
        affine[:3, :3] = nib.eulerangles.euler2mat(0.2, -0.25, 0.15) @ affine[:3, :3]
    for modality, name in NAMES.items():
        values = 300 + 200 * ball * (list(Modality).index(modality) + 1) + random.normal(0, 20, shape)
        image = nib.Nifti1Image(np.where(brain, values.clip(1), 0).astype(np.int16), affine)
        image.header.set_xyzt_units("mm")
        image.set_qform(affine, 1)
        image.set_sform(affine, 2)
        nib.save(image, folder / f"{folder.name}_{name}.nii.gz")
    nib.save(nib.Nifti1Image(np.where(ball, 4, 0).astype(np.uint8), affine), folder / f"{folder.name}_seg.nii.gz")
    return folder


@pytest.fixture
def case_folder(tmp_path: Path) -> Path:
    return write_case(tmp_path / "patient")


@pytest.fixture
def remembered(weights: Path) -> Iterator[None]:
    """Settings for the test, and the defaults again after it; none is written to disk."""
    settings.remember(weights=str(weights), offer_reader=True, live=True, device="cpu")
    yield
    defaults = settings.Settings()
    settings.remember(**{name: getattr(defaults, name) for name in settings.Settings.__slots__})


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], remembered: None) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1280, 800)
    return viewer


@pytest.fixture
def panel(viewer: Viewer) -> ShaSpecWidget:
    _, panel = viewer.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    assert isinstance(panel, ShaSpecWidget)
    return panel


@pytest.fixture
def loaded(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> ShaSpecWidget:
    """With the case in it, predicted from all four and measured."""
    panel.open_paths([str(case_folder)])
    finished(panel, qtbot)
    qtbot.waitUntil(lambda: measured(panel), timeout=LONG_MS)
    return panel


def measured(panel: ShaSpecWidget) -> bool:
    """Whether the agreement with the reference has been computed."""
    agreement = panel.state.agreement
    return bool(agreement) and all(each.hd95_mm is not None for each in agreement.values())


def finished(panel: ShaSpecWidget, qtbot: QtBot, before: object = None) -> None:
    """Wait for a result other than ``before``."""
    qtbot.waitUntil(lambda: panel.state.result is not None and panel.state.result is not before, timeout=LONG_MS)
