"""What ShaSpec and SMIL cost: parameters, seconds for each iteration, and memory, in one run on one device.

Both have the same encoders, threads and (no) compilation, and train on the same batches of 4. An iteration of training
is the whole step: objective, gradients, Adam.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
from torch import nn

from napari_shaspec.classification.av_mnist import IMAGE, AudiovisionMNIST, draw_split
from napari_shaspec.classification.methods import Batch, Method, ShaSpecMethod
from napari_shaspec.classification.smil import Smil
from napari_shaspec.classification.training import Recipe
from napari_shaspec.io.atomic import staged

BATCH = 4
PAIRS = 1
"""Of these four, the others lack the sound."""

ITERATIONS = 1000
WARM_UP = 200
"""Iterations before the slope of the memory is taken."""

PUBLISHED = {
    "ShaSpec": {"parameters": 0.22e6, "training_seconds": 0.0257, "test_seconds": 0.0016},
    "SMIL": {"parameters": 0.33e6, "training_seconds": 0.1309, "test_seconds": 0.0019},
}
"""On an RTX 3090; memory 1,421 MiB and constant, and 1,430 MiB and growing until there is no more."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one method; seconds are medians over the iterations.

    Parameters
    ----------
    peak_mib
        Most memory of the whole process while training.
    slope_mib
        Growth for each 100 iterations, a line fitted to iterations 200 to 1,000.
    """

    parameters: int
    training_seconds: float
    test_seconds: float
    peak_mib: float
    slope_mib: float


def costs(data: AudiovisionMNIST, progress: Callable[[str, int, int], None]) -> dict[str, Cost]:
    """Train and test both on the CPU, one after the other, on the same images and pairs with 5 % of the sound."""
    split = draw_split(data.training, 5, 0)
    methods: tuple[Method, ...] = (ShaSpecMethod(), Smil())
    found = {}
    for method in methods:
        torch.manual_seed(0)
        network = method.networks(data.training, [split], [0], Recipe())[0]
        draw = np.random.default_rng(0)
        alone = draw.choice(split.fitted, (ITERATIONS, BATCH - PAIRS))
        paired = draw.choice(split.paired, (ITERATIONS, PAIRS))
        training = data.training
        batches = [
            Batch(
                training.images[one],
                training.digits[one],
                training.images[two],
                training.sounds[two],
                training.digits[two],
            )
            for one, two in zip(torch.from_numpy(alone), torch.from_numpy(paired), strict=True)
        ]
        found[method.title] = _cost(method, network, batches, progress)
    return found


def _cost(
    method: Method, network: nn.Module, batches: Sequence[Batch], progress: Callable[[str, int, int], None]
) -> Cost:
    trained = [tensor for tensor in network.parameters() if tensor.requires_grad]
    optimizer = torch.optim.Adam(trained, 0.001, weight_decay=method.weight_decay, fused=True)
    process = psutil.Process()

    def train(batch: Batch) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(method.loss(network, batch))
        optimizer.step()

    @torch.no_grad()
    def test(batch: Batch) -> None:
        method.logits(network, {IMAGE: batch.images})

    network.train()
    seconds, resident = [], []
    for number, batch in enumerate(batches):
        seconds.append(_seconds(train, batch))
        resident.append(process.memory_info().rss / 2**20)
        progress(f"training {method.title}", number + 1, len(batches))
    network.eval()
    test_seconds = [_seconds(test, batch) for batch in batches]
    settled = np.arange(WARM_UP, len(batches))
    slope = float(np.polyfit(settled, resident[WARM_UP:], 1)[0])
    return Cost(
        sum(tensor.numel() for tensor in network.parameters()),
        median(seconds),
        median(test_seconds),
        max(resident),
        100 * slope,
    )


def _seconds(do: Callable[[Batch], None], batch: Batch) -> float:
    start = time.perf_counter()
    do(batch)
    return time.perf_counter() - start


def markdown(found: Mapping[str, Cost]) -> str:
    """The table, and the ratios that the paper is about."""
    rows = [
        f"On {_device()}, {torch.get_num_threads()} threads, torch {torch.__version__}, not compiled; "
        f"batches of {BATCH}, {PAIRS} of them with sound: medians over {ITERATIONS} iterations. "
        "Published figures: an RTX 3090.",
        "",
        "| | parameters | s for each training iteration | s for each test iteration | peak memory of the process, MiB "
        "| growth for each 100 iterations, MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, cost in found.items():
        rows.append(
            f"| {name} | {cost.parameters:,} | {cost.training_seconds:.5f} | {cost.test_seconds:.5f} "
            f"| {cost.peak_mib:.0f} | {cost.slope_mib:+.3f} |"
        )
    for name, published in PUBLISHED.items():
        rows.append(
            f"| {name}, published | {published['parameters']:,.0f} | {published['training_seconds']} "
            f"| {published['test_seconds']} | | |"
        )
    shaspec, smil = found["ShaSpec"], found["SMIL"]
    rows += [
        "",
        f"ShaSpec trains {smil.training_seconds / shaspec.training_seconds:.2f} times and tests "
        f"{smil.test_seconds / shaspec.test_seconds:.2f} times as fast as SMIL (published: 5.09 and 1.19).",
    ]
    return "\n".join(rows) + "\n"


def write_costs(found: Mapping[str, Cost], folder: Path) -> list[Path]:
    """Write ``compute.json`` and ``compute.md``, both or none, over older ones."""
    entries = {
        "device": _device(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "compiled": False,
        "batch": BATCH,
        "iterations": ITERATIONS,
        "methods": {name: asdict(cost) for name, cost in found.items()},
    }
    files = [folder / "compute.json", folder / "compute.md"]
    with staged(files, overwrite=True) as places:
        places[files[0]].write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        places[files[1]].write_text(markdown(found), encoding="utf-8")
    return files


def _device() -> str:
    """Name of the processor; Linux keeps it from `platform`."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU ({names[0] if names else platform.processor() or platform.machine()})"
