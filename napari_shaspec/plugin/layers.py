"""Between volumes and layers: the only place that turns axes.

napari shows the last two axes as rows and columns and cuts slices along the first. So a volume is turned to its closest
RAS order and its axes are reversed to (Z, Y, X), both without copying; the world of the layers is RAS+ in millimetres
with its axes in that same order. With the camera's axes pointing up and left, axial slices are radiological: the
patient's right is on the left of the screen, the front at the top.

napari cuts and paints oblique layers as if they were straight, but tells the place of the mouse as it is: another slice
is shown than the one at the place, and a brush paints elsewhere. So the world of an oblique grid is turned, about its
origin, until the grid is straight; where each voxel lies in the patient is kept beside (`Placement.patient`, `Shown`).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality, recognise
from napari_shaspec.plugin.palette import reference_look
from napari_shaspec.volume import Volume, foreground_mask

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

LayerData: TypeAlias = tuple[NDArray[np.generic], dict[str, Any], str]
"""Data, keyword arguments and kind of a layer, as npe2 passes them."""

TAG = "napari_shaspec"
"""Key of a layer's ``metadata`` under which its `LayerSource` is kept."""

REPORT = "napari_shaspec_export"
"""Key under which the network's labels keep the function that exports them with their report."""

CHANGED = "its values were changed in the viewer since the file was read"

SHOWN = "napari_shaspec_shown"
"""Key under which a layer whose world was turned keeps where it lies, a `Shown`."""

STRAIGHT = 1e-4
"""Sine of an angle that is none: headers in float32 leave this much and less."""

WINDOW_PERCENT = (1.0, 99.5)
REVERSED = [2, 1, 0, 3]

AXES = ("z", "y", "x")


class Role(StrEnum):
    """What a layer of ours is for; references and results hold label numbers, derived layers numbers of their own."""

    IMAGE = "image"
    REFERENCE = "reference"
    RESULT = "result"
    DERIVED = "derived"


@dataclass(frozen=True, slots=True, eq=False)
class LayerSource:
    """Where a layer came from.

    Parameters
    ----------
    volume
        As read, in file order.
    path
        The file, if there was one.
    modality
        What the file's name says; None if nothing.
    notes
        What reading it left open.
    role
        What the layer is for.
    stamp
        What `file_stamp` said of the file before it was read.
    checksum
        Of the values as they were read, where the layer shows that very memory; None where nobody has taken it.
    """

    volume: Volume
    path: Path | None = None
    modality: Modality | None = None
    notes: tuple[str, ...] = ()
    role: Role = Role.IMAGE
    stamp: str = ""
    checksum: int | None = None

    @property
    def changed(self) -> bool:
        """Whether somebody has put other values in the place of those that were read."""
        return CHANGED in self.notes


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Where a layer lies, 4 x 4 each, voxel to mm: in the patient, and in the viewer's turned world."""

    patient: NDArray[np.float64]
    shown: NDArray[np.float64]


def straightening(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """4 x 4, the turn of the world about its origin that makes a grid's axes those of the world; none if they are.

    Grids with the same axes have the same turn, wherever they begin and whatever their voxels' size.
    """
    turn = np.eye(4)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(axes, np.eye(3), rtol=0, atol=STRAIGHT):
        turn[:3, :3] = np.linalg.inv(axes)
    return turn


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """How a grid in file order is turned for display, and back.

    Parameters
    ----------
    affine
        4 x 4, display voxel (z, y, x) to mm (z, y, x) of the viewer's world, which is turned for an oblique grid.
    patient
        The same to mm of the patient's world.
    """

    affine: NDArray[np.float64]
    patient: NDArray[np.float64]
    _turn: NDArray[np.float64]
    _back: NDArray[np.float64]
    _shape: tuple[int, int, int]

    @classmethod
    def of(cls, grid: Volume) -> Placement:
        """The placement of a volume's grid."""
        turn = nib.io_orientation(grid.affine)
        turned = grid.affine @ nib.orientations.inv_ornt_aff(turn, grid.shape)
        back = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]], float), turn)
        patient = turned[np.ix_(REVERSED, REVERSED)]
        return cls(straightening(patient) @ patient, patient, turn, back, grid.shape)

    def to_display(self, data: NDArray[Any]) -> NDArray[Any]:
        """(X, Y, Z) in file order -> (Z, Y, X) for display: a view, so writing to one writes to the other."""
        shown: NDArray[Any] = nib.apply_orientation(data, self._turn).transpose(2, 1, 0)
        return shown

    def to_file(self, shown: NDArray[Any]) -> NDArray[Any]:
        """The way back, as a view too."""
        data: NDArray[Any] = nib.apply_orientation(shown.transpose(2, 1, 0), self._back)
        return data

    def file_index(self, world_mm: NDArray[np.floating] | tuple[float, ...]) -> tuple[int, int, int] | None:
        """The voxel in file order at a place (z, y, x) of the viewer's world; None outside the grid."""
        place = np.linalg.solve(self.affine, np.append(np.asarray(world_mm, float), 1.0))[:3]
        shown = np.round(place[::-1]).astype(int)  # RAS order
        index = [0, 0, 0]
        for axis, (ras, direction) in enumerate(self._turn):
            value = int(shown[int(ras)])
            index[axis] = value if direction > 0 else self._shape[axis] - 1 - value
            if not 0 <= index[axis] < self._shape[axis]:
                return None
        return index[0], index[1], index[2]

    def file_box(self, low: tuple[int, int, int], high: tuple[int, int, int]) -> Box | None:
        """A box of display voxels, from ``low`` up to, not including, ``high`` -> the same in file order, clipped."""
        start, stop = [0, 0, 0], [0, 0, 0]
        for axis, (ras, direction) in enumerate(self._turn):
            first, last, side = low[2 - int(ras)], high[2 - int(ras)], self._shape[axis]
            if direction < 0:
                first, last = side - last, side - first
            start[axis], stop[axis] = max(0, first), min(side, last)
            if start[axis] >= stop[axis]:
                return None
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def to_ras_shape(self) -> tuple[int, int, int]:
        """Voxels along R, A, S."""
        sides = [0, 0, 0]
        for axis, (ras, _) in enumerate(self._turn):
            sides[int(ras)] = self._shape[axis]
        return sides[0], sides[1], sides[2]

    def keywords(self) -> dict[str, Any]:
        """What every layer on this grid is made with."""
        return {"affine": self.affine, "units": ("mm",) * 3, "axis_labels": AXES}


