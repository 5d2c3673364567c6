"""A small random network and small random cases on awkward grids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pytest
import torch

from napari_shaspec.inference.engine import Engine, OutOfMemoryError, TorchEngine
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import Encoding, ShaSpec
from napari_shaspec.volume import Case, Volume


@pytest.fixture(scope="session")
def model() -> ShaSpec:
    """Random weights, sharpened so that probabilities spread over 0 to 1."""
    torch.manual_seed(3)
    # Specific skips as in the bundled weights: an encoding then holds all that it can.
    model = ShaSpec(ModelConfig(widths=(4, 6, 8), voxel_mm=(2.0, 4.0), specific_skips=True)).eval()
    with torch.no_grad():
        model.decoder.output.weight *= 6
        model.decoder.output.bias.zero_()
    return model


def oblique_affine(voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """Axes turned by some degrees and in the order P, S, L."""
    angle = np.deg2rad(17)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    order = np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ order @ np.diag(voxel_mm)
    affine[:3, 3] = [30, -12, 5]
    return affine


def random_case(
    shape: tuple[int, int, int] = (61, 47, 53), voxel_mm: tuple[float, float, float] = (1.5, 1.1, 2.3), seed: int = 0
) -> Case:
    """Four images of smooth-edged noise inside an ellipsoid, background 0."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij"))
    brain = (grid**2).sum(0) < 0.8
    affine = oblique_affine(voxel_mm)
    images = {
        modality: Volume(np.where(brain, random.integers(1, 900, shape), 0).astype(np.int16), affine)
        for modality in Modality
    }
    return Case("random", images)


@pytest.fixture(scope="session")
def case() -> Case:
    """Odd, anisotropic, oblique, not in RAS order."""
    return random_case()


class CountingEngine:
    """The torch engine, remembering what it encoded, and with as little memory as a test wants.

    Parameters
    ----------
    memory_voxels
        A larger tile raises `OutOfMemoryError`; None is no limit.
    """

    def __init__(self, model: ShaSpec, memory_voxels: int | None = None, device_type: str = "cpu") -> None:
        self._torch = TorchEngine(model, "cpu", "float32")
        self.model = model
        self.memory_voxels = memory_voxels
        self.device = torch.device(device_type)
        self.encoded: list[tuple[str, bytes]] = []
        self.decoded = 0

    @property
    def config(self) -> ModelConfig:
        return self._torch.config

    def encode(self, image: torch.Tensor, modality: str) -> Encoding:
        if self.memory_voxels is not None and image.numel() > self.memory_voxels:
            raise OutOfMemoryError("full")
        self.encoded.append((modality, image.numpy().tobytes()))
        return self._torch.encode(image, modality)

    def decode(self, encodings: Mapping[str, Encoding]) -> torch.Tensor:
        self.decoded += 1
        return self._torch.decode(encodings)

    def specific_maps(self, image: torch.Tensor, modality: str) -> tuple[torch.Tensor, ...]:
        return self._torch.specific_maps(image, modality)

    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, torch.Tensor]:
        return self._torch.fused(encodings)

    def on_cpu(self) -> Engine:
        return CountingEngine(self.model)


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Case]:
    """`random_case`, for cases of another shape or seed."""
    return random_case


@pytest.fixture(scope="session")
def make_engine(model: ShaSpec) -> Callable[..., CountingEngine]:
    """Engines that count, and may be short of memory."""
    return partial(CountingEngine, model)
