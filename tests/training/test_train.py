"""Runs from configuration to weights file, on a patch that fits in a thumb."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import lightning
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from napari_shaspec.cli.app import run as run_command
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, shift_outputs
from napari_shaspec.model.growth import first_network
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.simulate.case import SimulatedBatch, simulate_batch
from napari_shaspec.training import data, export, loading
from napari_shaspec.training import train as training
from napari_shaspec.training.config import SubsetSampling, TrainConfig, continued
from napari_shaspec.training.data import HELD_OUT_FIRST, SEEDS
from napari_shaspec.training.export import AtomicCheckpoints, ExportWeights, rising_average, split_hash
from napari_shaspec.training.module import ShaSpecTraining
from napari_shaspec.training.train import Hardware, train

pytestmark = [
    # The CSV log lies in the folder of the checkpoint and is there first.
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning"),
    # An epoch is the stretch between two validations, here two steps.
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging:UserWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers:UserWarning"),
]


@pytest.fixture(autouse=True)
def loaded_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """To start a loading process takes longer than these runs."""
    loader = loading._loader
    monkeypatch.setattr(loading, "_loader", lambda dataset, workers, order=None: loader(dataset, 0, order))


@pytest.fixture
def run(config: TrainConfig) -> Callable[..., Path]:
    """A quiet run on the CPU."""

    def run(out: Path, **options: Any) -> Path:
        return train(config, out, device="cpu", command="napari-shaspec train", progress=False, **options)

    return run


def flat(model: ShaSpec) -> Tensor:
    """All weights in a row."""
    return torch.cat([tensor.detach().flatten() for tensor in model.state_dict().values()])


def logs(run: Path) -> list[Path]:
    """Scores of each part of a run."""
    return sorted((run / "log").rglob("metrics.csv"))


class PulledPlugError(Exception):
    """What stops a run."""


@pytest.fixture
def interrupted_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let training stop before a step; a second call with -1 never."""
    step = ShaSpecTraining.training_step

    def interrupt(last: int) -> None:
        def stopping(module: ShaSpecTraining, batch: Any, index: int) -> Tensor:
            if module.global_step == last:
                raise PulledPlugError
            return step(module, batch, index)

        monkeypatch.setattr(ShaSpecTraining, "training_step", stopping)

    return interrupt


@pytest.fixture
def whole_and_stopped(
    tmp_path: Path, interrupted_after: Callable[[int], None]
) -> Callable[..., tuple[Checkpoint, Checkpoint]]:
    """A run, and the same stopped before a step and resumed, which has to end in the same weights."""

    def both(config: TrainConfig, last: int, **options: Any) -> tuple[Checkpoint, Checkpoint]:
        def run(folder: str, **more: Any) -> Checkpoint:
            train(config, tmp_path / folder, device="cpu", progress=False, **options, **more)
            return load_checkpoint(tmp_path / folder / "weights.safetensors")

        whole = run("whole")
        interrupted_after(last)
        with pytest.raises(PulledPlugError):
            run("parts")
        interrupted_after(-1)
        parts = run("parts", resume=True)
        torch.testing.assert_close(flat(parts.model), flat(whole.model), rtol=0, atol=1e-5)
        return whole, parts

    return both


