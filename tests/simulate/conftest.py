"""One template, one small grid around the whole brain, one scene to try effects on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from napari_shaspec.simulate import anatomy
from napari_shaspec.simulate.anatomy import BRAIN_CENTRE_MM, Template
from napari_shaspec.simulate.case import SimulatedBatch, simulate_batch
from napari_shaspec.simulate.contrast import tissue_signal
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.scene import CHANNELS, Scene
from napari_shaspec.simulate.settings import TRAINING, SimulatorSettings
from napari_shaspec.simulate.tumour import CORE, ENHANCING, OEDEMA

SIZE = (32, 40, 32)
VOXEL_MM = 5.0
"""Together 160 x 200 x 160 mm: a whole brain in 41,000 voxels."""


@pytest.fixture(scope="session")
def template() -> Template:
    """The maps that nilearn carries; a second or two, once."""
    return anatomy.load_template(torch.device("cpu"))


@pytest.fixture(scope="session")
def simulate(template: Template) -> Callable[..., SimulatedBatch]:
    """Whole brains, two by default."""

    def simulated(seed: int, settings: SimulatorSettings = TRAINING, batch: int = 2) -> SimulatedBatch:
        return simulate_batch(seed, batch, SIZE, VOXEL_MM, settings)

    return simulated


@pytest.fixture(scope="session")
def cases(simulate: Callable[..., SimulatedBatch]) -> SimulatedBatch:
    """Eight cases of the training setting, for what only shows in many."""
    return simulate(10, batch=8)


@pytest.fixture
def make_scene(template: Template) -> Callable[..., Scene]:
    """Upright brains, each with one round tumour of three shells, before any effect but the first."""

    def make(seed: int = 5, **settings: object) -> Scene:
        dice = Dice(seed, 2, torch.device("cpu"))
        grid = anatomy.grid_mm(SIZE, VOXEL_MM, dice.device)
        tissues = template.sample(grid + torch.tensor(BRAIN_CENTRE_MM)).expand(2, -1, -1, -1, -1)
        brain = (tissues.sum(1, keepdim=True) > 0.5).float()
        radius_mm = (grid - torch.tensor([30.0, 0.0, 25.0])).norm(dim=-1)[:, None]
        ranks = sum((radius_mm < limit).float() for limit, _ in ((25.0, OEDEMA), (16.0, CORE), (8.0, ENHANCING)))
        scene = Scene(
            dice=dice,
            settings=replace(TRAINING, **settings),
            voxel_mm=VOXEL_MM,
            tissues=tissues,
            ranks=ranks * brain,
            brain=brain,
            from_midline_mm=grid[..., 0].abs().expand(2, -1, -1, -1)[:, None],
            images=torch.zeros(2, len(CHANNELS), *SIZE),
        )
        scene.images = tissue_signal(scene)
        return scene

    return make
