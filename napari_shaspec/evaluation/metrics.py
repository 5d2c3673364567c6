"""Dice and HD95 of boolean masks, with the conventions of BraTS where a mask is empty.

Dice is a share from 0 to 1. HD95 is in millimetres and symmetric: the larger of the two directed 95th percentiles, each
taken over the distances from the surface voxels of one mask to the nearest surface voxel of the other. A surface voxel
is one of the mask with a face on a voxel outside it, or on the edge of the image. Both come from MONAI.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from numpy.typing import ArrayLike, NDArray

from napari_shaspec.errors import ShaSpecError

MISSED_MM = 373.13
"""HD95 where one mask is empty and the other is not: the diagonal of BraTS's image, 240 x 240 x 155 mm."""


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Overlap of two masks (X, Y, Z), 0 to 1; 1 if both are empty, 0 if one is.

    Raises
    ------
    ShaSpecError
        If the shapes differ.
    """
    _check(predicted, truth)
    if not predicted.any() and not truth.any():
        return 1.0
    box = _joint_box(predicted, truth)  # several times faster for a tumour in a head
    return float(compute_dice(_batched(predicted[box]), _batched(truth[box]), ignore_empty=False))


def hd95_mm(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], voxel_mm: ArrayLike) -> float:
    """Symmetric 95th percentile of the surface distances of two masks (X, Y, Z).

    Parameters
    ----------
    predicted, truth
        On one grid.
    voxel_mm
        Edge lengths of a voxel, in the order of the axes.

    Returns
    -------
    float
        Millimetres; 0 if both masks are empty, `MISSED_MM` if one is.

    Raises
    ------
    ShaSpecError
        If the shapes differ.
    """
    _check(predicted, truth)
    if not predicted.any() or not truth.any():
        return 0.0 if predicted.any() == truth.any() else MISSED_MM
    box = _joint_box(predicted, truth)
    with warnings.catch_warnings():
        # MONAI 1.5 and 1.6 call a function of their own with an argument that they deprecate.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        distance_mm = compute_hausdorff_distance(
            _batched(predicted[box]),
            _batched(truth[box]),
            include_background=True,
            percentile=95,
            spacing=np.asarray(voxel_mm, float).tolist(),
        )
    return float(distance_mm)


def _joint_box(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that holds both masks; distances within it are those within the whole image, found sooner."""
    either = predicted | truth
    box = []
    for axis in range(either.ndim):
        others = tuple(other for other in range(either.ndim) if other != axis)
        filled = np.flatnonzero(either.any(axis=others))
        # A voxel more on each side keeps a surface's outer neighbours where the image has them.
        box.append(slice(max(int(filled[0]) - 1, 0), int(filled[-1]) + 2))
    return tuple(box)


def _batched(mask: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(np.array(mask, order="C"))[None, None]  # a true copy: see `WorkingGrid.from_source`


def _check(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
    if predicted.shape != truth.shape:
        raise ShaSpecError(
            "two masks of one shape", f"{predicted.shape} and {truth.shape}", "Bring both onto one grid first"
        )
