"""From a case's files to one grid: which grid counts, what is resampled onto it, and what the user should know.

The reference is the grid that most images share. Of equally frequent grids the one with the smallest voxels counts,
then the one whose image comes first in the order FLAIR, T1, T1c, T2. The label map has no vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.geometry import (
    Interpolation,
    describe_grid,
    describe_offset,
    overlap_fraction,
    resample,
)
from napari_shaspec.io.nifti import read_labels, read_volume
from napari_shaspec.io.report import file_stamp
from napari_shaspec.modalities import Modality
from napari_shaspec.reliability import LARGEST_BRAIN_ML
from napari_shaspec.volume import UNNAMED_LABEL_MAP, Case, Extent, Volume, foreground_mask

LEAST_OVERLAP = 0.1
"""Images of one head share far more of their space than this, a slab or a single slice within a head included."""

LOST_LABELS = 0.02
"""Share of the labelled volume; what nearest neighbours on another grid make of the same labels differs by less."""


def assemble(name: str, images: Mapping[Modality, Path], truth: Path | None) -> Case:
    """Read the files of a case, bring them onto one grid, and note everything that was done on the way.

    Raises
    ------
    ShaSpecError
        If a file cannot be read, or if images do not overlap in space.
    """
    notes: list[str] = []
    volumes: dict[Modality, Volume] = {}
    stamps = {modality: file_stamp(path) for modality, path in images.items()}  # what comes later is another image
    for modality in sorted(images, key=list(Modality).index):
        volumes[modality], said = read_volume(images[modality])
        notes.extend(said)
    labels = None
    if truth is not None:
        labels, said = read_labels(truth)
        notes.extend(said)
    try:
        case = combine(name, volumes, images, labels, truth)
    except ShaSpecError as error:
        if not notes:
            raise
        # What a header left open may well be why images do not meet.
        raise ShaSpecError(error.expected, f"{error.found} ({'; '.join(notes)})", error.action) from error
    return replace(case, notes=(*notes, *case.notes), stamps=stamps)


def combine(
    name: str,
    volumes: Mapping[Modality, Volume],
    files: Mapping[Modality, Path],
    labels: Volume | None = None,
    labels_file: Path | None = None,
) -> Case:
    """Bring volumes that were read already onto one grid, and note what was done.

    Parameters
    ----------
    files
        Where each volume came from: what notes and errors call it.

    Raises
    ------
    ShaSpecError
        If there is no image, or if images do not overlap in space.
    """
    if not volumes:
        return Case(name, volumes)  # which says what is missing
    notes: list[str] = []
    chosen = reference_modality(volumes)
    reference, reference_file = volumes[chosen], files[chosen]
    placed: dict[Modality, Volume] = {}
    for modality in sorted(volumes, key=list(Modality).index):
        placed[modality], said = _onto(volumes[modality], files[modality], reference, reference_file)
        notes.extend(said)
    if labels is not None:
        called = labels_file or Path(UNNAMED_LABEL_MAP)
        labels, said = _onto(labels, called, reference, reference_file, Interpolation.NEAREST)
        notes.extend(said)
    notes.extend(_same_images(placed))
    extents = {
        modality: Extent(foreground_ml(volume), float(volumes[modality].voxel_mm.max()))
        for modality, volume in placed.items()
    }
    large = [modality for modality, extent in extents.items() if extent.filled_ml > LARGEST_BRAIN_ML]
    if large:
        named = ", ".join(files[modality].name for modality in large)
        notes.append(
            f"{named}: more than {LARGEST_BRAIN_ML / 1000:g} litres differ from the background, which is "
            "more than a brain; the models expect skull-stripped images"
        )
    return Case(
        name,
        placed,
        labels,
        tuple(notes),
        files,
        labels_file if labels is not None else None,
        extents=extents,
    )


def reference_modality(volumes: Mapping[Modality, Volume]) -> Modality:
    """The image whose grid the case gets: the most frequent grid, then the smallest voxels, then the first modality."""

    def preference(modality: Modality) -> tuple[int, float, int]:
        grid = volumes[modality]
        shared_by = sum(grid.same_grid(other) for other in volumes.values())
        return -shared_by, round(grid.voxel_volume_mm3, 6), list(Modality).index(modality)

    return min(volumes, key=preference)


def foreground_ml(volume: Volume) -> float:
    """Volume of all voxels that are not background."""
    return float(np.count_nonzero(foreground_mask(volume.data))) * volume.voxel_volume_mm3 / 1000.0


def _lost_labels(labels: Volume, placed: Volume) -> str:
    """What is said of labels that lie outside the grid, where that is more than rounding of small ones."""
    before, after = (np.count_nonzero(each.data) * each.voxel_volume_mm3 for each in (labels, placed))
    if before and not after:
        return "; none of its labels is left there"
    lost = 1 - after / before if before else 0.0
    return f"; {lost:.0%} of its labelled volume is not there" if lost > LOST_LABELS else ""


def _same_images(placed: Mapping[Modality, Volume]) -> list[str]:
    """A conversion that wrote one series under two names."""
    return [
        f"{first.title} and {second.title} are the same image: one of the two was given by mistake"
        for first, second in combinations(placed, 2)
        if np.array_equal(placed[first].data, placed[second].data)
    ]


def _onto(
    volume: Volume,
    file: Path,
    reference: Volume,
    reference_file: Path,
    interpolation: Interpolation = Interpolation.LINEAR,
) -> tuple[Volume, tuple[str, ...]]:
    """A volume on the reference's grid, with the reference's affine and header, and what was done to it."""
    if volume.same_grid(reference):
        return reference.with_data(volume.data), ()
    share = overlap_fraction(volume, reference)
    resampled = resample(volume, reference, interpolation)
    empty = resampled.data.min() == resampled.data.max()
    lost = bool(empty) and interpolation is Interpolation.LINEAR
    if share < LEAST_OVERLAP or lost:
        raise ShaSpecError(
            f"{file.name} and {reference_file.name} to show the same place",
            f"an overlap of {share:.0%}" if share < LEAST_OVERLAP else "only background where they overlap",
            "Check that both are of one patient and visit, and register them",
        )
    before, after = describe_grid(volume), describe_grid(reference)
    note = f"{file.name}: resampled ({interpolation}) from {before}, onto the grid of {reference_file.name}, {after}"
    if before == after:
        note += f"; {describe_offset(volume, reference)}"
    if interpolation is Interpolation.NEAREST:
        note += _lost_labels(volume, resampled)
    return resampled, (note,)
