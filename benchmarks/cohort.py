"""What a case of a cohort costs, and what dask adds to it.

Two parts in one local cluster each: simulated cases on the grid of a BraTS case, 240 x 240 x 155, for the seconds of a
case as the worker counts them; and many tiny cases with a tiny random network, for what a case costs beside them:
giving it out, fetching its row, writing the table. Peak memory is that of the largest worker.

    python benchmarks/cohort.py [--cases 2] [--workers 1] [--tiny 100] [--weights FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from distributed import Client
from toggle import write_case

from napari_shaspec.cohort.cluster import local_client, torch_threads
from napari_shaspec.cohort.predictor import Job, Predictor
from napari_shaspec.cohort.run import run_cohort
from napari_shaspec.cohort.table import CohortTable, Row
from napari_shaspec.io.cases import find_cases
from napari_shaspec.model.checkpoint import load_checkpoint, save_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec


def write_cases(folder: Path, count: int) -> None:
    """The same simulated case under several names: what is in it does not change what it costs."""
    for number in range(count):
        inner = folder / f"case_{number:03d}"
        inner.mkdir(parents=True)
        if number == 0:
            child = multiprocessing.get_context("spawn").Process(target=write_case, args=(inner,))
            child.start()
            child.join()
        else:
            for path in (folder / "case_000").iterdir():
                (inner / path.name).write_bytes(path.read_bytes())


def write_tiny_cases(folder: Path, count: int) -> None:
    """Two images of noise each."""
    draw = np.random.default_rng(1)
    for number in range(count):
        inner = folder / f"tiny_{number:03d}"
        inner.mkdir(parents=True)
        for modality in ("flair", "t1c"):
            data = draw.integers(100, 900, (12, 14, 10), np.int16)
            nib.Nifti1Image(data, np.diag([-5.0, -5, 6, 1])).to_filename(inner / f"{inner.name}_{modality}.nii")


def run(folder: Path, weights: Path | None, client: Client, threads: int) -> tuple[list[Row], float]:
    """All cases of a folder; their rows, and the seconds from the first to the last."""
    out = folder.with_name(f"{folder.name}_out")
    out.mkdir()
    checkpoint = load_checkpoint(weights)
    job = Job(out, checkpoint.path.resolve(), checkpoint.sha256, "cpu")
    cases = find_cases(folder)
    with CohortTable(out / "cohort.csv") as table:
        first, *rest = cases
        run_cohort([first], client, Predictor(job, threads), table)  # imports, and loads the network
        began = time.perf_counter()
        run_cohort(rest, client, Predictor(job, threads), table)
        seconds = time.perf_counter() - began
        return [table.rows[files.name] for files in rest], seconds


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2, help="of BraTS size, after one that is not counted")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tiny", type=int, default=100)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    threads = torch_threads(options.workers)
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        write_cases(here / "large", options.cases + 1)
        write_tiny_cases(here / "tiny", options.tiny + 1)
        torch.manual_seed(1)
        save_checkpoint(ShaSpec(ModelConfig(widths=(2, 4, 8), voxel_mm=(6.0, 6.0))), here / "tiny.safetensors", {})
        began = time.perf_counter()
        with local_client(options.workers) as client:
            start_seconds = time.perf_counter() - began
            rows, seconds = run(here / "large", options.weights, client, threads)
            peak_kib = max(client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).values())
        with local_client(1) as client:
            tiny, tiny_seconds = run(here / "tiny", here / "tiny.safetensors", client, 1)
    failed = [row.error for row in (*rows, *tiny) if row.error]
    print(
        json.dumps(
            {
                "case_seconds": round(float(np.mean([row.seconds for row in rows])), 2),
                "cases_an_hour": round(3600 * len(rows) / seconds),
                "overhead_seconds": round(tiny_seconds / len(tiny) - float(np.mean([row.seconds for row in tiny])), 4),
                "start_seconds": round(start_seconds, 1),
                "peak_mib": round(peak_kib / 1024),
                "workers": options.workers,
                "torch_threads": threads,
                "cases": len(rows),
                "tiny_cases": len(tiny),
                "failed": failed,
            }
        )
    )


if __name__ == "__main__":
    main()
