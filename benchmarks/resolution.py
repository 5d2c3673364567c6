"""What the network's voxels cost by themselves: Dice of true labels after the way to its working grid and back.

    python benchmarks/resolution.py --count 20

The cases are those of `napari-shaspec simulate --settings held-out` with the same seed; resampling is that of images
and probabilities in a prediction. A network that works on such voxels can hardly be better. The last line printed is a
JSON object: the voxel size, and the mean Dice of each region over the cases that have it.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from napari_shaspec.box import Box
from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.evaluation.metrics import dice
from napari_shaspec.inference.canvas import Canvas
from napari_shaspec.inference.grid import working_grid
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import SETTINGS


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--working-mm", type=float, default=2.0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--voxel-mm", type=float, default=1.5)
    parser.add_argument("--settings", choices=list(SETTINGS), default="held-out")
    options = parser.parse_args()
    scores: dict[Region, list[float]] = {region: [] for region in Region}
    for index in range(options.count):
        seed = case_seed(options.seed, index)
        case = simulate_case(seed, f"{index}", options.voxel_mm, SETTINGS[options.settings])
        assert case.truth is not None
        truth = labels_to_masks(case.truth.data.astype(np.uint8))
        grid = working_grid(case.grid, options.working_mm)
        field = Box((0, 0, 0), grid.shape)
        canvas = Canvas(grid, field, len(Region))
        canvas.put_tile(field, torch.stack([grid.from_source(mask.astype(np.float32)) for mask in truth]), 0)
        place, back = canvas.on_source(field)
        for region, mask, values in zip(Region, truth, back, strict=True):
            if mask.any():
                kept = np.zeros_like(mask)
                kept[place.slices] = values >= 0.5
                scores[region].append(dice(kept, mask))
        print(f"{index + 1} of {options.count}", flush=True)
    means = {region.value: round(float(np.mean(values)), 3) for region, values in scores.items()}
    print(json.dumps({"working_mm": options.working_mm, "cases": options.count, **means}))


if __name__ == "__main__":
    main()
