"""Intensities vary within their bounds, and the background stays what it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_shaspec.training.augment import jitter_intensities


@pytest.fixture
def images() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = {name: torch.randn((3, 1, 6, 6, 6), generator=generator) for name in ("flair", "t1")}
    for image in images.values():
        image[..., :2] = 0
    return images


def jittered(images: dict[str, Tensor], seed: int = 1) -> dict[str, Tensor]:
    return jitter_intensities(images, torch.Generator().manual_seed(seed))


def test_background_stays_0_and_the_original_stays(images: dict[str, Tensor]) -> None:
    before = {name: image.clone() for name, image in images.items()}
    for name, image in jittered(images).items():
        assert not image[..., :2].any()
        assert not torch.equal(image[..., 2:], before[name][..., 2:])
        assert torch.equal(images[name], before[name])


def test_a_seed_makes_the_same_jitter_again(images: dict[str, Tensor]) -> None:
    first, again, other = (jittered(images, seed)["t1"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_each_sample_and_modality_gets_one_scale_and_shift_within_bounds(images: dict[str, Tensor]) -> None:
    seen = set()
    for seed in range(40):
        for name, image in jittered(images, seed).items():
            for before, after in zip(images[name][..., 2:], image[..., 2:], strict=True):
                low, high = before.argmin(), before.argmax()
                x, y = before.flatten(), after.flatten()
                scale = float((y[high] - y[low]) / (x[high] - x[low]))
                shift = float(y[low] - scale * x[low])
                torch.testing.assert_close(y, scale * x + shift, rtol=0, atol=1e-4)
                assert 0.74 < scale < 1.34
                assert abs(shift) < 0.401
                seen.add((round(math.log(scale), 3), round(shift, 3)))
    assert len(seen) > 0.95 * 40 * 2 * 3
    assert min(scale for scale, _ in seen) < -0.25 < 0.25 < max(scale for scale, _ in seen)
    assert min(shift for _, shift in seen) < -0.35 < 0.35 < max(shift for _, shift in seen)
