"""How much tumour the network sees in simulated brains that have none.

    python benchmarks/healthy.py --count 20

Whole brains of the held-out setting without tumour, from seeds that neither training nor any published table uses, all
four modalities and each alone. The last line printed is a JSON object: for each of these the number of brains with less
than 1 ml of whole tumour, and the largest volume.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.regions import Region
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import SETTINGS, without_tumours

LIMIT_ML = 1.0


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=3, help="as of `napari-shaspec simulate --healthy`")
    parser.add_argument("--voxel-mm", type=float, default=1.5)
    parser.add_argument("--settings", choices=list(SETTINGS), default="held-out")
    parser.add_argument("--precision", choices=["auto", "float32"], default="auto")
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    settings = without_tumours(SETTINGS[options.settings])
    subsets = [frozenset(Modality), *(frozenset([modality]) for modality in Modality)]
    volumes: dict[str, list[float]] = {"all four": [], **{modality.value: [] for modality in Modality}}
    for index in range(options.count):
        case = simulate_case(case_seed(options.seed, index), f"healthy_{index}", options.voxel_mm, settings)
        session = Session(model, case, precision=options.precision)
        for name, subset in zip(volumes, subsets, strict=True):
            volumes[name].append(session.predict(subset).volumes_ml()[Region.WT])
        print(f"{index + 1} of {options.count}: {', '.join(f'{v[-1]:.2f} ml' for v in volumes.values())}", flush=True)
    print(
        json.dumps(
            {
                name: {
                    "below_1_ml": sum(value < LIMIT_ML for value in values),
                    "of": len(values),
                    "largest_ml": round(max(values), 2),
                }
                for name, values in volumes.items()
            }
        )
    )


if __name__ == "__main__":
    main()
