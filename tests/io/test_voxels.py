"""Files that are broken or lie about themselves are refused in words, and before memory is taken."""

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.nifti import read_labels, read_volume
from napari_shaspec.io.voxels import open_voxels

Save = Callable[..., Path]
SUFFIXES = ("nii", "nii.gz")


def refused(path: Path) -> ShaSpecError:
    """The error, the same from every way in, after which not a byte on disk has changed."""
    before = sorted((file, file.read_bytes()) for file in path.parent.rglob("*") if file.is_file())
    with pytest.raises(ShaSpecError) as caught:
        read_volume(path)
    with pytest.raises(ShaSpecError):
        read_labels(path)
    assert sorted((file, file.read_bytes()) for file in path.parent.rglob("*") if file.is_file()) == before
    assert caught.value.action
    return caught.value


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "a.nii").found == "nothing"
    (tmp_path / "b.nii").mkdir()
    assert refused(tmp_path / "b.nii").found == "a folder"


def test_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "IM-0001.dcm"
    path.write_bytes(b"DICM")
    assert "dcm2niix" in refused(path).action


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fields", [{"magic": b"ni1"}, {"magic": b""}, {"sizeof_hdr": 347}])
def test_wrong_magic(save: Save, image: NDArray[np.float32], suffix: str, fields: dict[str, object]) -> None:
    assert refused(save(f"a.{suffix}", image, **fields)).found == "another magic number"


@pytest.mark.parametrize("content", [b"", b"\x1f", b"not a NIfTI file", bytes(347)])
def test_too_short_for_a_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    assert "too short" in refused(path).found


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
def test_truncated(save: Save, image: NDArray[np.float32], suffix: str, kept: float) -> None:
    path = save(f"a.{suffix}", image)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "again" in refused(path).action or "complete" in refused(path).action


def test_a_gzip_stream_without_its_checksum_is_cut_off(save: Save, image: NDArray[np.float32]) -> None:
    path = save("a.nii.gz", image)
    path.write_bytes(path.read_bytes()[:-8])
    assert refused(path).found == "a gzip stream that ends too early"


@pytest.mark.parametrize("where", [12, 300, -6])
def test_corrupt_gzip(save: Save, image: NDArray[np.float32], where: int) -> None:
    path = save("a.nii.gz", image)
    content = bytearray(path.read_bytes())
    content[where] ^= 0xFF
    path.write_bytes(bytes(content))
    assert refused(path)


def test_a_short_gzip_stream_that_is_whole_in_itself(save: Save, image: NDArray[np.float32]) -> None:
    path = save("a.nii.gz", image)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-40]))
    assert refused(path).found == "40 bytes less than the header claims"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("dimensions", "found"),
    [
        ([3, 30000, 30000, 30000, 1, 1, 1, 1], "dimensions 30000 x 30000 x 30000"),
        ([3, 1024, 1024, 1024, 1, 1, 1, 1], "dimensions 1024 x 1024 x 1024"),
        ([3, 1000, 1000, 500, 1, 1, 1, 1], "bytes"),
        ([3, 0, 6, 7, 1, 1, 1, 1], "dimensions 0 x 6 x 7 (3 axes)"),
        ([3, 5, -6, 7, 1, 1, 1, 1], "dimensions 5 x -6 x 7 (3 axes)"),
        ([2, 5, 6, 1, 1, 1, 1, 1], "dimensions 5 x 6 (2 axes)"),
        ([0, 5, 6, 7, 1, 1, 1, 1], "dimensions none (0 axes)"),
        ([-3, 5, 6, 7, 1, 1, 1, 1], "dimensions none (-3 axes)"),
        ([9, 5, 6, 7, 1, 1, 1, 1], "dimensions 5 x 6 x 7 x 1 x 1 x 1 x 1 (9 axes)"),
    ],
)
def test_absurd_dimensions_take_no_memory(
    save: Save, image: NDArray[np.float32], suffix: str, dimensions: list[int], found: str
) -> None:
    path = save(f"a.{suffix}", image, dim=dimensions)
    tracemalloc.start()
    assert found in refused(path).found
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize("offset", [0.0, 100.0, -352.0, np.nan, np.inf, 1e12])
def test_absurd_start_of_the_voxels(save: Save, image: NDArray[np.float32], offset: float) -> None:
    assert "vox_offset" in refused(save("a.nii", image, vox_offset=offset)).found


def test_a_start_beyond_the_end(save: Save, image: NDArray[np.float32]) -> None:
    assert refused(save("a.nii", image, vox_offset=4096.0)).expected.startswith("4936 bytes in a.nii")


def test_many_volumes(save: Save, image: NDArray[np.float32]) -> None:
    error = refused(save("a.nii.gz", np.stack([image] * 4, axis=-1)))
    assert error.found == "4 volumes (dimensions 5 x 6 x 7 x 4)"
    assert refused(save("b.nii", image[:, :, :, None, None] * np.ones(3, np.float32))).found.startswith("3 volumes")


@pytest.mark.parametrize(
    ("code", "name"), [(128, "RGB"), (2304, "RGBA"), (32, "complex"), (1, "binary"), (999, "code")]
)
def test_types_that_are_no_single_real_number(save: Save, image: NDArray[np.float32], code: int, name: str) -> None:
    assert refused(save("a.nii", image, datatype=code)).found == f"data type {name} ({code})"


def test_an_intercept_that_is_no_number(save: Save, image: NDArray[np.float32]) -> None:
    assert "scl_inter" in refused(save("a.nii", image, scl_slope=2.0, scl_inter=np.nan)).found


def test_a_file_nobody_may_read(save: Save, image: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save("a.nii", image)

    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ShaSpecError, match="found Permission denied"):
        open_voxels(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_header_with_random_damage_is_read_or_refused(save: Save, image: NDArray[np.float32], suffix: str) -> None:
    path = save(f"a.{suffix}", image)
    whole = gzip.decompress(path.read_bytes()) if suffix == "nii.gz" else path.read_bytes()
    random = np.random.default_rng(11)
    refusals = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for position in random.integers(0, 352, 3):
            damaged[position] = random.integers(256)
        path.write_bytes(gzip.compress(bytes(damaged), 1) if suffix == "nii.gz" else bytes(damaged))
        try:
            assert read_volume(path)[0].shape
        except ShaSpecError:
            refusals += 1
    assert 10 < refusals < 90


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pieces_are_the_voxels_in_file_order(tmp_path: Path, order: str, suffix: str) -> None:
    data = np.random.default_rng(2).integers(-500, 500, (130, 130, 130)).astype(np.int16)  # 4.4 MB: more than a piece
    path = tmp_path / f"a.{suffix}"
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    nib.Nifti1Image(data, np.eye(4), header).to_filename(path)
    pieces = list(open_voxels(path).pieces())
    assert len(pieces) == 2
    np.testing.assert_array_equal(np.concatenate(pieces), data.ravel(order="F"))
