"""Write what a prediction gave: labels, probabilities, and the report from which they can be made again.

The command line and the viewer export through the same function, so their files are the same.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.io.atomic import staged
from napari_shaspec.io.nifti import write_volume
from napari_shaspec.io.outputs import LabelForm, Outputs
from napari_shaspec.io.report import Report, file_sha256, file_stamp, writes_report
from napari_shaspec.io.text import write_text
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Convention, Region, check_labels, labels_to_masks, to_convention, volumes_ml
from napari_shaspec.reliability import confidence
from napari_shaspec.volume import Case, Volume

if TYPE_CHECKING:
    from napari_shaspec.model.checkpoint import Checkpoint


def export(
    outputs: Outputs,
    grid: Volume,
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.float32] | None,
    report: Report | None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write all files, or none; where a report of older labels lies there, a new one as well.

    Parameters
    ----------
    grid
        Whose affine, codes and units the files get.
    labels
        (X, Y, Z) of `Label`, in file order.
    probabilities
        (3, X, Y, Z); needed where ``outputs`` asks for them.
    report
        Without ``outputs``, ``labels`` and ``volumes_ml``, which are filled in here; needed where `writes_report`, but
        for labels that are made again beside the report that describes them.

    Returns
    -------
    list
        The files.

    Raises
    ------
    ShaSpecError
        If a number is no `Label`, or a path cannot be written; nothing is left behind then.
    """
    check_labels(labels)
    if report is not None and writes_report(outputs):
        outputs = replace(outputs, report=True)
    outputs.check(overwrite=overwrite)
    files = outputs.files()
    masks = labels_to_masks(labels)
    with staged(files, overwrite=overwrite) as places:
        if outputs.form is LabelForm.REGIONS:
            for index, path in enumerate(outputs.mask_paths().values()):
                write_volume(grid.with_data(masks[index].astype(np.uint8)), places[path])
        else:
            numbers = to_convention(labels, Convention(outputs.form.value))
            write_volume(grid.with_data(numbers), places[outputs.path])
        if outputs.probabilities and probabilities is not None:
            for index, path in enumerate(outputs.probability_paths().values()):
                write_volume(grid.with_data(probabilities[index]), places[path])
        if outputs.report and report is not None:
            hashes = {path.name: file_sha256(places[path]) for path in files if path != outputs.report_path()}
            full = replace(
                report,
                labels=outputs.form.value,
                outputs=hashes,
                volumes_ml=volumes_ml(masks, grid.voxel_volume_mm3),
            )
            write_text(places[outputs.report_path()], full.to_json())
    return files


def describe(  # noqa: PLR0913 (a report names everything that took part)
    case: Case,
    available: Collection[Modality],
    checkpoint: Checkpoint,
    device: str,
    precision: str,
    thresholds: Mapping[Region, float],
    *,
    smooth: bool,
    edited: bool = False,
    notes: tuple[str, ...] = (),
) -> Report:
    """Everything about a prediction that is known before it is written.

    An image that was no file or was changed, or whose file is gone or another by now, is named without path and hash.

    Parameters
    ----------
    notes
        Of the session; those of the case are taken from it.

    Raises
    ------
    ShaSpecError
        If an image's file cannot be read.
    """
    images = {}
    replaced = []
    for modality in case.images:
        path = case.files.get(modality) if modality not in case.changed else None  # the file would say another thing
        images[modality] = ("", "")
        if path is not None and path.is_file():
            if case.stamps.get(modality) in (None, file_stamp(path)):
                images[modality] = str(path.resolve()), file_sha256(path)
            else:
                replaced.append(f"{path.name}: something else was put in its place after it was read")
    return Report(
        case=case.name,
        images=images,
        available=frozenset(each for each in case.images if each in available),
        weights=("" if checkpoint.bundled else str(checkpoint.path.resolve()), checkpoint.sha256),
        statement=checkpoint.statement,
        stand_in_rule=checkpoint.model.config.stand_in,
        device=device,
        precision=precision,
        thresholds=dict(thresholds),
        smooth=smooth,
        labels="",
        edited=edited,
        volumes_ml={},
        confidence=confidence(checkpoint.reliability, available, case.extents),
        versions={
            "napari-shaspec": version("napari-shaspec"),
            "torch": version("torch"),
            "numpy": version("numpy"),
            "python": platform.python_version(),
        },
        notes=(*case.notes, *notes, *replaced),
    )
