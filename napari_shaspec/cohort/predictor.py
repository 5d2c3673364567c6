"""What a worker does: it loads the weights once, and makes of each case a label map and a row."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from distributed import Worker, WorkerPlugin, get_worker

from napari_shaspec.cohort.table import Row, fingerprint, labels_name
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.io.outputs import LabelForm, Outputs
from napari_shaspec.regions import DEFAULT_THRESHOLDS, Convention, Region, masks_to_labels, volumes_ml

if TYPE_CHECKING:
    from napari_shaspec.inference.engine import Engine
    from napari_shaspec.model.checkpoint import Checkpoint

PLUGIN = "napari-shaspec"


@dataclass(frozen=True, slots=True)
class Job:
    """What is done to every case; paths are absolute and mean the same on every worker.

    Parameters
    ----------
    out
        Folder of the label maps.
    weights, sha256
        The checkpoint and its hash.
    device, precision
        As `Session` takes them.
    convention
        Numbers in the label maps.
    thresholds, smooth
        What makes masks of probabilities.
    probabilities, report
        Which files come beside each label map.
    """

    out: Path
    weights: Path
    sha256: str
    device: str = "auto"
    precision: str = "auto"
    convention: Convention = Convention.BRATS_2018
    smooth: bool = False
    thresholds: Mapping[Region, float] = field(default_factory=lambda: dict(DEFAULT_THRESHOLDS))
    probabilities: bool = False
    report: bool = False

    @property
    def settings(self) -> str:
        """What decides a label map beside images and weights."""
        others = (f" {each}={at:g}" for each, at in self.thresholds.items() if at != DEFAULT_THRESHOLDS[each])
        return f"{self.convention.value} {'smoothed' if self.smooth else 'raw'} {self.precision}{''.join(others)}"

    def outputs(self, files: CaseFiles) -> Outputs:
        """What is written of a case."""
        form = LabelForm(self.convention.value)
        return Outputs(self.out / labels_name(files), form, self.probabilities, self.report)


class Predictor(WorkerPlugin):
    """Lives in each worker; the network with it.

    Parameters
    ----------
    job
        What to do.
    torch_threads
        Of each worker process; None leaves what its environment says.
    """

    name = PLUGIN

    def __init__(self, job: Job, torch_threads: int | None = None) -> None:
        self.job = job
        self.torch_threads = torch_threads

    def setup(self, worker: Worker) -> None:
        """Share the cores with the other workers, and leave Ctrl-C to the process that started them."""
        import torch

        if self.torch_threads is not None:
            torch.set_num_threads(self.torch_threads)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        elif worker.state.nthreads > 1:
            torch.set_num_threads(1)  # its threads work on as many cases at once

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The weights, loaded for the first case.

        Raises
        ------
        ShaSpecError
            If the file is missing here, or is another one.
        """
        from napari_shaspec.model.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(self.job.weights)
        if checkpoint.sha256 != self.job.sha256:
            raise ShaSpecError(
                f"the weights {self.job.sha256[:12]}... on every worker",
                f"{checkpoint.sha256[:12]}... at {self.job.weights}",
                "Put the same file there on all machines",
            )
        return checkpoint

    @cached_property
    def engine(self) -> tuple[Engine, tuple[str, ...]]:
        """The network on its device, or on the CPU where that is full; and what to say of it."""
        from napari_shaspec.inference.engine import engine_that_fits

        return engine_that_fits(self.checkpoint.model, self.job.device, self.job.precision)

    def predict(self, files: CaseFiles) -> Row:
        """Segment a case from all that it has, and write its label map and what else was asked for.

        Raises
        ------
        ShaSpecError
            If the case cannot be read, or the labels cannot be written.
        """
        from napari_shaspec.inference.export import describe, export
        from napari_shaspec.inference.session import Session
        from napari_shaspec.inference.smoothing import Postprocessing
        from napari_shaspec.io.report import file_sha256, writes_report

        began = time.perf_counter()
        images = fingerprint(files.images)  # before they are read: what replaces them meanwhile is another image
        case = files.images_only().read()
        engine, said = self.engine
        # Nothing is asked for twice, so nothing is kept.
        session = Session(self.checkpoint.model, case, engine=engine, cache_bytes=0)
        prediction = session.predict()
        voxel_mm3 = case.grid.voxel_volume_mm3
        job, outputs = self.job, self.job.outputs(files)
        masks = Postprocessing(job.thresholds, job.smooth).masks(prediction.probabilities, voxel_mm3)
        notes = (*said, *session.notes)
        report = None
        if writes_report(outputs):  # else nobody needs the hashes of all images
            report = describe(
                case,
                case.available,
                self.checkpoint,
                session.device,
                job.precision,
                job.thresholds,
                smooth=job.smooth,
                notes=notes,
            )
        export(outputs, case.grid, masks_to_labels(masks), prediction.probabilities, report, overwrite=True)
        left = [path.name for path in outputs.older()]
        older = (f"left from before, not of these labels: {', '.join(left)}",) if left else ()
        return Row(
            files.name,
            case.available,
            volumes_ml(masks, voxel_mm3),
            time.perf_counter() - began,
            (*case.notes, *notes, *older),
            labels=outputs.path.name,
            weights=job.sha256,
            settings=job.settings,
            images=images,
            labels_sha256=file_sha256(outputs.path),
        )


def predict_here(files: CaseFiles) -> Row:
    """The task: ask the predictor of the worker that runs it."""
    return cast(Predictor, get_worker().plugins[PLUGIN]).predict(files)
