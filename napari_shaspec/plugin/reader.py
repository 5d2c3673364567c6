"""Open NIfTI in napari: one layer for each file, tagged with where it came from.

Several dropped files reach a reader one by one, so a file becomes one layer, and the panel puts the case together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_shaspec.io.cases import CaseFiles, case_files
from napari_shaspec.io.folders import holds_nifti
from napari_shaspec.io.nifti import read_labels, read_volume
from napari_shaspec.io.outputs import NIFTI
from napari_shaspec.io.report import file_stamp, is_own_answer
from napari_shaspec.modalities import Modality, file_stem, is_label_map, recognise, says_nothing
from napari_shaspec.plugin.layers import LayerData, LayerSource, image_layer, reference_layer, show_radiologically

Paths = str | Sequence[str]


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """npe2's question: can these be read? Folders can if NIfTI files lie in or below them."""
    if all(_is_nifti(each) or holds_nifti(each) for each in _listed(path)):
        return read_layers
    return None


def read_layers(paths: Paths) -> list[LayerData]:
    """Read files, or the case folder, into layers.

    Raises
    ------
    ShaSpecError
        As `read_volume`, and if a folder holds no case or several.
    """
    layers = [read_file(file) for path in _listed(paths) for file in files_of(path)[0]]
    _turn_empty_viewer()
    return layers


def _turn_empty_viewer() -> None:
    """The first images decide how the viewer shows slices; one that shows something already is left as it is."""
    napari = sys.modules.get("napari")  # who reads without a viewer need not import one
    viewer = napari.current_viewer() if napari is not None else None
    if viewer is not None and not viewer.layers:
        show_radiologically(viewer)


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file that becomes a layer.

    Parameters
    ----------
    modality
        What it shows; None where its name does not say.
    is_labels
        Whether it is a label map.
    visible
        Whether the layer is shown at first.
    """

    path: Path
    modality: Modality | None = None
    is_labels: bool = False
    visible: bool = True


def files_of(path: str | Path) -> tuple[list[LayerFile], str]:
    """The file itself, or those of a case folder; the last lies on top: FLAIR, which shows a glioma best.

    And what to say of images of a folder that may be the modality that is missing, empty where there are none.

    Raises
    ------
    ShaSpecError
        If a folder holds no case or several, or several label maps.
    """
    path = Path(path)
    if not path.is_dir():
        return [LayerFile(path, recognise(path), is_label_map(path))], ""
    found = case_files(path)
    if found.truth_refusal is not None:
        raise found.truth_refusal
    first = next(iter(found.images))
    files = [LayerFile(found.images[each], each, visible=each == first) for each in reversed(list(found.images))]
    return [*files, *([LayerFile(found.truth, is_labels=True)] if found.truth is not None else [])], _left_out(found)


def _left_out(found: CaseFiles) -> str:
    unknown = [file.name for file in found.ignored if says_nothing(file)]
    if len(found.images) == len(Modality) or not unknown:
        return ""
    names = ", ".join(unknown)
    return f"Not opened, for their names say no modality: {names}. Drop them by themselves to choose them in the rows."


def read_file(file: LayerFile) -> LayerData:
    """Read a file into a layer.

    Raises
    ------
    ShaSpecError
        As `read_volume`.
    """
    if file.is_labels:
        volume, notes = read_labels(file.path)
        if is_own_answer(file.path):
            notes = (*notes, "the network's own answer, which nobody has corrected: to compare with it says nothing")
        return reference_layer(LayerSource(volume, file.path, None, notes))
    stamp = file_stamp(file.path)
    volume, notes = read_volume(file.path)
    name = file.modality.title if file.modality is not None else file_stem(file.path)
    source = LayerSource(volume, file.path, file.modality, notes, stamp=stamp)
    return image_layer(source, name, visible=file.visible)


def _listed(paths: Paths) -> list[Path]:
    return [Path(path) for path in ([paths] if isinstance(paths, str) else paths)]


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI) and not path.is_dir()
