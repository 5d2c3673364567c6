"""The picture: which side is which, true proportions, and the colours of the labels."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.overlay import COLOURS, views, write_overlay
from napari_shaspec.regions import Label
from napari_shaspec.volume import Volume

SHAPE = (20, 30, 10)
RAS = np.diag([2.0, 1.0, 5.0, 1.0])


def head() -> Volume:
    """Skull-stripped: 0 around a block of values that grow to the right, to the front and to the top."""
    data = np.zeros(SHAPE, np.float32)
    x, y, z = np.mgrid[1:19, 2:28, 1:9]
    data[1:19, 2:28, 1:9] = 100 + x + y + z
    return Volume(data, RAS)


def tumour() -> np.ndarray:
    """To the right, in front and on top; largest in the planes x = 15, y = 22 and z = 7."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[13:18, 20:25, 6:9] = Label.ED
    labels[15, 19:26, 5:9] = labels[12:19, 22, 5:9] = labels[12:19, 19:26, 7] = Label.ED
    labels[14:17, 21:24, 7] = Label.NCR_NET
    labels[15, 22, 7] = Label.ET
    return labels


def test_right_is_left_front_and_top_are_where_radiologists_expect_them() -> None:
    axial, coronal, sagittal = views(head(), tumour())
    assert [view.title for view in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    # left, right, top, bottom
    assert [view.edges for view in (axial, coronal, sagittal)] == ["RLAP", "RLSI", "APSI"]
    for view in (axial, coronal, sagittal):
        rows, columns = np.nonzero(view.labels)
        height, width = view.labels.shape
        assert rows.mean() < height / 3
        assert columns.mean() < width / 2
        # Grey falls from left to right and from top to bottom.
        assert view.grey[0, 0] > view.grey[0, -1] > view.grey[-1, -1]


def test_views_go_through_the_most_tumour_and_are_cut_to_the_brain() -> None:
    for view, through in zip(views(head(), tumour()), (2, 1, 0), strict=True):
        area = np.count_nonzero(tumour(), axis=tuple(axis for axis in range(3) if axis != through)).max()
        assert np.count_nonzero(view.labels) == area
        assert Label.ET in view.labels
    assert [view.size_mm for view in views(head(), tumour())] == [(26.0, 36.0), (40.0, 36.0), (40.0, 26.0)]


@pytest.mark.parametrize("axes", ["LPS", "SRA", "ILP", "PSR"])
def test_orientation_of_the_file_does_not_matter(axes: str) -> None:
    turn = nib.orientations.ornt_transform(nib.io_orientation(RAS), nib.orientations.axcodes2ornt(tuple(axes)))
    affine = RAS @ nib.orientations.inv_ornt_aff(turn, SHAPE)
    turned = Volume(nib.apply_orientation(head().data, turn), affine)
    labels = nib.apply_orientation(tumour(), turn)
    for expected, found in zip(views(head(), tumour()), views(turned, labels), strict=True):
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.grey, expected.grey)
        assert found.size_mm == expected.size_mm


def test_picture_has_true_proportions_and_the_labels_colours(tmp_path: Path) -> None:
    write_overlay(head(), tumour(), tmp_path / "o.png")
    assert [path.name for path in tmp_path.iterdir()] == ["o.png"]
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    legend = pixels[-30:]
    for colour in COLOURS.values():
        assert (legend == colour).all(axis=2).any()
    # The axial view is 36 mm wide and 26 mm high.
    axial = pixels[: pixels.shape[1] // 3, : pixels.shape[1] // 3]
    inside = axial[40:-40, 40:-40].any(axis=2)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(36 / 26, rel=0.02)


@pytest.mark.parametrize("data", [head().data, np.zeros(SHAPE, np.float32)])
def test_picture_without_tumour(tmp_path: Path, data: np.ndarray) -> None:
    write_overlay(Volume(data, RAS), np.zeros(SHAPE, np.uint8), tmp_path / "o.png")
    with Image.open(tmp_path / "o.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    for colour in COLOURS.values():
        assert not (pixels == colour).all(axis=2).any()


def test_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match="labels on the image's grid"):
        write_overlay(head(), np.zeros((3, 3, 3), np.uint8), tmp_path / "o.png")
    with pytest.raises(ShaSpecError, match="to write"):
        write_overlay(head(), tumour(), tmp_path / "missing" / "o.png")
    assert not list(tmp_path.iterdir())
