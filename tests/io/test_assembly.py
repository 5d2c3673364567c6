"""One grid for a case: which one, what is resampled onto it, and what is noted."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.assembly import foreground_ml, reference_modality
from napari_shaspec.io.cases import read_case
from napari_shaspec.io.geometry import resample
from napari_shaspec.io.nifti import read_volume, write_volume
from napari_shaspec.modalities import Modality
from napari_shaspec.reliability import LARGEST_BRAIN_ML, Limits
from napari_shaspec.volume import Extent, Volume

Save = Callable[..., Path]
FLAIR, T1, T1C, T2 = Modality
MOVED = nib.affines.from_matvec(np.eye(3), [0.5, 0.5, 0.5])
FINE = np.diag([0.5, 0.5, 0.5, 1])


def on(affine: NDArray[np.float64]) -> Volume:
    return Volume(np.zeros((4, 4, 4), np.float32), affine)


@pytest.mark.parametrize(
    ("grids", "chosen"),
    [
        ({T2: FINE, FLAIR: np.eye(4), T1: np.eye(4)}, FLAIR),
        ({FLAIR: FINE, T1C: np.eye(4), T2: np.eye(4)}, T1C),
        ({FLAIR: np.eye(4), T2: FINE}, T2),
        ({T2: np.eye(4), T1: MOVED}, T1),
        ({FLAIR: np.eye(4), T1: FINE, T1C: FINE, T2: np.eye(4)}, T1),
    ],
)
def test_the_reference_is_the_most_frequent_then_the_finest_then_the_first(
    grids: dict[Modality, NDArray[np.float64]], chosen: Modality
) -> None:
    assert reference_modality({modality: on(affine) for modality, affine in grids.items()}) is chosen


@pytest.fixture
def folder(save: Save, image: NDArray[np.float32], tmp_path: Path) -> Path:
    """T1 and T2 on one grid; FLAIR and the label map flipped and half a voxel off."""
    other = MOVED @ np.diag([-1, 1, 1, 1])
    other[0, 3] += 4
    save("a/a_t1.nii.gz", image, sform_code=4, qform_code=2)
    save("a/a_t2.nii.gz", image + 1, sform_code=1)
    save("a/a_flair.nii.gz", image + 2, other)
    save("a/a_seg.nii.gz", (image > 100).astype(np.uint8) * 2, other)
    return tmp_path / "a"


def test_other_grids_are_resampled_and_noted(folder: Path) -> None:
    case = read_case(folder)
    source, _ = read_volume(folder / "a_flair.nii.gz")
    reference, _ = read_volume(folder / "a_t1.nii.gz")
    np.testing.assert_array_equal(case.images[FLAIR].data, resample(source, reference).data)
    assert case.truth is not None
    assert case.truth.data.dtype == np.uint8
    assert set(np.unique(case.truth.data)) == {0, 2}
    assert case.notes == (
        "a_flair.nii.gz: resampled (linear) from 5 x 6 x 7 voxels of 1 x 1 x 1 mm, LAS, onto the grid of a_t1.nii.gz, "
        "5 x 6 x 7 voxels of 1 x 1 x 1 mm, RAS",
        "a_seg.nii.gz: resampled (nearest) from 5 x 6 x 7 voxels of 1 x 1 x 1 mm, LAS, onto the grid of a_t1.nii.gz, "
        "5 x 6 x 7 voxels of 1 x 1 x 1 mm, RAS",
    )


def test_grids_that_differ_in_place_alone_are_told_apart(save: Save, image: NDArray[np.float32]) -> None:
    angle = np.radians(20)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    middle = (np.array(image.shape) - 1) / 2
    turned[:3, 3] = middle - turned[:3, :3] @ middle + [0, 0, 2]
    save("a/a_flair.nii.gz", image)
    save("a/a_t1.nii.gz", image, affine=turned)
    (note,) = read_case(save("a/a_t2.nii.gz", image + 1).parent).notes
    assert note.endswith("RAS; turned by 20.0 degrees, centres 2.0 mm apart")


def test_every_image_carries_the_reference_header(folder: Path) -> None:
    case = read_case(folder)
    for volume in (*case.images.values(), case.truth):
        assert volume is not None
        assert volume.header is case.grid.header
    write_volume(case.grid.with_data(np.ones(case.grid.shape, np.uint8)), folder / "out.nii.gz")
    written = nib.load(folder / "out.nii.gz").header
    assert (int(written["sform_code"]), int(written["qform_code"])) == (4, 2)


def test_voxels_and_labels_stay_together_in_space(save: Save) -> None:
    """A blob drawn at one place of the world is there in every image, whatever the grid."""
    grids = {
        "a/a_t1.nii": (np.diag([1, 1, 1, 1.0]), (20, 20, 20)),
        "a/a_t2.nii": (nib.affines.from_matvec(np.diag([-2, 2, 2.0]), [19, 0, 0]), (10, 10, 10)),
        "a/a_seg.nii": (np.diag([1, 1, 0.5, 1.0])[:, [2, 0, 1, 3]], (40, 20, 20)),
    }
    for name, (affine, shape) in grids.items():
        world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
        blob = np.exp(-((world - [6, 12, 9]) ** 2).sum(-1) / 20)
        path = save(name, (blob > 0.5).astype(np.uint8) if "seg" in name else blob.astype(np.float32), affine)
    case = read_case(path.parent)
    assert case.truth is not None
    for volume in (*case.images.values(), case.truth):
        centre = (np.stack(np.nonzero(volume.data > 0.5 * volume.data.max()))).mean(axis=1)
        np.testing.assert_allclose(centre, [6, 12, 9], atol=0.35)


@pytest.mark.parametrize("name", ["a_t2.nii", "a_seg.nii"])
@pytest.mark.parametrize(("distance_mm", "found"), [(500, "an overlap of 0%"), (4.8, "an overlap of 4%")])
def test_images_that_do_not_overlap(
    save: Save,
    image: NDArray[np.float32],
    unchanged: Callable[[], bool],
    name: str,
    distance_mm: float,
    found: str,
) -> None:
    save("a/a_t1.nii", image)
    away = nib.affines.from_matvec(np.eye(3), [distance_mm, 0, 0])
    path = save(f"a/{name}", (image > 100).astype(np.uint8), away)
    assert unchanged()
    with pytest.raises(ShaSpecError, match=rf"{name} and a_t1.nii to show the same place, found {found}"):
        read_case(path.parent)
    assert unchanged()


def test_what_a_header_left_open_is_said_with_the_error_it_may_explain(save: Save, image: NDArray[np.float32]) -> None:
    save("a/a_t1.nii", image, nib.affines.from_matvec(np.eye(3), [50, 0, 0]))
    path = save("a/a_t2.nii", image, qform_code=0, sform_code=0)
    with pytest.raises(ShaSpecError, match=r"found an overlap of 0% \(a_t2.nii: the header gives no orientation"):
        read_case(path.parent)


def test_images_that_overlap_in_background_only(save: Save, image: NDArray[np.float32]) -> None:
    half = image.copy()
    half[2:] = 0
    save("a/a_t1.nii", image)
    path = save("a/a_t2.nii", half, nib.affines.from_matvec(np.eye(3), [-2, 0, 0]))
    with pytest.raises(ShaSpecError, match="only background where they overlap"):
        read_case(path.parent)


def test_labels_that_fall_outside_are_noted(save: Save, image: NDArray[np.float32]) -> None:
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[0] = 1
    save("a/a_t1.nii", image)
    path = save("a/a_seg.nii", labels, nib.affines.from_matvec(np.eye(3), [-2, 0, 0]))
    case = read_case(path.parent)
    assert any(note.endswith("; none of its labels is left there") for note in case.notes)


def test_labels_that_are_cut_off_are_counted(save: Save, image: NDArray[np.float32]) -> None:
    labels = np.zeros((5, 6, 14), np.uint8)
    labels[1:3, 1:3, 2:12] = 2
    save("a/a_t1.nii", image)
    case = read_case(save("a/a_seg.nii", labels).parent)
    assert any(note.endswith("; 50% of its labelled volume is not there") for note in case.notes)
    save("b/b_t1.nii", image)
    whole = read_case(save("b/b_seg.nii", labels, np.diag([0.5, 1, 0.5, 1])).parent)
    assert not any("labelled volume" in note for note in whole.notes)


def test_one_image_under_two_names_is_noted(save: Save, image: NDArray[np.float32]) -> None:
    save("a/a_t1.nii", image)
    save("a/a_t2.nii", image + 1)
    case = read_case(save("a/a_t1ce.nii", image).parent)
    assert [note for note in case.notes if "same image" in note] == [
        "T1 and T1c are the same image: one of the two was given by mistake"
    ]


def test_different_brain_masks_are_fine(save: Save, image: NDArray[np.float32]) -> None:
    first, second = image.copy(), image.copy()
    first[:2], second[:, :, 5:] = 0, 0
    save("a/a_t1.nii", first)
    case = read_case(save("a/a_t2.nii", second).parent)
    assert case.notes == ()
    np.testing.assert_array_equal(case.images[T2].data, second)


@pytest.mark.parametrize(("background", "radius", "noted"), [(0.0, 3, False), (-0.5, 3, False), (0.0, 4.5, True)])
def test_an_image_that_holds_more_than_a_brain_is_noted(
    save: Save, background: float, radius: float, noted: bool
) -> None:
    distance = np.linalg.norm(np.indices((10, 10, 10)) - 4.5, axis=0)
    data = np.where(distance < radius, 1 + distance, background).astype(np.float32)
    case = read_case(save("a_t1.nii", data, np.diag([20, 20, 20, 1.0])))
    assert (case.extents[T1].filled_ml > LARGEST_BRAIN_ML) == noted
    assert case.extents[T1] == Extent(foreground_ml(case.grid), 20.0)
    assert foreground_ml(case.grid) == pytest.approx(np.count_nonzero(distance < radius) * 8)
    assert case.notes == (
        (
            "a_t1.nii: more than 2.3 litres differ from the background, which is more than a brain; the models expect "
            "skull-stripped images",
        )
        if noted
        else ()
    )


def test_thick_slices_and_slabs_are_told_of_the_file_and_not_of_the_grid(save: Save) -> None:
    whole = np.zeros((24, 24, 24), np.float32)
    whole[2:22, 2:22, 2:22] = np.random.default_rng(1).random((20, 20, 20)) + 1
    slab = whole.copy()
    slab[:, :, 8:] = 0
    save("a/a_t1.nii", whole, np.diag([6, 6, 6, 1.0]))
    save("a/a_flair.nii", slab, np.diag([6, 6, 6, 1.0]))
    thick = whole.reshape(24, 24, 12, 2).mean(3)
    save("a/a_t1ce.nii", thick, nib.affines.from_matvec(np.diag([6, 6, 12.0]), [0, 0, 3]))
    path = save("a/a_t2.nii", slab[:, :, 5:6], nib.affines.from_matvec(np.diag([6, 6, 8.0]), [0, 0, 30]))
    case = read_case(path.parent)
    assert case.grid.voxel_mm.tolist() == [6, 6, 6]
    assert {modality: Limits().beyond(extent) for modality, extent in case.extents.items()} == {
        FLAIR: "less than a brain",
        T1: "",
        T1C: "voxels of 12 mm",
        T2: "less than a brain, voxels of 8 mm",
    }


def test_noise_in_the_air_counts_as_more_than_a_brain(save: Save) -> None:
    noise = np.random.default_rng(0).random((10, 10, 10)).astype(np.float32)
    assert read_case(save("a_t1.nii", noise, np.diag([20, 20, 20, 1.0]))).notes
