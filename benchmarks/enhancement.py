"""Where enhancing tumour should begin, and how sure its pieces have to be: mean Dice of ET with T1c, and of all four.

    python benchmarks/enhancement.py --count 20
    python benchmarks/enhancement.py --folder cases

Simulated cases of the held-out setting, those of the calibration at the end of training, or a folder of cases with
label maps. A row is a threshold before any shift, a column the peak that each piece of enhancing tumour must reach once
the threshold is shifted to one half; 0 asks nothing. Means are over cases, and over the eight subsets with T1c.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_shaspec.inference.session import Session
from napari_shaspec.io.cases import find_cases
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.regions import labels_to_masks
from napari_shaspec.training.calibration import ALL_SUBSETS, THRESHOLDS, calibration_cases, dice_of_pieces

PEAKS = (0.0, 0.6, 0.65, 0.7, 0.74, 0.8, 0.85, 0.9)
SUBSETS = [subset for subset in ALL_SUBSETS if Modality.T1C in subset]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="cases with label maps, instead of simulated ones")
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    assert isinstance(model, ShaSpec)
    model.config = replace(model.config, sure_each=())
    folder = options.folder
    on_disk = () if folder is None else (files.read() for files in find_cases(folder))
    scores = []
    for case in calibration_cases(options.count) if folder is None else on_disk:
        assert case.truth is not None
        truth, session = labels_to_masks(case.truth.data.astype(np.uint8))[0], Session(model, case)
        found = [session.predict(subset).probabilities[0] for subset in SUBSETS]
        scores.append([[dice_of_pieces(each, truth, peak) for peak in PEAKS] for each in found])
        print(f"{len(scores)}: {case.name}", flush=True)
    mean = 100 * np.mean(scores, axis=0)  # (subset, peak, threshold)
    for name, table in (("mean of the subsets with T1c", mean.mean(0)), ("all four", mean[-1])):
        print(name, "".join(f"{peak:7.2f}" for peak in PEAKS))
        for place, threshold in enumerate(THRESHOLDS):
            print(f"{threshold:{len(name)}.2f}", "".join(f"{value:7.1f}" for value in table[:, place]))


if __name__ == "__main__":
    main()
