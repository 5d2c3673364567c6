"""Audiovision-MNIST as it is where it lies beside the repository, and pairs of the same shape made of noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_shaspec.classification.av_mnist import AudiovisionMNIST, Pairs

AVMNIST = Path(__file__).parents[3] / "shared" / "data" / "avmnist"


@pytest.fixture(scope="session")
def avmnist_folder() -> Path:
    """The real files."""
    if not AVMNIST.is_dir():
        pytest.skip("needs ../shared/data/avmnist, MNIST and the Free Spoken Digit Dataset")
    return AVMNIST


@pytest.fixture(scope="session")
def real(avmnist_folder: Path) -> AudiovisionMNIST:
    """All 1,500 real pairs."""
    from napari_shaspec.classification.av_mnist import read_av_mnist

    return read_av_mnist(avmnist_folder)


def noise(count_of_a_digit: int, seed: int) -> Pairs:
    """Each digit has its own picture and its own sound, under noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.Generator().manual_seed(0)
    pictures, tones = torch.rand(10, 1, 28, 28, generator=patterns), torch.randn(10, 1, 20, 20, generator=patterns)
    digits = torch.arange(10).repeat_interleave(count_of_a_digit)
    count = len(digits)
    images = pictures[digits] * 2 - 1 + 0.3 * torch.randn(count, 1, 28, 28, generator=generator)
    sounds = 50 * (tones[digits] + 0.3 * torch.randn(count, 1, 20, 20, generator=generator))
    speakers = torch.arange(3).repeat_interleave(count_of_a_digit // 3).repeat(10)
    return Pairs(images, sounds, digits, speakers)


@pytest.fixture(scope="session")
def made_up() -> AudiovisionMNIST:
    """As many pairs as the real ones, easy to tell apart."""
    return AudiovisionMNIST(noise(105, 1), noise(45, 2))
