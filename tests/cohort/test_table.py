"""Rows on the disk, and what a second run may skip."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_shaspec.cli.cohort import _is_finished
from napari_shaspec.cohort.predictor import Job
from napari_shaspec.cohort.table import CohortTable, Row, fingerprint, read_rows
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.io.nifti import write_volume
from napari_shaspec.io.report import Report, file_sha256
from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region
from napari_shaspec.volume import Volume

FLAIR, T1, T1C, T2 = Modality
GOOD = Row(
    "b",
    frozenset({T2, FLAIR}),
    {Region.ET: 0.5, Region.TC: 1.25, Region.WT: 12.0},
    1.5,
    ("T2 was resampled", "the device was full"),
    labels="b_seg.nii.gz",
    weights="abc",
    settings="1-2-4 raw auto",
    images="0a1b",
    labels_sha256="def",
)
BAD = Row("a", frozenset(), seconds=0.25, error="Expected a file,\nfound none", weights="abc")


def test_to_the_letter(tmp_path: Path) -> None:
    with CohortTable(tmp_path / "t.csv") as table:
        assert read_rows(tmp_path / "t.csv") == []
        table.add(GOOD)
        table.add(BAD)
    assert (tmp_path / "t.csv").read_text() == (
        "case,available,ET_ml,TC_ml,WT_ml,seconds,warnings,error,labels,weights,settings,images,labels_sha256\n"
        'a,,,,,0.25,,"Expected a file, found none",,abc,,,\n'
        "b,flair+t2,0.500,1.250,12.000,1.50,T2 was resampled | the device was full,,b_seg.nii.gz,abc,1-2-4 raw auto,"
        "0a1b,def\n"
    )
    assert read_rows(tmp_path / "t.csv") == [replace(BAD, error="Expected a file, found none"), GOOD]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Bytes of a name that are not UTF-8, as Python hands them on."""
    row = replace(GOOD, case="M\udcfcller", labels="M\udcfcller_seg.nii.gz")
    with CohortTable(tmp_path / "t.csv") as table:
        table.add(row)
    assert b"M\xfcller," in (tmp_path / "t.csv").read_bytes()
    assert CohortTable(tmp_path / "t.csv").rows == {row.case: row}


