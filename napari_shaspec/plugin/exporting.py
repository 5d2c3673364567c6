"""Export from the viewer: the same files that the command line writes, and feature maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.answers import contributions_path
from napari_shaspec.io.outputs import NIFTI, LabelForm, Outputs
from napari_shaspec.plugin.layers import REVERSED, patient_affine
from napari_shaspec.plugin.state import Provenance
from napari_shaspec.regions import Convention, check_name, to_convention
from napari_shaspec.volume import Case, Volume

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_shaspec.evaluation.answers import Sweep

TABLE = ".csv"

SaveLabels = Callable[[Path, Convention, NDArray[np.uint8]], list[Path]]
"""Path, numbers to write, and labels in file order -> the files that were written."""


def planned_files(path: Path, form: str, probabilities: bool, pictures: Mapping[Path, Volume]) -> list[Path]:
    """Everything that `export_result` would write."""
    return [*_outputs(path, form, probabilities).files(), *pictures]


def older_files(path: Path, form: str, probabilities: bool) -> list[Path]:
    """What lies beside `planned_files` as if it belonged to them, from an export with other choices."""
    return _outputs(path, form, probabilities).older()


def feature_files(path: Path, form: str, maps: Mapping[str, Image]) -> dict[Path, Volume]:
    """Feature maps as they are shown now, by the files that they go to: layers are read on napari's thread only.

    ``seg.nii.gz`` gives ``seg_shared_FLAIR.nii.gz``; colours become three volumes, ``_1`` to ``_3``.

    Parameters
    ----------
    maps
        By what they were called when they came: what somebody calls the layer may be no name of a file.
    """
    outputs = _outputs(path, form, probabilities=False)
    files: dict[Path, Volume] = {}
    for title, layer in maps.items():
        name = "_".join(title.replace("(", "").replace(")", "").split())
        affine = patient_affine(layer)[np.ix_(REVERSED, REVERSED)]
        data = np.asarray(layer.data)
        if layer.rgb:
            for channel in range(3):
                files[outputs.beside(f"_{name}_{channel + 1}")] = Volume(data[..., channel].transpose(2, 1, 0), affine)
        else:
            files[outputs.beside(f"_{name}")] = Volume(data.transpose(2, 1, 0), affine)
    return files


def export_result(  # noqa: PLR0913 (an export is told what and how)
    path: Path,
    form: str,
    case: Case,
    made: Provenance,
    labels: NDArray[np.uint8],
    *,
    probabilities: NDArray[np.float32] | None = None,
    pictures: Mapping[Path, Volume] | None = None,
) -> list[Path]:
    """Write labels, and a report beside them; existing files are replaced.

    Parameters
    ----------
    labels
        As they are in the layer, perhaps edited since they were ``made``.
    probabilities
        To write too, (3, X, Y, Z).
    pictures
        Feature maps to write too, as `feature_files` gives them.

    Raises
    ------
    ShaSpecError
        If a file cannot be written, or is one of the case's own images or its label map.
    """
    from napari_shaspec.inference.export import describe, export
    from napari_shaspec.io.atomic import staged
    from napari_shaspec.io.nifti import check_no_stranger, write_volume

    pictures = pictures or {}
    outputs = _outputs(path, form, probabilities is not None)
    check_no_stranger([*outputs.files(), *pictures], case.all_files)
    report = describe(
        case,
        made.available,
        made.checkpoint,
        made.device,
        "auto",
        made.thresholds,
        smooth=made.smooth,
        edited=not np.array_equal(labels, made.labels),
        notes=made.notes,
    )
    with staged(list(pictures), overwrite=True) as places:
        for file, volume in pictures.items():
            write_volume(volume, places[file])
        files = export(outputs, case.grid, labels, probabilities, report, overwrite=True)  # all, or none
    return [*files, *pictures]


def export_unfinished(path: Path, form: str, case: Case, labels: NDArray[np.uint8]) -> list[Path]:
    """Write labels of no finished result, without a report, because nothing describes them; errors as above."""
    from napari_shaspec.io.nifti import check_no_stranger

    check_no_stranger([path], case.all_files)
    write_alone(case.grid, labels, path, Convention(form))
    return [path]


def write_alone(grid: Volume, labels: NDArray[np.integer], path: Path, convention: Convention) -> None:
    """Write labels that no report describes; a file of this name is replaced.

    Raises
    ------
    ShaSpecError
        If a report of others lies beside it, or as `check_name` and `write_volume`.
    """
    from napari_shaspec.io.nifti import write_volume
    from napari_shaspec.io.report import check_no_report

    check_name(path, convention)
    check_no_report(path)
    write_volume(grid.with_data(to_convention(labels, convention)), path, overwrite=True)


def save_function(case: Case, made: Provenance | None) -> SaveLabels:
    """What *File > Save* does with the network's labels: the files of the export form, with whatever is described."""

    def save(path: Path, convention: Convention, labels: NDArray[np.uint8]) -> list[Path]:
        if made is None:
            return export_unfinished(path, convention.value, case, labels)
        _check_unasked(path, planned_files(path, convention.value, probabilities=False, pictures={}))
        return export_result(path, convention.value, case, made, labels)

    return save


def _check_unasked(named: Path, files: list[Path]) -> None:
    """The dialog has asked about the name that was typed, and about no other.

    Raises
    ------
    ShaSpecError
        If another file would be replaced that is no report of ours.
    """
    from napari_shaspec.io.report import is_report

    for file in files:
        if file != named and file.exists() and not (file.suffix == ".json" and is_report(file)):
            raise ShaSpecError(
                f"no file at {file}, which would be written with {named.name}", "one", "Choose another name"
            )


def _outputs(path: Path, form: str, probabilities: bool) -> Outputs:
    if path.suffix == "":
        path = path.with_name(path.name + NIFTI[0])
    return Outputs(path, LabelForm(form), probabilities)


def sweep_files(path: Path, sweep: Sweep) -> list[Path]:
    """Everything that `export_sweep` would write; the name is given the ending that it lacks."""
    path = path if path.suffix.lower() == TABLE else path.with_name(path.name + TABLE)
    return [path, contributions_path(path)] if sweep.finished else [path]


def export_sweep(path: Path, sweep: Sweep) -> list[Path]:
    """Write the answers of all subsets as `napari-shaspec sweep` does, over older files of these names.

    Raises
    ------
    ShaSpecError
        If a file cannot be written.
    """
    from napari_shaspec.evaluation.sweep import write_sweep
    from napari_shaspec.io.atomic import check_output, staged

    files = sweep_files(path, sweep)
    for each in files:
        check_output(each, (TABLE,), overwrite=True)
    with staged(files, overwrite=True) as places:
        write_sweep(sweep, *places.values())
    return files
