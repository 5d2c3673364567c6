"""Exports: all files or none, a report beside them, and the same file again from the report."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_shaspec.cli.predict import predict_again
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.export import describe, export
from napari_shaspec.io.cases import read_case
from napari_shaspec.io.nifti import check_no_stranger, write_volume
from napari_shaspec.io.outputs import LabelForm, Outputs
from napari_shaspec.io.report import file_sha256, read_report
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import attach_reliability, load_checkpoint, save_checkpoint
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.regions import DEFAULT_THRESHOLDS, Region
from napari_shaspec.reliability import Reliability, confidence
from napari_shaspec.volume import Case

TABLE = Reliability({frozenset({Modality.T1}): {Region.ET: 0.2}}, "3 cases")


@pytest.fixture
def labels(case: Case) -> np.ndarray:
    return np.random.default_rng(4).choice(np.array([0, 1, 2, 4], np.uint8), case.grid.shape)


def written(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray, outputs: Outputs, *, overwrite: bool = False
) -> list[Path]:
    save_checkpoint(model, tmp_path / "weights.safetensors", {})
    attach_reliability(tmp_path / "weights.safetensors", TABLE, tmp_path / "weights.safetensors")
    checkpoint = load_checkpoint(tmp_path / "weights.safetensors")
    report = describe(
        case, {Modality.T1}, checkpoint, "cpu", "auto", DEFAULT_THRESHOLDS, smooth=True, notes=("the device was full",)
    )
    probabilities = np.random.default_rng(5).random((3, *case.grid.shape), np.float32)
    return export(outputs, case.grid, labels, probabilities, report, overwrite=overwrite)


@pytest.mark.parametrize(
    ("form", "numbers"), [(LabelForm.BRATS_2018, {0, 1, 2, 4}), (LabelForm.BRATS_2023, {0, 1, 2, 3})]
)
def test_label_maps(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray, form: LabelForm, numbers: set[int]
) -> None:
    files = written(tmp_path, case, model, labels, Outputs(tmp_path / "seg.nii.gz", form, probabilities=True))
    names = ["seg.nii.gz", "seg_ET.nii.gz", "seg_TC.nii.gz", "seg_WT.nii.gz", "seg.json"]
    assert [path.name for path in files] == names
    image = nib.load(tmp_path / "seg.nii.gz")
    assert set(np.unique(image.dataobj).tolist()) == numbers
    np.testing.assert_allclose(image.affine, case.grid.affine, atol=1e-5)


def test_one_mask_for_each_region(tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray) -> None:
    outputs = Outputs(tmp_path / "seg.nii", LabelForm.REGIONS)
    written(tmp_path, case, model, labels, outputs)
    assert not outputs.path.exists()
    whole = np.asarray(nib.load(tmp_path / "seg_WT_mask.nii").dataobj)
    np.testing.assert_array_equal(whole, labels > 0)


@pytest.mark.parametrize("form", list(LabelForm))
def test_a_number_that_means_nothing_is_not_dropped(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray, form: LabelForm
) -> None:
    labels[0, 0, 0] = 3
    with pytest.raises(ShaSpecError, match="found voxels of 3"):
        written(tmp_path, case, model, labels, Outputs(tmp_path / "seg.nii.gz", form))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_image_that_was_replaced_since_is_not_named(tmp_path: Path, case: Case, model: ShaSpec) -> None:
    save_checkpoint(model, tmp_path / "weights.safetensors", {})
    checkpoint = load_checkpoint(tmp_path / "weights.safetensors")
    file = tmp_path / "p_t1.nii.gz"
    write_volume(case.images[Modality.T1], file)
    read = read_case(file)
    describing = (read.available, checkpoint, "cpu", "auto", DEFAULT_THRESHOLDS)
    assert describe(read, *describing, smooth=False).images[Modality.T1] == (str(file), file_sha256(file))
    write_volume(case.images[Modality.T1].with_data(case.images[Modality.T1].data * 2), file, overwrite=True)
    report = describe(read, *describing, smooth=False)
    assert report.images[Modality.T1] == ("", "")
    assert report.notes[-1] == "p_t1.nii.gz: something else was put in its place after it was read"


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("labels", "1-2-5"),
        ("thresholds", {"ET": 0.5}),
        ("thresholds", {"ET": 0.5, "TC": 1, "x": 1}),
        ("thresholds", {"ET": 0.5, "TC": 7, "WT": 0.5}),
        ("thresholds", {"ET": 0.5, "TC": float("nan"), "WT": 0.5}),
        ("outputs", []),
        ("device", 5),
        ("smooth", "no"),
    ],
)
def test_a_report_that_cannot_be_is_refused(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray, entry: str, value: object
) -> None:
    written(tmp_path, case, model, labels, Outputs(tmp_path / "seg.nii.gz"))
    report = tmp_path / "seg.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {entry: value}))
    with pytest.raises(ShaSpecError, match="a report of format"):
        read_report(report)


def test_the_report_says_what_made_it(tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray) -> None:
    written(tmp_path, case, model, labels, Outputs(tmp_path / "seg.nii.gz"))
    report = read_report(tmp_path / "seg.json")
    assert report.available == {Modality.T1}
    assert report.smooth
    assert report.outputs == {"seg.nii.gz": file_sha256(tmp_path / "seg.nii.gz")}
    assert report.weights == (str(tmp_path / "weights.safetensors"), file_sha256(tmp_path / "weights.safetensors"))
    assert report.volumes_ml[Region.WT] == pytest.approx(np.count_nonzero(labels) * case.grid.voxel_volume_mm3 / 1000)
    assert report.confidence == confidence(TABLE, {Modality.T1})
    assert report.images[Modality.T1] == ("", "")  # this case never was a file
    again = json.loads(replace(report, notes=("a",)).to_json())
    assert report.notes[-1] == "the device was full"
    assert again["stand_in_rule"].startswith("mean of the shared features")
    assert again["confidence"] == {
        "ET": {"verdict": "unreliable", "mean_dice": 0.2, "source": "3 cases", "unlike": {}},
        "TC": {"verdict": "not measured", "mean_dice": None, "source": "3 cases", "unlike": {}},
        "WT": {"verdict": "not measured", "mean_dice": None, "source": "3 cases", "unlike": {}},
    }
    for each in again["confidence"].values():  # as in reports of older versions
        del each["unlike"]
    (tmp_path / "old.json").write_text(json.dumps(again))
    assert read_report(tmp_path / "old.json").confidence == report.confidence
    del again["confidence"]  # and of still older ones
    (tmp_path / "old.json").write_text(json.dumps(again))
    assert read_report(tmp_path / "old.json").confidence == {}


def test_no_report_of_other_labels_stays_beside_new_ones(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray
) -> None:
    written(tmp_path, case, model, labels, Outputs(tmp_path / "seg.nii.gz", report=True))
    quiet = Outputs(tmp_path / "seg.nii.gz", report=False)
    files = written(tmp_path, case, model, np.zeros_like(labels), quiet, overwrite=True)
    assert [path.name for path in files] == ["seg.nii.gz", "seg.json"]
    assert read_report(tmp_path / "seg.json").outputs == {"seg.nii.gz": file_sha256(tmp_path / "seg.nii.gz")}
    (tmp_path / "seg.nii.gz").unlink()
    with pytest.raises(ShaSpecError, match=r"no file at .*seg\.json"):
        written(tmp_path, case, model, labels, quiet)
    assert not (tmp_path / "seg.nii.gz").exists()
    (tmp_path / "seg.json").write_text("{}")  # of another program
    files = written(tmp_path, case, model, labels, quiet, overwrite=True)
    assert ([path.name for path in files], (tmp_path / "seg.json").read_text()) == (["seg.nii.gz"], "{}")


def test_an_image_that_was_changed_in_the_viewer_is_of_no_file(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray
) -> None:
    """Its file would make other labels, so that the report must not lead there."""
    paths = {modality: tmp_path / f"{modality}.nii.gz" for modality in (Modality.FLAIR, Modality.T1)}
    for path in paths.values():
        path.write_bytes(b"an image")
    of_files = replace(case, files=paths, changed=frozenset({Modality.T1}))
    written(tmp_path, of_files, model, labels, Outputs(tmp_path / "seg.nii.gz"))
    images = read_report(tmp_path / "seg.json").images
    assert images[Modality.FLAIR] == (str(paths[Modality.FLAIR]), file_sha256(paths[Modality.FLAIR]))
    assert images[Modality.T1] == ("", "")
    with pytest.raises(ShaSpecError, match=r"the T1 that the report names.*or was changed"):
        predict_again(tmp_path / "seg.json", tmp_path / "again.nii.gz", overwrite=False)


def test_nothing_is_replaced_or_half_written(tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray) -> None:
    (tmp_path / "seg_TC.nii.gz").write_text("mine")
    with pytest.raises(ShaSpecError, match=r"no file at .*seg_TC"):
        written(tmp_path, case, model, labels, Outputs(tmp_path / "seg.nii.gz", probabilities=True))
    assert {path.name for path in tmp_path.iterdir()} == {"seg_TC.nii.gz", "weights.safetensors"}
    assert (tmp_path / "seg_TC.nii.gz").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_a_link_to_what_was_not_fetched_is_no_free_name(
    tmp_path: Path, case: Case, model: ShaSpec, labels: np.ndarray
) -> None:
    link = tmp_path / "seg.nii.gz"
    link.symlink_to("annex/expert.nii.gz")
    with pytest.raises(ShaSpecError, match="found a link"):
        written(tmp_path, case, model, labels, Outputs(link))
    flair = tmp_path / "p_flair.nii.gz"
    for linked in (False, True):  # as all images of such a case
        if linked:
            (tmp_path / "annex").mkdir()
            (tmp_path / "annex" / "flair.nii.gz").touch()
            flair.symlink_to("annex/flair.nii.gz")
        with pytest.raises(ShaSpecError, match="apart from the case"):
            check_no_stranger([link], [flair])
    assert link.is_symlink()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', '{"format": "napari-shaspec report 1"}'])
def test_no_report(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seg.json"
    path.write_text(text)
    with pytest.raises(ShaSpecError, match="a report of format"):
        read_report(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ShaSpecError, match="found no JSON"):
        read_report(path)
    with pytest.raises(ShaSpecError, match=r"to read .*none.json, found No such file"):
        read_report(tmp_path / "none.json")
