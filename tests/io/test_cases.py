"""Which files make up a case, in every layout, and what is said when they make none."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io import folders
from napari_shaspec.io.cases import case_files, find_cases, read_case, read_case_files
from napari_shaspec.io.folders import holds_nifti
from napari_shaspec.io.report import Report, file_sha256
from napari_shaspec.modalities import Modality

Save = Callable[..., Path]
FLAIR, T1, T1C, T2 = Modality
GLIOMA = Path(__file__).parents[3] / "shared" / "data" / "glioma"

LAYOUTS = {
    "BraTS 2020": (
        "BraTS20_Training_001/BraTS20_Training_001_{}.nii.gz",
        "flair t1 t1ce t2 seg",
        "BraTS20_Training_001",
    ),
    "BraTS 2023": ("BraTS-GLI-00000-000/BraTS-GLI-00000-000-{}.nii.gz", "t2f t1n t1c t2w seg", "BraTS-GLI-00000-000"),
    "BIDS": ("sub-01/anat/sub-01_{}.nii.gz", "FLAIR T1w ce-gd_T1w T2w dseg", "sub-01"),
    "BIDS session": ("sub-01/ses-2/anat/sub-01_ses-2_{}.nii", "FLAIR T1w ce-gd_T1w T2w dseg", "sub-01_ses-2"),
    "clinical": ("patient 7/{}.nii.gz", "dark-fluid;T1 pre;AX_T1_POST;T2_TSE;labels", "patient 7"),
}


@pytest.fixture
def save_case(save: Save, image: NDArray[np.float32], tmp_path: Path) -> Callable[..., Path]:
    """Write files that hold 1, 2, 3, ... plus noise, and return the first folder below the test's own."""

    def write(pattern: str, names: str) -> Path:
        kinds = names.split(";") if ";" in names else names.split()
        for index, kind in enumerate(kinds):
            label_map = kind in {"seg", "dseg", "labels"}
            save(pattern.format(kind), 2 * (image > 100).astype(np.uint8) if label_map else image + index)
        return tmp_path / Path(pattern).parts[0]

    return write


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_case_folder(save_case: Callable[..., Path], image: NDArray[np.float32], layout: str) -> None:
    pattern, names, name = LAYOUTS[layout]
    case = read_case(save_case(pattern, names))
    assert (case.name, list(case.images), case.notes) == (name, list(Modality), ())
    for index, modality in enumerate(Modality):
        np.testing.assert_array_equal(case.images[modality].data, image + index)
        assert case.files[modality].is_file()
    assert case.truth is not None
    np.testing.assert_array_equal(case.truth.data, 2 * (image > 100))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_given_one_by_one(save_case: Callable[..., Path], layout: str) -> None:
    pattern, names, name = LAYOUTS[layout]
    files = sorted(save_case(pattern, names).rglob("*.nii*"), reverse=True)
    case = case_files(*map(str, files))
    assert list(case.images) == list(Modality)
    assert case.truth is not None
    assert case.name == name
    assert case_files(case.images[T1C]).name == name


def test_any_subset_with_or_without_a_label_map(save_case: Callable[..., Path]) -> None:
    case = read_case(save_case("a/a_{}.nii", "t1ce t2"))
    assert (case.available, case.truth) == ({T1C, T2}, None)


def test_modalities_named_by_the_caller(save: Save, image: NDArray[np.float32]) -> None:
    path = save("x/IM-0001.nii", image)
    truth = save("x/drawn.nii", (image > 100).astype(np.uint8))
    case = read_case_files({T2: path}, truth)
    assert (case.name, case.available, case.files) == ("IM-0001", {T2}, {T2: path})
    assert case.truth is not None
    assert read_case_files({T2: str(path)}, name="n").name == "n"
    with pytest.raises(ShaSpecError, match="no NIfTI file"):
        read_case_files({})


