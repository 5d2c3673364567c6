"""A training run from configuration to weights file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tqdm.auto import tqdm

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.devices import check_precision, choose_device, fast_precision, in_fast_layout
from napari_shaspec.io.atomic import make_folder, remove_leftovers
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality, subset_title
from napari_shaspec.model.checkpoint import Checkpoint, load_checkpoint
from napari_shaspec.model.growth import first_network, grows_from
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.training.calibration import ALL_SUBSETS, calibrate
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import HELD_OUT_FIRST
from napari_shaspec.training.export import (
    BEST,
    CALIBRATED,
    WEIGHTS,
    AtomicCheckpoints,
    ExportWeights,
    provenance,
    rising_average,
    split_hash,
)
from napari_shaspec.training.loading import Batches
from napari_shaspec.training.module import ShaSpecTraining
from napari_shaspec.training.pictures import SubsetPictures
from napari_shaspec.training.splits import SPLIT, Split, read_split, split_cases, write_split

LAST = "last.ckpt"
"""Lightning's own file in the run's folder: it resumes the run, and is opened by nothing else."""


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

    def __post_init__(self) -> None:
        check_precision(self.precision)


def _loggers(out: Path) -> list[Logger]:
    """CSV always, TensorBoard where it is installed; a resumed run gets files of its own."""
    table = CSVLogger(out, name="log")
    if find_spec("tensorboard") is None:
        return [table]
    return [table, TensorBoardLogger(out, name="tensorboard", version=f"version_{table.version}")]


def _is_first_process() -> bool:
    """Of all that train together: the one that writes, known before there is a trainer."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _split(config: TrainConfig, cases: Sequence[CaseFiles], path: Path) -> Split:
    """Read the split, or draw and write it."""
    if path.exists():
        split = read_split(path, cases)
    else:
        split = split_cases(cases, config.seed)
        if _is_first_process():  # the other processes draw the same
            make_folder(path.parent)
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
        A trained network of the configuration's shape or a narrower one, with whose answers the run begins (see
        `config.continued` and `growth.first_network`); left out, the weights are random.
    hardware
        What to run on, in full; ``device`` and ``devices`` are the short way.
    resume
        Go on from ``last.ckpt`` in ``out``.

    Returns
    -------
    Path
        The averaged weights with the best score on the validation cases. Where the configuration asks for it and the
        cases are simulated, calibrated: of these and the last ones those that are better on the calibration's cases,
        which are more and whole.
    """
    hardware = hardware or Hardware(device, devices)
    processes = hardware.devices * hardware.nodes
    last = out / LAST
    if resume and not last.is_file():
        raise ShaSpecError(f"a run to resume in {out}", f"no {LAST}", "Start it without --resume")
    if not resume and last.exists():
        raise ShaSpecError(f"an empty folder at {out}", "an earlier run", "Resume it, or choose another folder")
    if not cases:
        import_module("nilearn")  # which simulates, in another process, from where nobody could tell what is missing
    if not cases and config.steps * processes >= HELD_OUT_FIRST:
        raise ShaSpecError(
            f"fewer than {HELD_OUT_FIRST} simulated batches, after which those of validation begin",
            str(config.steps * processes),
            "Choose fewer steps",
        )
    if split is not None and not cases:
        raise ShaSpecError("a folder of cases to split", "none", "Give the folder, or leave the split out")
    if start is not None and not (isinstance(start.model, ShaSpec) and grows_from(config.model, start.model.config)):
        raise ShaSpecError(
            "weights to start from of a network like the one that is trained, or of one with narrower levels",
            f"another one in {start.path.name}",
            "Start from weights that this command has written, and change nothing of the network but for wider levels",
        )
    chosen = choose_device(hardware.device)
    numbered = chosen.type != "cpu" and ":" in hardware.device  # as cuda:1; cpu:0 is the CPU
    if numbered and processes > 1:
        raise ShaSpecError(
            "the kind of device to train on several of them", hardware.device, f"Give {chosen.type}, without a number"
        )
    parts = _split(config, cases, split or out / SPLIT) if cases else None
    make_folder(out)
    if _is_first_process():
        remove_leftovers(out)  # of a start that was killed while it wrote
    lightning.seed_everything(config.seed, verbose=False)
    if hardware.precision == "auto":
        torch.set_float32_matmul_precision("high")
        mixed = {torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}.get(fast_precision(chosen), "32-true")
    else:
        mixed = "32-true"
    begin = start.model if start is not None else None
    assert begin is None or isinstance(begin, ShaSpec)
    module = ShaSpecTraining(config, first_network(config.model, config.seed, begin))
    in_fast_layout(module.model)
    data = "real cases" if cases else "simulated cases"
    names = split_hash(*([files.name for files in part] for part in parts)) if parts else ""
    told = provenance(config, command, data, chosen, start, names, processes)
    export = ExportWeights(out, told, _statement(config, of_real_cases=bool(cases)))
    trainer = lightning.Trainer(
        default_root_dir=out,
        accelerator={"cuda": "gpu"}.get(chosen.type, chosen.type),
        devices=[chosen.index] if numbered else hardware.devices,
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
        plugins=[AtomicCheckpoints(export.check)],
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
        sources = [out / BEST, out / WEIGHTS]
        if len({load_checkpoint(source).training["step"] for source in sources}) == 1:
            sources.pop()  # the last network is the best one
        with tqdm(total=config.calibration_cases * len(sources), desc="Calibration", disable=not progress) as bar:
            calibrate(
                sources,
                out / CALIBRATED,
                config.calibration_cases,
                hardware.device,
                hardware.precision,
                lambda done, total: bar.update(),
                [frozenset(map(Modality, config.dedicated))] if config.dedicated else ALL_SUBSETS,
            )
    trainer.strategy.barrier()  # nobody says that the file is there before it is
    return out / CALIBRATED


def _statement(config: TrainConfig, *, of_real_cases: bool) -> str:
    """What users of the weights must be told: encoders of other modalities than a dedicated network's never learned."""
    dedicated = subset_title(Modality(name) for name in config.dedicated)
    alone = f"Dedicated to {dedicated}: what it makes of other images means nothing." if dedicated else ""
    return " ".join(filter(None, ("" if of_real_cases else SIMULATED_STATEMENT, alone)))
