"""Which affine counts, and how it travels to a new file; nibabel is the reference for healthy headers."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.orientation import affine_of, header_for

SHAPE = (20, 30, 40)
TURNED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.9) @ np.diag([0.9, 1.1, 5]), [-90, 20, 7])
SHEARED = np.array([[2, 0.5, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1.0]])


def header_of(
    sform: NDArray[np.float64] = TURNED, qform: NDArray[np.float64] = TURNED, codes: tuple[int, int] = (1, 1)
) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_qform(qform, codes[1])
    header.set_sform(sform, codes[0])
    header.set_xyzt_units("mm")
    return header


@pytest.mark.parametrize("codes", list(product(range(5), range(5))))
def test_the_form_that_counts_is_nibabels(codes: tuple[int, int]) -> None:
    header = header_of(sform=TURNED, qform=np.diag([2, 2, 2, 1]), codes=codes)
    affine, _ = affine_of(header, SHAPE)
    np.testing.assert_allclose(affine, header.get_best_affine(), atol=1e-4)


@pytest.mark.parametrize("codes", [(6, 0), (257, 1), (0, 6), (7, 10), (1, 6)])
def test_codes_that_nifti_does_not_know_are_written_as_aligned(codes: tuple[int, int]) -> None:
    """nibabel writes them as 0, and the image would lie elsewhere."""
    header = header_of()
    header["sform_code"], header["qform_code"] = codes
    affine, _ = affine_of(header, SHAPE)
    np.testing.assert_allclose(affine, TURNED, atol=1e-4)
    moved = affine.copy()
    moved[:3, 3] += 5
    for place in (affine, moved):  # its own grid, and another
        written = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), None, header_for(header, place, SHAPE))
        read = nib.Nifti1Image.from_bytes(written.to_bytes())
        np.testing.assert_allclose(affine_of(read.header, SHAPE)[0], place, atol=1e-3)
        expected = [code if code <= 5 else 2 for code in codes]
        assert [int(read.header["sform_code"]), int(read.header["qform_code"])] == expected


def test_agreeing_forms_need_no_note() -> None:
    assert affine_of(header_of(), SHAPE)[1] == ()


def test_disagreement_is_reported_in_mm_and_the_sform_wins() -> None:
    moved = TURNED.copy()
    moved[1, 3] += 3.5
    affine, notes = affine_of(header_of(qform=moved), SHAPE)
    np.testing.assert_allclose(affine, TURNED, atol=1e-4)
    assert notes == ("sform and qform disagree by up to 3.5 mm; the sform was used",)


def test_without_codes_the_voxel_sizes_count_and_a_note_warns() -> None:
    affine, notes = affine_of(header_of(codes=(0, 0)), SHAPE)
    np.testing.assert_allclose(np.abs(np.diag(affine)[:3]), [0.9, 1.1, 5], rtol=1e-5)
    assert "no orientation" in notes[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_broken_sform_gives_way_to_the_qform(value: float) -> None:
    header = header_of()
    header["srow_x"] = value
    affine, notes = affine_of(header, SHAPE)
    np.testing.assert_allclose(affine, header.get_qform(), atol=1e-4)
    assert notes == ("the sform is not usable and was ignored",)


@pytest.mark.parametrize(("field", "value"), [("quatern_b", np.nan), ("quatern_b", 2.0), ("qoffset_x", np.inf)])
def test_a_broken_qform_is_ignored(field: str, value: float) -> None:
    header = header_of()
    header[field] = value
    affine, notes = affine_of(header, SHAPE)
    np.testing.assert_allclose(affine, TURNED, atol=1e-4)
    assert notes == ("the qform is not usable and was ignored",)
    written = header_for(header, affine, SHAPE)
    assert (int(written["sform_code"]), int(written["qform_code"])) == (1, 0), "a broken form is not passed on"


def test_nothing_usable_is_an_error() -> None:
    header = header_of(codes=(1, 0))
    header["srow_z"] = header["srow_y"]
    with pytest.raises(ShaSpecError, match="found an unusable sform"):
        affine_of(header, SHAPE)


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_units_become_millimetres_and_stay_in_the_file(unit: str, scale: float) -> None:
    stored = TURNED.copy()
    stored[:3] /= scale
    header = header_of(stored, stored)
    header.set_xyzt_units(unit, "sec")
    affine, notes = affine_of(header, SHAPE)
    np.testing.assert_allclose(affine, TURNED, atol=1e-3)
    assert bool(notes) == (scale != 1)
    written = header_for(header, affine, SHAPE)
    assert written.get_xyzt_units() == (unit, "sec")
    np.testing.assert_array_equal(written.get_sform(), header.get_sform())


@pytest.mark.parametrize("size", [1e-3, 60.0])
def test_impossible_voxel_sizes_are_refused(size: float) -> None:
    broken = np.diag([size, 1, 1, 1])
    with pytest.raises(ShaSpecError, match=r"voxels of 0.01 to 50 mm.*20 x 30 x 40 voxels of"):
        affine_of(header_of(broken, broken), SHAPE)


def test_an_impossible_extent_is_refused() -> None:
    broken = np.diag([1, 1, 30.0, 1])
    with pytest.raises(ShaSpecError, match="at most 1000 mm"):
        affine_of(header_of(broken, broken), SHAPE)


@pytest.mark.parametrize("codes", list(product(range(5), range(5))))
def test_forms_and_codes_travel_to_the_bit(codes: tuple[int, int]) -> None:
    source = header_of(codes=codes)
    written = header_for(source, affine_of(source, SHAPE)[0], SHAPE)
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_z", "xyzt_units"):
        np.testing.assert_array_equal(written[field], source[field])
    np.testing.assert_array_equal(written["pixdim"][:4], source["pixdim"][:4])


def test_nothing_else_of_the_source_travels() -> None:
    source = header_of()
    source["descrip"], source["scl_slope"], source["cal_max"], source["intent_code"] = b"scanner", 3, 9, 2
    written = header_for(source, TURNED, SHAPE)
    assert (written["descrip"], written["cal_max"], written["intent_code"]) == (b"", 0, 0)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (3, 2)])
def test_on_another_grid_the_codes_stay(codes: tuple[int, int]) -> None:
    moved = TURNED.copy()
    moved[0, 3] += 50
    written = header_for(header_of(codes=codes), moved, SHAPE)
    assert (int(written["sform_code"]), int(written["qform_code"])) == codes
    np.testing.assert_allclose(affine_of(written, SHAPE)[0], moved, atol=1e-4)
    assert affine_of(written, SHAPE)[1] == ()


@pytest.mark.parametrize("affine", [TURNED, SHEARED])
def test_without_a_source_the_affine_is_kept(affine: NDArray[np.float64]) -> None:
    written = header_for(None, affine, SHAPE)
    found, notes = affine_of(written, SHAPE)
    np.testing.assert_allclose(found, affine, atol=1e-4)
    assert notes == ()
    assert written.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(written.get_zooms(), np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-5)


def test_all_48_orientations_come_through() -> None:
    orientations = [
        np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)])
        for axes in permutations(range(3))
        for flips in product((1, -1), repeat=3)
    ]
    assert len(orientations) == 48
    for orientation in orientations:
        affine = TURNED @ nib.orientations.inv_ornt_aff(orientation, SHAPE)
        written = header_for(None, affine, SHAPE)
        np.testing.assert_allclose(affine_of(written, SHAPE)[0], affine, atol=1e-4)
        np.testing.assert_allclose(written.get_qform(), affine, atol=2e-2)