@pytest.fixture
def save_report(save_case: Callable[..., Path], report: Report) -> Callable[..., Path]:
    """A case whose folder holds the label map of an export and its report; the case's folder."""

    def write(name: str = "seg", *, edited: bool = False) -> Path:
        folder = save_case("a/a_{}.nii", "flair t1 seg")
        labels = (folder / "a_seg.nii").rename(folder / f"a_{name}.nii")
        described = replace(report, edited=edited, outputs={labels.name: file_sha256(labels)})
        labels.with_suffix(".json").write_text(described.to_json())
        return folder

    return write


def test_a_template_among_patients_hides_none_of_them(save_case: Callable[..., Path], save: Save) -> None:
    for name in ("p1", "p2"):
        save_case(f"all/{name}/{name}_{{}}.nii", "flair t1")
    folder = save("all/template_t1.nii", np.ones((2, 3, 4), np.float32)).parent
    assert [case.name for case in find_cases(folder)] == ["template", "p1", "p2"]
    assert case_files(folder).name == "template"  # one case was asked for, and the images lie there


def test_what_the_network_made_of_an_image_is_not_the_image(save_report: Callable[..., Path]) -> None:
    folder = save_report("flair_only")
    files = case_files(folder)
    assert files.images == {FLAIR: folder / "a_flair.nii", T1: folder / "a_t1.nii"}
    assert files.own_answers == (folder / "a_flair_only.nii",)


def test_what_the_network_made_is_nothing_to_compare_it_with(save_report: Callable[..., Path]) -> None:
    folder = save_report()
    case = read_case(folder)
    assert (case.truth, case.truth_file) == (None, None)
    assert case.notes == ("no label map to compare with, because the network made it: a_seg.nii",)
    assert pickle.loads(pickle.dumps(case_files(folder))).own_answers == (folder / "a_seg.nii",)  # noqa: S301
    # An expert's label map beside it is the one that counts.
    (folder / "a_tumor_segmentation.nii").write_bytes((folder / "a_seg.nii").read_bytes())
    assert read_case(folder).truth_file == folder / "a_tumor_segmentation.nii"


def test_what_somebody_has_corrected_is_a_reference(save_report: Callable[..., Path], save: Save) -> None:
    folder = save_report(edited=True)
    assert read_case(folder).truth_file == folder / "a_seg.nii"
    folder = save_report()
    save("a/a_seg.nii", np.zeros((5, 6, 7), np.uint8))  # by another program: the hash of the report is another
    assert case_files(folder).truth == folder / "a_seg.nii"
    (folder / "a_seg.json").write_text("{}")  # as beside a file of BIDS
    assert case_files(folder).truth == folder / "a_seg.nii"


def test_what_is_no_modality_is_ignored_with_a_note(save_case: Callable[..., Path]) -> None:
    folder = save_case("a/a_{}.nii", "flair ADC brain_mask")
    (folder / "a.json").write_text("{}")
    (folder / "._a_t1.nii").write_text("left by macOS")
    assert read_case(folder).notes == ("ignored, because their names name no modality: a_ADC.nii, a_brain_mask.nii",)
    with pytest.raises(ShaSpecError, match=r"found a_ADC.nii\..*say which modality"):
        read_case(folder / "a_flair.nii", folder / "a_ADC.nii")


@pytest.mark.parametrize("given", ["folder", "files"])
def test_one_modality_twice(save_case: Callable[..., Path], given: str) -> None:
    folder = save_case("a/a_{}.nii", "t1ce t1_gd")
    paths = [folder] if given == "folder" else sorted(folder.iterdir())
    with pytest.raises(ShaSpecError, match=r"T1c twice, a_t1_gd.nii and a_t1ce.nii"):
        read_case(*paths)


