"""One modality's image on its way to the network; no other modality has a say in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_shaspec.box import Box
from napari_shaspec.inference.grid import WorkingGrid
from napari_shaspec.inference.intensity import normalise
from napari_shaspec.model.config import Normalisation
from napari_shaspec.volume import Volume, foreground_mask


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """One image on a working grid.

    Parameters
    ----------
    image
        (X, Y, Z), normalised, 0 in the background and wherever the brain has its typical intensity.
    brain
        (X, Y, Z), boolean.
    foreground
        The box that holds the brain.
    """

    image: Tensor
    brain: Tensor
    foreground: Box


def prepare(
    volume: Volume, grids: Sequence[WorkingGrid], rule: Normalisation = Normalisation.ROBUST
) -> list[PreparedImage]:
    """Resample to each grid and normalise there.

    The brain is resampled without its background, so that its rim keeps its intensity: an average over brain voxels
    only, and background where less than half of a cube is brain.
    """
    mask = foreground_mask(volume.data)
    data = np.where(mask, volume.data, 0).astype(np.float32)
    prepared = []
    for grid in grids:
        share = grid.from_source(mask)
        brain = share > 0.5
        if not brain.any():
            brain = share > 0
        image = torch.where(brain, grid.from_source(data) / share.clamp(min=1e-3), 0.0)
        prepared.append(PreparedImage(normalise(image, brain, rule), brain, _bounds(brain)))
    return prepared


def _bounds(mask: Tensor) -> Box:
    starts, stops = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        places = torch.nonzero(mask.any(others[1]).any(others[0]))
        starts.append(int(places[0]))
        stops.append(int(places[-1]) + 1)
    return Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))


def cut(image: Tensor, box: Box) -> Tensor:
    """The box out of (X, Y, Z), with background (0) where it reaches beyond the image."""
    inside = box.intersection(Box((0, 0, 0), (image.shape[0], image.shape[1], image.shape[2])))
    tile = image.new_zeros(box.shape)
    if inside is not None:
        tile[inside.relative_to(box.start).slices] = image[inside.slices]
    return tile
