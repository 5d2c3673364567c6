"""Which probability a region should begin at: mean Dice over held-out simulated cases, for a range of thresholds.

    python benchmarks/thresholds.py --count 20

Whole cases of the held-out setting, from seeds that neither training nor any published table uses; every subset of the
modalities counts alike. The last line printed is a JSON object: the best threshold of each region, its Dice there, and
at one half. `--out calibrated.safetensors` also writes the weights with output biases moved so that the best threshold
of each region is one half, as training does at its end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from napari_shaspec.model.checkpoint import load_checkpoint, shift_outputs
from napari_shaspec.training.calibration import SURE, SURE_EACH, THRESHOLDS, dice_curves


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=Path, help="weights whose best thresholds are one half")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.weights)
    curves = dice_curves(
        checkpoint.model, options.count, progress=lambda done, total: print(f"{done} of {total}", flush=True)
    )
    for threshold, mean, all_four in zip(THRESHOLDS, curves.mean, curves.all_four, strict=True):
        print(f"{threshold:.2f}: mean of subsets {mean.round(3).tolist()}, all four {all_four.round(3).tolist()}")
    half = int(np.argmin(abs(THRESHOLDS - 0.5)))
    best = curves.best()
    if options.out is not None:
        shift_outputs(checkpoint.path, best, options.out, SURE, SURE_EACH)
    answer = {
        region: {
            "threshold": threshold,
            "dice": round(float(curves.mean[int(abs(THRESHOLDS - threshold).argmin()), place]), 4),
            "dice_at_half": round(float(curves.mean[half, place]), 4),
        }
        for place, (region, threshold) in enumerate(best.items())
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
