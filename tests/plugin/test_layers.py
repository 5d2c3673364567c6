"""Volumes become layers and layers volumes: every orientation, oblique and anisotropic grids."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.nifti import read_labels, read_volume, write_volume
from napari_shaspec.io.report import Report, file_sha256
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin import settings
from napari_shaspec.plugin.layers import (
    TAG,
    LayerSource,
    Placement,
    Role,
    guessed_modality,
    image_layer,
    is_moved,
    patient_affine,
    source_of,
    straightening,
    turn_world,
    world_affine,
)
from napari_shaspec.plugin.reader import LayerFile, read_file
from napari_shaspec.plugin.viewport import box_in_view, place_under_cursor, show_place
from napari_shaspec.plugin.writer import write_image, write_labels
from napari_shaspec.volume import Volume

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def oriented(order: tuple[int, ...], signs: tuple[int, ...], oblique: bool) -> Volume:
    """A grid of three different sides and spacings whose axis i runs along patient axis ``order[i]``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (patient, sign) in enumerate(zip(order, signs, strict=True)):
        affine[patient, axis] = sign * (1.0, 1.5, 3.0)[axis]
    if oblique:
        affine[:3, :3] = nib.eulerangles.euler2mat(0.2, -0.15, 0.1) @ affine[:3, :3]
    affine[:3, 3] = (12, -34, 56)
    data = np.random.default_rng(8).integers(1, 900, (5, 6, 7)).astype(np.float32)
    return Volume(data, affine)


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_voxel_lies_where_the_file_says(order: tuple[int, ...], signs: tuple[int, ...], oblique: bool) -> None:
    volume = oriented(order, signs, oblique)
    placement = Placement.of(volume)
    shown = placement.to_display(volume.data)
    np.testing.assert_array_equal(placement.to_file(shown), volume.data)
    layer = Image(shown, **placement.keywords())
    turn = placement.affine @ np.linalg.inv(placement.patient)
    np.testing.assert_allclose(turn @ turn.T, np.eye(4), atol=1e-12)  # about the world's origin, lengths stay
    assert oblique or np.array_equal(placement.affine, placement.patient)
    for index in product(range(0, 5, 2), range(0, 6, 5), range(0, 7, 3)):
        patient = (volume.affine @ (*index, 1))[:3]
        world = (turn @ (*patient[::-1], 1))[:3]
        place = np.round(layer.world_to_data(world)).astype(int)
        assert shown[tuple(place)] == volume.data[index]
        assert placement.file_index(tuple(world)) == index
    # Along every displayed axis the world grows: nothing is mirrored on the screen, and nothing askew.
    assert (np.diagonal(placement.affine)[:3] > 0).all()
    assert np.count_nonzero(np.abs(placement.affine[:3, :3]) > 1e-9) == 3


