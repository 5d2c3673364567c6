"""Batches from a folder of cases with label maps, in the form that simulated ones have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_shaspec.box import Box, Triple
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.grid import working_grid
from napari_shaspec.inference.preprocess import cut, prepare
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import Normalisation
from napari_shaspec.regions import labels_to_masks
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import Batch, BatchStream

KEPT_CASES = 16
"""Prepared cases that a loading process keeps: about 60 MB each at 2 mm with four modalities."""

_OF_STEPS, _OF_TRAINING, _OF_VALIDATION = range(3)
"""What a random draw is for: three streams that never meet, however long a run is."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case on a working grid: normalised images (X, Y, Z), nested masks (3, X, Y, Z)."""

    images: dict[Modality, Tensor]
    masks: Tensor


class FolderCrops(BatchStream):
    """Random crops of real cases: an endless stream of samples, of which item i holds those from i * batch on.

    A sample depends on the seed and on its place in the stream, its size on the step. So a resumed run goes on where it
    was, and two processes with half a batch each see in a step what one process with a whole batch would.

    Parameters
    ----------
    config
        Patches, batch and voxel sizes; coarse and fine steps alternate as with simulated cases.
    cases
        Each with a label map; modalities may be missing, a batch holds those that all its cases have.
    first, count
        Which items of the endless stream.
    processes
        So many items make a step.
    validation
        Samples that are never trained on, all of the finest voxel size.
    """

    def __init__(
        self,
        config: TrainConfig,
        cases: Sequence[CaseFiles],
        first: int,
        count: int,
        *,
        processes: int = 1,
        validation: bool = False,
    ) -> None:
        super().__init__(config, first, count)
        self.cases = cases
        self.processes = processes
        self.validation = validation

    @property
    def validates(self) -> bool:
        """As said at the beginning."""
        return self.validation

    def batch_of(self, item: int) -> Batch:
        """Crops of cases drawn by seed, step and place."""
        step, seed = item // self.processes, self.config.seed
        chance = 0.0 if self.validation else self.coarse_chance(step)
        coarse = np.random.default_rng((seed, _OF_STEPS, step)).random() < chance
        patch, spacing_mm = self.scale(coarse=coarse)
        kind = _OF_VALIDATION if self.validation else _OF_TRAINING
        chosen, crops = [], []
        for sample in range(item * self.config.batch, (item + 1) * self.config.batch):
            draw = np.random.default_rng((seed, kind, sample))
            drawn = int(draw.integers(len(self.cases)))
            # Cases kept aside come in turn, and always with tumour: with none, finding none would count as perfect.
            chosen.append(self.cases[sample % len(self.cases) if self.validation else drawn])
            prepared = prepared_case(chosen[-1], spacing_mm, self.config.model.normalisation)
            share = 1.0 if self.validation else self.config.tumour_share
            crops.append(random_crop(prepared, patch, draw, share))
        shared = [modality for modality in Modality if all(modality in crop.images for crop in crops)]
        if not shared:
            raise ShaSpecError(
                "cases that share a modality",
                f"none in {', '.join(files.name for files in chosen)}",
                "Train with a batch of 1, or leave those cases out",
            )
        return Batch(
            {modality.value: torch.stack([crop.images[modality][None] for crop in crops]) for modality in shared},
            torch.stack([crop.masks for crop in crops]),
        )


def prepared_case(
    files: CaseFiles, spacing_mm: float, normalisation: Normalisation = Normalisation.ROBUST
) -> PreparedCase:
    """Read, normalise and resample a case, or take it from memory."""
    return _prepared(files.name, tuple(files.images.items()), files.truth, spacing_mm, normalisation)


@lru_cache(maxsize=KEPT_CASES)
def _prepared(
    name: str,
    images: tuple[tuple[Modality, Path], ...],
    truth: Path | None,
    spacing_mm: float,
    normalisation: Normalisation,
) -> PreparedCase:
    case = CaseFiles(name, dict(images), truth).read()
    if case.truth is None:
        raise ShaSpecError(f"a label map for {case.name}", "none", "Train on cases that have one")
    grid = working_grid(case.grid, spacing_mm)
    normalised = {modality: prepare(volume, [grid], normalisation)[0].image for modality, volume in case.images.items()}
    masks = torch.stack(
        [grid.from_source(mask) >= 0.5 for mask in labels_to_masks(case.truth.data.astype(np.uint8, copy=False))]
    )
    return PreparedCase(normalised, masks.float())


def random_crop(
    case: PreparedCase, patch: Triple, draw: np.random.Generator, tumour_share: float = 0.5
) -> PreparedCase:
    """A patch around a random voxel, mirrored left to right half of the time.

    Parameters
    ----------
    tumour_share
        How often that voxel is one of the tumour and not one of the whole brain.
    """
    brain = torch.stack([image != 0 for image in case.images.values()]).any(0)
    tumour = case.masks[-1] > 0
    place = torch.nonzero(tumour if draw.random() < tumour_share and tumour.any() else brain)
    centre = place[int(draw.integers(len(place)))].tolist() if len(place) else [side // 2 for side in brain.shape]
    start: list[int] = []
    for middle, side, length in zip(centre, patch, brain.shape, strict=True):
        # Stay within the image where it is long enough: background teaches nothing.
        start.append(int(np.clip(middle - side // 2, min(0, length - side), max(0, length - side))))
    box = Box((start[0], start[1], start[2]), (start[0] + patch[0], start[1] + patch[1], start[2] + patch[2]))
    mirrored = [0] if draw.random() < 0.5 else []
    return PreparedCase(
        {modality: cut(image, box).flip(mirrored) for modality, image in case.images.items()},
        torch.stack([cut(mask, box).flip(mirrored) for mask in case.masks]),
    )
