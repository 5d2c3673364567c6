"""Bring volumes from one grid to another by their affines, never by shape.

Coordinates are voxel indices with integers at voxel centres; a voxel reaches half a step to each side, and an image
ends at the outer faces of its voxels. Beyond them is background: of an image the value that at least half of its
corners have, 0 where they differ more, and of a label map 0.
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

from enum import StrEnum
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_shaspec.volume import GRID_TOLERANCE_MM, Volume, background_value, corner_distance_mm

_SLAB_VOXELS = 2**22
_POINTS_PER_AXIS = 24
_ROUNDING = 1e-6
_CORNERS_ALIKE = 4


class Interpolation(StrEnum):
    """How values between voxels are made: linear for images, nearest for label maps."""

    LINEAR = "linear"
    NEAREST = "nearest"


def resample(volume: Volume, onto: Volume, interpolation: Interpolation = Interpolation.LINEAR) -> Volume:
    """Sample a volume at the voxels of another grid, with that grid's affine and header.

    A volume that lies on the grid already comes back unchanged, and one whose voxels coincide with the grid's (flipped,
    turned or cropped) keeps its values to the bit. Where the grid is at least twice as coarse along an axis, linear
    interpolation is preceded by a mean over about one voxel of the grid, as a thicker slice would have measured; a box
    and not a Gaussian, so that tissue does not bleed far into the empty background.

    Returns
    -------
    Volume
        float32 for linear interpolation, the type of ``volume`` for nearest.
    """
    linear = interpolation is Interpolation.LINEAR
    data: NDArray[Any] = volume.data.astype(np.float32, copy=False) if linear else volume.data
    if volume.same_grid(onto):
        return onto.with_data(data)
    to_source = _to_source(volume, onto)
    background = _background(data) if linear else 0
    if background != 0 and not _coincides(to_source):
        # Any mean of zeros is exactly 0; one of another constant is not always that constant, and brain would be
        # everything that differs from it.
        shifted = resample(volume.with_data(data - background), onto)
        return onto.with_data(shifted.data + background)
    if linear:
        data = _averaged(data, np.abs(to_source[:3, :3]).max(axis=1))
    result = np.empty(onto.shape, data.dtype)
    thickness = max(1, _SLAB_VOXELS // (onto.shape[1] * onto.shape[2]))
    for start in range(0, onto.shape[0], thickness):
        slab = result[start : start + thickness]
        offset = to_source[:3, 3] + to_source[:3, 0] * start
        # "nearest" repeats the outermost voxel: scipy's "constant" would already be 0 beyond its centre, and for the
        # slightest rounding error at it.
        ndimage.affine_transform(data, to_source[:3, :3], offset, slab.shape, slab, order=int(linear), mode="nearest")
        slab[~_inside(to_source[:3, :3], offset, slab.shape, volume.shape)] = background
    return onto.with_data(result)


def overlap_fraction(first: Volume, second: Volume) -> float:
    """Share of the space of the one volume that lies within the other, for the one with the larger share.

    1 for a slab or a single slice within a whole head, 0 for volumes that do not touch. A lattice of points is counted.
    """
    return max(_share_within(first, second), _share_within(second, first))


def describe_grid(volume: Volume) -> str:
    """Write a grid as ``240 x 240 x 155 voxels of 1 x 1 x 1 mm, LPS``."""
    shape = " x ".join(map(str, volume.shape))
    sizes = " x ".join(f"{size:.3g}" for size in volume.voxel_mm)
    return f"{shape} voxels of {sizes} mm, {''.join(nib.aff2axcodes(volume.affine))}"


def describe_offset(volume: Volume, onto: Volume) -> str:
    """How one grid lies against another, as ``turned by 20.0 degrees, centres 12.0 mm apart``."""
    one, other = (_closest_ras_axes(each) for each in (volume, onto))
    angle = np.degrees(np.arccos(np.clip((np.trace(one.T @ other) - 1) / 2, -1, 1)))
    middles = [each.affine @ np.append((np.array(each.shape) - 1) / 2, 1) for each in (volume, onto)]
    return f"turned by {angle:.1f} degrees, centres {np.linalg.norm(middles[0] - middles[1]):.1f} mm apart"


def _closest_ras_axes(volume: Volume) -> NDArray[np.float64]:
    """(3, 3): unit vectors of a grid's axes as columns, in the order and direction that is closest to R, A, S."""
    turn = nib.io_orientation(volume.affine)
    axes = (volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape))[:3, :3]
    return np.asarray(axes / np.linalg.norm(axes, axis=0), np.float64)


def _to_source(volume: Volume, onto: Volume) -> NDArray[np.float64]:
    """Voxel indices of ``onto`` to those of ``volume``; whole numbers where the two coincide within the tolerance."""
    to_source = np.asarray(np.linalg.solve(volume.affine, onto.affine), np.float64)
    rounded = np.round(to_source)
    if abs(np.linalg.det(rounded[:3, :3])) < 0.5:
        return to_source
    distance_mm = corner_distance_mm(volume.affine @ rounded, onto.affine, onto.shape)
    return rounded if distance_mm <= GRID_TOLERANCE_MM else to_source


def _background(data: NDArray[Any]) -> Any:
    """What surrounds the brain in an image: the value of at least half of its corners; 0 where these differ more."""
    value, corners = background_value(data)
    return data.dtype.type(value if corners >= _CORNERS_ALIKE else 0)


def _coincides(to_source: NDArray[np.float64]) -> bool:
    """Whether every voxel of a grid is one of the source, so that nothing is averaged."""
    return np.array_equal(to_source, np.round(to_source)) and bool(np.abs(to_source[:3, :3]).max() == 1)


def _averaged(data: NDArray[np.generic], steps: NDArray[np.float64]) -> NDArray[np.generic]:
    """Mean over an odd number of voxels, about ``steps`` of them along each axis."""
    for axis, step in enumerate(steps):
        size = 2 * int(step / 2 + _ROUNDING) + 1
        if size > 1:
            # Each mean by itself: a running sum carries what is tiny from the brain's rim over all of the background.
            data = ndimage.correlate1d(data, np.full(size, 1 / size), axis=axis, mode="nearest")
    return data


def _inside(
    matrix: NDArray[np.float64], offset: NDArray[np.float64], shape: tuple[int, ...], source_shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which voxels of a grid fall within the outer faces of the source."""
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.ones(shape, bool)
    for row, start, length in zip(matrix, offset, source_shape, strict=True):
        index = row[0] * x + row[1] * y + (row[2] * z + start)
        inside &= (index >= -0.5 - _ROUNDING) & (index <= length - 0.5 + _ROUNDING)
    return inside


def _share_within(volume: Volume, other: Volume) -> float:
    steps = (np.arange(_POINTS_PER_AXIS) + 0.5) / _POINTS_PER_AXIS
    axes = [steps * length - 0.5 for length in volume.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    to_other = np.linalg.solve(other.affine, volume.affine)
    indices = to_other[:3, :3] @ points + to_other[:3, 3:]
    limits = np.array(other.shape)[:, None] - 0.5
    return float(((indices >= -0.5) & (indices <= limits)).all(axis=0).mean())