@pytest.mark.parametrize("axis", range(3))
def test_the_mouse_paints_on_what_is_shown(axis: int) -> None:
    """Of oblique layers, napari shows another slice than that of the mouse, unless their world is turned."""
    volume = oriented((0, 1, 2), (1, 1, 1), oblique=True)
    placement, viewer = Placement.of(volume), ViewerModel()
    layer = viewer.add_labels(placement.to_display(np.zeros(volume.shape, np.uint8)), **placement.keywords())
    viewer.dims.order = (axis, *(other for other in range(3) if other != axis))
    voxel = np.array([5, 3, 2])
    show_place(viewer.dims, (placement.affine @ (*voxel, 1))[:3])
    assert round(layer._data_slice.point[axis]) == voxel[axis]
    shown = list(viewer.dims.displayed)
    corner, affine = placement.affine[shown, 3], placement.affine[np.ix_(shown, shown)]
    mouse = np.array(viewer.dims.point)
    mouse[shown] = affine @ voxel[shown] + corner  # where napari draws that pixel of the slice
    np.testing.assert_allclose(layer.world_to_data(mouse), voxel, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # of the rest of its turn napari knows nothing
def test_an_image_of_another_grid_is_turned_with_the_case() -> None:
    case, other = (oriented((0, 1, 2), (1, 1, 1), oblique) for oblique in (True, False))
    turn = straightening(Placement.of(case).patient)
    data, options, kind = image_layer(LayerSource(other), "T2")
    ours = Layer.create(data, options, kind)
    theirs = Image(data.copy(), scale=(2, 3, 4), translate=(1, 2, 3), units=("um", "um", "um"))
    for layer in (ours, theirs):
        place, before = patient_affine(layer), source_of(layer).volume.affine
        turn_world(layer, turn)
        np.testing.assert_allclose(world_affine(layer), turn @ place, atol=1e-9)
        np.testing.assert_allclose(patient_affine(layer), place, atol=1e-9)
        np.testing.assert_allclose(source_of(layer).volume.affine, before, atol=1e-9)
        assert not is_moved(layer)
        turn_world(layer, np.eye(4))  # the next case is straight
        np.testing.assert_allclose(world_affine(layer), place, atol=1e-9)
        turn_world(layer, turn)
        layer.translate = np.asarray(layer.translate) + 1e6  # moved by somebody
        np.testing.assert_allclose(patient_affine(layer), world_affine(layer))
    assert is_moved(ours)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_boxes_go_to_file_order(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    volume = oriented(order, signs, oblique=False)
    placement = Placement.of(volume)
    marked = np.zeros(volume.shape, np.uint8)
    shown = placement.to_display(marked)
    shown[1:3, 0:2, 2:5] = 1
    box = placement.file_box((1, 0, 2), (3, 2, 5))
    assert box is not None
    assert marked[box.slices].all()
    assert marked.sum() == np.prod(box.shape)
    everything = placement.file_box((-5, -5, -5), (99, 99, 99))
    assert everything == Box((0, 0, 0), volume.shape)
    assert placement.file_box((99, 0, 0), (100, 2, 2)) is None


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_nifti_to_layer_to_nifti(order: tuple[int, ...], signs: tuple[int, ...], oblique: bool, tmp_path: Path) -> None:
    """Shape, affine, qform, sform, codes and units survive; labels saved from napari lie on the image."""
    first, second = tmp_path / "case_t1.nii.gz", tmp_path / "seg.nii.gz"
    volume = oriented(order, signs, oblique)
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm", "sec")
    header.set_qform(volume.affine, 3)
    header.set_sform(volume.affine, 4)
    write_volume(Volume(volume.data, volume.affine, header), first)
    read, _ = read_volume(first)
    data, options, kind = image_layer(LayerSource(read, first, Modality.T1), "T1")
    layer = Layer.create(data, options, kind)
    source = source_of(layer)
    assert guessed_modality(layer) is Modality.T1
    labels = np.random.default_rng(9).choice(np.array([0, 1, 2, 4], np.uint8), volume.shape)
    placement = Placement.of(source.volume)
    painted = Labels(placement.to_display(labels), **placement.keywords())
    painted.metadata = {TAG: LayerSource(source.volume, role=Role.RESULT)}
    assert write_labels(str(second), *painted.as_layer_data_tuple()[:2]) == [str(second)]
    before, after = nib.load(first), nib.load(second)
    np.testing.assert_array_equal(np.asarray(after.dataobj), labels)
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-6)
    np.testing.assert_allclose(after.get_qform(), before.get_qform(), atol=1e-5)
    np.testing.assert_allclose(after.get_sform(), before.get_sform(), atol=1e-6)
    for code in ("qform_code", "sform_code", "xyzt_units"):
        assert after.header[code] == before.header[code]


def test_a_layer_of_another_reader_keeps_its_place(tmp_path: Path) -> None:
    data = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)
    layer = Image(data, scale=(3, 2, 1), translate=(10, 20, 30), name="t1_gd")
    source = source_of(layer)
    assert source.volume.shape == (6, 5, 4)
    np.testing.assert_allclose(np.diagonal(source.volume.affine), (1, 2, 3, 1))
    np.testing.assert_allclose(source.volume.affine[:3, 3], (30, 20, 10))
    assert source.notes
    assert guessed_modality(layer) is Modality.T1C
    write_image(str(tmp_path / "a.nii"), *layer.as_layer_data_tuple()[:2])
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii").affine, source.volume.affine)


