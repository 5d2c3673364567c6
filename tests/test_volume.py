"""Volumes and cases are always valid, stay as they are, and travel between processes."""

import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.volume import Case, Extent, Volume, corner_distance_mm

SHEARED = np.array([[2, 0.5, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1.0]])


@pytest.fixture
def volume() -> Volume:
    return Volume(np.zeros((2, 3, 4), np.float32), SHEARED, nib.Nifti1Header())


def test_volume_owns_its_arithmetic(volume: Volume) -> None:
    assert volume.shape == (2, 3, 4)
    np.testing.assert_allclose(volume.voxel_mm, [2, np.hypot(0.5, 3), 4])
    assert volume.voxel_volume_mm3 == pytest.approx(24)


def test_volume_is_frozen_and_keeps_its_own_affine() -> None:
    affine = np.eye(4)
    volume = Volume(np.zeros((1, 1, 1)), affine)
    affine[0, 3] = 5
    assert volume.affine[0, 3] == 0
    with pytest.raises(FrozenInstanceError):
        volume.data = np.ones((1, 1, 1))  # type: ignore[misc]


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4, 1), (2, 0, 4)])
def test_volume_has_three_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShaSpecError, match="3-D image"):
        Volume(np.zeros(shape), np.eye(4))


@pytest.mark.parametrize("kind", [complex, object, "U3"])
def test_volume_holds_real_numbers(kind: type | str) -> None:
    with pytest.raises(ShaSpecError, match="real number"):
        Volume(np.zeros((1, 1, 1), kind), np.eye(4))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.diag([1, 1, 0, 1.0])])
def test_volume_needs_an_invertible_affine(affine: np.ndarray) -> None:
    with pytest.raises(ShaSpecError, match="invertible"):
        Volume(np.zeros((1, 1, 1)), affine)


def test_same_grid_forgives_rounding_only(volume: Volume) -> None:
    def moved(millimetres: float) -> Volume:
        affine = SHEARED.copy()
        affine[1, 3] += millimetres
        return Volume(volume.data, affine)

    assert volume.same_grid(moved(0.005))
    assert not volume.same_grid(moved(0.02))
    assert not volume.same_grid(Volume(np.zeros((2, 3, 5)), SHEARED))


def test_same_grid_sees_the_thickness_of_a_single_slice() -> None:
    slice_ = np.zeros((4, 4, 1))
    assert not Volume(slice_, np.diag([1, 1, 1, 1.0])).same_grid(Volume(slice_, np.diag([1, 1, 5, 1.0])))


def test_corner_distance_is_the_largest_move_of_a_corner() -> None:
    stretched = np.diag([1.1, 1, 1, 1])
    assert corner_distance_mm(np.eye(4), stretched, (10, 1, 1)) == pytest.approx(0.95)  # 9.5 voxels out, 0.1 mm each


def test_with_data_keeps_grid_and_header(volume: Volume) -> None:
    other = volume.with_data(np.ones((2, 3, 4), np.uint8))
    assert other.same_grid(volume)
    assert other.header is volume.header
    assert other.data.dtype == np.uint8


def test_case_orders_its_images(volume: Volume) -> None:
    case = Case("a", {Modality.T2: volume, Modality.FLAIR: volume}, files={Modality.T2: Path("t2.nii")})
    assert list(case.images) == [Modality.FLAIR, Modality.T2]
    assert case.available == {Modality.FLAIR, Modality.T2}
    assert case.grid is volume
    assert case.files == {Modality.T2: Path("t2.nii")}


def test_case_cannot_be_changed(volume: Volume) -> None:
    images = {Modality.T1: volume}
    case = Case("a", images)
    images[Modality.T2] = volume
    assert case.available == {Modality.T1}
    with pytest.raises(TypeError):
        case.images[Modality.T2] = volume  # type: ignore[index]


def test_case_needs_an_image() -> None:
    with pytest.raises(ShaSpecError, match="no image"):
        Case("a", {})


def test_case_knows_four_modalities(volume: Volume) -> None:
    assert Case("a", {"t1": volume}).available == {Modality.T1}
    with pytest.raises(ShaSpecError, match="'pd', 't1ce'"):
        Case("a", {"t1ce": volume, Modality.T1: volume, "pd": volume})


def test_case_needs_one_grid(volume: Volume) -> None:
    other = Volume(volume.data, np.eye(4))
    with pytest.raises(ShaSpecError, match=r"all images of a on one grid, found T2 of \(2, 3, 4\)"):
        Case("a", {Modality.T1: volume, Modality.T2: other})
    with pytest.raises(ShaSpecError, match="the label map of"):
        Case("a", {Modality.T1: volume}, truth=other)


def test_cases_and_errors_survive_pickling(volume: Volume) -> None:
    t1 = frozenset({Modality.T1})
    case = Case(
        "a",
        {Modality.T1: volume},
        None,
        ("b",),
        {Modality.T1: Path("t1.nii")},
        changed=t1,
        extents={Modality.T1: Extent(900.0, 2.0)},
    )
    again = pickle.loads(pickle.dumps(case))  # noqa: S301
    assert (again.name, again.notes, again.files) == (case.name, case.notes, case.files)
    assert (again.changed, dict(again.extents)) == (t1, {Modality.T1: Extent(900.0, 2.0)})
    assert again.grid.same_grid(volume)
    assert again.grid.header == volume.header
    error = pickle.loads(pickle.dumps(ShaSpecError("a", "b", "C")))  # noqa: S301
    assert (str(error), error.action) == ("Expected a, found b. C.", "C")
