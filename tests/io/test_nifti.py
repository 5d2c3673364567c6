"""Images and label maps in, results out on the grid of their source; nibabel is the reference."""

import gzip
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.nifti import check_writable, read_labels, read_volume, write_volume
from napari_shaspec.volume import Volume

Save = Callable[..., Path]
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.9) @ np.diag([0.9, 1.1, 5]), [-90, 20, 7])
AFFINES = {
    f"{''.join(map(str, axes))}{''.join('+' if flip > 0 else '-' for flip in flips)}": OBLIQUE
    @ nib.orientations.inv_ornt_aff(np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)]), (5, 6, 7))
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
}
KINDS = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_read_as_float32(tmp_path: Path, kind: str, suffix: str) -> None:
    data = np.random.default_rng(1).integers(0, 100, (3, 4, 5)).astype(kind)
    path = tmp_path / f"a.{suffix}"
    nib.Nifti1Image(data, OBLIQUE, dtype=kind).to_filename(path)
    volume, notes = read_volume(path)
    assert (volume.data.dtype, notes) == (np.float32, ())
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, nib.load(path).affine)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_byte_orders_and_both_versions(tmp_path: Path, order: str, kind: type[nib.Nifti1Image]) -> None:
    data = np.random.default_rng(1).integers(-99, 99, (3, 4, 5)).astype(np.int16)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    kind(data, OBLIQUE, header).to_filename(tmp_path / "a.nii.gz")
    volume, _ = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.data, data)
    write_volume(volume, tmp_path / "b.nii.gz")
    assert isinstance(nib.load(tmp_path / "b.nii.gz"), kind)
    np.testing.assert_array_equal(nib.load(tmp_path / "b.nii.gz").affine, nib.load(tmp_path / "a.nii.gz").affine)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 3.0), (0.0, 7.0), (np.nan, np.nan), (-2.0, 0.0), (1.0, -4.0)])
def test_slope_and_intercept(save: Save, slope: float, intercept: float) -> None:
    path = save("a.nii.gz", np.arange(24, dtype=np.int16).reshape(2, 3, 4), scl_slope=slope, scl_inter=intercept)
    np.testing.assert_allclose(read_volume(path)[0].data, nib.load(path).get_fdata())


@pytest.mark.parametrize(("highest", "doubted"), [(4, True), (1, True), (5, False), (3.5, False)])
def test_an_image_that_looks_like_a_label_map_is_noted(save: Save, highest: float, doubted: bool) -> None:
    data = np.zeros((2, 3, 4), np.float32)
    data[0, 1] = highest
    _, notes = read_volume(save("tumour_T1.nii.gz", data))
    said = (f"tumour_T1.nii.gz: only whole numbers up to {highest:g}, as a label map has: is it an image?",)
    assert notes == (said if doubted else ())


def test_single_further_axes_are_dropped(save: Save, image: NDArray[np.float32]) -> None:
    for axes, data in enumerate((image[..., None], image[..., None, None], image[..., None, None, None])):
        np.testing.assert_array_equal(read_volume(save(f"{axes}.nii", data))[0].data, image)


def test_one_slice(save: Save, image: NDArray[np.float32]) -> None:
    assert read_volume(save("a.nii", image[:, :, :1]))[0].shape == (5, 6, 1)


def test_content_tells_compression_not_the_name(save: Save, image: NDArray[np.float32], tmp_path: Path) -> None:
    save("a.nii.gz", image).rename(tmp_path / "a.nii")
    save("b.nii", image).rename(tmp_path / "b.nii.gz")
    for name in ("a.nii", "b.nii.gz"):
        np.testing.assert_array_equal(read_volume(tmp_path / name)[0].data, image)


def test_extensions_are_skipped(tmp_path: Path, image: NDArray[np.float32]) -> None:
    source = nib.Nifti1Image(image, np.eye(4))
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    source.to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz")[0].data, image)


def test_notes_name_the_file(save: Save, image: NDArray[np.float32]) -> None:
    path = save("a.nii", image, qform_code=0, sform_code=0)
    assert read_volume(path)[1][0].startswith("a.nii: the header gives no orientation")