def test_a_run_writes_weights_and_a_stopped_one_ends_in_the_same_place(
    tmp_path: Path, config: TrainConfig, run: Callable[..., Path], interrupted_after: Callable[[int], None]
) -> None:
    best = load_checkpoint(run(tmp_path / "whole"))
    assert best.statement == SIMULATED_STATEMENT
    assert best.model.config == config.model
    assert best.training["command"] == "napari-shaspec train"
    assert best.training["data"] == "simulated cases"
    assert best.training["device"].startswith("cpu")
    assert best.training["train_config"]["seed"] == config.seed
    assert best.training["seconds"] >= 0
    assert 0 <= best.training["validation"]["score"] <= 1
    whole = load_checkpoint(tmp_path / "whole" / "weights.safetensors")
    assert whole.training["step"] == config.steps
    assert len(logs(tmp_path / "whole")) == 1

    interrupted_after(2)
    with pytest.raises(PulledPlugError):
        run(tmp_path / "parts")
    half = load_checkpoint(tmp_path / "parts" / "weights.safetensors")
    assert half.training["step"] == 2
    interrupted_after(-1)
    run(tmp_path / "parts", resume=True)
    parts = load_checkpoint(tmp_path / "parts" / "weights.safetensors")
    assert parts.training["step"] == config.steps
    torch.testing.assert_close(flat(parts.model), flat(whole.model), rtol=0, atol=1e-5)
    assert (flat(half.model) - flat(whole.model)).abs().max() > 1e-3
    assert len(logs(tmp_path / "parts")) == 2  # that of the first part is still there