@pytest.mark.parametrize(
    ("names", "found"),
    [("sub-01_FLAIR sub-02_T1w", "sub-01, sub-02"), ("sub-1_ses-a_FLAIR sub-1_ses-b_T1w", "ses-a, ses-b")],
)
def test_bids_names_of_two_patients_or_visits_are_no_case(
    save_case: Callable[..., Path], names: str, found: str
) -> None:
    folder = save_case("p/{}.nii.gz", names)
    for given in ([folder], sorted(folder.iterdir())):
        with pytest.raises(ShaSpecError) as caught:
            read_case(*given)
        assert caught.value.found == found
    (only,) = find_cases(folder)
    assert only.refusal is not None


def test_refused_bids_cases_are_called_after_patient_and_visit(save_case: Callable[..., Path], tmp_path: Path) -> None:
    for place in ("sub-01/ses-1", "sub-01/ses-2", "sub-02"):
        save_case(f"{place}/anat/{{}}.nii.gz", "T1w T1")
    assert [case.name for case in find_cases(tmp_path)] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]


@pytest.mark.parametrize(
    ("names", "begins"),
    [
        ("P1_flair P2_t1", "P1, P2"),
        ("Miller_FLAIR Smith_T1 T2", "Miller, Smith"),
        ("301_FLAIR 401_T1", ""),  # series, as scanners number them
        ("P01_301_FLAIR P01_2001_T1C", ""),
        ("P1_2020_FLAIR P1_2021_T1C", "P1_2020, P1_2021"),
        ("P1_5_AX_FLAIR p1_3_SAG_T1", ""),
        ("Series5_FLAIR s005a1001_T1", ""),
        ("reg_FLAIR P_001_T1 P-001_T2", ""),
        ("P_001_T1 P_002_T2", "P_001, P_002"),
        ("sub-1_FLAIR sub-1_ses-b_T1w", "sub-1, sub-1_ses-b"),
    ],
)
def test_names_that_begin_differently_are_noted(save_case: Callable[..., Path], names: str, begins: str) -> None:
    notes = read_case(save_case("p/{}.nii.gz", names)).notes
    said = f"the names begin differently ({begins}): check that all are of one patient and visit"
    assert notes == ((said,) if begins else ())


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_a_link_to_nothing_is_no_missing_modality(save_case: Callable[..., Path]) -> None:
    folder = save_case("p/p_{}.nii.gz", "flair t1 seg")
    for name in ("p_flair.nii.gz", "p_seg.nii.gz"):
        there = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).symlink_to("../annex/SHA-1.nii.gz")
        for given in ([folder], [folder / name]):
            with pytest.raises(ShaSpecError) as caught:
                read_case(*given)
            assert name in caught.value.expected
            assert "where nothing is" in caught.value.found
        (folder / name).unlink()
        (folder / name).write_bytes(there)
    (folder / "p_bold.nii.gz").symlink_to("nowhere")  # of no interest
    assert list(read_case(folder).images) == [FLAIR, T1]


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_links_hide_nothing_that_lies_deep(save_case: Callable[..., Path], tmp_path: Path) -> None:
    save_case("root/z/p2/p2_{}.nii", "flair")
    save_case("root/z/site/p1/p1_{}.nii", "flair")
    without = [case.images for case in find_cases(tmp_path / "root")]
    (tmp_path / "root" / "a" / "notes").mkdir(parents=True)
    (tmp_path / "root" / "a" / "notes" / "data").symlink_to(tmp_path / "root" / "z")
    assert [case.images for case in find_cases(tmp_path / "root")] == without
    assert len(without) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
