"""Volumes and cases: frozen values that are always valid.

Voxels stay in file order; the affine (4 x 4) takes voxel indices to millimetres in RAS+ world space
(x to the right, y to the front, z to the top), as nibabel defines it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality

GRID_TOLERANCE_MM = 1e-2
"""Two grids are the same when no corner moves further than this: writers round affines to float32 or text."""

UNNAMED_LABEL_MAP = "the label map"
"""What notes and errors call one that never was a file."""


def corner_distance_mm(first: NDArray[np.float64], second: NDArray[np.float64], shape: Sequence[int]) -> float:
    """How far the outer corners of a grid of this shape lie apart under two affines, at most and along any axis.

    The corners are those of the voxels' edges, not of their centres, so that slice thickness counts for a single slice.
    """
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] = corners[:, :3] * np.array(shape) - 0.5
    moved = corners @ (first - second).T
    return float(np.abs(moved[:, :3]).max())


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A 3-D array and where it lies.

    Parameters
    ----------
    data
        (X, Y, Z), any real type.
    affine
        4 x 4, voxel to RAS mm.
    header
        The header of the file it came from, so that results are written with the same codes and units.
    """

    data: NDArray[np.generic]
    affine: NDArray[np.float64]
    header: nib.Nifti1Header | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or 0 in self.data.shape:
            raise ShaSpecError("a 3-D image", f"shape {self.data.shape}", "Give one volume with three axes")
        if self.data.dtype.kind not in "biuf":
            raise ShaSpecError(
                "one real number for each voxel",
                f"the type {self.data.dtype}",
                "Convert colours or complex numbers first",
            )
        affine = np.array(self.affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ShaSpecError(
                "an invertible 4 x 4 affine", f"{affine.tolist()}", "Repair the orientation in the file's header"
            )
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis, in file order."""
        x, y, z = self.data.shape
        return x, y, z

    @property
    def voxel_mm(self) -> NDArray[np.float64]:
        """Edge lengths of a voxel along each axis, in file order."""
        lengths: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return lengths

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, sheared grids included."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def same_grid(self, other: Volume) -> bool:
        """Whether both have the same shape and no corner differs by more than `GRID_TOLERANCE_MM`."""
        if self.shape != other.shape:
            return False
        return corner_distance_mm(self.affine, other.affine, self.shape) <= GRID_TOLERANCE_MM

    def with_data(self, data: NDArray[np.generic]) -> Volume:
        """The same grid and header around other voxels."""
        return Volume(data, self.affine, self.header)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a head an image holds, and how coarsely.

    Parameters
    ----------
    filled_ml
        What differs from the background: of a skull-stripped image the brain, of others nearly everything.
    voxel_mm
        The longest edge of a voxel, as it was before any resampling.
    """

    filled_ml: float
    voxel_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The images of one patient on one grid, and a label map if there is one.

    Parameters
    ----------
    name
        What tables and files call the case.
    images
        One to four modalities, all on the same grid.
    truth
        A label map of `Label` values on that grid.
    notes
        What was done to the files on the way in (resampled, header disagreement), one sentence each.
    files
        The file that each modality came from, for provenance; empty for a case that never was a file.
    truth_file
        The file of the label map.
    changed
        The modalities whose values are no longer those of their file.
    stamps
        What `file_stamp` said of each file before it was read; empty where nobody asked.
    extents
        How much of a head each image holds on this grid, and how coarse its file was; empty for a case that was not put
        together from files.
    """

    name: str
    images: Mapping[Modality, Volume]
    truth: Volume | None = None
    notes: tuple[str, ...] = field(default=())
    files: Mapping[Modality, Path] = field(default_factory=dict)
    truth_file: Path | None = None
    changed: frozenset[Modality] = frozenset()
    extents: Mapping[Modality, Extent] = field(default_factory=dict)
    stamps: Mapping[Modality, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.images:
            raise ShaSpecError(
                "at least one of FLAIR, T1, T1c, T2", "no image", "Give the image files or a folder that holds them"
            )
        unknown = sorted(set(self.images) - set(Modality))
        if unknown:
            raise ShaSpecError("images of FLAIR, T1, T1c, T2", ", ".join(map(repr, unknown)), "Name them by `Modality`")
        grid = next(iter(self.images.values()))
        others = {modality.title: volume for modality, volume in self.images.items()}
        if self.truth is not None:
            others["the label map"] = self.truth
        for title, volume in others.items():
            if not grid.same_grid(volume):
                raise ShaSpecError(
                    f"all images of {self.name} on one grid",
                    f"{title} of {volume.shape} voxels on another",
                    "Read the files with napari_shaspec.io, which resamples them",
                )
        ordered = {modality: self.images[modality] for modality in Modality if modality in self.images}
        object.__setattr__(self, "images", MappingProxyType(ordered))
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))
        object.__setattr__(self, "extents", MappingProxyType(dict(self.extents)))
        object.__setattr__(self, "stamps", MappingProxyType(dict(self.stamps)))

    def __reduce__(self) -> tuple[type[Case], tuple[object, ...]]:
        """Survive the trip between processes, which a mapping proxy does not."""
        return type(self), (
            self.name,
            dict(self.images),
            self.truth,
            self.notes,
            dict(self.files),
            self.truth_file,
            self.changed,
            dict(self.extents),
            dict(self.stamps),
        )

    @property
    def all_files(self) -> tuple[Path, ...]:
        """Those that nothing may replace: of the images, and of the label map."""
        return (*self.files.values(), *([self.truth_file] if self.truth_file is not None else []))

    @property
    def grid(self) -> Volume:
        """Any of the images: all share shape, affine and header space."""
        return next(iter(self.images.values()))

    @property
    def available(self) -> frozenset[Modality]:
        """The modalities that exist."""
        return frozenset(self.images)


def background_value(data: NDArray[np.generic]) -> tuple[float, int]:
    """The most frequent value at the eight corners, and at how many of them it is."""
    corners = [data[x, y, z] for x in (0, -1) for y in (0, -1) for z in (0, -1)]
    return Counter(value.item() for value in corners).most_common(1)[0]


def foreground_mask(data: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Voxels that differ from the background, which is the most frequent value at the eight corners.

    Images that were skull-stripped have one exact background value, mostly 0; raw images have noise there, and then
    nearly everything is foreground.
    """
    background, _ = background_value(data)
    mask: NDArray[np.bool_] = data != background
    return mask if mask.any() else np.ones_like(mask)
