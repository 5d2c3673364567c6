"""A network of the released code, at its published size with random weights: first prediction against toggles.

First: all four modalities with a cold cache, intensities included. Toggle: the mean over the 14 other subsets in the
same session, at the default budget of the cache. The case is random: 240 x 240 x 155 voxels in twelve tiles, or one.
On a machine that does other work too, the CPU seconds of the process say more than those of the clock.

    python benchmarks/released.py [--tile] [--device cpu] [--precision float32|auto] [--cache-mib 4096]
    python benchmarks/released.py [--tile] --plain     the loop over tiles of a plain implementation, to compare with

Memory is that of the process. `--cache-mib 0 --toggles 0` measures it without the cache of features.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.released.checkpoint import build_released
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.network import ReleasedShaSpec
from napari_shaspec.volume import Case, Volume

BRATS_SHAPE = (240, 240, 155)
TILE_SHAPE = (160, 160, 80)
"""(x, y, z) of one tile."""


def random_weights(config: ReleasedConfig) -> Iterator[tuple[str, Tensor]]:
    """One after the other, so that memory holds them once."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in ReleasedShaSpec(config).state_dict().items()}
    for name, shape in shapes.items():
        # A transposed convolution that is not standardised keeps the spread of its input with this scale.
        yield name, torch.rand(shape) + 0.5 if name.endswith("scale") else torch.randn(shape) * 0.05


def random_case(shape: tuple[int, int, int]) -> Case:
    """A ball of noise in each modality, as int16."""
    random = np.random.default_rng(0)
    ball = sum(place**2 for place in np.ogrid[tuple(slice(-1, 1, side * 1j) for side in shape)]) < 0.9
    images = {
        modality: Volume(
            np.where(ball, random.integers(100, 900, shape), 0).astype(np.int16), np.diag([-1.0, -1, 1, 1])
        )
        for modality in Modality
    }
    return Case("random", images)


def peak_mib() -> int:
    """Of this process; on Linux."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure_plain(case: Case) -> dict[str, object]:
    """The plain implementation of the tests, which does what the released code does, tile by tile."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.released_reference import DualNet, original_case

    torch.manual_seed(0)
    net = DualNet().eval()
    volumes = {index: volume.data for index, volume in enumerate(case.images.values())}
    first = seconds(lambda: original_case(net, volumes, [0, 1, 2, 3], ReleasedConfig().tile))
    return {"first_seconds": first[0], "first_cpu_seconds": first[1], "peak_mib": peak_mib()}


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of the CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return round(time.perf_counter() - clock, 3), round(time.process_time() - cpu, 3)


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tile", action="store_true", help="a case of one tile")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["auto", "float32"])
    parser.add_argument("--cache-mib", type=int)
    parser.add_argument("--toggles", type=int, default=14, help="how many of the 14 other subsets")
    options = parser.parse_args()
    case = random_case(TILE_SHAPE if options.tile else BRATS_SHAPE)
    threads = {"threads": torch.get_num_threads(), "shape": case.grid.shape}
    if options.plain:
        print(json.dumps(measure_plain(case) | threads))
        return
    torch.manual_seed(0)
    model = build_released(ReleasedConfig(), random_weights(ReleasedConfig()))
    cache_bytes = None if options.cache_mib is None else options.cache_mib * 2**20
    session = Session(model, case, device=options.device, precision=options.precision, cache_bytes=cache_bytes)
    *others, everything = nonempty_subsets(tuple(Modality))
    first = seconds(lambda: session.predict(everything))
    toggles = [seconds(partial(session.predict, available)) for available in others[: options.toggles]]
    clock, cpu = np.mean(toggles, 0).round(3).tolist() if toggles else (None, None)
    print(
        json.dumps(
            {
                "first_seconds": first[0],
                "toggle_seconds": clock,
                "ratio": clock and round(clock / first[0], 4),
                "peak_mib": peak_mib(),
                "first_cpu_seconds": first[1],
                "toggle_cpu_seconds": cpu,
                "cpu_ratio": cpu and round(cpu / first[1], 4),
                "slowest_toggle_seconds": max(toggles)[0] if toggles else None,
                "cache_mib": round(session.cached_bytes / 2**20),
                "device": session.device,
                "precision": options.precision,
            }
            | threads
        )
    )


if __name__ == "__main__":
    main()
