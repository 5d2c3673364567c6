"""How fast the recipes for real cases learn: `paper`, as published, and `modern`, with all or with less augmentation.

All train on the same simulated cases on disk, with the same small network, crops and number of steps, and are scored on
the same cases kept aside, for all 15 subsets. The steps of each recipe with all modalities, and its warm-up, shorten in
proportion. Adam's learning rate grows as the network gets narrower, because the best one is inversely proportional to
the width (Yang et al., "Tensor Programs V", 2022); SGD's stays. Scores are means of Dice over subsets and regions, from
0 to 1. The last line is one JSON object.

    python benchmarks/learning.py [--steps 200] [--cases 12] [--widths 4,8,16] [--device cpu]
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from napari_shaspec.cli.simulate import case_seed, write_case
from napari_shaspec.io.cases import find_cases
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.training.config import Augmentation, Optimizer, TrainConfig
from napari_shaspec.training.presets import PRESETS
from napari_shaspec.training.train import Hardware, train

SEED = 11
VOXEL_MM = 4.0
PATCH = (32, 40, 32)
SCORINGS = 4


def shortened(preset: TrainConfig, steps: int, widths: tuple[int, ...]) -> TrainConfig:
    """The recipe on a small network, in fewer steps."""
    share = steps / preset.steps
    narrower = preset.model.widths[0] / widths[0] if preset.optimizer is Optimizer.ADAMW else 1.0
    return replace(
        preset,
        learning_rate=preset.learning_rate * narrower,
        model=replace(preset.model, widths=widths, voxel_mm=(VOXEL_MM, VOXEL_MM)),
        steps=steps,
        patch=PATCH,
        coarse_patch=PATCH,
        all_steps=round(preset.all_steps * share),
        warmup_steps=max(1, round(preset.warmup_steps * share)),
        validation_steps=max(1, steps // SCORINGS),
        validation_cases=4,
        checkpoint_steps=0,
        picture_steps=0,
    )


def learned(run: Path) -> dict[int, float]:
    """Score by step."""
    (log,) = run.rglob("metrics.csv")
    rows = csv.DictReader(log.read_text(encoding="utf-8").splitlines())
    # Lightning counts from 0, and a step's number is that of the last one before the scoring.
    return {int(row["step"]) + 1: round(float(row["score"]), 4) for row in rows if row.get("score")}


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--widths", default="4,8,16")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    widths = tuple(int(width) for width in options.widths.split(","))
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(options.cases):
            name = f"SIM-{SEED}-{index:03d}"
            write_case(simulate_case(case_seed(SEED, index), name, VOXEL_MM), Path(folder, "cases", name))
        cases = find_cases(Path(folder, "cases"))
        recipes = {name: PRESETS[name] for name in ("paper", "modern")}
        recipes["modern, intensities only"] = replace(PRESETS["modern"], augmentation=Augmentation.INTENSITY)
        for name, preset in recipes.items():
            config = shortened(preset, options.steps, widths)
            out = Path(folder, name)
            start = time.perf_counter()
            hardware = Hardware(options.device, precision="float32", workers=0)
            train(config, out, cases=cases, split=Path(folder, "split.json"), hardware=hardware, progress=False)
            seconds = time.perf_counter() - start
            results[name] = {"seconds": round(seconds, 1), "all_steps": config.all_steps, "scores": learned(out)}
    facts = {"cases": options.cases, "steps": options.steps, "widths": widths, "threads": torch.get_num_threads()}
    print(json.dumps({**facts, "device": options.device, **results}))


if __name__ == "__main__":
    main()