@pytest.mark.parametrize("links", ["root/z", "root/z root/a/b/c/data", "root/a/b/c/data root/b/z"])
def test_of_several_links_the_one_that_leads_deepest_counts(
    save_case: Callable[..., Path], tmp_path: Path, links: str
) -> None:
    save_case("elsewhere/site/p1/p1_{}.nii", "flair")
    save_case("root/y/p9/p9_{}.nii", "flair")
    for link in links.split():
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    found = find_cases(tmp_path / "root")
    assert sorted(case.name for case in found) == ["p1", "p9"]
    folders = [case.images[FLAIR].parent for case in found]
    assert folders == sorted(folders)


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_a_short_way_by_a_link_finds_what_lies_too_deep(save_case: Callable[..., Path], tmp_path: Path) -> None:
    save_case("root/a/b/c/d/e/p1_{}.nii", "flair")
    save_case("root/a/p0/p0_{}.nii", "flair")
    (tmp_path / "root" / "short").symlink_to(tmp_path / "root" / "a" / "b" / "c" / "d")
    assert [case.name for case in find_cases(tmp_path / "root")] == ["p0", "p1"]


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_a_folder_that_links_lead_to_is_one_case(save_case: Callable[..., Path], tmp_path: Path) -> None:
    patient = save_case("data/p1/p1_{}.nii", "flair") / "p1"
    (tmp_path / "data" / "all").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "latest").symlink_to(patient)
    assert [case.name for case in find_cases(tmp_path / "data")] == ["p1"]
    assert list(read_case(tmp_path / "data").images) == [FLAIR]
    assert [case.name for case in find_cases(tmp_path / "data" / "latest")] == ["p1"]
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "second").symlink_to(patient)  # a folder of links alone
    assert [case.images[FLAIR].parent.name for case in find_cases(tmp_path / "chosen")] == ["second"]


def test_one_bad_folder_does_not_hide_the_good_ones(save_case: Callable[..., Path], tmp_path: Path) -> None:
    save_case("data/a/a_{}.nii", "t1ce t1_gd")
    save_case("data/b/b_{}.nii", "flair")
    bad, good = find_cases(tmp_path / "data")
    assert (bad.name, good.name) == ("a", "b")
    with pytest.raises(ShaSpecError, match="T1c twice"):
        bad.read()
    assert good.read().name == "b"


def test_two_label_maps_are_for_nobody_who_compares(save_case: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match=r"at most one label map.*a_labels.nii, a_seg.nii"):
        read_case(save_case("a/a_{}.nii", "flair seg labels"))
    found = case_files(tmp_path / "a")
    assert found.images_only().read().truth is None
    there = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert there.refusal_to_compare.found == "a_labels.nii, a_seg.nii"


def test_a_visit_within_a_visit_is_told(save_case: Callable[..., Path], tmp_path: Path) -> None:
    save_case("a/p1/p1_{}.nii", "flair t1")
    save_case("a/p1/followup/p1_{}.nii", "flair")
    save_case("a/p1/notes/p1_{}.nii", "adc")
    (case,) = find_cases(tmp_path / "a")
    assert [path.name for path in case.inside] == ["followup"]
    assert any(note.endswith("unless they are given by themselves: followup") for note in case.read().notes)


def test_equal_names_get_numbers(save_case: Callable[..., Path], tmp_path: Path) -> None:
    """A folder's name may be that of other folders' images."""
    for place in ("data/A/P_{}.nii", "data/B/P_{}.nii", "data/C/A_{}.nii", "data/D/A_2_{}.nii"):
        save_case(place, "flair")
    assert [case.name for case in find_cases(tmp_path / "data")] == ["A", "B", "A_2", "A_2_2"]


