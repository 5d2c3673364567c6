"""Augmentation of intensities after normalisation, where no two scanners agree."""

from __future__ import annotations

import torch
from torch import Tensor


def jitter_intensities(images: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Scale by 0.75 to 1.33 and shift by up to 0.4 spreads, each sample and modality by itself; background stays 0."""

    def jitter(image: Tensor) -> Tensor:
        shape = (image.shape[0], *[1] * (image.ndim - 1))
        draw = torch.rand((2, *shape), generator=generator, device=generator.device).to(image.device)
        scale = torch.exp((2 * draw[0] - 1) * 0.29)
        shift = (2 * draw[1] - 1) * 0.4
        return torch.where(image == 0, image, image * scale + shift)

    return {name: jitter(image) for name, image in images.items()}
