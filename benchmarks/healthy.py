"""How much tumour the network sees in simulated brains that have none.

    python benchmarks/healthy.py --count 20
    python benchmarks/healthy.py --template

Whole brains of the held-out setting without tumour, from seeds that neither training nor any published table uses, all
four modalities and each alone. The last line printed is a JSON object: for each of these the number of brains with less
than 1 ml of whole tumour, and the largest volume. ``--template``: instead of these, the only real anatomy at hand, the
T1 average of the ICBM 152 brains that nilearn carries; the simulator's tissue maps are of the same template.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.regions import Region
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import SETTINGS, without_tumours
from napari_shaspec.volume import Case, Volume

LIMIT_ML = 1.0


def simulated(options: argparse.Namespace) -> Iterator[Case]:
    """Brains without tumour, all four modalities."""
    settings = without_tumours(SETTINGS[options.settings])
    for index in range(options.count):
        yield simulate_case(case_seed(options.seed, index), f"healthy_{index}", options.voxel_mm, settings)


def template() -> Case:
    """The T1 average of ICBM 152, stripped by its mask."""
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=1)
    brain = np.asarray(datasets.load_mni152_brain_mask(resolution=1).dataobj) > 0
    return Case("ICBM 152", {Modality.T1: Volume(np.asarray(image.dataobj, np.float32) * brain, image.affine)})


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=3, help="as of `napari-shaspec simulate --healthy`")
    parser.add_argument("--voxel-mm", type=float, default=1.5)
    parser.add_argument("--settings", choices=list(SETTINGS), default="held-out")
    parser.add_argument(
        "--template",
        action="store_true",
        help="the T1 average of ICBM 152 instead: count, seed, voxels and settings do not matter then",
    )
    parser.add_argument("--precision", choices=["auto", "float32"], default="auto")
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    volumes: dict[str, list[float]] = {}
    for case in [template()] if options.template else simulated(options):
        session = Session(model, case, precision=options.precision)
        subsets = {"all four": frozenset(Modality), **{modality.value: frozenset([modality]) for modality in Modality}}
        for name, subset in subsets.items():
            if subset <= case.available:
                volumes.setdefault(name, []).append(session.predict(subset).volumes_ml()[Region.WT])
        print(f"{case.name}: {', '.join(f'{name} {v[-1]:.2f} ml' for name, v in volumes.items())}", flush=True)
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
