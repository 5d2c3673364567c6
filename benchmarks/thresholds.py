"""Which probability a region should begin at: mean Dice over held-out simulated cases, for a range of thresholds.

    python benchmarks/thresholds.py --count 20

Whole cases of the held-out setting, from seeds that neither training nor any published table uses; every subset of the
modalities counts alike. The last line printed is a JSON object: the best threshold of each region, its Dice there, and
at one half. `--out shifted.safetensors` also writes the weights with output biases moved so that the best threshold of
each region is one half.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint, shift_outputs
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import HELD_OUT

FIRST_SEED = 910_000
THRESHOLDS = np.arange(0.3, 0.96, 0.05)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=Path, help="weights whose best thresholds are one half")
    parser.add_argument("--voxel-mm", type=float, default=2.0)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.weights)
    model = checkpoint.model
    subsets = nonempty_subsets(list(Modality))
    scores = np.zeros((options.count, len(subsets), len(THRESHOLDS), len(Region)))
    for number in range(options.count):
        case = simulate_case(FIRST_SEED + number, f"held_out_{number}", options.voxel_mm, HELD_OUT)
        assert case.truth is not None
        truth = labels_to_masks(case.truth.data.astype(np.uint8))
        session = Session(model, case)
        for row, subset in enumerate(subsets):
            probabilities = session.predict(subset).probabilities
            for column, threshold in enumerate(THRESHOLDS):
                for index in range(len(Region)):
                    predicted = probabilities[index] >= threshold
                    total = int(predicted.sum()) + int(truth[index].sum())
                    both = int((predicted & truth[index]).sum())
                    scores[number, row, column, index] = 1.0 if total == 0 else 2 * both / total
        print(
            f"{number + 1} of {options.count}: all four at one half {scores[number, -1, 4].round(2).tolist()}",
            flush=True,
        )
    mean = scores.mean((0, 1))
    for column, threshold in enumerate(THRESHOLDS):
        all_four = scores[:, -1, column].mean(0).round(3).tolist()
        print(f"{threshold:.2f}: mean of subsets {mean[column].round(3).tolist()}, all four {all_four}")
    half = int(np.argmin(abs(THRESHOLDS - 0.5)))
    answer = {}
    for index, region in enumerate(Region):
        best = int(mean[:, index].argmax())
        answer[region.value] = {
            "threshold": round(float(THRESHOLDS[best]), 2),
            "dice": round(float(mean[best, index]), 4),
            "dice_at_half": round(float(mean[half, index]), 4),
        }
    if options.out is not None:
        shift_outputs(checkpoint.path, {name: entry["threshold"] for name, entry in answer.items()}, options.out)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
