"""How batches reach the training loop: one stretch of the stream after the other, shared out among processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.priority import step_back
from napari_shaspec.simulate.settings import HELD_OUT, TRAINING
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import Batch, BatchStream, SimulatedBatches, held_out_batches
from napari_shaspec.training.folder import FolderCrops
from napari_shaspec.training.splits import Split

LOADING_NICENESS = 19


class Shard(Dataset[Batch | ShaSpecError]):
    """Every n-th batch of a stream, for one of n processes.

    An error that a user can act on is an item like others, because torch cannot raise it again in another process
    without turning it into a traceback; `Batches` raises it where it arrives.
    """

    def __init__(self, stream: BatchStream, rank: int = 0, processes: int = 1) -> None:
        self.stream = stream
        self.rank = rank
        self.processes = processes

    def __len__(self) -> int:
        return len(self.stream) // self.processes

    def __getitem__(self, index: int) -> Batch | ShaSpecError:
        try:
            return self.stream[index * self.processes + self.rank]
        except ShaSpecError as error:
            return error


class Batches(lightning.LightningDataModule):
    """An epoch is the stretch to the next stop, and begins at the item where the last one ended.

    At every stop the run's state is written; the network is scored at those where that is due.

    Parameters
    ----------
    split
        Real cases; None for simulated ones.
    workers
        Processes that load real cases.
    """

    def __init__(self, config: TrainConfig, split: Split | None, device: torch.device, workers: int = 1) -> None:
        super().__init__()
        self.config = config
        self.split = split
        self.device = device
        self.workers = workers
        self._stretch: list[int] = []
        self._training: DataLoader[Any] | None = None

    def train_dataloader(self) -> DataLoader[Any]:
        """Simulated on the training device; on a CPU in a process of its own, beside the network.

        Lightning asks for it at every stop; it is the same one, because new processes would have to import torch, and
        to read or simulate again what the old ones held. It starts every stretch twice, so a few batches are still made
        twice.
        """
        trainer = self.trainer
        assert trainer is not None
        step = trainer.global_step
        stop = next_stop(self.config, step)
        due = stop % self.config.validation_steps == 0 or stop == self.config.steps
        trainer.limit_val_batches = 1.0 if due else 0
        self._stretch[:] = range(step, stop)  # the loader reads it whenever an epoch begins
        if self._training is None:
            self._training = self._whole_run(trainer.global_rank, trainer.world_size)
        return self._training

    def _whole_run(self, rank: int, processes: int) -> DataLoader[Any]:
        """Every step of the run, of which the loader takes those of the present stretch."""
        count = self.config.steps * processes
        stream: BatchStream
        if self.split:
            stream = FolderCrops(self.config, self.split[0], 0, count, processes=processes)
            workers = self.workers
        else:
            stream = SimulatedBatches(self.config, TRAINING, 0, count, self.device, processes=processes)
            workers = 1 if self.device.type == "cpu" else 0
        return _loader(Shard(stream, rank, processes), workers, self._stretch)

    def val_dataloader(self) -> DataLoader[Any]:
        """Simulated cases of the held-out setting, or crops of the real cases kept aside."""
        if self.split:
            crops = FolderCrops(self.config, self.split[1], 0, self.config.validation_cases, validation=True)
            return _loader(Shard(crops), workers=0)
        return _loader(Shard(held_out_batches(self.config, HELD_OUT, self.device)), workers=0)

    def on_before_batch_transfer(self, batch: Batch | ShaSpecError, dataloader_idx: int) -> Batch:
        """Raise what went wrong in a loading process."""
        if isinstance(batch, ShaSpecError):
            raise batch
        return batch


def next_stop(config: TrainConfig, step: int) -> int:
    """The next step after this one at which the run is scored or its state is written."""
    intervals = [config.validation_steps, *([config.checkpoint_steps] if config.checkpoint_steps else [])]
    return min(config.steps, *((step // interval + 1) * interval for interval in intervals))


def _loader(dataset: Shard, workers: int, order: Iterable[int] | None = None) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_behind_the_network,
    )


def _behind_the_network(worker: int) -> None:
    """The network's threads wait for the slowest, so a loading process on one of their cores stops all of them.

    What it is owed it gets while the network waits for it.
    """
    step_back(LOADING_NICENESS)
