"""A training run from configuration to weights file."""

from __future__ import annotations

import platform
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from tqdm.auto import tqdm

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.devices import choose_device, fast_precision, in_fast_layout
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import Checkpoint, save_checkpoint
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.training.calibration import ALL_SUBSETS, calibrate
from napari_shaspec.training.config import TrainConfig, differences
from napari_shaspec.training.data import HELD_OUT_FIRST
from napari_shaspec.training.loading import Batches
from napari_shaspec.training.module import ShaSpecTraining
from napari_shaspec.training.pictures import SubsetPictures
from napari_shaspec.training.splits import Split, read_split, split_cases, write_split

LAST = "last.ckpt"
"""Lightning's own file in the run's folder: it resumes the run, and is opened by nothing else."""

WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
CALIBRATED = "calibrated.safetensors"
SPLIT = "split.json"
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
        self._since = time.monotonic()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count from here."""
        self._since = time.monotonic()

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
        provenance = state_dict["provenance"]
        before = provenance["train_config"]
        for name, (first, now) in differences(before, self.provenance["train_config"]).items():
            if name not in AT_THE_END:
                raise ShaSpecError(
                    f"to resume with {name} = {first}",
                    f"{now}",
                    "Give the options of the first start, or begin a new run in another folder",
                )
        self.best, self.seconds = state_dict["best"], state_dict["seconds"]
        # The header tells of every start: another commit or another number of steps makes other weights.
        start = {name: value for name, value in provenance.items() if name in {"command", "commit"}}
        start |= {"steps": before["steps"], "until": state_dict["step"]}
        self.provenance["earlier"] = [*provenance.get("earlier", []), start]


def rising_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """An exponential moving average that forgets the random start: its decay rises from 0.1 to ``decay``."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        rate = min(decay, (1 + int(count)) / (10 + int(count)))
        return averaged + (1 - rate) * (current - averaged)

    return average


