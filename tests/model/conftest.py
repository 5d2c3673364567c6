"""Small random networks, and images for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec

SIDES = {2: (12, 16), 3: (8, 12, 16)}
"""Multiples of 4, the stride of three levels; all different, so that mixed-up axes show."""


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ShaSpec]:
    """Networks with random weights, biases and norms among them, so that no term of an equation vanishes."""

    def make(config: ModelConfig | None = None) -> ShaSpec:
        torch.manual_seed(4)
        model = ShaSpec(config or ModelConfig(widths=(4, 6, 8))).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.uniform_(-0.5, 1.5)
        return model

    return make


@pytest.fixture(scope="session")
def make_images() -> Callable[..., dict[str, Tensor]]:
    """One random image (batch, channels, *size) for each name."""

    def make(names: Sequence[str], dims: int = 3, batch: int = 2, channels: int = 1) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(7)
        return {name: torch.randn((batch, channels, *SIDES[dims]), generator=generator) for name in names}

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., ShaSpec]) -> ShaSpec:
    """The network of MRI, in 3-D."""
    return make_model()


@pytest.fixture(scope="session")
def images(model: ShaSpec, make_images: Callable[..., dict[str, Tensor]]) -> dict[str, Tensor]:
    """All four modalities of two samples."""
    return make_images(model.config.modalities)
