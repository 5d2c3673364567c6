"""Draw where the network fails: for a few subsets, the simulated held-out case with the lowest whole-tumour Dice.

    python benchmarks/failures.py --count 20 --seed 2 --out docs/images/failures.png

The cases are those of `napari-shaspec simulate --settings held-out` with the same seed. Each row is one subset: its
first image, the true labels and the predicted ones, in the axial slice where they differ most, seen from below. The
last line printed is a JSON object: case and Dice of each row.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.evaluation.metrics import dice
from napari_shaspec.inference.session import Session
from napari_shaspec.io.overlay import COLOURS, NAMES
from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.regions import labels_to_masks
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import HELD_OUT

VOXEL_MM = 1.5
SUBSETS = [
    frozenset(Modality),
    frozenset([Modality.FLAIR]),
    frozenset([Modality.T1, Modality.T1C, Modality.T2]),
    frozenset([Modality.T1C]),
    frozenset([Modality.T2]),
    frozenset([Modality.T1]),
]


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """The case that a subset does worst on, (X, Y, Z) each."""

    name: str
    dice: float
    image: NDArray[np.float32]
    truth: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def draw(self, axes: list, title: str) -> None:
        """Image, truth and prediction, in the slice where the latter two differ most."""
        level = int(((self.truth > 0) != (self.labels > 0)).sum((0, 1)).argmax())
        inside = self.image > 0
        columns, rows = (np.flatnonzero(inside[:, :, level].any(axis)) for axis in (1, 0))
        window = (slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1), level)
        colours = ListedColormap([np.array(colour) / 255 for _, colour in sorted(COLOURS.items())])
        order = {label: place for place, label in enumerate(sorted(COLOURS))}
        for axis, painted in zip(axes, (None, self.truth, self.labels), strict=True):
            # Right to left, front at the top.
            axis.imshow(
                self.image[window].T[::-1, ::-1], cmap="gray", vmin=0, vmax=np.percentile(self.image[inside], 99.5)
            )
            if painted is not None:
                shown = np.full(painted[window].shape, np.nan)
                for label, place in order.items():
                    shown[painted[window] == label] = place
                axis.imshow(shown.T[::-1, ::-1], cmap=colours, vmin=-0.5, vmax=len(order) - 0.5, alpha=0.6)
            axis.set_axis_off()
        axes[0].set_title(title, fontsize=8)


def main() -> None:
    """Predict, choose, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("failures.png"))
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    worst: dict[frozenset[Modality], Failure] = {}
    for index in range(options.count):
        case = simulate_case(case_seed(options.seed, index), f"SIM-{options.seed}-{index:03d}", VOXEL_MM, HELD_OUT)
        assert case.truth is not None
        truth = case.truth.data.astype(np.uint8)
        whole = labels_to_masks(truth)[-1]
        session = Session(model, case)
        for subset in SUBSETS if whole.any() else []:
            prediction = session.predict(subset)
            score = dice(prediction.masks()[-1], whole)
            if subset not in worst or score < worst[subset].dice:
                image = np.asarray(case.images[next(m for m in Modality if m in subset)].data, np.float32)
                worst[subset] = Failure(case.name, score, image, truth, prediction.labels())
        print(f"{index + 1} of {options.count}", flush=True)
    figure = Figure((6.4, 2.2 * len(SUBSETS)), layout="constrained")
    axes = figure.subplots(len(SUBSETS), 3, squeeze=False)
    for subset, row in zip(SUBSETS, axes, strict=True):
        failure = worst[subset]
        failure.draw(list(row), f"{subset_name(subset)}\n{failure.name}, WT Dice {100 * failure.dice:.0f} %")
    axes[0, 1].set_title("true labels", fontsize=8)
    axes[0, 2].set_title("predicted", fontsize=8)
    handles = [Patch(color=np.array(COLOURS[label]) / 255, label=NAMES[label]) for label in sorted(COLOURS)]
    figure.legend(handles=handles, loc="outside lower center", fontsize=7)
    figure.suptitle(f"The worst of {options.count} held-out simulated cases", fontsize=9)
    figure.savefig(options.out, dpi=100)
    print(json.dumps({subset_name(subset): [worst[subset].name, round(worst[subset].dice, 3)] for subset in SUBSETS}))


if __name__ == "__main__":
    main()
