"""How much faster a toggle is than a first prediction, and how much memory both take.

The case is simulated at 1 mm on the grid of a BraTS case, 240 x 240 x 155, in a process of its own, so that the peak
memory is that of reading and predicting alone. First: all four modalities with a cold cache, preprocessing included.
Toggle: the mean over the 14 other subsets in the same session. Every toggled result is compared with a fresh session's.

    python benchmarks/toggle.py [--device cpu] [--precision auto|float32] [--case FOLDER] [--weights FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_shaspec.inference.engine import TorchEngine
from napari_shaspec.inference.session import Session
from napari_shaspec.io.cases import read_case
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint

BRATS_SHAPE = (240, 240, 155)


def write_case(folder: Path) -> None:
    """Simulate a case on the grid of a BraTS case, as int16 NIfTI files."""
    from napari_shaspec.io.nifti import write_volume
    from napari_shaspec.simulate.case import simulate_case
    from napari_shaspec.volume import Volume

    case = simulate_case(10**12 + 7, "toggle", voxel_mm=1.0)
    for modality, volume in case.images.items():
        data = np.zeros(BRATS_SHAPE, np.int16)
        shared = [min(pair) for pair in zip(BRATS_SHAPE, volume.shape, strict=True)]
        there = tuple(slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(BRATS_SHAPE, shared, strict=True))
        here = tuple(slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(volume.shape, shared, strict=True))
        data[there] = volume.data[here]
        write_volume(Volume(data, np.diag([-1.0, -1, 1, 1])), folder / f"toggle_{modality.value}.nii.gz")


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32"])
    parser.add_argument("--case", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--skip-comparison", action="store_true", help="do not compare with fresh sessions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.case is None:
            child = multiprocessing.get_context("spawn").Process(target=write_case, args=(Path(folder),))
            child.start()
            child.join()
        case = read_case(options.case or Path(folder))
    model = load_checkpoint(options.weights).model
    engine = TorchEngine(model, options.device, options.precision)
    # The first convolution of a process pays for setting up the library, which is no part of a prediction.
    engine.decode({"flair": engine.encode(torch.zeros(32, 32, 32), "flair")})

    def session(available: frozenset[Modality]) -> Session:
        only = replace(case, images={modality: case.images[modality] for modality in available})
        return Session(model, only, engine=engine)

    *others, everything = nonempty_subsets(tuple(Modality))
    live = session(everything)
    start = time.perf_counter()
    first = live.predict()
    first_seconds = time.perf_counter() - start
    seconds = []
    for available in others:
        start = time.perf_counter()
        live.predict(available)
        seconds.append(time.perf_counter() - start)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux; before fresh sessions add their caches
    differences = []
    for available in [] if options.skip_comparison else others:
        fresh = session(available).predict()
        differences.append(float(np.abs(live.predict(available).probabilities - fresh.probabilities).max()))
    toggle_seconds = float(np.mean(seconds))
    print(
        json.dumps(
            {
                "first_seconds": round(first_seconds, 3),
                "toggle_seconds": round(toggle_seconds, 3),
                "ratio": round(toggle_seconds / first_seconds, 3),
                "peak_mib": round(peak_kib / 1024),
                "slowest_toggle_seconds": round(max(seconds), 3),
                "largest_difference": max(differences, default=None),
                "whole_tumour_ml": round(first.volumes_ml()["WT"], 2),
                "shape": case.grid.shape,
                "device": str(engine.device),
                "precision": str(engine.dtype).removeprefix("torch."),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
