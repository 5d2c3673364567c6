"""A training run from configuration to weights file."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.devices import choose_device, fast_precision, in_fast_layout
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.model.checkpoint import save_checkpoint
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.simulate.settings import HELD_OUT, TRAINING
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import HELD_OUT_FIRST, Batch, SimulatedBatches, held_out_batches
from napari_shaspec.training.folder import FolderCrops, split_cases
from napari_shaspec.training.module import ShaSpecTraining

LAST = "last.ckpt"
"""Lightning's own file in the run's folder: it resumes the run, and is opened by nothing else."""

WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
LOSSES = {"loss", "task", "dao", "dco"}


class Batches(lightning.LightningDataModule):
    """An epoch is the stretch between two validations; each begins at the seed where the last one stopped."""

    def __init__(self, config: TrainConfig, cases: Sequence[CaseFiles], device: torch.device) -> None:
        super().__init__()
        self.config = config
        self.device = device
        self.training_cases, self.validation_cases = split_cases(cases, config.seed) if cases else ([], [])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Simulated on the training device; on a CPU in a process of its own, beside the network."""
        trainer = self.trainer
        assert trainer is not None
        first = trainer.global_step * trainer.world_size
        count = self.config.validation_steps * trainer.world_size
        if self.training_cases:
            return _loader(FolderCrops(self.config, self.training_cases, first, count), workers=1)
        stream = SimulatedBatches(self.config, TRAINING, first, count, self.device)
        return _loader(stream, workers=1 if self.device.type == "cpu" else 0)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Simulated cases of the held-out setting, or crops of the real cases kept aside."""
        if self.validation_cases:
            crops = FolderCrops(self.config, self.validation_cases, HELD_OUT_FIRST, self.config.validation_cases)
            return _loader(crops, workers=0)
        return _loader(held_out_batches(self.config, HELD_OUT, self.device), workers=0)


def _loader(dataset: Any, workers: int) -> DataLoader[Batch]:
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        persistent_workers=False,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
    )


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
        self._since = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count from here."""
        self._since = time.monotonic()

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Score, then write."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ShaSpecTraining)
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        self.step = trainer.global_step
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
        return {"best": self.best, "seconds": self.seconds, "provenance": self.provenance, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up by a resumed run, which has to be told the same as the one that it goes on with."""
        provenance = state_dict.get("provenance", {"train_config": state_dict.get("train_config", {})})
        before, now = provenance["train_config"], self.provenance["train_config"]
        different = [name for name in now if before.get(name) != now[name] and name != "steps"]
        if different:
            raise ShaSpecError(
                f"to resume with {different[0]} = {before.get(different[0])}",
                f"{now[different[0]]}",
                "Give the options of the first start, or begin a new run in another folder",
            )
        self.best, self.seconds = state_dict["best"], state_dict["seconds"]
        # The header tells of every start: another commit or another number of steps makes other weights.
        start = {name: value for name, value in provenance.items() if name in {"command", "commit"}}
        start |= {"steps": before.get("steps"), "until": state_dict.get("step")}
        self.provenance["earlier"] = [*provenance.get("earlier", []), start]


def rising_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An exponential moving average that forgets the random start: its decay rises from 0.1 to ``decay``."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        rate = min(decay, (1 + int(count)) / (10 + int(count)))
        return averaged + (1 - rate) * (current - averaged)

    return average


def provenance(config: TrainConfig, command: str, data: str, device: torch.device) -> dict[str, Any]:
    """What a reader of the weights must know to make them again."""
    return {
        "command": command,
        "commit": _commit(),
        "data": data,
        "device": f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "train_config": config.to_dict(),
    }


def _commit() -> str:
    """The commit of this code, marked where files differ from it."""
    where = Path(__file__).parent
    try:
        answers = [
            subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "."))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    return answers[0] + ("-dirty" if answers[1] else "")


def train(  # noqa: PLR0913 (what the command line passes on)
    config: TrainConfig,
    out: Path,
    *,
    cases: Sequence[CaseFiles] = (),
    device: str = "auto",
    devices: int = 1,
    resume: bool = False,
    command: str = "",
    progress: bool = True,
) -> Path:
    """Train, and leave ``best.safetensors``, ``weights.safetensors``, ``last.ckpt`` and CSV logs in a folder.

    Parameters
    ----------
    cases
        Real cases with label maps; none means simulated cases.
    resume
        Go on from ``last.ckpt`` in ``out``.

    Returns
    -------
    Path
        The averaged weights with the best score on the validation cases.
    """
    last = out / LAST
    if resume and not last.is_file():
        raise ShaSpecError(f"a run to resume in {out}", f"no {LAST}", "Start it without --resume")
    if not resume and last.exists():
        raise ShaSpecError(f"an empty folder at {out}", "an earlier run", "Resume it, or choose another folder")
    if config.steps * devices >= HELD_OUT_FIRST:
        raise ShaSpecError(
            f"fewer than {HELD_OUT_FIRST} batches, after which those of validation begin",
            str(config.steps * devices),
            "Choose fewer steps",
        )
    out.mkdir(parents=True, exist_ok=True)
    lightning.seed_everything(config.seed, verbose=False)
    chosen = choose_device(device)
    torch.set_float32_matmul_precision("high")
    mixed = {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}.get(fast_precision(chosen), "32-true")
    module = ShaSpecTraining(config)
    in_fast_layout(module.model)
    data = "real cases" if cases else "simulated cases"
    export = ExportWeights(out, provenance(config, command, data, chosen), "" if cases else SIMULATED_STATEMENT)
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(chosen.type, chosen.type),
        devices=devices,
        # Cases that lack a modality leave its specific encoder out of a step.
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        precision=mixed,  # type: ignore[arg-type]
        max_steps=config.steps,
        callbacks=[
            export,
            WeightAveraging(avg_fn=rising_average(config.ema_decay)),
            ModelCheckpoint(
                out,
                filename="last",
                save_top_k=1,
                every_n_epochs=1,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            ),
            *([TQDMProgressBar(refresh_rate=10)] if progress else []),
        ],
        logger=CSVLogger(out, name="log"),  # a resumed run gets a file of its own
        gradient_clip_val=1.0,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=True,
    )
    trainer.fit(
        module,
        datamodule=Batches(config, cases, chosen),
        ckpt_path=last if resume else None,
        weights_only=False if resume else None,
    )
    return out / BEST
