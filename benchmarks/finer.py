"""Whether the weights answer better on finer voxels than those of training, or together with the mirror image.

    python benchmarks/finer.py ../shared/data/glioma --voxels 2 1.75 1.5

Dice of ET, TC and WT in percent, means over the cases, for all modalities and some subsets; then the whole tumour of
each case with all modalities. A mean of answers is the mean of their probabilities. Cases without a label map are
left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.evaluation.metrics import dice
from napari_shaspec.inference.session import Session
from napari_shaspec.io.cases import find_cases
from napari_shaspec.modalities import Modality, parse_subset
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.regions import labels_to_masks, nested_masks
from napari_shaspec.volume import Case

Answers = dict[frozenset[Modality], NDArray[np.float32]]


def answers(model: ShaSpec, case: Case, subsets: list[frozenset[Modality]], *, mirrored: bool) -> Answers:
    """Probabilities (region, X, Y, Z) of the case, or of its mirror image along the first axis, turned back."""
    if mirrored:
        images = {modality: image.with_data(image.data[::-1].copy()) for modality, image in case.images.items()}
        case = Case(case.name, images, None)
    session = Session(model, case)
    found = {subset: session.predict(subset).probabilities for subset in subsets}
    return {subset: values[:, ::-1] if mirrored else values for subset, values in found.items()}


def ways(
    model: ShaSpec, case: Case, subsets: list[frozenset[Modality]], voxels: list[float]
) -> Iterator[tuple[str, Answers]]:
    """Each way to answer, by name."""
    trained, everything = model.config, []
    for voxel_mm in voxels:
        model.config = replace(trained, voxel_mm=(voxel_mm, trained.voxel_mm[1]))
        plain, turned = (answers(model, case, subsets, mirrored=mirrored) for mirrored in (False, True))
        yield f"{voxel_mm:g} mm", plain
        yield f"{voxel_mm:g} mm, with mirror", {subset: (plain[subset] + turned[subset]) / 2 for subset in subsets}
        everything.append(plain)
    model.config = trained
    yield (
        "mean over voxel sizes",
        {subset: sum(each[subset] for each in everything) / len(voxels) for subset in subsets},
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--voxels", type=float, nargs="+", default=[2.0, 1.75, 1.5])
    parser.add_argument("--subsets", nargs="+", default=["flair", "t1", "t1c", "t2", "t1c+t2"])
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    assert isinstance(model, ShaSpec)
    subsets = [frozenset(Modality), *map(parse_subset, options.subsets)]
    scores: dict[str, list[NDArray[np.float64]]] = {}
    for files in find_cases(options.folder):
        case = files.read()
        if case.truth is None:
            continue
        truth = labels_to_masks(case.truth.data)
        for name, found in ways(model, case, subsets, options.voxels):
            masks = [nested_masks(found[subset]) for subset in subsets]
            table = [[dice(mask, reference) for mask, reference in zip(each, truth, strict=True)] for each in masks]
            scores.setdefault(name, []).append(100 * np.array(table))
    for name, tables in scores.items():
        print(f"{name}: WT of each case, all modalities: {' '.join(f'{table[0, -1]:.0f}' for table in tables)}")
        for subset, row in zip(["all", *options.subsets], np.mean(tables, 0), strict=True):
            print(f"  {subset:24} ET {row[0]:5.1f}  TC {row[1]:5.1f}  WT {row[2]:5.1f}")


if __name__ == "__main__":
    main()
