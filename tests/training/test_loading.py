"""One stretch of the stream after the other, shared among processes that step back, and errors that come through."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

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


def test_a_loading_process_outlives_the_stops(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "SimulatedBatches", Places)
    run = replace(config, steps=10, validation_steps=4, checkpoint_steps=3)
    batches = Batches(run, None, torch.device("cpu"))
    trainer = SimpleNamespace(global_step=2, world_size=1, global_rank=0, limit_val_batches=0)
    batches.trainer = trainer  # type: ignore[assignment]
    stretches, processes = [], set()
    while trainer.global_step < run.steps:
        loader = batches.train_dataloader()
        iter(loader)  # as Lightning does: once when it sets the loader up, and again when the epoch begins
        told = [batch.images["t1"].long().tolist() for batch in loader]
        assert len(told) == len(loader)
        stretches.append([item for item, _ in told])
        processes |= {process for _, process in told}
        trainer.global_step += len(told)
    assert stretches == [[2], [3], [4, 5], [6, 7], [8], [9]]
    assert len(processes) == 1
    assert processes.isdisjoint({os.getpid()})
