"""One stretch of the stream after the other, shared among processes that step back, and errors that come through."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.training import loading
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import Batch, BatchStream
from napari_shaspec.training.loading import LOADING_NICENESS, Batches, Shard, _loader, next_stop

WRONG = ShaSpecError("a readable image", "half of one", "Get the file again")


class Numbered(BatchStream):
    """Batches that tell their item; the fifth cannot be read."""

    def batch_of(self, step: int) -> Batch:
        if step == 5:
            raise WRONG
        return Batch({"t1": torch.full((1, 1, 2, 2, 2), float(step))}, torch.zeros(1, 3, 2, 2, 2))


@pytest.mark.parametrize(
    ("validation_steps", "checkpoint_steps", "stops"),
    [(4, 0, [4, 8, 10]), (4, 3, [3, 4, 6, 8, 9, 10]), (5, 5, [5, 10]), (100, 0, [10]), (100, 4, [4, 8, 10])],
)
def test_stops(config: TrainConfig, validation_steps: int, checkpoint_steps: int, stops: list[int]) -> None:
    run = replace(config, steps=10, validation_steps=validation_steps, checkpoint_steps=checkpoint_steps)
    step, found = 0, []
    while step < run.steps:
        step = next_stop(run, step)
        found.append(step)
    assert found == stops


def test_processes_take_turns(config: TrainConfig) -> None:
    stream = Numbered(config, 6, 9)
    shards = [Shard(stream, rank, processes=3) for rank in range(3)]
    items = [[int(shard[index].images["t1"].max()) for index in range(len(shard))] for shard in shards]
    assert items == [[6, 9, 12], [7, 10, 13], [8, 11, 14]]


def test_an_error_of_a_loading_process_arrives_as_it_was(config: TrainConfig) -> None:
    item = pickle.loads(pickle.dumps(Shard(Numbered(config, 5, 1))[0]))  # noqa: S301
    batches = Batches(config, None, torch.device("cpu"))
    with pytest.raises(ShaSpecError, match=r"^Expected a readable image, found half of one\. Get the file again\.$"):
        batches.on_before_batch_transfer(item, 0)
    batch = Shard(Numbered(config, 4, 1))[0]
    assert batches.on_before_batch_transfer(batch, 0) is batch


class Niceness(BatchStream):
    """Batches that tell how far the process that makes them steps back."""

    def batch_of(self, step: int) -> Batch:
        level = os.getpriority(os.PRIO_PROCESS, 0)
        return Batch({"t1": torch.full((1, 1, 2, 2, 2), float(level))}, torch.zeros(1, 3, 2, 2, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes have no such levels")
def test_a_loading_process_steps_back_behind_the_network(config: TrainConfig) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    (batch,) = _loader(Shard(Niceness(config, 0, 1)), workers=1)
    assert float(batch.images["t1"].max()) == LOADING_NICENESS
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


class Places(BatchStream):
    """Batches that tell their item and the process that made them."""

    def __init__(self, config: TrainConfig, settings: object, first: int, count: int, *_: object, **__: object) -> None:
        super().__init__(config, first, count)

    def batch_of(self, step: int) -> Batch:
        return Batch({"t1": torch.tensor([float(step), float(os.getpid())])}, torch.zeros(1, 3, 2, 2, 2))


class Listener(lightning.LightningModule):
    """Learns nothing, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.told: list[list[int]] = []

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        self.told.append(batch.images["t1"].long().tolist())
        return self.weight.sum()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Its batches are made in this process."""
        assert int(batch.images["t1"][1]) == os.getpid()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_loading_process_outlives_the_stops(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SimulatedBatches", Places)
    monkeypatch.setattr(loading, "held_out_batches", lambda run, settings, device: Places(run, settings, 900_000, 2))
    run, listener = replace(config, steps=10, validation_steps=4, checkpoint_steps=3), Listener()
    trainer = lightning.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=run.steps,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(listener, datamodule=Batches(run, None, torch.device("cpu")))
    assert trainer.current_epoch == 6
    assert [item for item, _ in listener.told] == list(range(10))
    (process,) = {process for _, process in listener.told}
    assert process != os.getpid()


def test_each_of_two_processes_gets_its_share_of_a_stretch(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SimulatedBatches", Places)
    monkeypatch.setattr(loading, "_loader", lambda dataset, workers, order: DataLoader(dataset, None, sampler=order))
    run = replace(config, steps=7, validation_steps=3, checkpoint_steps=0)
    items: list[list[list[int]]] = []
    for rank in range(2):
        batches, told = Batches(run, None, torch.device("cpu")), []
        trainer = SimpleNamespace(global_step=2, world_size=2, global_rank=rank, limit_val_batches=0)
        batches.trainer = trainer  # type: ignore[assignment]
        for stop in (3, 6, 7):
            told.append([int(batch.images["t1"][0]) for batch in batches.train_dataloader()])
            trainer.global_step = stop
        items.append([*told, list(batches.train_dataloader())])
    assert items == [[[4], [6, 8, 10], [12], []], [[5], [7, 9, 11], [13], []]]
