"""Augmentation by MONAI: flips, small rotations and scales, intensities, gamma and noise.

What happens to a sample depends on its seed alone, so that a run that was stopped and resumed goes on the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandAffined,
    RandFlipd,
    RandGaussianNoise,
    RandScaleIntensity,
    RandShiftIntensity,
)
from monai.utils import convert_to_tensor
from torch import Tensor

TURN = math.radians(15)
"""The largest rotation about each axis."""

SCALE = 0.15
"""The largest change of size along each axis."""


def augmented(
    images: Mapping[str, Tensor], masks: Tensor, seeds: Sequence[tuple[int, int]]
) -> tuple[dict[str, Tensor], Tensor]:
    """Move all images of a sample and its masks alike, and change the intensities of each image by itself.

    Parameters
    ----------
    images
        Normalised, (B, 1, X, Y, Z) by modality, 0 in the background, which stays 0.
    masks
        (B, R, X, Y, Z), 0 and 1, and so are those returned.
    seeds
        Two numbers for each sample.
    """
    samples = [
        _sample(torch.cat([image[place] for image in images.values()]), masks[place], seed)
        for place, seed in enumerate(seeds)
    ]
    moved = torch.stack([sample for sample, _ in samples])
    channels = {name: moved[:, place : place + 1] for place, name in enumerate(images)}
    return channels, torch.stack([mask for _, mask in samples])


def _sample(image: Tensor, masks: Tensor, seed: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(C, X, Y, Z) and (R, X, Y, Z), through all transforms."""
    state = int(np.random.SeedSequence(seed).generate_state(1)[0])
    geometry = Compose(
        [
            *(RandFlipd(("image", "masks"), prob=0.5, spatial_axis=axis) for axis in range(3)),
            RandAffined(
                ("image", "masks"),
                prob=0.5,
                rotate_range=(TURN,) * 3,
                scale_range=(SCALE,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
        ]
    ).set_random_state(state)
    moved = geometry({"image": image, "masks": masks})
    plain = moved["image"].as_tensor()
    channels = []
    for channel, values in enumerate(plain):
        intensities = Compose(
            [
                RandScaleIntensity(factors=0.25, prob=0.8),
                RandShiftIntensity(offsets=0.3, prob=0.8),
                RandAdjustContrast(prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
                RandGaussianNoise(prob=0.3, std=0.1, sample_std=True),
            ]
        ).set_random_state((state + 1 + channel) % 2**32)
        changed = convert_to_tensor(intensities(values[None]), track_meta=False)[0]
        channels.append(torch.where(values == 0, values, changed))
    return torch.stack(channels), moved["masks"].as_tensor()
