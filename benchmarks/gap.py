"""Where simulated images differ from real ones: numbers of both, side by side.

    python benchmarks/gap.py ../shared/data/glioma --count 30

For every modality, of whole brains at 2 mm: the median of each tumour class, of five shells by their depth under the
surface, and percentiles of the brain (all in the network's own units, spreads from the median), fine structure, shading
and contrast. Printed are the 10th, 50th and 90th percentile of that over simulated cases of the training setting, the
value of each real case, and the share of the simulated cases below it. A real case below or above them all shows what
the simulator does not draw. No network is asked; but ranges that are set by it are set by those real cases, so it
counts as a look at them. Cases without a label map are left out.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_shaspec.inference.grid import working_grid
from napari_shaspec.inference.preprocess import prepare
from napari_shaspec.io.cases import find_cases
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Label
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import SETTINGS
from napari_shaspec.volume import Case, Volume, foreground_mask

VOXEL_MM = 2.0
SHELLS_MM = (0.0, 2.0, 4.0, 8.0, 20.0, 60.0)
PERCENTILES = (5, 95, 99)
FIRST_SEED = 5_000_000
CLASSES = {"oedema": Label.ED, "core": Label.NCR_NET, "enhancing": Label.ET}


def local_mean(values: NDArray[np.float64], where: NDArray[np.bool_], sd: float) -> NDArray[np.float64]:
    """Gaussian mean of the values over those places alone; ``sd`` in voxels."""
    share = ndimage.gaussian_filter(where.astype(float), sd)
    total = ndimage.gaussian_filter(np.where(where, values, 0.0), sd)
    mean: NDArray[np.float64] = total / np.maximum(share, 1e-3)
    return mean


def numbers_of(volume: Volume, truth: Volume) -> dict[str, float]:
    """What is compared, by name; of the image as the network gets it, whose rim is free of background."""
    grid = working_grid(volume, VOXEL_MM)
    units = prepare(volume, [grid])[0].image.numpy().astype(float)
    brain = grid.from_source(foreground_mask(volume.data)).numpy() > 0.5
    labels = {name: grid.from_source(truth.data == label).numpy() > 0.5 for name, label in CLASSES.items()}
    found = {}
    for name, label in labels.items():
        where = label & brain
        if where.sum() > 50:
            found[f"{name}, median"] = float(np.median(units[where]))
            found[f"{name}, fine structure"] = float((units - local_mean(units, where, 3.0 / VOXEL_MM))[where].std())
    normal = brain & ~ndimage.binary_dilation(np.any(list(labels.values()), 0), iterations=3)
    depth_mm = ndimage.distance_transform_edt(brain) * VOXEL_MM
    for outer, inner in pairwise(SHELLS_MM):
        shell = normal & (depth_mm > outer) & (depth_mm <= inner)
        found[f"{outer:.0f} to {inner:.0f} mm deep, median"] = float(np.median(units[shell]))
    deep = normal & (depth_mm > 10)
    found["fine structure, 10 mm deep"] = float((units - local_mean(units, normal, 3.0 / VOXEL_MM))[deep].std())
    shading = local_mean(units, normal, 25.0 / VOXEL_MM)[deep]
    found["shading, 5 % to 95 %"] = float(np.subtract(*np.quantile(shading, (0.95, 0.05))))
    for percent in PERCENTILES:
        found[f"brain, {percent} %"] = float(np.percentile(units[brain], percent))
    values = np.asarray(volume.data, float)
    low, middle, high = np.quantile(values[values > 0], (0.2, 0.5, 0.8))
    found["spread by median"] = float((high - low) / (2 * 0.8416) / middle)
    return found


def compared(case: Case) -> dict[Modality, dict[str, float]]:
    """The numbers of each modality of a case."""
    assert case.truth is not None
    return {modality: numbers_of(volume, case.truth) for modality, volume in case.images.items()}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--count", type=int, default=30, help="of simulated cases")
    parser.add_argument("--settings", choices=list(SETTINGS), default="training")
    options = parser.parse_args()
    real = {files.name: compared(files.read()) for files in find_cases(options.cases) if files.truth is not None}
    simulated = [
        compared(simulate_case(FIRST_SEED + index, f"{index}", VOXEL_MM, SETTINGS[options.settings]))
        for index in range(options.count)
    ]
    print("simulated: 10, 50, 90 %;", "real, and share of the simulated below:", ", ".join(real))
    for modality in Modality:
        print(modality.value)
        names = dict.fromkeys(name for case in simulated for name in case[modality])
        for name in names:
            values = np.array([case[modality][name] for case in simulated if name in case[modality]])
            row = " ".join(f"{value:6.2f}" for value in np.percentile(values, (10, 50, 90)))
            for case in real.values():
                if name in case.get(modality, {}):
                    value = case[modality][name]
                    row += f"   {value:6.2f} ({100 * (values < value).mean():3.0f} %)"
                else:
                    row += "        -        "
            print(f"  {name:32} {row}")


if __name__ == "__main__":
    main()