def image_layer(source: LayerSource, name: str, *, visible: bool = True) -> LayerData:
    """A grey image, windowed by percentiles of the brain."""
    volume = source.volume
    placement = Placement.of(volume)
    inside = volume.data[foreground_mask(volume.data)]
    darkest, brightest = (float(value) for value in np.percentile(inside.astype(np.float32), WINDOW_PERCENT))
    look = {
        "name": name,
        "colormap": "gray",
        "contrast_limits": (darkest, max(brightest, float(np.nextafter(np.float32(darkest), np.float32(np.inf))))),
        "visible": visible,
        "metadata": {TAG: replace(source, checksum=_checksum(volume.data))},
    }
    return placement.to_display(volume.data), look | placement.keywords(), "image"


def reference_layer(source: LayerSource) -> LayerData:
    """A label map to compare with, hidden at first; a copy, since people paint on it and cases are frozen."""
    placement = Placement.of(source.volume)
    source = replace(source, role=Role.REFERENCE)
    look = {"name": "Reference", "metadata": {TAG: source}, **reference_look()}
    return placement.to_display(source.volume.data).copy(), look | placement.keywords(), "labels"


def source_of(layer: Layer) -> LayerSource:
    """The volume behind a layer, whoever made it.

    Layers of other readers are taken as lying in a RAS+ world whose axes are z, y, x, or in the order that their
    ``axis_labels`` give; pixels count as mm.

    Raises
    ------
    ShaSpecError
        If the layer is not three-dimensional, or holds colours.
    """
    source = _tagged(layer)
    if source is not None and Placement.of(source.volume).to_display(source.volume.data).shape == layer.data.shape:
        shown = Placement.of(source.volume).to_file(np.asarray(layer.data))
        if _is_same_view(shown, source.volume.data):
            same = source.checksum in (None, _checksum(shown))
        else:
            same = np.array_equal(shown, source.volume.data)
        if same:
            return source
        # Somebody has put other values in its place, or written into it, and those are what is on the screen.
        changed = _checked(shown, layer.name, source.role)
        return with_note(replace(source, volume=source.volume.with_data(changed)), CHANGED)
    data = np.asarray(layer.data)
    if data.ndim != 3 or getattr(layer, "rgb", False):
        raise ShaSpecError(
            f"a 3-D image in the layer {layer.name}", f"shape {data.shape}", "Choose a layer with a single volume"
        )
    order = [2, 1, 0]
    labels = [str(label).lower() for label in layer.axis_labels]
    if sorted(labels) == ["x", "y", "z"]:
        order = [labels.index(axis) for axis in "xyz"]
    place = patient_affine(layer)
    affine = np.eye(4)
    affine[:3, :3] = place[:3, order][order]
    affine[:3, 3] = place[order, 3]
    role = Role.IMAGE if source is None else source.role
    volume = Volume(_checked(data.transpose(order), layer.name, role), affine)
    if source is None:
        return LayerSource(volume, notes=("from another reader: its axes are taken as right, front, top",))
    return with_note(replace(source, volume=volume), CHANGED)