def test_rows_are_on_the_disk_before_the_end(tmp_path: Path) -> None:
    def interrupted() -> None:
        with CohortTable(tmp_path / "t.csv") as table:
            table._written = -1e9  # the last writing is long ago
            table.add(GOOD)
            assert read_rows(tmp_path / "t.csv") == [GOOD]
            table.add(BAD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(read_rows(tmp_path / "t.csv")) == 2


def test_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    with CohortTable(tmp_path / "t.csv") as table:
        table.add(GOOD)
    lines = [line.split(",") for line in (tmp_path / "t.csv").read_text().splitlines()]
    (tmp_path / "t.csv").write_text("".join(",".join(cells[:-2]) + "\n" for cells in lines))
    assert read_rows(tmp_path / "t.csv") == [replace(GOOD, images="", labels_sha256="")]


@pytest.fixture
def files(tmp_path: Path) -> CaseFiles:
    """The case of `GOOD`, with its label map beside the table."""
    images = {modality: tmp_path / f"b_{modality.value}.nii" for modality in (FLAIR, T2)}
    for path in (*images.values(), tmp_path / GOOD.labels):
        path.write_text("")
    return CaseFiles("b", images)


def test_other_images_of_the_same_names_are_not_finished(tmp_path: Path, files: CaseFiles) -> None:
    table = CohortTable(tmp_path / "t.csv")
    table.rows = {"b": replace(GOOD, images=fingerprint(files.images))}
    asked = (GOOD.weights, GOOD.settings)
    assert table.is_finished(files, *asked)
    before = files.images[T2].stat().st_mtime_ns
    files.images[T2].write_text("of another patient")
    os.utime(files.images[T2], ns=(before, before))
    assert not table.is_finished(files, *asked)
    files.images[T2].write_text("")
    os.utime(files.images[T2], ns=(10**18, 10**18))  # older than the labels, as a copy may be
    assert not table.is_finished(files, *asked)


def test_an_edited_label_map_is_told(tmp_path: Path, files: CaseFiles) -> None:
    table, labels = CohortTable(tmp_path / "t.csv"), tmp_path / GOOD.labels
    for rows in ({}, {"b": replace(GOOD, labels_sha256="")}):  # of a run that was killed, and of an earlier version
        table.rows = rows
        labels.write_text("an expert's")
        assert table.was_edited(files)
        write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
        assert not table.was_edited(files)
    table.rows = {"b": replace(GOOD, labels_sha256=file_sha256(labels))}
    assert not table.was_edited(files)
    labels.write_text("corrected")
    assert table.was_edited(files)
    table.add(replace(BAD, case="b"))  # which must not forget what was written
    table.add(replace(BAD, case="b", error=table.rows["b"].error))
    assert table.rows["b"].error == f"{BAD.error} The label map there is of an earlier run."
    assert table.rows["b"].labels == GOOD.labels
    assert table.was_edited(files)
    assert not table.is_finished(files, GOOD.weights, GOOD.settings)
    labels.unlink()
    assert not table.was_edited(files)


def test_a_run_that_is_killed_does_not_blame_anybody(tmp_path: Path, files: CaseFiles) -> None:
    table, labels = CohortTable(tmp_path / "t.csv"), tmp_path / GOOD.labels
    write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    table.rows = {"b": replace(GOOD, labels_sha256=file_sha256(labels))}
    table.save()
    for name in ("b", "none yet", "m\udcfcller\n"):
        table.begin(name)
    with (tmp_path / "t.journal").open("a") as journal:
        journal.write('"cut of')
    assert not CohortTable(tmp_path / "t.csv").was_edited(files)
    write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)  # and then the kill
    with CohortTable(tmp_path / "t.csv") as again:
        assert not again.was_edited(files)
        assert list(again.rows) == ["b"]
        # Its volumes are not those of this label map, whatever weights they were of.
        assert not again.is_finished(files, GOOD.weights, GOOD.settings)
    assert "cut short" in CohortTable(tmp_path / "t.csv").rows["b"].error
    labels.write_text("an expert's")
    assert CohortTable(tmp_path / "t.csv").was_edited(files)


def test_who_corrects_a_case_that_is_in_the_table_is_spared(tmp_path: Path, files: CaseFiles) -> None:
    """By a program that keeps the header; the run has begun others, and was cut short then."""
    labels = tmp_path / GOOD.labels
    with CohortTable(tmp_path / "t.csv") as table:
        table.begin("b")
        write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
        table.add(replace(GOOD, labels_sha256=file_sha256(labels)))
        table.begin("c")
    write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    for _ in range(2):
        with CohortTable(tmp_path / "t.csv") as again:
            assert again.was_edited(files)
            again.begin("d")
            again.add(replace(BAD, case="d"))


def test_a_case_that_fails_behind_its_label_map_blames_nobody(tmp_path: Path, files: CaseFiles) -> None:
    labels = tmp_path / GOOD.labels
    write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    with CohortTable(tmp_path / "t.csv") as table:
        table.rows = {"b": replace(GOOD, labels_sha256=file_sha256(labels))}
        table.begin("b")
        write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
        table.add(replace(BAD, case="b"))
    again = CohortTable(tmp_path / "t.csv")
    assert not again.was_edited(files)
    assert not again.is_finished(files, GOOD.weights, GOOD.settings)
    assert again.rows["b"].error.startswith("Expected a file, found none")


def test_what_no_row_explains_is_put_aside_and_not_lost(tmp_path: Path, files: CaseFiles) -> None:
    """A run was killed before the worker wrote, and then an expert has corrected the label map."""
    labels = tmp_path / GOOD.labels
    write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    table = CohortTable(tmp_path / "t.csv")
    table.rows = {"b": replace(GOOD, labels_sha256=file_sha256(labels))}
    table.save()
    table.begin("b")
    write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    corrected = labels.read_bytes()
    with CohortTable(tmp_path / "t.csv") as again:
        again.begin("b")
        assert not labels.exists()
        again.add(replace(GOOD, labels_sha256="0"))
    assert (tmp_path / f"cut_short_{GOOD.labels}").read_bytes() == corrected


