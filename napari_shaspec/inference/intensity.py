"""Intensity normalisation, the same for training and prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_shaspec.model.config import Normalisation

SAMPLES = 200_000
"""Quantiles come from one to two times as many voxels, evenly strided: the error is far below the noise of an image."""

CLAMP = (-5.0, 8.0)
"""Beyond this many spreads from the median lie vessels, fat and artefacts; how far beyond carries no information."""


TAIL = 0.999
"""Intensities beyond this quantile of the brain are set to it before a mean and a standard deviation are taken."""


def normalise(image: Tensor, brain: Tensor, rule: Normalisation = Normalisation.ROBUST) -> Tensor:
    """Median of the brain to 0, spread to 1, background to 0; or, by the other rule, clipped and z-scored.

    The spread is half the distance of the 20th and 80th percentile over 0.8416, a standard deviation if intensities
    were normal. Unlike a mean and a standard deviation, a tumour that fills a tenth of the brain hardly moves either.

    Parameters
    ----------
    image, brain
        (X, Y, Z) each; ``brain`` is boolean.
    """
    values = image[brain]
    if values.numel() == 0:
        return torch.zeros_like(image)
    values = values[:: max(1, values.numel() // SAMPLES)].float()
    if rule is Normalisation.ZSCORE:
        tail = torch.quantile(values, TAIL)
        clipped = values.clamp(max=tail)
        spread = clipped.std(correction=0).clamp(min=1e-6)
        return torch.where(brain, (image.clamp(max=tail) - clipped.mean()) / spread, 0.0)
    low, median, high = torch.quantile(values, torch.tensor([0.2, 0.5, 0.8], device=values.device)).unbind()
    # Images of few grey levels can have equal percentiles; their standard deviation is then the better measure.
    spread = torch.where(high > low, (high - low) / (2 * 0.8416), values.std(correction=0).clamp(min=1e-6))
    spread = torch.maximum(spread, 1e-5 * median.abs())  # what resampling rounds where an image holds one value
    return torch.where(brain, ((image - median) / spread).clamp(*CLAMP), 0.0)