@pytest.mark.parametrize(
    ("names", "left_aside"),
    [
        ("UCSF-PDGM-0004_{}.nii.gz:FLAIR FLAIR_bias T1_bias T1 SWI SWI_bias tumor_segmentation", "FLAIR T1"),
        ("TCGA-02-0003_{}.nii:flair t1 GlistrBoost GlistrBoost_ManuallyCorrected", "GlistrBoost"),
        ("a_{}.nii:flair t1_bias t1 T1_BIAS_2", ""),
    ],
)
def test_what_lies_there_corrected_as_well_is_left_aside(
    save_case: Callable[..., Path], names: str, left_aside: str
) -> None:
    pattern, kinds = names.split(":")
    folder = save_case(f"a/{pattern}", kinds)
    if not left_aside:
        with pytest.raises(ShaSpecError, match="T1 twice"):
            case_files(folder)
        return
    found = case_files(folder)
    assert {path.name for path in found.superseded} == {pattern.format(kind) for kind in left_aside.split()}
    assert list(found.images) == [FLAIR, T1]
    assert found.truth is not None
    assert not {*found.images.values(), found.truth} & set(found.superseded)
    (note,) = [each for each in found.images_only().read().notes if "corrected" in each]
    assert note.startswith("left aside for a corrected version of the same: ")
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301


def test_modalities_are_named_as_anywhere(save_case: Callable[..., Path]) -> None:
    folder = save_case("a/{}.nii", "x y")
    assert read_case_files({"FLAIR": folder / "x.nii", "t1ce": folder / "y.nii"}).available == {FLAIR, T1C}
    with pytest.raises(ShaSpecError, match="found 'pd'"):
        read_case_files({"pd": folder / "x.nii"})
    with pytest.raises(ShaSpecError, match="each modality once, found t1c, t1ce"):
        read_case_files({"t1c": folder / "x.nii", "t1ce": folder / "y.nii"})


def test_no_modality(save_case: Callable[..., Path], tmp_path: Path) -> None:
    folder = save_case("a/{}.nii", "ADC seg brain")
    with pytest.raises(ShaSpecError, match=r"found only ADC.nii, brain.nii, seg.nii. Name the files like case_flair"):
        read_case(folder)
    with pytest.raises(ShaSpecError, match=r"found only seg.nii"):
        read_case(folder / "seg.nii")
    with pytest.raises(ShaSpecError, match="no NIfTI file"):
        read_case()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShaSpecError, match="no NIfTI file"):
        read_case(tmp_path / "empty")
    with pytest.raises(ShaSpecError, match="found nothing"):
        read_case(tmp_path / "missing")


def test_a_folder_is_given_by_itself(save_case: Callable[..., Path]) -> None:
    folder = save_case("a/a_{}.nii", "flair t1")
    with pytest.raises(ShaSpecError, match="found 2 paths"):
        read_case(folder, folder / "a_flair.nii")


def test_a_folder_of_many_cases_is_no_case(save_case: Callable[..., Path], tmp_path: Path) -> None:
    for visit in "12":
        save_case("sub-01/ses-" + visit + "/anat/sub-01_ses-" + visit + "_{}.nii", "FLAIR T1w")
    with pytest.raises(ShaSpecError, match="found 2: sub-01_ses-1, sub-01_ses-2"):
        read_case(tmp_path / "sub-01")
    assert read_case(tmp_path / "sub-01" / "ses-2").name == "sub-01_ses-2"


def test_cases_below_a_folder_are_sorted_and_not_read(save_case: Callable[..., Path], tmp_path: Path) -> None:
    save_case("data/LGG/c/c_{}.nii", "t1 t2")
    save_case("data/HGG/b/b_{}.nii", "t1 seg")
    save_case("data/HGG/a/a_{}.nii", "flair ADC")
    save_case("data/.hidden/d/d_{}.nii", "flair")
    (tmp_path / "data" / "HGG" / "a" / "a_t2.nii").write_text("broken")
    cases = find_cases(tmp_path / "data")
    assert [case.name for case in cases] == ["a", "b", "c"]
    assert [case.truth is not None for case in cases] == [False, True, False]
    assert [path.name for path in cases[0].ignored] == ["a_ADC.nii"]
    with pytest.raises(ShaSpecError, match="a_t2"):
        cases[0].read()
    assert cases[1].read().available == {T1}
    assert pickle.loads(pickle.dumps(cases[1])) == cases[1]  # noqa: S301
    assert find_cases(tmp_path / "data" / "HGG" / "b") == (cases[1],)