def test_who_corrects_a_case_that_was_never_begun_is_spared(tmp_path: Path, files: CaseFiles) -> None:
    """By a program that keeps the header, which says that this one wrote the file."""
    labels = tmp_path / GOOD.labels
    write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    with CohortTable(tmp_path / "t.csv") as table:
        table.rows = {"b": replace(GOOD, labels_sha256=file_sha256(labels))}
        table.begin("another")
    write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), labels, overwrite=True)
    with CohortTable(tmp_path / "t.csv") as table:
        assert table.was_edited(files)
        table.begin("another")
        table.add(replace(BAD, case="another"))
    assert CohortTable(tmp_path / "t.csv").was_edited(files)
    assert not (tmp_path / "t.journal").exists()


def test_what_is_finished(tmp_path: Path, files: CaseFiles) -> None:
    """By a row of an earlier version, which has the times of files only."""
    images = files.images
    table = CohortTable(tmp_path / "t.csv")
    good = replace(GOOD, images="")
    table.rows = {"b": good}
    asked = (GOOD.weights, GOOD.settings)
    assert table.is_finished(files, *asked)
    assert not table.is_finished(files, "other", GOOD.settings)
    assert not table.is_finished(files, GOOD.weights, "1-2-3 raw auto")
    assert not table.is_finished(CaseFiles("c", images), *asked)
    assert not table.is_finished(CaseFiles("b", images | {T1: images[T2]}), *asked)
    os.utime(images[T2], (2e9, 2e9))  # somebody has put another image there
    assert not table.is_finished(files, *asked)
    os.utime(images[T2], (1e9, 1e9))
    assert table.is_finished(files, *asked)
    table.rows = {"b": replace(good, error="broken")}
    assert not table.is_finished(files, *asked)
    table.rows = {"b": good}
    (tmp_path / GOOD.labels).unlink()
    assert not table.is_finished(files, *asked)


def test_label_maps_elsewhere_are_no_rows(tmp_path: Path) -> None:
    table = CohortTable(tmp_path / "t.csv")
    table.rows = {"b": replace(GOOD, labels="old/b_seg.nii.gz")}
    table.save()
    with pytest.raises(ShaSpecError, match="not beside it: old/b_seg"):
        CohortTable(tmp_path / "t.csv")


@pytest.mark.parametrize("content", ["", "case,dice\n", "\xff", "case,available,ET_ml,TC_ml,WT_ml,seconds,warnings,"])
def test_other_tables_are_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="latin-1")
    with pytest.raises(ShaSpecError, match="a table of napari-shaspec cohort"):
        CohortTable(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="latin-1") == content


def test_what_lies_beside_the_label_map_has_to_be_of_the_same_run(
    tmp_path: Path, files: CaseFiles, report: Report
) -> None:
    job = Job(tmp_path, tmp_path / "w", GOOD.weights, probabilities=True)
    labels, *maps = job.outputs(files).files()
    table = CohortTable(tmp_path / "t.csv")
    for second, path in enumerate((labels, *maps), 1000):
        path.write_text(path.name)
        os.utime(path, (second, second))
    row = replace(GOOD, images=fingerprint(files.images), settings=job.settings, labels_sha256=file_sha256(labels))
    table.rows = {"b": row}
    assert _is_finished(files, table, job)
    os.utime(maps[1], (10, 10))  # left from a run with other weights, or of another image
    assert not _is_finished(files, table, job)
    told = replace(job, report=True)
    table.rows = {"b": replace(row, settings=told.settings)}
    path = told.outputs(files).report_path()
    for sha256, finished in ((row.labels_sha256, True), ("of other labels", False)):
        path.write_text(replace(report, outputs={labels.name: sha256}).to_json())
        os.utime(path, (10, 10))  # a copy without times tells nothing, and the report does
        assert _is_finished(files, table, told) == finished
    path.unlink()
    assert not _is_finished(files, table, told)
