"""Save layers as NIfTI, on the grid, with the codes and units, of the image they belong to.

napari's own save dialog asks before it replaces the file whose name was typed, so that one is replaced here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.nifti import write_volume
from napari_shaspec.plugin.exporting import write_alone
from napari_shaspec.plugin.layers import REPORT, TAG, LayerSource, Placement, Role, source_of
from napari_shaspec.plugin.settings import Settings
from napari_shaspec.regions import CAVITY
from napari_shaspec.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_labels(path: str, data: NDArray[Any], meta: dict[str, Any]) -> list[str]:
    """Save a Labels layer; one that holds a tumour's labels in the convention of the settings."""
    volume = _volume(data, meta, "labels")
    values = np.asarray(volume.data)
    metadata = meta.get("metadata", {})
    source, describe = metadata.get(TAG), metadata.get(REPORT)
    of_network = isinstance(source, LayerSource) and volume.same_grid(source.volume)  # and no part cut out of it
    if describe is not None and of_network:  # the same files as from the panel's own form
        return [str(file) for file in describe(Path(path), Settings.load().convention, values)]
    # Only labels of ours are translated: in anybody else's, a 4 is a 4.
    if isinstance(source, LayerSource) and source.role in (Role.RESULT, Role.REFERENCE):
        _check_whole(source, Path(path))
        write_alone(volume, values, Path(path), Settings.load().convention)
    else:
        write_volume(volume.with_data(values), path, overwrite=True)
    return [path]


def write_image(path: str, data: NDArray[Any], meta: dict[str, Any]) -> list[str]:
    """Save an Image layer: an MRI, a probability map, or a feature map of one value for each voxel."""
    if meta.get("rgb"):
        raise ShaSpecError(
            "one value for each voxel", f"colours in {Path(path).name}", "Save the norm or one channel instead"
        )
    write_volume(_volume(data, meta, "image"), path, overwrite=True)
    return [path]


def _check_whole(source: LayerSource, path: Path) -> None:
    """A resection cavity is not among the labels of the program: written over its file, it would be gone.

    Raises
    ------
    ShaSpecError
        If that is what would happen.
    """
    cavity = any(CAVITY in note for note in source.notes)
    if cavity and source.path is not None and source.path.resolve() == path.resolve():
        raise ShaSpecError(
            f"another name than {path.name}, whose resection cavity is not among these labels",
            "the file itself",
            "Save them beside it, such as in a file that ends in _edited_seg.nii.gz",
        )


def _volume(data: NDArray[Any], meta: dict[str, Any], kind: str) -> Volume:
    source = meta.get("metadata", {}).get(TAG)
    if isinstance(source, LayerSource):
        placement = Placement.of(source.volume)
        if placement.to_display(source.volume.data).shape == data.shape:
            return source.volume.with_data(placement.to_file(data))
    from napari.layers import Layer

    return source_of(Layer.create(data, meta, kind)).volume