def world_affine(layer: Layer) -> NDArray[np.float64]:
    """4 x 4, voxel of a three-dimensional layer to mm, whatever unit, scale, shift or shear it is made of."""
    # Asked at the origin and one step along each axis.
    origin = np.asarray(layer.data_to_world((0.0, 0.0, 0.0)))
    steps = [np.asarray(layer.data_to_world(tuple(row))) - origin for row in np.eye(3)]
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack(steps)
    affine[:3, 3] = origin
    affine[:3] *= mm_per_unit(layer.units)[:, None]
    return affine


def patient_affine(layer: Layer) -> NDArray[np.float64]:
    """As `world_affine`, in the patient's world where the viewer's was turned and nobody has moved the layer since."""
    place, kept = world_affine(layer), layer.metadata.get(SHOWN)
    known = isinstance(kept, Shown) and np.allclose(place, kept.shown, atol=1e-3)
    return kept.patient if known else place


def turn_world(layer: Layer, turn: NDArray[np.float64]) -> None:
    """Show a three-dimensional layer in a world that is turned; where it lies in the patient stays known."""
    source, place = _tagged(layer), world_affine(layer)
    if is_moved(layer):
        return  # somebody has put it where it is
    patient = patient_affine(layer) if source is None else Placement.of(source.volume).patient
    wanted = turn @ patient
    if np.allclose(place, wanted, atol=1e-6):
        return
    units = np.diag([*(1 / mm_per_unit(layer.units)), 1.0])
    step = units @ wanted @ np.linalg.inv(place) @ np.linalg.inv(units)
    layer.metadata = {**layer.metadata, SHOWN: Shown(patient, wanted)}  # first: listeners ask where it lies
    layer.affine = step @ np.asarray(layer.affine.affine_matrix)[-4:, -4:]


def mm_per_unit(units: Sequence[Any] | None) -> NDArray[np.float64]:
    """(3,): how long a unit of each axis of napari's is; pixels and whatever else is no length count as mm."""
    lengths = [_mm(unit) for unit in units or ()]
    return np.array(lengths[-3:] if len(lengths) >= 3 else [1.0] * 3)


@cache
def _mm(unit: Any) -> float:
    """Asked for at every move of the mouse."""
    return float((1 * unit).to("mm").magnitude) if unit.is_compatible_with("mm") else 1.0


def is_moved(layer: Layer) -> bool:
    """Whether a layer of a file lies elsewhere than the file says."""
    source, kept = _tagged(layer), layer.metadata.get(SHOWN)
    if source is None:
        return False
    expected = kept.shown if isinstance(kept, Shown) else Placement.of(source.volume).affine
    return not np.allclose(world_affine(layer), expected, atol=1e-3)


def with_note(source: LayerSource, note: str) -> LayerSource:
    """The same as a source of its own, with one more note if it has not got it yet."""
    return replace(source, notes=tuple(dict.fromkeys((*source.notes, note))))


def guessed_modality(layer: Layer) -> Modality | None:
    """What a layer's file, or else its name, says it is."""
    source = _tagged(layer)
    if source is not None and source.modality is not None:
        return source.modality
    return recognise(layer.name)


def file_of(layer: Layer) -> Path | None:
    """The file that the layer was read from; its values may have been replaced since."""
    source = _tagged(layer)
    return None if source is None else source.path


def role_of(layer: Layer) -> Role | None:
    """What the layer is for; None for layers that are not ours."""
    source = _tagged(layer)
    return None if source is None else source.role


def show_radiologically(viewer: ViewerModel) -> None:
    """Axial slices, the patient's right on the left of the screen, front at the top.

    Turning one axis over leaves napari's third one of the other hand, and then a rendering in 3-D is a mirror image.
    """
    viewer.scene.camera.orientation = ("away", "up", "left")


def _is_same_view(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether both are the same numbers of the same memory; a mirrored view only shares them."""
    places = [(array.__array_interface__["data"], array.strides, array.shape, array.dtype) for array in (one, other)]
    return places[0] == places[1]


def _checksum(data: NDArray[Any]) -> int:
    return zlib.crc32(data.ravel(order="K").data)


def _checked(data: NDArray[Any], name: str, role: Role) -> NDArray[Any]:
    """A copy: what is painted into the layer later is not in it."""
    image = data.astype(data.dtype if data.dtype.kind in "iub" else np.float32)
    if not np.isfinite(image).all():
        raise ShaSpecError(f"finite values in the layer {name}", "some that are not a number", "Replace them first")
    if role is Role.IMAGE and image.min() == image.max():
        raise ShaSpecError(f"an image in the layer {name}", "one value everywhere", "Choose another layer")
    return image


def _tagged(layer: Layer) -> LayerSource | None:
    metadata: Mapping[str, object] = layer.metadata
    source = metadata.get(TAG)
    return source if isinstance(source, LayerSource) else None