def test_equal_names_give_way_to_folders(save_case: Callable[..., Path], tmp_path: Path) -> None:
    save_case("data/p1/visit1/p1_{}.nii", "t1")
    save_case("data/p1/visit2/p1_{}.nii", "t1")
    save_case("data/p2/p2_{}.nii", "t1")
    assert [case.name for case in find_cases(tmp_path / "data")] == ["p1_visit1", "p1_visit2", "p2"]


def test_no_cases(tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match="and the folders in it"):
        find_cases(tmp_path)
    with pytest.raises(ShaSpecError, match="folder of cases"):
        find_cases(tmp_path / "missing")


@pytest.mark.skipif(not GLIOMA.is_dir(), reason="needs ../shared/data/glioma, two real cases")
def test_real_cases() -> None:
    cases = find_cases(GLIOMA)
    assert [case.name for case in cases] == ["TCGA-DU-7294", "TCGA-FG-6692"]
    case = cases[0].read()
    assert (case.grid.shape, case.available, case.notes) == ((240, 240, 155), frozenset(Modality), ())
    assert case.truth is not None
    assert set(np.unique(case.truth.data)) == {0, 1, 2}


def fail_at(place: Path, name: str, error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this method of `Path` raises an error at this place; tests run as root, who may do everything."""
    method = getattr(Path, name)

    def failing(path: Path) -> object:
        if path == place:
            raise error
        return method(path)

    monkeypatch.setattr(Path, name, failing)


def test_a_folder_that_cannot_be_looked_into_hides_no_other(
    save_case: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, names, name = LAYOUTS["BraTS 2020"]
    save_case(pattern, names)
    locked = tmp_path / "lost+found"
    locked.mkdir()
    fail_at(locked, "iterdir", PermissionError(13, "Permission denied", str(locked)), monkeypatch)
    good, refused = find_cases(tmp_path)
    assert (good.name, len(good.images)) == (name, 4)
    assert "Permission denied" in str(refused.refusal)
    with pytest.raises(ShaSpecError, match=r"to look into the folder .*lost\+found, found Permission denied"):
        read_case(locked)
    assert read_case(tmp_path).name == name  # it is no second case either


def test_a_place_that_cannot_be_reached_hides_no_other(
    save_case: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, names, name = LAYOUTS["BraTS 2020"]
    save_case(pattern, names)
    gone = tmp_path / "mount"
    gone.mkdir()
    fail_at(gone, "is_dir", OSError(107, "Transport endpoint is not connected", str(gone)), monkeypatch)
    assert [case.name for case in find_cases(tmp_path)] == [name]


def test_whether_a_folder_holds_images_is_known_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath("HGG", "a", "ses", "anat")
    deep.mkdir(parents=True)
    assert not holds_nifti(tmp_path)
    assert not holds_nifti(tmp_path / "none")
    (tmp_path / ".hidden.nii").touch()
    (tmp_path / "array.zarr").mkdir()
    (tmp_path / "array.zarr" / "a.nii").touch()
    assert not holds_nifti(tmp_path)
    (deep / "A_FLAIR.NII.GZ").touch()
    assert holds_nifti(tmp_path)
    for number in range(20):
        (tmp_path / f"{number}.txt").touch()
    monkeypatch.setattr(folders, "MOST_ENTRIES", 15)
    assert not holds_nifti(tmp_path)


def test_names_differ_in_more_than_upper_case(save_case: Callable[..., Path], tmp_path: Path) -> None:
    """Label maps are named by them, on disks that see no difference, too."""
    for pattern in ("data/HGG/Case1/Case1_{}.nii", "data/LGG/case1/case1_{}.nii", "data/x/CASE1/CASE1_{}.nii"):
        save_case(pattern, "flair")
    names = [case.name.casefold() for case in find_cases(tmp_path / "data")]
    assert len(set(names)) == 3