def test_axis_labels_of_another_reader_count() -> None:
    layer = Image(np.random.default_rng(1).random((4, 5, 6)), scale=(1, 2, 3), axis_labels=("x", "y", "z"))
    source = source_of(layer)
    assert source.volume.shape == (4, 5, 6)
    np.testing.assert_allclose(np.diagonal(source.volume.affine), (1, 2, 3, 1))


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (np.zeros((4, 5)), {}, "a 3-D image in the layer"),
        (np.zeros((4, 5, 6, 3), np.uint8), {"rgb": True}, "a 3-D image in the layer"),
        (np.full((4, 5, 6), np.nan), {}, "finite values"),
        (np.ones((4, 5, 6)), {}, "one value everywhere"),
    ],
)
def test_layers_that_are_no_image(data: np.ndarray, options: dict[str, object], expected: str) -> None:
    with pytest.raises(ShaSpecError, match=expected):
        source_of(Image(data, **options, contrast_limits=(0, 1)))


def test_labels_of_others_are_saved_as_they_are(tmp_path: Path) -> None:
    settings.remember(label_convention="1-2-3")
    labels = Labels(np.random.default_rng(2).choice(np.array([0, 1, 2, 4], np.uint8), (4, 5, 6)))
    write_labels(str(tmp_path / "a.nii"), *labels.as_layer_data_tuple()[:2])
    settings.remember(label_convention="1-2-4")
    assert set(np.unique(nib.load(tmp_path / "a.nii").dataobj).tolist()) == {0, 1, 2, 4}


def test_numbers_that_are_no_labels_are_saved_as_they_are(tmp_path: Path) -> None:
    settings.remember(label_convention="1-2-3")
    data = np.random.default_rng(2).choice(np.array([0, 1, 2, 4], np.uint8), (4, 5, 6))
    grid = Volume(data, np.eye(4))
    for role, expected in ((Role.DERIVED, {0, 1, 2, 4}), (Role.RESULT, {0, 1, 2, 3}), (Role.REFERENCE, {0, 1, 2, 3})):
        layer = Labels(Placement.of(grid).to_display(data), metadata={TAG: LayerSource(grid, role=role)})
        write_labels(str(tmp_path / "a.nii"), *layer.as_layer_data_tuple()[:2])
        assert set(np.unique(nib.load(tmp_path / "a.nii").dataobj).tolist()) == expected
    settings.remember(label_convention="1-2-4")


def test_a_reference_is_not_saved_where_part_of_it_would_be_lost(tmp_path: Path, report: Report) -> None:
    numbers = np.random.default_rng(3).choice(np.array([0, 1, 2, 3, 4], np.uint8), (4, 5, 6))
    file = tmp_path / "a-seg.nii.gz"
    write_volume(Volume(numbers, np.eye(4)), file)
    data, options, _ = read_file(LayerFile(file, is_labels=True))
    saved = (data, options)
    with pytest.raises(ShaSpecError, match="whose resection cavity is not among these labels"):
        write_labels(str(file), *saved)
    with pytest.raises(ShaSpecError, match=r"the numbers 1, 2 and 3 in b-seg\.nii\.gz"):
        write_labels(str(tmp_path / "b-seg.nii.gz"), *saved)
    (tmp_path / "c.json").write_text(report.to_json())
    with pytest.raises(ShaSpecError, match=r"no report beside c\.nii\.gz"):
        write_labels(str(tmp_path / "c.nii.gz"), *saved)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-seg.nii.gz", "c.json"]
    write_labels(str(tmp_path / "b_seg.nii.gz"), *saved)
    read = {name: read_labels(tmp_path / name)[0].data for name in ("a-seg.nii.gz", "b_seg.nii.gz")}
    np.testing.assert_array_equal(read["b_seg.nii.gz"], read["a-seg.nii.gz"])
    assert (np.asarray(nib.load(file).dataobj) == numbers).all()


