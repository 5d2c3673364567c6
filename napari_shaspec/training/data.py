"""What the loop is fed: batches of one form, here the simulated ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from napari_shaspec.inference.intensity import normalise
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import Normalisation
from napari_shaspec.regions import Label
from napari_shaspec.simulate.case import simulate_batch
from napari_shaspec.simulate.settings import SimulatorSettings, without_tumours
from napari_shaspec.training.config import Augmentation, TrainConfig
from napari_shaspec.training.transforms import augmented

SEEDS = 1_000_000
"""Seeds of one run: those of step i are ``seed * SEEDS + i``."""

HELD_OUT_FIRST = 900_000
"""From here on they belong to validation."""


class Purpose(IntEnum):
    """What else is drawn for a step, by streams of their own: one number used twice ties what has to be independent."""

    INTENSITIES = 1
    SUBSETS = 2


def generator_for(purpose: Purpose, seed: int, item: int) -> torch.Generator:
    """Random numbers on the CPU that depend on purpose, seed and item only, and share none with simulated cases."""
    state = np.random.SeedSequence((seed, int(purpose), item)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


DRAWN_TOGETHER = 16
"""Cases that come once in turn, then again: far enough apart that the network cannot remember one."""


class Batch(NamedTuple):
    """Normalised images (B, 1, *patch) by modality name, and region masks (B, 3, *patch) as floats.

    A modality that is not there is a key that is not there.
    """

    images: dict[str, Tensor]
    masks: Tensor


def region_masks(labels: Tensor) -> Tensor:
    """Labels (B, X, Y, Z) of `Label` to nested masks (B, 3, X, Y, Z) of 0 and 1 in the order of `Region`."""
    enhancing = labels == Label.ET
    core = enhancing | (labels == Label.NCR_NET)
    return torch.stack([enhancing, core, core | (labels == Label.ED)], 1).float()


def normalised_batch(images: Tensor, labels: Tensor, rule: Normalisation = Normalisation.ROBUST) -> Batch:
    """Images (B, 4, X, Y, Z), 0 outside the brain, each normalised by itself."""
    normalised = torch.stack([torch.stack([normalise(image, image > 0, rule) for image in case]) for case in images])
    return Batch(
        {modality.value: normalised[:, channel : channel + 1] for channel, modality in enumerate(Modality)},
        region_masks(labels),
    )


class BatchStream(Dataset[Batch], ABC):
    """A stretch of an endless stream, in which a batch depends on seed and step only."""

    def __init__(self, config: TrainConfig, first: int, count: int) -> None:
        self.config = config
        self.first = first
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.count:
            raise IndexError(f"batch {index} of {self.count}")
        item = self.first + index
        batch = self.batch_of(item)
        if self.config.augmentation is not Augmentation.FULL or self.validates:
            return batch
        samples = len(batch.masks)
        seeds = [(self.config.seed, item * samples + sample) for sample in range(samples)]
        return Batch(*augmented(batch.images, batch.masks, seeds))

    @property
    def validates(self) -> bool:
        """Whether the network is scored on these batches, not trained."""
        return self.first >= HELD_OUT_FIRST

    @abstractmethod
    def batch_of(self, step: int) -> Batch:
        """The batch of one step."""

    def coarse_chance(self, step: int) -> float:
        """Goes along the run from one share that the configuration names to the other."""
        progress = min(1.0, step / self.config.steps)
        return self.config.coarse_start + progress * (self.config.coarse_share - self.config.coarse_start)

    def scale(self, *, coarse: bool) -> tuple[tuple[int, int, int], float]:
        """Patch and voxel size of a step."""
        finest, coarsest = self.config.model.voxel_mm
        return (self.config.coarse_patch, coarsest) if coarse else (self.config.patch, finest)


class SimulatedBatches(BatchStream):
    """Item i is the batch of seed i: nothing is stored, nothing repeats, and a resumed run goes on where it was.

    Parameters
    ----------
    config
        Patches, batch and voxel sizes.
    settings
        The simulator's ranges.
    first, count
        Which seeds, counted from ``config.seed * 10**6``.
    device
        Where the batches are made; the device that trains on them.
    processes
        How many items a step takes: one for each process.
    """

    def __init__(
        self,
        config: TrainConfig,
        settings: SimulatorSettings,
        first: int,
        count: int,
        device: torch.device,
        *,
        processes: int = 1,
    ) -> None:
        super().__init__(config, first, count)
        self.processes = processes
        self.settings = settings
        self.device = device
        self._recent: dict[int, Batch] = {}

    def batch_of(self, step: int) -> Batch:
        """The case that is due: a new one, or one of `DRAWN_TOGETHER` before it, mirrored left to right."""
        if self.config.draws == 1 or step >= HELD_OUT_FIRST:
            return self.simulated(step)
        block, place = divmod(step, DRAWN_TOGETHER * self.config.draws)
        draw, case = divmod(place, DRAWN_TOGETHER)
        batch = self.recent(block * DRAWN_TOGETHER * self.config.draws + case)
        if draw % 2 == 0:
            return batch
        return Batch({name: image.flip(2) for name, image in batch.images.items()}, batch.masks.flip(2))

    def simulated(self, step: int) -> Batch:
        """Drawn from the seed of the step."""
        seed = self.config.seed * SEEDS + step
        draw, trains = np.random.default_rng(seed), step < HELD_OUT_FIRST
        coarse = draw.random() < self.coarse_chance(step // self.processes)
        tumour_free = draw.random() < self.config.tumour_free_share
        patch, voxel_mm = self.scale(coarse=coarse and trains)
        settings = without_tumours(self.settings) if tumour_free and trains else self.settings
        batch = simulate_batch(seed, self.config.batch, patch, voxel_mm, settings, self.device)
        return normalised_batch(batch.images, batch.labels, self.config.model.normalisation)

    def recent(self, step: int) -> Batch:
        """The same, kept until `DRAWN_TOGETHER` newer ones came."""
        batch = self._recent.get(step)
        if batch is None:
            batch = self._recent[step] = self.simulated(step)
            while len(self._recent) > DRAWN_TOGETHER:
                del self._recent[min(self._recent)]
        return batch


def held_out_batches(config: TrainConfig, settings: SimulatorSettings, device: torch.device) -> SimulatedBatches:
    """The validation cases, at the finest voxel size, from seeds that training never reaches."""
    return SimulatedBatches(config, settings, HELD_OUT_FIRST, config.validation_cases, device)
