"""Labels, regions and the conventions of BraTS."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.regions import (
    Convention,
    Label,
    Region,
    from_convention,
    guess_convention,
    labels_to_masks,
    masks_to_labels,
    nested_masks,
    to_convention,
    volumes_ml,
)


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    return np.random.default_rng(3).choice(np.array([0, 1, 2, 4], np.uint8), (4, 5, 6))


def test_labels_and_regions_round_trip(labels: NDArray[np.uint8]) -> None:
    masks = labels_to_masks(labels)
    assert masks.shape == (3, 4, 5, 6)
    np.testing.assert_array_equal(masks_to_labels(masks), labels)


def test_regions_nest(labels: NDArray[np.uint8]) -> None:
    enhancing, core, whole = labels_to_masks(labels)
    assert not (enhancing & ~core).any()
    assert not (core & ~whole).any()
    np.testing.assert_array_equal(whole, labels > 0)
    np.testing.assert_array_equal(core, (labels == 1) | (labels == 4))
    np.testing.assert_array_equal(enhancing, labels == 4)


@pytest.mark.parametrize("convention", Convention)
def test_conventions_round_trip(labels: NDArray[np.uint8], convention: Convention) -> None:
    written = to_convention(labels, convention)
    assert written.dtype == np.uint8
    assert set(np.unique(written)) == {0, 1, 2, convention.enhancing}
    np.testing.assert_array_equal(from_convention(written, convention), labels)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_conventions_take_any_integer(labels: NDArray[np.uint8], kind: type) -> None:
    np.testing.assert_array_equal(from_convention(labels.astype(kind), Convention.BRATS_2018), labels)


def test_resection_cavity_is_background() -> None:
    np.testing.assert_array_equal(from_convention(np.arange(5), Convention.BRATS_2023), [0, 1, 2, Label.ET, 0])


@pytest.mark.parametrize(
    ("values", "convention"),
    [([0, 3], Convention.BRATS_2018), ([5], Convention.BRATS_2023), ([-1], Convention.BRATS_2018)],
)
def test_unknown_labels_are_refused(values: list[int], convention: Convention) -> None:
    with pytest.raises(ShaSpecError, match=f"convention {convention}"):
        from_convention(np.array(values), convention)


@pytest.mark.parametrize(
    ("values", "filename", "convention", "doubt"),
    [
        ([0, 1, 2, 4], "BraTS20_Training_001_seg.nii.gz", Convention.BRATS_2018, ""),
        ([0, 1, 2, 3], "BraTS-GLI-00000-000-seg.nii.gz", Convention.BRATS_2023, ""),
        ([0, 1, 2, 3], "case_seg.nii.gz", Convention.BRATS_2023, ""),
        ([0, 1, 2], "case_seg.nii.gz", Convention.BRATS_2018, ""),
        ([0, 1, 2, 3, 4], "BraTS-GLI-02405-100-seg.nii.gz", Convention.BRATS_2023, "4 as the resection cavity"),
        ([0, 4], "BraTS-GLI-02405-100-seg.nii.gz", Convention.BRATS_2023, "because the name ends in -seg"),
        ([0, 1], "case_seg.nii.gz", Convention.BRATS_2018, "a mask of the whole tumour would be 2"),
        ([0, 2], "case_seg.nii.gz", Convention.BRATS_2018, ""),
        ([0, 0], "case_seg.nii.gz", Convention.BRATS_2018, ""),
        ([0, 4], "labels.nii.gz", Convention.BRATS_2018, "4 was read as enhancing tumour"),
    ],
)
def test_convention_is_told_by_values_then_name(
    values: list[int], filename: str, convention: Convention, doubt: str
) -> None:
    found, sentence = guess_convention(np.array(values), f"folder-seg/{filename}")
    assert found is convention
    assert doubt in sentence
    assert bool(doubt) == bool(sentence)


def test_thresholds_count_from_the_value_itself_and_masks_nest() -> None:
    probabilities = np.array([0.5, 0.1, 0.2]).reshape(3, 1, 1, 1)
    assert nested_masks(probabilities).all(), "an ET voxel belongs to TC and WT as well"
    strict = {Region.ET: 0.6, Region.TC: 0.1, Region.WT: 0.5}
    assert nested_masks(probabilities, strict).ravel().tolist() == [False, True, True]


def test_volumes_in_millilitres(labels: NDArray[np.uint8]) -> None:
    volumes = volumes_ml(labels_to_masks(labels), voxel_volume_mm3=500.0)
    assert list(volumes) == list(Region)
    assert volumes[Region.WT] == pytest.approx(np.count_nonzero(labels) * 0.5)


@pytest.mark.parametrize("convention", list(Convention))
def test_numbers_that_are_no_label_are_not_written(convention: Convention) -> None:
    """As 3 in a file they would be enhancing tumour, or make a 4 a cavity."""
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0, 0, :2] = 3, 4
    with pytest.raises(ShaSpecError, match="labels out of 0, 1, 2, 4, found voxels of 3"):
        to_convention(labels, convention)
