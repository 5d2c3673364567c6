"""The weights that a run leaves behind: averaged, with all in the header that a reader must know to make them again."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.model.checkpoint import Checkpoint, save_checkpoint
from napari_shaspec.training.config import TrainConfig, differences
from napari_shaspec.training.module import ShaSpecTraining

WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
CALIBRATED = "calibrated.safetensors"
LOSSES = {"loss", "task", "dao", "dco"}
AT_THE_END = {"steps", "calibration_cases"}
"""May change when a run is resumed: when it ends, and what is done then."""


class ExportWeights(Callback):
    """Writes the averaged weights after each validation, and again under another name when they are the best yet.

    It has to stand before the averaging callback: that one puts the raw weights back at the same hook.
    """

    def __init__(self, folder: Path, provenance: dict[str, Any], statement: str) -> None:
        self.folder = folder
        self.provenance = provenance
        self.statement = statement
        self.best = -1.0
        self.seconds = 0.0
        self.step = 0
        self.scored = 0
        self._since = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count from here; what was calibrated of the steps so far is out of date from here on."""
        self._since = time.monotonic()
        if trainer.is_global_zero:
            (self.folder / CALIBRATED).unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Where the run is, for the next start."""
        self.step = trainer.global_step

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Score, then write."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ShaSpecTraining)
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        self.scored = trainer.global_step
        metrics = {name: round(float(value), 4) for name, value in trainer.callback_metrics.items()}
        training = {
            **self.provenance,
            "step": trainer.global_step,
            "seconds": round(self.seconds),
            "validation": {name: value for name, value in metrics.items() if name not in LOSSES},
        }
        save_checkpoint(pl_module.model, self.folder / WEIGHTS, training, self.statement)
        if metrics["score"] > self.best:
            self.best = metrics["score"]
            save_checkpoint(pl_module.model, self.folder / BEST, training, self.statement)

    def state_dict(self) -> dict[str, Any]:
        """Kept by Lightning for a resumed run."""
        return {
            "best": self.best,
            # What passed since the last scoring counts too: a run that is stopped goes on from here.
            "seconds": self.seconds + time.monotonic() - self._since,
            "provenance": self.provenance,
            "step": self.step,
            "scored": self.scored,
        }

    def check(self, state_dict: Mapping[str, Any]) -> None:
        """Refuse to resume what was begun in another way, before anything of it is taken up.

        Raises
        ------
        ShaSpecError
            If this start was told anything else than the one that it goes on with, but for its end.
        """
        provenance = state_dict["provenance"]
        before = provenance["train_config"]
        for name, (first, now) in differences(before, self.provenance["train_config"]).items():
            if name not in AT_THE_END:
                raise ShaSpecError(
                    f"to resume with {name} = {first}",
                    f"{now}",
                    "Give the options of the first start, or begin a new run in another folder",
                )
        for name in sorted({"data", "split"} & provenance.keys()):
            if provenance[name] != (now := self.provenance.get(name)):
                raise ShaSpecError(
                    f"to resume with the {name} of the first start, {provenance[name]}",
                    f"{now or 'none'}",
                    "Give the same folder of cases and the same split, or begin a new run in another folder",
                )
        # A step has as many batches as there are processes: with others, some would be trained on twice, or never.
        first, now = (each.get("processes") for each in (provenance, self.provenance))
        if first not in (now, None):  # older runs did not keep it
            raise ShaSpecError(
                f"to resume on as many devices as at the first start, {first}",
                f"{now}",
                "Give the same --devices and --nodes, or begin a new run in another folder",
            )
        scored, steps = _scored(state_dict), self.provenance["train_config"]["steps"]
        if scored < state_dict["step"] >= steps:
            # Nothing would be left to train, so nothing scored either, and what was learned since would be lost.
            raise ShaSpecError(
                f"more than the {state_dict['step']} steps that the run has made, because its weights were last "
                f"scored at step {scored}",
                f"{steps}",
                "Give a few more steps: the last one is scored",
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up by a resumed run that has been checked."""
        provenance = state_dict["provenance"]
        before = provenance["train_config"]
        self.best, self.seconds, self.scored = state_dict["best"], state_dict["seconds"], _scored(state_dict)
        # The header tells of every start: another commit or another number of steps makes other weights.
        start = {name: value for name, value in provenance.items() if name in {"command", "commit"}}
        start |= {"steps": before["steps"], "until": state_dict["step"]}
        self.provenance["earlier"] = [*provenance.get("earlier", []), start]
        # The state that is resumed replaces whatever weights this start was told to begin with.
        self.provenance.pop("started_from", None)
        if "started_from" in provenance:
            self.provenance["started_from"] = provenance["started_from"]