def test_every_step_sees_a_case_of_its_own(
    tmp_path: Path, config: TrainConfig, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def recorded(seed: int, *arguments: Any) -> SimulatedBatch:
        seeds.append(seed)
        return simulate_batch(seed, *arguments)

    monkeypatch.setattr(data, "simulate_batch", recorded)
    run(tmp_path)
    first = config.seed * SEEDS
    assert seeds == [first, first + 1, first + HELD_OUT_FIRST, first + 2, first + 3, first + HELD_OUT_FIRST]


def test_what_is_written_is_the_average_of_the_weights_so_far(
    tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def recorded(model: ShaSpec, path: Path, *provenance: Any) -> None:
        if path.name == export.WEIGHTS:
            written.append(flat(model))

    monkeypatch.setattr(export, "save_checkpoint", recorded)
    last_only = replace(config, validation_steps=1, ema_decay=0.0)  # an average that is the latest weights
    train(last_only, tmp_path / "each", device="cpu", progress=False)
    each, written[:] = list(written), []
    train(config, tmp_path / "averaged", device="cpu", progress=False)

    expected = each[0]
    for count, weights in enumerate(each[1:], start=1):
        expected = expected + (1 - (1 + count) / (10 + count)) * (weights - expected)
    torch.testing.assert_close(written[-1], expected, rtol=0, atol=1e-5)
    assert (written[-1] - each[-1]).abs().max() > 1e-4


def test_a_run_is_not_overwritten(tmp_path: Path, run: Callable[..., Path]) -> None:
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(ShaSpecError, match="an earlier run"):
        run(tmp_path)


def test_only_a_run_can_be_resumed(tmp_path: Path, run: Callable[..., Path]) -> None:
    with pytest.raises(ShaSpecError, match="a run to resume"):
        run(tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_a_run_begins_with_weights_that_are_there_and_tells_which(
    tmp_path: Path, config: TrainConfig, run: Callable[..., Path], whole_and_stopped: Callable[..., Any]
) -> None:
    shift_outputs(run(tmp_path / "first"), {"ET": 0.4, "TC": 0.5, "WT": 0.6}, tmp_path / "calibrated.safetensors", 0.7)
    start = load_checkpoint(tmp_path / "calibrated.safetensors")
    assert isinstance(start.model, ShaSpec)
    further = replace(continued(config, start.model.config), seed=8)
    hardly = replace(further, learning_rate=1e-9, weight_decay=0.0)
    train(hardly, tmp_path / "same", start=start, device="cpu", progress=False)
    same = load_checkpoint(tmp_path / "same" / "weights.safetensors")
    torch.testing.assert_close(flat(same.model), flat(start.model), rtol=0, atol=1e-6)
    assert same.model.config == config.model  # pieces need not be sure any more
    assert same.training["started_from"] == {"sha256": start.sha256, "training": start.training}

    whole, parts = whole_and_stopped(further, 3, start=start)
    assert (flat(whole.model) - flat(start.model)).abs().max() > 1e-3
    assert parts.training["started_from"] == whole.training["started_from"]


def test_the_outputs_of_deep_supervision_stay_out_of_the_weights_and_in_the_run(
    config: TrainConfig, whole_and_stopped: Callable[..., Any]
) -> None:
    deep = replace(config, deep_supervision=0.5)
    whole, _ = whole_and_stopped(deep, 2)
    assert whole.model.config == config.model


def test_weights_of_another_network_are_no_start(tmp_path: Path, config: TrainConfig, run: Callable[..., Path]) -> None:
    start = load_checkpoint(run(tmp_path / "first"))
    for change in ({"widths": (2, 16)}, {"widths": (4, 8, 16)}, {"specific_skips": True}):
        other = replace(config, model=replace(config.model, **change))  # type: ignore[arg-type]
        with pytest.raises(ShaSpecError, match=r"another one in best\.safetensors"):
            train(other, tmp_path / "second", start=start, device="cpu", progress=False)
        assert not (tmp_path / "second").exists()


def test_a_wider_network_begins_with_the_answers_of_a_narrow_one(
    tmp_path: Path, config: TrainConfig, run: Callable[..., Path], whole_and_stopped: Callable[..., Any]
) -> None:
    start = load_checkpoint(run(tmp_path / "first"))
    assert isinstance(start.model, ShaSpec)
    wider = continued(config, replace(start.model.config, widths=(6, 8)))
    hardly = replace(wider, learning_rate=1e-9, weight_decay=0.0)
    train(hardly, tmp_path / "same", start=start, device="cpu", progress=False)
    same = load_checkpoint(tmp_path / "same" / "weights.safetensors")
    assert isinstance(same.model, ShaSpec)
    assert same.model.config.widths == (6, 8)
    begun = first_network(wider.model, wider.seed, start.model)  # the random channels, too
    torch.testing.assert_close(flat(same.model), flat(begun), rtol=0, atol=1e-6)
    assert same.training["started_from"] == {"sha256": start.sha256, "training": start.training}
    torch.manual_seed(0)
    images = {name: torch.randn(1, 1, 12, 16, 8) for name in config.model.modalities}
    with torch.no_grad():
        torch.testing.assert_close(same.model(images).logits, start.model(images).logits, rtol=1e-4, atol=1e-4)

    whole_and_stopped(wider, 3, start=start)


def test_the_average_forgets_its_start_then_becomes_slow() -> None:
    average = rising_average(0.99)
    averaged, values = torch.zeros(()), [torch.tensor(float(value)) for value in range(1, 400)]
    for count, value in enumerate(values):
        before, averaged = averaged, average(averaged, value, torch.tensor(count))
        assert before <= averaged <= value
    assert float(average(torch.tensor(5.0), torch.tensor(1.0), 0)) == pytest.approx(1.4)
    # In the long run it lags behind a steady climb by decay / (1 - decay).
    for value in range(400, 3000):
        averaged = average(averaged, torch.tensor(float(value)), value)
    assert float(averaged) == pytest.approx(2999 - 99, rel=0.01)


def test_a_run_is_resumed_with_its_own_options_only(
    tmp_path: Path, config: TrainConfig, run: Callable[..., Path]
) -> None:
    run(tmp_path)
    with pytest.raises(ShaSpecError, match=r"to resume with learning_rate = 0\.004, found 1\.0"):
        train(replace(config, learning_rate=1.0), tmp_path, device="cpu", resume=True, progress=False)


def test_what_a_run_learned_from_may_not_change_when_it_is_resumed(config: TrainConfig, tmp_path: Path) -> None:
    def exported(**told: object) -> ExportWeights:
        return ExportWeights(tmp_path, {"train_config": config.to_dict(), **told}, "")

    state = exported(data="real cases", split="a", started_from={"sha256": "of the first"}, processes=2).state_dict()
    same = exported(data="real cases", split="a", started_from={"sha256": "of another"}, processes=2)
    same.check(state)
    same.load_state_dict(state)
    assert same.provenance["started_from"] == {"sha256": "of the first"}  # whose weights the run goes on with
    with pytest.raises(ShaSpecError, match="the data of the first start, real cases, found simulated cases"):
        exported(data="simulated cases").check(state)
    with pytest.raises(ShaSpecError, match="the split of the first start, a, found b"):
        exported(data="real cases", split="b").check(state)
    with pytest.raises(ShaSpecError, match="as many devices as at the first start, 2, found 1"):
        exported(data="real cases", split="a", processes=1).check(state)
    older = exported(data="real cases", split="a").state_dict()
    exported(data="real cases", split="a", processes=2).check(older)


def test_another_network_or_a_damaged_state_is_one_clear_error(tmp_path: Path, config: TrainConfig) -> None:
    """Before Lightning fills the network, which ends in a list of sizes."""
    wider = replace(config, model=replace(config.model, widths=(4, 8, 32)))
    export = ExportWeights(tmp_path, {"train_config": wider.to_dict()}, "")
    AtomicCheckpoints().save_checkpoint({"callbacks": {"ExportWeights": export.state_dict()}}, tmp_path / "last.ckpt")
    with pytest.raises(ShaSpecError, match="to resume with model"):
        train(config, tmp_path, device="cpu", resume=True, progress=False)
    for content in (b"", b"no pickle", (tmp_path / "last.ckpt").read_bytes()[:300]):
        (tmp_path / "last.ckpt").write_bytes(content)
        with pytest.raises(ShaSpecError, match="the state of a run at"):
            train(config, tmp_path, device="cpu", resume=True, progress=False)


@pytest.mark.parametrize(("first", "then"), [("--steps 40", "--steps 80"), ("--steps 400", "--steps 100")])
def test_what_followed_from_the_number_of_steps_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    """A run is brought to an end early, or goes on longer, by ``--steps`` alone."""
    module = import_module("napari_shaspec.training.train")
    asked = Mock(return_value=tmp_path / "weights")
    monkeypatch.setattr(module, "train", asked)
    command = ["train", "--preset", "modern", "--out", str(tmp_path)]
    assert run_command([*command, *first.split()]) == 0
    begun = asked.call_args.args[0]
    export = ExportWeights(tmp_path, {"train_config": begun.to_dict()}, "")
    AtomicCheckpoints().save_checkpoint({"callbacks": {"ExportWeights": export.state_dict()}}, tmp_path / "last.ckpt")
    assert run_command([*command, *then.split(), "--resume"]) == 0
    resumed = asked.call_args.args[0]
    assert resumed.steps != begun.steps
    ExportWeights(tmp_path, {"train_config": resumed.to_dict()}, "").check(export.state_dict())
    assert run_command([*command, *then.split(), "--all-steps", "1", "--resume"]) == 0
    with pytest.raises(ShaSpecError, match="to resume with all_steps"):
        ExportWeights(tmp_path, {"train_config": asked.call_args.args[0].to_dict()}, "").check(export.state_dict())


def test_the_first_cpu_is_the_cpu(tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr(lightning, "Trainer", made)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, device="cpu:0", progress=False)
    assert (made.call_args.kwargs["accelerator"], made.call_args.kwargs["devices"]) == ("cpu", 1)


def test_a_missing_simulator_is_told_at_once(
    tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    assert run_command(["train", "--preset", "quick", "--out", str(tmp_path / "run")]) == 1
    assert 'pip install "napari-shaspec[train]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_hash_of_a_split_is_that_of_its_names() -> None:
    assert split_hash(["b", "a"], ["c"]) == split_hash(["a", "b"], ["c"])
    assert split_hash(["a", "b"], ["c"]) != split_hash(["a"], ["b", "c"])


def test_the_state_of_a_run_is_written_in_full_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"step": 1}, path)

    def killed(checkpoint: object, place: Path) -> None:
        Path(place).write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpoints().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """The loss of every step that ran, the later one of two."""
    seen: dict[int, float] = {}
    step = ShaSpecTraining.training_step

    def recorded(module: ShaSpecTraining, batch: Any, index: int) -> Tensor:
        loss = step(module, batch, index)
        seen[module.global_step] = loss.item()
        return loss

    monkeypatch.setattr(ShaSpecTraining, "training_step", recorded)
    return seen


@pytest.mark.parametrize("killed_at", [3, 5, 6])
def test_a_run_killed_between_validations_goes_on_to_the_same_losses(
    tmp_path: Path,
    config: TrainConfig,
    losses: dict[int, float],
    interrupted_after: Callable[[int], None],
    killed_at: int,
) -> None:
    often = replace(config, steps=7, validation_steps=5, checkpoint_steps=2)

    def run(out: Path, **options: Any) -> None:
        hardware = Hardware("cpu", precision="float32")
        train(often, out, hardware=hardware, progress=False, **options)

    run(tmp_path / "whole")
    whole = dict(losses)
    assert list(whole) == list(range(7))
    losses.clear()
    interrupted_after(killed_at)
    with pytest.raises(PulledPlugError):
        run(tmp_path / "parts")
    interrupted_after(-1)
    before = dict(losses)
    losses.clear()
    run(tmp_path / "parts", resume=True)
    assert before == {step: whole[step] for step in range(killed_at)}
    assert min(losses) == max(stop for stop in (2, 4, 5, 6) if stop <= killed_at)  # no step more is lost
    assert losses == {step: loss for step, loss in whole.items() if step >= min(losses)}
    ends = [load_checkpoint(tmp_path / part / "weights.safetensors") for part in ("whole", "parts")]
    assert ends[0].training["step"] == ends[1].training["step"] == 7
    assert ends[0].training["validation"] == ends[1].training["validation"]
    assert torch.equal(flat(ends[0].model), flat(ends[1].model))


def test_a_run_is_scored_at_validations_and_at_its_end_only(
    tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = []
    step = ShaSpecTraining.validation_step

    def recorded(module: ShaSpecTraining, batch: Any, index: int) -> Any:
        scored.append(module.global_step)
        return step(module, batch, index)

    monkeypatch.setattr(ShaSpecTraining, "validation_step", recorded)
    often = replace(config, steps=5, validation_steps=2, checkpoint_steps=1, picture_steps=4)
    train(often, tmp_path, device="cpu", progress=False)
    assert scored == [2, 4, 5]
    # The first, then after four steps at the earliest, and the last.
    assert [path.name for path in sorted((tmp_path / "pictures").iterdir())] == ["step_000002.png", "step_000005.png"]


def test_a_run_of_an_older_version_knows_no_new_options(config: TrainConfig, tmp_path: Path) -> None:
    exported = ExportWeights(tmp_path, {"train_config": config.to_dict()}, "")
    entries = config.to_dict()
    del entries["sampling"]
    entries["model"] = {name: value for name, value in entries["model"].items() if name != "substitution"}
    state: dict[str, Any] = {"best": 0.5, "seconds": 3.0, "step": 2}
    exported.check(state | {"provenance": {"train_config": entries}})
    exported.load_state_dict(state | {"provenance": {"train_config": entries}})
    assert exported.best == 0.5
    with pytest.raises(ShaSpecError, match="to resume with seed = 8, found 7"):
        exported.check(state | {"provenance": {"train_config": {**entries, "seed": 8}}})
    # What the older version did by default is not what this run is told.
    other = replace(config, sampling=SubsetSampling.UNIFORM)
    with pytest.raises(ShaSpecError, match="to resume with sampling = size, found uniform"):
        ExportWeights(tmp_path, {"train_config": other.to_dict()}, "").check(
            state | {"provenance": {"train_config": entries}}
        )
    # Only what is done at the end may change.
    longer = replace(config, steps=config.steps + 1, calibration_cases=5)
    ExportWeights(tmp_path, {"train_config": longer.to_dict()}, "").check(
        state | {"provenance": {"train_config": entries}}
    )


def test_a_stopped_run_counts_the_time_since_it_was_last_scored(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("napari_shaspec.training.export.time.monotonic", lambda: now[0])
    first, second = (ExportWeights(tmp_path, {"train_config": config.to_dict()}, "") for _ in range(2))
    now[0] = 130.0
    state = first.state_dict()
    assert state["seconds"] == 30.0
    second.load_state_dict(state)
    now[0] = 200.0
    second.on_train_start(cast("Any", SimpleNamespace(is_global_zero=False)), cast("Any", None))
    now[0] = 207.0
    assert second.state_dict()["seconds"] == 37.0


def test_a_run_can_be_brought_to_an_end_early(
    tmp_path: Path, config: TrainConfig, interrupted_after: Callable[[int], None]
) -> None:
    longer = replace(config, steps=8)
    interrupted_after(4)
    with pytest.raises(PulledPlugError):
        train(longer, tmp_path, device="cpu", progress=False, command="first")
    interrupted_after(-1)
    train(replace(longer, steps=6), tmp_path, device="cpu", progress=False, resume=True, command="second")
    training = load_checkpoint(tmp_path / "weights.safetensors").training
    assert (training["step"], training["command"]) == (6, "second")
    assert training["train_config"]["steps"] == 6
    (earlier,) = training["earlier"]
    assert (earlier["command"], earlier["steps"], earlier["until"]) == ("first", 8, 4)
    assert earlier["commit"] == training["commit"]


def test_a_run_does_not_end_on_weights_that_were_not_scored(
    tmp_path: Path, config: TrainConfig, interrupted_after: Callable[[int], None]
) -> None:
    longer = replace(config, steps=8, validation_steps=2, checkpoint_steps=3)
    interrupted_after(3)
    with pytest.raises(PulledPlugError):
        train(longer, tmp_path, device="cpu", progress=False)
    interrupted_after(-1)
    scored = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(ShaSpecError, match=r"more than the 3 steps .* last scored at step 2, found 3"):
        train(replace(longer, steps=3), tmp_path, device="cpu", progress=False, resume=True)
    assert (tmp_path / "weights.safetensors").read_bytes() == scored
    # A refused start costs nothing; one that goes on makes what was calibrated before out of date.
    calibrated = tmp_path / "calibrated.safetensors"
    calibrated.write_bytes(scored)
    with pytest.raises(ShaSpecError, match="to resume with seed = 7, found 8"):
        train(replace(longer, seed=8), tmp_path, device="cpu", progress=False, resume=True)
    assert calibrated.read_bytes() == scored
    train(replace(longer, steps=4), tmp_path, device="cpu", progress=False, resume=True)
    assert load_checkpoint(tmp_path / "weights.safetensors").training["step"] == 4
    assert not calibrated.exists()


def test_tensorboard_and_csv_say_the_same(tmp_path: Path, run: Callable[..., Path]) -> None:
    run(tmp_path)
    rows = list(csv.DictReader(logs(tmp_path)[0].read_text(encoding="utf-8").splitlines()))
    scores = {int(row["step"]): float(row["score"]) for row in rows if row["score"]}
    (folder,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {each.step: pytest.approx(each.value, abs=1e-4) for each in events.Scalars("score")} == scores
    assert events.Tags()["images"] == ["subsets"]


def test_a_numbered_device_is_one_device(tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "choose_device", torch.device)
    with pytest.raises(ShaSpecError, match="the kind of device to train on several of them, found cuda:1"):
        train(config, tmp_path / "run", hardware=Hardware("cuda:1", devices=2))
    asked: dict[str, Any] = {}

    def trainer(**options: Any) -> None:
        asked.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.lightning, "Trainer", trainer)
    for name, devices in (("cuda:1", [1]), ("cuda", 1)):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", hardware=Hardware(name, precision="float32"))
        assert (asked["accelerator"], asked["devices"]) == ("gpu", devices)


def test_an_unknown_precision_is_refused_before_the_run() -> None:
    with pytest.raises(ShaSpecError, match="a precision out of auto, float32, found bfloat16"):
        Hardware(precision="bfloat16")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_of_this_code_and_of_no_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / ".venv" / "export.py"
    installed.parent.mkdir()
    installed.touch()
    (tmp_path / ".gitignore").write_text(".venv\n")
    somebody = ["git", "-C", str(tmp_path), "-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    for words in (["init", "-q"], ["add", ".gitignore"], ["commit", "-qm", "Theirs"]):
        subprocess.run([*somebody, *words], check=True)
    monkeypatch.setattr(export, "__file__", str(installed))
    assert export._commit() == "not a git checkout"
    subprocess.run([*somebody, "add", "-f", str(installed)], check=True)
    subprocess.run([*somebody, "commit", "-qm", "Ours"], check=True)
    assert re.fullmatch("[0-9a-f]{40}", export._commit())
    installed.write_text("changed")
    assert export._commit().endswith("-dirty")


def test_a_split_is_one_of_real_cases(tmp_path: Path, run: Callable[..., Path]) -> None:
    with pytest.raises(ShaSpecError, match="a folder of cases to split"):
        run(tmp_path / "run", split=tmp_path / "split.json")


def test_real_cases_are_split_once_and_a_dedicated_network_needs_its_modalities(
    tmp_path: Path, config: TrainConfig, cases: tuple[CaseFiles, ...]
) -> None:
    split, hardware = tmp_path / "split.json", Hardware("cpu", workers=0)
    only_t1 = replace(config, dedicated=("t1",), patch=(8, 8, 8), coarse_patch=(8, 8, 8), steps=1)
    with pytest.raises(ShaSpecError, match="cases with t1 for a network dedicated to them, found c without t1"):
        train(only_t1, tmp_path / "run", cases=cases, split=split, hardware=hardware, progress=False)
    drawn = json.loads(split.read_text())
    assert sorted([*drawn["train"], *drawn["validation"]]) == ["a", "b", "c"]
    split.write_text('{"train": ["a"], "validation": ["b"]}')
    best = load_checkpoint(
        train(only_t1, tmp_path / "run", cases=cases, split=split, hardware=hardware, progress=False)
    )
    assert best.training["data"] == "real cases"
    assert best.statement == "Dedicated to T1: what it makes of other images means nothing."
    assert best.training["validation"].keys() >= {"score", "t1_WT"}


def test_the_best_weights_are_calibrated_where_that_is_asked_for(
    tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def calibrate(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "calibrate", calibrate)
    asked, out = replace(config, steps=1, calibration_cases=3), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(asked, out, device="cpu", progress=False)
    best = (out / "best.safetensors").read_bytes()
    # All steps are done: to resume the run is to calibrate, and changes nothing else.
    written = train(asked, out, device="cpu", resume=True, progress=False)
    assert written == out / "calibrated.safetensors"
    assert [arguments[:5] for arguments in calls] == [([out / "best.safetensors"], written, 3, "cpu", "auto")] * 2
    assert (out / "best.safetensors").read_bytes() == best
    first = load_checkpoint(out / "best.safetensors")
    save_checkpoint(first.model, out / "best.safetensors", {**first.training, "step": 0}, first.statement)
    train(asked, out, device="cpu", resume=True, progress=False)
    assert calls[-1][0] == [out / "best.safetensors", out / "weights.safetensors"]  # another step than the last
    train(replace(asked, dedicated=("flair", "t2")), tmp_path / "dedicated", device="cpu", progress=False)
    assert [len(arguments[6]) for arguments in calls] == [15, 15, 15, 1]
    assert calls[-1][6] == [{Modality.FLAIR, Modality.T2}]