def provenance(
    config: TrainConfig, command: str, data: str, device: torch.device, start: Checkpoint | None = None
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
        **begun,
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


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a run runs on; Lightning finds out by itself whether torchrun or SLURM started it.

    Parameters
    ----------
    device
        ``auto`` is the best that works here.
    devices, nodes
        How many of them in each machine, and how many machines. A step then has as many batches.
    precision
        ``auto`` takes the fastest of the device, ``float32`` is the same everywhere.
    workers
        Processes that load real cases, for each device.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    workers: int = 1


def _loggers(out: Path) -> list[Logger]:
    """CSV always, TensorBoard where it is installed; a resumed run gets files of its own."""
    table = CSVLogger(out, name="log")
    if find_spec("tensorboard") is None:
        return [table]
    return [table, TensorBoardLogger(out, name="tensorboard", version=f"version_{table.version}")]


def _split(config: TrainConfig, cases: Sequence[CaseFiles], path: Path) -> Split:
    """Read the split, or draw and write it."""
    if path.exists():
        split = read_split(path, cases)
    else:
        split = split_cases(cases, config.seed)
        if getattr(rank_zero_only, "rank", 0) == 0:  # the other processes draw the same
            path.parent.mkdir(parents=True, exist_ok=True)
            write_split(split, path)
    for files in (*split[0], *split[1]):
        lacking = [name for name in config.dedicated if name not in files.images]
        if lacking:
            raise ShaSpecError(
                f"cases with {', '.join(config.dedicated)} for a network dedicated to them",
                f"{files.name} without {', '.join(lacking)}",
                "Leave the case out of the split, or train one network for all subsets",
            )
    return split


def train(  # noqa: PLR0913 (what the command line passes on)
    config: TrainConfig,
    out: Path,
    *,
    cases: Sequence[CaseFiles] = (),
    split: Path | None = None,
    start: Checkpoint | None = None,
    hardware: Hardware | None = None,
    device: str = "auto",
    devices: int = 1,
    resume: bool = False,
    command: str = "",
    progress: bool = True,
) -> Path:
    """Train, and leave ``best.safetensors``, ``weights.safetensors``, ``last.ckpt``, logs and pictures in a folder.

    Some configurations add ``calibrated.safetensors`` when all steps are done.

    Parameters
    ----------
    cases
        Real cases with label maps; none means simulated cases.
    split
        File with the names of the cases that train and that validate; written where there is none. Left out, it is
        ``split.json`` in ``out``.
    start
        A trained network of the configuration's shape, whose weights are the first ones (see `config.continued`); left
        out, they are random.
    hardware
        What to run on, in full; ``device`` and ``devices`` are the short way.
    resume
        Go on from ``last.ckpt`` in ``out``.

    Returns
    -------
    Path
        The averaged weights with the best score on the validation cases; calibrated, where the configuration asks for
        it and the cases are simulated.
    """
    hardware = hardware or Hardware(device, devices)
    processes = hardware.devices * hardware.nodes
    last = out / LAST
    if resume and not last.is_file():
        raise ShaSpecError(f"a run to resume in {out}", f"no {LAST}", "Start it without --resume")
    if not resume and last.exists():
        raise ShaSpecError(f"an empty folder at {out}", "an earlier run", "Resume it, or choose another folder")
    if not cases and config.steps * processes >= HELD_OUT_FIRST:
        raise ShaSpecError(
            f"fewer than {HELD_OUT_FIRST} simulated batches, after which those of validation begin",
            str(config.steps * processes),
            "Choose fewer steps",
        )
    if split is not None and not cases:
        raise ShaSpecError("a folder of cases to split", "none", "Give the folder, or leave the split out")
    if start is not None and not (
        isinstance(start.model, ShaSpec) and replace(start.model.config, sure=config.model.sure) == config.model
    ):
        raise ShaSpecError(
            "weights to start from of a network like the one that is trained",
            f"another one in {start.path.name}",
            "Start from weights that this command has written, and leave out what changes the network",
        )
    chosen = choose_device(hardware.device)
    parts = _split(config, cases, split or out / SPLIT) if cases else None
    out.mkdir(parents=True, exist_ok=True)
    (out / CALIBRATED).unlink(missing_ok=True)  # of the steps so far; a resumed run makes it anew
    lightning.seed_everything(config.seed, verbose=False)
    if hardware.precision == "auto":
        torch.set_float32_matmul_precision("high")
        mixed = {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}.get(fast_precision(chosen), "32-true")
    else:
        mixed = "32-true"
    module = ShaSpecTraining(config)
    if start is not None:
        module.model.load_state_dict(start.model.state_dict())
    in_fast_layout(module.model)
    data = "real cases" if cases else "simulated cases"
    export = ExportWeights(out, provenance(config, command, data, chosen, start), "" if cases else SIMULATED_STATEMENT)
    trainer = lightning.Trainer(
        default_root_dir=out,
        accelerator={"cuda": "gpu"}.get(chosen.type, chosen.type),
        devices=hardware.devices,
        num_nodes=hardware.nodes,
        # A modality that is missing, or not drawn, leaves its specific encoder out of a step.
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
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
            *([SubsetPictures(out / "pictures", config.picture_steps)] if config.picture_steps else []),
            *([TQDMProgressBar(refresh_rate=10)] if progress else []),
        ],
        logger=_loggers(out),
        gradient_clip_val=config.gradient_clip or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    with warnings.catch_warnings():
        # A run that was stopped behind its last step, while it was calibrated: no batch is left.
        warnings.filterwarnings("ignore", r"Total length of `\w+` across ranks is zero")
        trainer.fit(
            module,
            datamodule=Batches(config, parts, chosen, hardware.workers),
            ckpt_path=last if resume else None,
            weights_only=False if resume else None,
        )
    if cases or not config.calibration_cases:
        return out / BEST
    if trainer.is_global_zero:
        with tqdm(total=config.calibration_cases, desc="Calibration", disable=not progress) as bar:
            calibrate(
                out / BEST,
                out / CALIBRATED,
                config.calibration_cases,
                hardware.device,
                hardware.precision,
                lambda done, total: bar.update(),
                [frozenset(map(Modality, config.dedicated))] if config.dedicated else ALL_SUBSETS,
            )
    trainer.strategy.barrier()  # nobody says that the file is there before it is
    return out / CALIBRATED
