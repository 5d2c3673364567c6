"""Which cases train and which validate, and what is wrong with a file that says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality
from napari_shaspec.training.splits import read_split, split_cases, write_split

REFUSAL = ShaSpecError("each modality once", "T1 twice", "Remove one")


@pytest.fixture
def cases() -> list[CaseFiles]:
    """Twenty labelled ones."""
    return [CaseFiles(f"case-{index:02d}", {Modality.T1: Path("t1.nii")}, Path("seg.nii")) for index in range(20)]


def names(part: list[CaseFiles]) -> list[str]:
    return [files.name for files in part]


def test_a_tenth_validates(cases: list[CaseFiles]) -> None:
    training, validation = split_cases(cases, seed=3)
    assert len(validation) == 2
    assert sorted(names([*training, *validation])) == names(cases)
    assert names(split_cases(cases, seed=3)[1]) == names(validation)
    assert len({tuple(names(split_cases(cases, seed)[1])) for seed in range(5)}) > 1


@pytest.mark.parametrize("pattern", ["BraTS-GLI-{:05d}-{}", "UPENN-GBM-{:05d}_{}", "P{}_week_{}", "a{}-tp{}-0"])
def test_visits_of_a_patient_are_in_one_part(pattern: str, tmp_path: Path, cases: list[CaseFiles]) -> None:
    visits = {"BraTS": "100 101 102", "UPENN": "11 21 22"}.get(pattern[:5], "1 2 3").split()
    several = [replace(cases[0], name=pattern.format(patient, visit)) for patient in range(10) for visit in visits]
    for seed in range(5):
        split = split_cases(several, seed)
        patients = [{several.index(files) // 3 for files in part} for part in split]
        assert not patients[0] & patients[1]
        assert (len(split[1]), len(split[0])) == (3, 27)
    leaky = (split[0][1:], [*split[1], split[0][0]])
    write_split(leaky, tmp_path / "split.json")
    with pytest.warns(UserWarning, match="trains and validates on"):
        assert read_split(tmp_path / "split.json", several) == leaky


def test_patients_are_told_by_folders_and_bids_too() -> None:
    folders = [Path(f"study/patient-{patient}/week-{week}/t1.nii") for patient in "ab" for week in (1, 2)]
    for files in (
        [CaseFiles(f"week-{number}", {Modality.T1: path}, path) for number, path in enumerate(folders)],
        [CaseFiles(f"sub-{path.parts[1][-1]}_{path.parts[2]}", {Modality.T1: path}, path) for path in folders],
        [CaseFiles(f"x{n}", {Modality.T1: Path(f"sub-{n // 2}_ses-{n}_T1w.nii")}, folders[0]) for n in range(4)],
    ):
        for seed in range(4):
            training, validation = split_cases(files, seed)
            assert [sorted(files.index(case) // 2 for case in part) for part in (training, validation)] in (
                [[0, 0], [1, 1]],
                [[1, 1], [0, 0]],
            )
    with pytest.raises(ShaSpecError, match="at least two patients with a label map, found 2 cases of 1"):
        split_cases(files[:2], 0)


def test_too_few_labelled_cases(cases: list[CaseFiles]) -> None:
    unlabelled = [replace(files, truth=None) for files in cases[1:]]
    with pytest.raises(ShaSpecError, match="at least two patients with a label map"):
        split_cases([cases[0], *unlabelled], seed=0)


def test_a_bad_case_stops_the_run_before_it_starts(cases: list[CaseFiles]) -> None:
    with pytest.raises(ShaSpecError, match="Remove one"):
        split_cases([*cases, replace(cases[0], refusal=REFUSAL)], seed=0)


def test_a_split_is_read_as_it_was_written(tmp_path: Path, cases: list[CaseFiles]) -> None:
    split = split_cases(cases, seed=1)
    write_split(split, tmp_path / "split.json")
    assert read_split(tmp_path / "split.json", cases) == split
    with pytest.raises(ShaSpecError, match="no file at"):
        write_split(split, tmp_path / "split.json")


def test_a_split_may_leave_cases_out_even_bad_ones(tmp_path: Path, cases: list[CaseFiles]) -> None:
    bad = replace(cases[5], refusal=REFUSAL)
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["case-03", "case-01"], "validation": ["case-02"]}))
    training, validation = read_split(path, [*cases[:5], bad])
    assert (names(training), names(validation)) == (["case-03", "case-01"], ["case-02"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"train": ["case-00", "case-77"], "validation": ["case-01"]}', "none named case-77"),
        ('{"train": ["case-00"], "validation": ["case-00"]}', "each case once in split.json, found case-00 twice"),
        ('{"train": ["case-00", "case-00"], "validation": ["case-01"]}', "case-00 twice"),
        ('{"train": ["case-00"], "validation": ["bare"]}', "none for bare. Add label maps"),
        ('{"train": ["case-00"], "validation": ["bad"]}', "T1 twice"),
        ('{"train": [], "validation": ["case-01"]}', "one or more case names in 'train'"),
        ('{"train": "case-00", "validation": ["case-01"]}', "one or more case names in 'train'"),
        ('{"train": ["case-00"], "validation": [1]}', "one or more case names in 'validation'"),
        ('{"train": ["case-00"]}', "a split like"),
        ("[]", "a split like"),
        ("train: case-00", "a split like"),
    ],
)
def test_what_can_be_wrong_with_a_split(tmp_path: Path, cases: list[CaseFiles], text: str, message: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    bare, bad = replace(cases[8], name="bare", truth=None), replace(cases[9], name="bad", refusal=REFUSAL)
    with pytest.raises(ShaSpecError, match=message):
        read_split(path, [*cases, bare, bad])
