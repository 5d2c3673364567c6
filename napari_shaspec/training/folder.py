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
from napari_shaspec.regions import labels_to_masks
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import SEEDS, Batch, BatchStream

TUMOUR_SHARE = 0.5
"""Share of the crops that are centred on a tumour voxel; the others are centred anywhere in the brain."""

KEPT_CASES = 16
"""Prepared cases that a loading process keeps: about 60 MB each at 2 mm with four modalities."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case on a working grid: normalised images (X, Y, Z), nested masks (3, X, Y, Z)."""

    images: dict[Modality, Tensor]
    masks: Tensor


class FolderCrops(BatchStream):
    """Random crops of real cases. Item i depends on seed and i only, so that a resumed run goes on where it was.

    Parameters
    ----------
    config
        Patches, batch and voxel sizes; coarse and fine steps alternate as with simulated cases.
    cases
        Each with a label map; modalities may be missing, a batch holds those that all its cases have.
    first, count
        Which items of the endless stream.
    """

    def __init__(self, config: TrainConfig, cases: Sequence[CaseFiles], first: int, count: int) -> None:
        super().__init__(config, first, count)
        self.cases = cases

    def batch_of(self, step: int) -> Batch:
        """Crops of cases drawn by the seed of the step."""
        draw = np.random.default_rng(self.config.seed * SEEDS + step)
        patch, spacing_mm = self.scale(coarse=draw.random() < self.coarse_chance(step))
        chosen = [self.cases[int(draw.integers(len(self.cases)))] for _ in range(self.config.batch)]
        crops = [random_crop(prepared_case(files, spacing_mm), patch, draw) for files in chosen]
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


def prepared_case(files: CaseFiles, spacing_mm: float) -> PreparedCase:
    """Read, normalise and resample a case, or take it from memory."""
    return _prepared(files.name, tuple(files.images.items()), files.truth, spacing_mm)


@lru_cache(maxsize=KEPT_CASES)
def _prepared(
    name: str, images: tuple[tuple[Modality, Path], ...], truth: Path | None, spacing_mm: float
) -> PreparedCase:
    case = CaseFiles(name, dict(images), truth).read()
    if case.truth is None:
        raise ShaSpecError(f"a label map for {case.name}", "none", "Train on cases that have one")
    grid = working_grid(case.grid, spacing_mm)
    normalised = {modality: prepare(volume, [grid])[0].image for modality, volume in case.images.items()}
    masks = torch.stack(
        [grid.from_source(mask) >= 0.5 for mask in labels_to_masks(case.truth.data.astype(np.uint8, copy=False))]
    )
    return PreparedCase(normalised, masks.float())


def random_crop(case: PreparedCase, patch: Triple, draw: np.random.Generator) -> PreparedCase:
    """A patch around a random voxel of tumour or brain, mirrored left to right half of the time."""
    brain = torch.stack([image != 0 for image in case.images.values()]).any(0)
    tumour = case.masks[-1] > 0
    place = torch.nonzero(tumour if draw.random() < TUMOUR_SHARE and tumour.any() else brain)
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


def split_cases(cases: Sequence[CaseFiles], seed: int) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Cases with label maps for training and for validation: a tenth, at least one, for the latter.

    Raises
    ------
    ShaSpecError
        For fewer than two cases with a label map, or for a case that is none.
    """
    for files in cases:
        if files.refusal is not None:
            raise files.refusal
    labelled = [files for files in cases if files.truth is not None]
    if len(labelled) < 2:
        raise ShaSpecError(
            "at least two cases with a label map", f"{len(labelled)}", "Add cases, or label maps named like case_seg"
        )
    order = np.random.default_rng(seed).permutation(len(labelled))
    held_out = max(1, round(len(labelled) / 10))
    return [labelled[place] for place in order[held_out:]], [labelled[place] for place in order[:held_out]]
