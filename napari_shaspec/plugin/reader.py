"""Open NIfTI in napari: one layer for each file, tagged with where it came from.

Several dropped files reach a reader one by one, so a file becomes one layer, and the panel puts the case together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from napari_shaspec.io.cases import case_files
from napari_shaspec.io.nifti import read_labels, read_volume
from napari_shaspec.modalities import Modality, file_stem, is_label_map, recognise
from napari_shaspec.plugin.layers import LayerData, LayerSource, image_layer, reference_layer

ENDINGS = (".nii", ".nii.gz")

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """npe2's question: can these be read? Folders can if NIfTI files lie in or below them."""
    if all(_is_nifti(each) or _holds_nifti(each) for each in _listed(path)):
        return read_layers
    return None


def read_layers(paths: Paths) -> list[LayerData]:
    """Read files, or the case folder, into layers.

    Raises
    ------
    ShaSpecError
        As `read_volume`, and if a folder holds no case or several.
    """
    layers: list[LayerData] = []
    for path in _listed(paths):
        if path.is_dir():
            found = case_files(path)
            # The last layer lies on top: FLAIR, which shows a glioma best.
            for modality in reversed(list(found.images)):
                top = modality == next(iter(found.images))
                layers.append(_image(found.images[modality], modality, visible=top))
            if found.truth is not None:
                layers.append(_labels(found.truth))
        elif is_label_map(path):
            layers.append(_labels(path))
        else:
            layers.append(_image(path, recognise(path)))
    return layers


def _image(path: Path, modality: Modality | None, *, visible: bool = True) -> LayerData:
    volume, notes = read_volume(path)
    name = modality.title if modality is not None else file_stem(path)
    return image_layer(LayerSource(volume, path, modality, notes), name, visible=visible)


def _labels(path: Path) -> LayerData:
    volume, notes = read_labels(path)
    return reference_layer(LayerSource(volume, path, None, notes))


def _listed(paths: Paths) -> list[Path]:
    return [Path(path) for path in ([paths] if isinstance(paths, str) else paths)]


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS) and not path.is_dir()


def _holds_nifti(path: Path) -> bool:
    """Looked at as deep as a case may lie, and no longer than a dialog may take."""
    if not path.is_dir():
        return False
    for depth in range(5):
        for ending in ENDINGS:
            if next(path.glob("*/" * depth + f"*{ending}"), None) is not None:
                return True
    return False
