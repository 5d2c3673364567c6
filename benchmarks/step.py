"""Seconds of a training step, and the hours that a preset on simulated cases would take here.

    python benchmarks/step.py --preset bundled --count 5

Steps as `napari-shaspec train` makes them after the first `all_steps`, at the finest and at the coarsest voxel size,
without the optimizer, which costs little; and the simulation of a case, which runs beside them in another process.
With ``--plain`` torch's own convolutions and instance norms take the place of those in `model/blocks.py`. The last line
printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from statistics import median
from unittest.mock import patch

import torch
from torch import nn

from napari_shaspec.inference.devices import fast_precision, in_fast_layout
from napari_shaspec.model import blocks
from napari_shaspec.simulate.settings import TRAINING
from napari_shaspec.training.data import SimulatedBatches
from napari_shaspec.training.module import ShaSpecTraining
from napari_shaspec.training.presets import PRESETS

CPU = torch.device("cpu")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", choices=["bundled", "small", "quick"], default="bundled")
    parser.add_argument("--count", type=int, default=5, help="steps of each kind, after one that is not counted")
    parser.add_argument("--precision", choices=["auto", "float32"], default="auto")
    parser.add_argument("--plain", action="store_true", help="torch's own layers")
    options = parser.parse_args()
    config = PRESETS[options.preset]
    convolution, norm = ({3: nn.Conv3d}, {3: nn.InstanceNorm3d}) if options.plain else ({}, {})
    with patch.dict(blocks.CONVOLUTION, convolution), patch.dict(blocks.INSTANCE_NORM, norm):
        module = ShaSpecTraining(config)
    in_fast_layout(module.model)
    precision = fast_precision(CPU) if options.precision == "auto" else torch.float32
    seconds: dict[str, list[float]] = {}
    for name, coarse in (("fine", 0.0), ("coarse", 1.0)):
        alike = replace(config, coarse_start=coarse, coarse_share=coarse)
        batches = SimulatedBatches(alike, TRAINING, 0, options.count + 1, CPU)
        for index in range(options.count + 1):
            begin = time.perf_counter()
            batch = batches.simulated(index)
            simulated = time.perf_counter()
            with (
                patch.object(ShaSpecTraining, "global_step", config.all_steps + index),
                patch.object(module, "log_dict"),
                torch.autocast("cpu", precision, enabled=precision is not torch.float32),
            ):
                loss = module.training_step(batch, index)
            loss.backward()
            module.zero_grad()
            if index:
                seconds.setdefault(f"{name} step", []).append(time.perf_counter() - simulated)
                seconds.setdefault(f"{name} case", []).append(simulated - begin)
            print(f"{name} {index} of {options.count}", flush=True)
    medians = {name: round(median(values), 3) for name, values in seconds.items()}
    share = (config.coarse_start + config.coarse_share) / 2
    a_step = share * medians["coarse step"] + (1 - share) * medians["fine step"]
    told = {"precision": str(precision), "threads": torch.get_num_threads(), "plain": options.plain}
    print(json.dumps({**told, **medians, "hours, steps alone": round(config.steps * a_step / 3600, 1)}))


if __name__ == "__main__":
    main()