def test_values_put_into_a_layer_are_those_behind_it() -> None:
    volume = Volume(np.random.default_rng(1).random((4, 5, 6), np.float32), np.diag([-1.0, 1, 2, 1]))
    data, options, _ = image_layer(LayerSource(volume, Path("p_t1.nii.gz"), Modality.T1), "T1")
    layer = Image(data, **options)
    assert source_of(layer).volume is volume
    assert source_of(Image(np.asarray(layer.data).copy(), **options)).volume is volume  # as of a duplicated layer
    data[1, 2, 3] += 5  # into the array itself, as from the console
    written = source_of(layer)
    np.testing.assert_array_equal(written.volume.data, volume.data)
    assert not np.may_share_memory(written.volume.data, volume.data)
    assert written.changed
    data[1, 2, 3] -= 5
    layer.data = np.asarray(layer.data) * 2
    source = source_of(layer)
    np.testing.assert_array_equal(source.volume.data, volume.data * 2)
    assert source.volume.same_grid(volume)
    assert (source.path, source.modality) == (Path("p_t1.nii.gz"), Modality.T1)
    assert "changed in the viewer" in source.notes[0]
    layer.data = np.full_like(layer.data, np.nan)
    with pytest.raises(ShaSpecError, match="finite values in the layer T1"):
        source_of(layer)


def test_colours_are_not_saved_as_values(tmp_path: Path) -> None:
    layer = Image(np.zeros((4, 5, 6, 3), np.uint8), rgb=True)
    with pytest.raises(ShaSpecError, match="one value for each voxel"):
        write_image(str(tmp_path / "a.nii"), *layer.as_layer_data_tuple()[:2])
    assert not list(tmp_path.iterdir())


def test_windows_come_from_the_brain() -> None:
    data = np.zeros((20, 20, 20), np.float32)
    data[5:15, 5:15, 5:15] = np.random.default_rng(3).uniform(100, 200, (10, 10, 10))
    _, options, _ = image_layer(LayerSource(Volume(data, np.eye(4))), "T1")
    low, high = options["contrast_limits"]
    assert 100 <= low < 105
    assert 195 < high <= 200


@pytest.mark.parametrize(("unit", "edge"), [("um", 1000.0), ("cm", 0.1), ("mm", 1.0), ("pixel", 1.0)])
def test_layers_of_other_readers_have_units(unit: str, edge: float) -> None:
    data = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    layer = Image(data, scale=(edge, edge, 2 * edge), translate=(edge,) * 3, units=(unit,) * 3)
    volume = source_of(layer).volume
    np.testing.assert_allclose(volume.affine, [[2, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]])


def test_places_are_in_mm_whatever_unit_the_viewer_shows() -> None:
    """napari takes the smallest unit of its layers for all of them."""
    grid = Volume(np.zeros((6, 5, 4), np.float32), np.diag([1.0, 1, 2, 1]))
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((4, 5, 6), np.uint8), **Placement.of(grid).keywords())
    viewer.add_image(np.ones((4, 5, 6)), scale=(1000,) * 3, units=("um",) * 3)
    show_place(viewer.dims, (4.0, 3.0, 5.0))
    assert tuple(viewer.dims.point) == (4000, 3000, 5000)
    assert box_in_view(viewer.dims, None, grid) == Box((0, 0, 2), (6, 5, 3))
    assert box_in_view(viewer.dims, layer, grid) is not None


def test_the_slice_under_the_mouse_is_the_one_that_is_shown() -> None:
    """Where napari's cursor is still at the one before, too."""
    viewer = ViewerModel()
    viewer.add_image(np.ones((4, 5, 6)), scale=(2000,) * 3, units=("um",) * 3)
    viewer.dims.set_point(0, 4000)
    viewer.cursor.position = (0.0, 3000.0, 5000.0)
    assert place_under_cursor(viewer) == (4.0, 3.0, 5.0)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 8000)
    viewer.cursor.position = (6000.0, 0.0, 5000.0)
    assert place_under_cursor(viewer) == (6.0, 8.0, 5.0)
    viewer.dims.ndisplay = 3
    assert place_under_cursor(viewer) is None


def test_the_networks_own_answer_is_no_silent_reference(tmp_path: Path, report: Report) -> None:
    path = tmp_path / "p_seg.nii.gz"
    write_volume(Volume(np.full((4, 5, 6), 2, np.uint8), np.eye(4)), path)
    file = LayerFile(path, is_labels=True)
    assert read_file(file)[1]["metadata"][TAG].notes == ()
    (tmp_path / "p_seg.json").write_text(replace(report, outputs={path.name: file_sha256(path)}).to_json())
    assert any("the network's own answer" in note for note in read_file(file)[1]["metadata"][TAG].notes)
