"""How sure a piece of tumour has to be somewhere: mean Dice over held-out simulated cases, for a range of peaks.

    python benchmarks/doubt.py --count 60

Whole cases of the held-out setting, every third without tumour, from seeds that neither training nor any table of the
docs uses. The last line printed is a JSON object: for all four modalities, each alone, and T1c with T2, what each peak
gives the whole tumour: mean Dice of the brains with tumour, and the share of those without that are found empty. `none`
is the rule left out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import HELD_OUT, without_tumours

PEAKS = (None, 0.6, 0.7, 0.8, 0.9)
SUBSETS = (frozenset(Modality), *(frozenset([one]) for one in Modality), frozenset([Modality.T1C, Modality.T2]))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7, help="as of `napari-shaspec simulate`")
    parser.add_argument("--voxel-mm", type=float, default=2.0)
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    assert isinstance(model, ShaSpec)
    with_tumour, without = (np.zeros((len(SUBSETS), len(PEAKS))) for _ in range(2))
    counts = [0, 0]
    for index in range(options.count):
        settings = without_tumours(HELD_OUT) if index % 3 == 2 else HELD_OUT
        case = simulate_case(case_seed(options.seed, index), f"{index}", options.voxel_mm, settings)
        assert case.truth is not None
        truth = case.truth.data > 0
        for column, peak in enumerate(PEAKS):
            model.config = replace(model.config, sure=peak)
            session = Session(model, case)
            for row, available in enumerate(SUBSETS):
                found = session.predict(available).labels() > 0
                total = truth.sum() + found.sum()
                dice = 2 * (truth & found).sum() / total if total else 1.0
                (with_tumour if truth.any() else without)[row, column] += dice
        counts[int(not truth.any())] += 1
        print(f"{index + 1} of {options.count}", flush=True)
    names = ["none" if peak is None else str(peak) for peak in PEAKS]
    answer: dict[str, object] = {"with_tumour": counts[0], "without": counts[1]}
    for row, available in enumerate(SUBSETS):
        answer[subset_name(available)] = {
            "dice_with_tumour": dict(zip(names, (with_tumour[row] / counts[0]).round(3).tolist(), strict=True)),
            "empty_without": dict(zip(names, (without[row] / counts[1]).round(3).tolist(), strict=True)),
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