def _scored(state_dict: Mapping[str, Any]) -> int:
    """The last step that was scored; older runs did not keep it: the last one is taken for it."""
    return int(state_dict.get("scored", state_dict["step"]))


def begun_with(path: Path) -> dict[str, Any]:
    """The configuration (`TrainConfig.to_dict`) that a run was last started with.

    Raises
    ------
    ShaSpecError
        If its state cannot be read.
    """
    config: dict[str, Any] = _state(AtomicCheckpoints().load_checkpoint(path))["provenance"]["train_config"]
    return config


def rising_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An exponential moving average that forgets the random start: its decay rises from 0.1 to ``decay``."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        rate = min(decay, (1 + int(count)) / (10 + int(count)))
        return averaged + (1 - rate) * (current - averaged)

    return average


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a run's state beside its place and then moves it there, which is one step.

    Lightning would write it into the folder of temporary files, and moving is copying where that is another disk: a run
    that is killed meanwhile would have nothing left to go on from.

    Parameters
    ----------
    check
        Called with the state of `ExportWeights` before any of the state is used: Lightning would fill the network
        first, and end in a list of sizes that do not match.
    """

    def __init__(self, check: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        super().__init__()
        self._check = check

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = "cpu", weights_only: bool | None = False
    ) -> dict[str, Any]:
        """See `TorchCheckpointIO`; the file is a run's own, in a folder that the user named as such.

        Raises
        ------
        ShaSpecError
            If it cannot be read, or does not pass the check.
        """
        try:
            checkpoint = super().load_checkpoint(Path(path), map_location, weights_only)
            state = _state(checkpoint)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError) as error:
            raise ShaSpecError(
                f"the state of a run at {path}",
                f"what cannot be read ({type(error).__name__})",
                "Begin a new run in another folder, with --start and the weights that this one has left",
            ) from error
        if self._check is not None:
            self._check(state)
        return checkpoint

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """See `TorchCheckpointIO`."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as beside:
            torch.save(checkpoint, beside)


def _state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What `ExportWeights` has put into Lightning's file."""
    state: dict[str, Any] = checkpoint["callbacks"][ExportWeights.__qualname__]
    return state


def split_hash(training: Iterable[str], validation: Iterable[str]) -> str:
    """The same for the same names of cases, in whatever order."""
    return hashlib.sha256(json.dumps([sorted(training), sorted(validation)]).encode()).hexdigest()


def provenance(  # noqa: PLR0913 (everything that a reader must know)
    config: TrainConfig,
    command: str,
    data: str,
    device: torch.device,
    start: Checkpoint | None = None,
    split: str = "",
    processes: int = 1,
) -> dict[str, Any]:
    """What a reader of the weights must know to make them again; of what they started from, all that its file tells."""
    begun = {"started_from": {"sha256": start.sha256, "training": start.training}} if start is not None else {}
    return {
        "command": command,
        "commit": _commit(),
        "data": data,
        "device": f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "train_config": config.to_dict(),
        **({"split": split} if split else {}),
        "processes": processes,
        **begun,
    }


def _commit() -> str:
    """The commit of this code, marked where files differ from it."""
    here = Path(__file__)

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else it is installed within somebody else's repository
        return git("rev-parse", "HEAD") + (
            "-dirty" if git("status", "--porcelain", "--untracked-files=no", ".") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"