@pytest.mark.parametrize(
    ("values", "found"),
    [(np.zeros(3), "only zeros"), (np.full(3, 7.0), "the value 7 everywhere")],
)
def test_empty_and_constant_images_are_refused(save: Save, values: NDArray[np.float64], found: str) -> None:
    with pytest.raises(ShaSpecError) as caught:
        read_volume(save("a.nii.gz", np.tile(values, (3, 3, 1))))
    assert caught.value.found == found


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf, 1e300])
def test_images_that_are_not_finite_are_refused(save: Save, strange: float) -> None:
    data = np.arange(27.0).reshape(3, 3, 3)
    data[0, :2, 0] = strange
    with pytest.raises(ShaSpecError, match="2 of 27 voxels"):
        read_volume(save("a.nii.gz", data))


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize(("enhancing", "name"), [(4, "case_seg.nii.gz"), (3, "case-seg.nii.gz")])
def test_label_maps_in_both_conventions(save: Save, kind: str, enhancing: int, name: str) -> None:
    data = np.random.default_rng(1).choice([0, 1, 2, enhancing], (4, 5, 6)).astype(kind)
    volume, notes = read_labels(save(name, data, OBLIQUE))
    assert (volume.data.dtype, notes) == (np.uint8, ())
    np.testing.assert_array_equal(volume.data, np.where(data == enhancing, 4, data))


def test_a_doubtful_label_map_leaves_a_note(save: Save) -> None:
    _, notes = read_labels(save("BraTS-GLI-1-seg.nii", np.arange(5, dtype=np.uint8).reshape(5, 1, 1)))
    assert notes == ("BraTS-GLI-1-seg.nii: 3 was read as enhancing tumour and 4 as the resection cavity (BraTS 2024)",)


def test_a_label_map_may_be_empty(save: Save) -> None:
    assert not read_labels(save("a_seg.nii", np.zeros((2, 3, 4), np.uint8)))[0].data.any()


@pytest.mark.parametrize(
    ("value", "found"), [(0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf"), (-1.0, "-1"), (300.0, "300"), (7.0, "7")]
)
def test_what_is_no_label_is_refused(save: Save, value: float, found: str) -> None:
    with pytest.raises(ShaSpecError, match="not an image") as caught:
        read_labels(save("a_seg.nii", np.array([0, 1, value]).reshape(3, 1, 1)))
    assert found in caught.value.found


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4"])
@pytest.mark.parametrize("name", ["a_seg.nii", "a-seg.nii"])
def test_a_label_map_that_nibabel_spread_over_its_integers_is_read(tmp_path: Path, kind: str, name: str) -> None:
    """Loaded, changed and saved under the header that it had, as most scripts do."""
    labels = np.random.default_rng(1).choice([0, 1, 2, 4 if name == "a_seg.nii" else 3], (4, 5, 6))
    nib.save(nib.Nifti1Image(labels.astype(kind), OBLIQUE), tmp_path / name)
    there = nib.load(tmp_path / name)
    nib.save(nib.Nifti1Image(there.get_fdata(), there.affine, there.header), tmp_path / name)
    assert nib.load(tmp_path / name).dataobj.slope != 1
    assert set(nib.load(tmp_path / name).get_fdata().flat) != set(labels.flat)
    np.testing.assert_array_equal(read_labels(tmp_path / name)[0].data, np.where(labels == 3, 4, labels))


@pytest.mark.parametrize(("slope", "found"), [(0.5, "0.5"), (0.01, "0.48999"), (0.03, "0.02999")])
def test_an_image_with_a_scale_is_no_label_map(save: Save, slope: float, found: str) -> None:
    numbers = np.array([0, round(0.49 / slope) if slope != 0.03 else 1, 1], np.int16).reshape(3, 1, 1)
    with pytest.raises(ShaSpecError, match="not an image") as caught:
        read_labels(save("a_seg.nii", numbers, scl_slope=slope, scl_inter=0.0))
    assert found in caught.value.found


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("orientation", AFFINES)
def test_all_48_orientations_round_trip(
    tmp_path: Path, image: NDArray[np.float32], orientation: str, suffix: str
) -> None:
    source = nib.Nifti1Image(image, AFFINES[orientation])
    source.set_sform(AFFINES[orientation], 4)
    source.set_qform(AFFINES[orientation], 1)
    source.header.set_xyzt_units("mm", "sec")
    source.to_filename(tmp_path / "a.nii")
    volume, notes = read_volume(tmp_path / "a.nii")
    assert notes == ()
    write_volume(volume, tmp_path / f"b.{suffix}")
    before, after = nib.load(tmp_path / "a.nii"), nib.load(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())
    np.testing.assert_array_equal(after.affine, before.affine)
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(after.header[field], before.header[field])
    assert nib.aff2axcodes(after.affine) == nib.aff2axcodes(AFFINES[orientation])


def test_the_file_of_a_label_map_is_plain(save: Save, image: NDArray[np.float32], tmp_path: Path) -> None:
    source = save("a.nii", image, scl_slope=2.0, scl_inter=1.0, intent_code=2, descrip=b"a scanner", cal_max=9.0)
    volume, _ = read_volume(source)
    write_volume(volume.with_data((image > 100).astype(np.uint8)), tmp_path / "seg.nii.gz")
    raw = nib.Nifti1Header(gzip.decompress((tmp_path / "seg.nii.gz").read_bytes())[:348])
    assert (float(raw["scl_slope"]), float(raw["scl_inter"])) == (1, 0)
    assert (int(raw["intent_code"]), float(raw["cal_max"]), raw["descrip"].item()) == (0, 0, b"napari-shaspec")
    assert raw.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(nib.load(tmp_path / "seg.nii.gz").dataobj, image > 100)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("?", "u1"), ("u1", "u1"), ("i2", "i2"), ("u4", "u4"), ("i8", "i4"), ("u8", "i4"), ("f2", "f4"), ("f8", "f8")],
)
def test_types_are_written_as_other_tools_read_them(tmp_path: Path, kind: str, stored: str) -> None:
    data = np.array([0, 1, 1, 0]).reshape(2, 2, 1).astype(kind)
    write_volume(Volume(data, OBLIQUE), tmp_path / "a.nii")
    written = nib.load(tmp_path / "a.nii")
    assert written.get_data_dtype() == stored
    np.testing.assert_array_equal(written.dataobj, data)
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-5)


