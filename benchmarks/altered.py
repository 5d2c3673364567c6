"""What, done to an image, changes the answer: Dice of the whole tumour from one modality, before and after.

    python benchmarks/altered.py ../shared/data/glioma --modalities t1 t1c

An image that is answered better when it is blurred, cut at its rim or freed of shading has something that the simulated
cases of training lack, so this shows where a simulator falls short. It is a look at the cases that it is run on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gap import local_mean
from numpy.typing import NDArray
from scipy import ndimage

from napari_shaspec.evaluation.metrics import dice
from napari_shaspec.inference.session import Session
from napari_shaspec.io.cases import find_cases
from napari_shaspec.modalities import parse_subset
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.regions import Region
from napari_shaspec.volume import Case, foreground_mask

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]


def smooth(image: Image, brain: Mask, sd: float) -> Image:
    """Gaussian mean over the brain alone; ``sd`` in voxels, 0 in the background."""
    return np.where(brain, local_mean(image, brain, sd), 0.0)


def power(image: Image, exponent: float) -> Image:
    """The intensity axis, bent."""
    top = float(np.quantile(image[image > 0], 0.995))
    return np.asarray((image.clip(min=0) / top) ** exponent * top)


def noisy(image: Image, brain: Mask, share: float) -> Image:
    """With Gaussian noise of that share of a bright voxel."""
    noise = np.random.default_rng(0).standard_normal(image.shape)
    return np.where(brain, np.abs(image + share * np.quantile(image[brain], 0.9) * noise), 0.0)


def unshaded(image: Image, brain: Mask) -> Image:
    """Divided by its mean over 25 voxels, which takes shading away, and some of a large tumour."""
    shading = smooth(image, brain, 25.0)
    return np.where(brain, image / np.maximum(shading, 1e-3 * shading.max()) * shading[brain].mean(), 0.0)


CHANGES: dict[str, Callable[[Image, Mask], Image]] = {
    "nothing": lambda image, brain: image,
    "gamma 0.7": lambda image, brain: power(image, 0.7),
    "gamma 1.4": lambda image, brain: power(image, 1.4),
    "blur, 1 voxel": lambda image, brain: smooth(image, brain, 1.0),
    "blur, 2 voxels": lambda image, brain: smooth(image, brain, 2.0),
    "noise, 3 %": lambda image, brain: noisy(image, brain, 0.03),
    "noise, 8 %": lambda image, brain: noisy(image, brain, 0.08),
    "rim off, 2 voxels": lambda image, brain: np.where(ndimage.binary_erosion(brain, iterations=2), image, 0.0),
    "rim off, 4 voxels": lambda image, brain: np.where(ndimage.binary_erosion(brain, iterations=4), image, 0.0),
    "shading off": unshaded,
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--weights", type=Path, help="left out, the bundled ones")
    parser.add_argument("--modalities", nargs="+", default=["t1", "t1c"])
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    chosen = parse_subset("+".join(options.modalities))
    for files in find_cases(options.cases):
        case = files.read()
        if case.truth is None:
            continue
        truth = np.asarray(case.truth.data) > 0
        for modality, volume in case.images.items():
            if modality not in chosen:
                continue
            brain = foreground_mask(volume.data)
            for name, change in CHANGES.items():
                image = change(np.asarray(volume.data, float), brain).astype(np.float32)
                prediction = Session(model, Case(case.name, {modality: volume.with_data(image)})).predict()
                probability = prediction.probabilities[list(Region).index(Region.WT)]
                quartiles = np.quantile(probability[truth], (0.25, 0.5, 0.75)).round(2)
                print(
                    f"{case.name} {modality.value:5} {name:18} {100 * dice(prediction.labels() > 0, truth):5.1f}"
                    f"   probability within the tumour, quartiles: {' '.join(map(str, quartiles))}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