def test_equal_results_are_equal_files(tmp_path: Path, image: NDArray[np.float32]) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(Volume(image, OBLIQUE), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nothing_is_overwritten_unasked(
    save: Save, image: NDArray[np.float32], unchanged: Callable[[], bool], name: str
) -> None:
    path = save(name, image)
    other = Volume(image + 1, OBLIQUE)
    assert unchanged()
    with pytest.raises(ShaSpecError, match="allow it to be overwritten"):
        write_volume(other, path)
    assert unchanged()
    write_volume(other, path, overwrite=True)
    np.testing.assert_allclose(read_volume(path)[0].data, image + 1)
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.mha", r"ends in .nii.gz or .nii"),
        ("a", r"ends in .nii.gz or .nii"),
        ("missing/a.nii", "Create the folder"),
        ("folder.nii", "Add a file name"),
    ],
)
def test_names_that_cannot_be_written(
    tmp_path: Path, image: NDArray[np.float32], unchanged: Callable[[], bool], name: str, message: str
) -> None:
    (tmp_path / "folder.nii").mkdir()
    assert unchanged()
    with pytest.raises(ShaSpecError, match=message):
        write_volume(Volume(image, OBLIQUE), tmp_path / name, overwrite=True)
    with pytest.raises(ShaSpecError, match=message):
        check_writable(tmp_path / name, overwrite=True)
    assert unchanged()


def test_a_folder_without_permission(
    tmp_path: Path, image: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ShaSpecError, match="no permission"):
        write_volume(Volume(image, OBLIQUE), tmp_path / "a.nii")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["old.nii.gz", "new.nii.gz"])
def test_an_interrupted_write_leaves_what_was_there(
    save: Save,
    image: NDArray[np.float32],
    unchanged: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    name: str,
) -> None:
    path = save("old.nii.gz", image).with_name(name)
    assert unchanged()

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ShaSpecError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        write_volume(Volume(image, OBLIQUE), path, overwrite=True)
    assert unchanged()
    if isinstance(error, OSError):
        assert "No space left on device" in str(caught.value)


def test_numbers_too_large_for_32_bits(tmp_path: Path, unchanged: Callable[[], bool]) -> None:
    assert unchanged()
    with pytest.raises(ShaSpecError, match="32 bits"):
        write_volume(Volume(np.full((1, 1, 1), 2**40), OBLIQUE), tmp_path / "a.nii")
    assert unchanged()
