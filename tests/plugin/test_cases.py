"""Which layer is which modality, with napari's layers and a controller whose threads are run by hand."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.cases import CaseLayers
from napari_shaspec.plugin.layers import LayerSource, image_layer, reference_layer
from napari_shaspec.regions import Region
from napari_shaspec.volume import Volume
from tests.plugin.conftest import SHAPE, Bench

GRID = np.diag([-1.0, 1, 2, 1])


def image(modality: Modality, seed: int = 0, folder: str = "one", file: str = "", name: str = "") -> Image:
    """A layer as the reader makes it; by default of ``p_flair.nii.gz`` and so on, with the modality's name."""
    volume = Volume(1 + np.random.default_rng(seed).random(SHAPE, np.float32), GRID)
    path = Path(f"{folder}/{file or f'p_{modality.value}'}.nii.gz")
    data, options, _ = image_layer(LayerSource(volume, path, modality), name or modality.title)
    return Image(data, **options)


def reference(folder: str, label: int = 2) -> Labels:
    """The label map that lies beside the images of a folder, full of one label."""
    truth = Volume(np.full(SHAPE, label, np.uint8), GRID)
    data, options, _ = reference_layer(LayerSource(truth, Path(f"{folder}/p_seg.nii.gz")))
    return Labels(data, **options)


def copy_of(layer: Image) -> Image:
    """As *Duplicate* of napari makes it."""
    data, options, _ = layer.as_layer_data_tuple()
    return Image(data, **{**options, "name": f"{layer.name} copy"})


class Opened:
    """Layers of FLAIR and T1 in a viewer, predicted."""

    def __init__(self, bench: Bench) -> None:
        self.viewer, self.bench, self.changed = ViewerModel(), bench, Mock()
        self.layers = CaseLayers(self.viewer, bench.controller, self.changed)
        self.flair, self.t1 = image(Modality.FLAIR, 1), image(Modality.T1, 2)
        self.viewer.layers.extend([self.flair, self.t1])
        self.look()

    def look(self) -> None:
        self.layers.update()
        self.bench.jobs.finish_all()

    def take_another_readers_t1(self) -> None:
        """Instead of ours: the same values in another format, in a layer that tells nothing of a file."""
        self.t1 = Image(np.asarray(self.t1.data).astype(np.float64), name="another")
        self.viewer.add_layer(self.t1)
        self.layers.choose(Modality.T1, "another")
        self.look()

    def rescale(self, scale: tuple[float, float, float]) -> None:
        self.t1.scale = scale
        self.look()

    def add_reference(self, truth: np.ndarray) -> Labels:
        data, options, _ = reference_layer(LayerSource(Volume(truth, GRID)))
        reference = Labels(data, **options)
        self.viewer.add_layer(reference)
        self.look()
        return reference


@pytest.fixture
def opened(bench: Bench) -> Opened:
    return Opened(bench)


def test_other_values_of_an_image_are_predicted_from(opened: Opened) -> None:
    (before,) = opened.bench.sessions
    opened.t1.data = np.asarray(opened.t1.data) * 3
    opened.changed.assert_called_once_with()
    opened.look()
    _, after = opened.bench.sessions
    np.testing.assert_array_equal(
        after.case.images[Modality.T1].data, before.case.images[Modality.T1].data * 3, strict=True
    )
    np.testing.assert_array_equal(after.case.images[Modality.FLAIR].data, before.case.images[Modality.FLAIR].data)
    assert "changed in the viewer" in opened.layers.warnings()[Modality.T1]
    assert opened.bench.state.case.changed == {Modality.T1}  # its file would make other labels


def test_the_same_values_once_more_change_nothing(opened: Opened) -> None:
    opened.t1.data = np.asarray(opened.t1.data).copy()
    opened.look()
    opened.t1.name = "another"
    opened.look()
    assert len(opened.bench.sessions) == 1
    assert opened.bench.state.slots == {Modality.FLAIR: "FLAIR", Modality.T1: "another"}


def test_another_reference_leaves_the_answer(opened: Opened) -> None:
    truth = np.zeros(SHAPE, np.uint8)
    truth[2:4] = 2
    reference = opened.add_reference(truth)
    opened.changed.assert_not_called()
    reference.data = np.asarray(reference.data) * 2
    opened.changed.assert_called_once_with()
    opened.look()
    assert len(opened.bench.sessions) == 1
    assert opened.bench.state.case.truth.data.max() == 4


def test_an_image_turned_over_is_predicted_from(opened: Opened) -> None:
    """A mirrored view lies in the same memory, and is another image."""
    before = opened.bench.sessions[-1].case.images[Modality.T1].data.copy()
    opened.t1.data = np.asarray(opened.t1.data)[..., ::-1]
    opened.look()
    found = opened.bench.sessions[-1].case.images[Modality.T1].data
    np.testing.assert_array_equal(found, before[::-1])


def test_a_layer_of_another_reader_lies_where_it_is_scaled_to(opened: Opened) -> None:
    opened.take_another_readers_t1()
    opened.changed.reset_mock()
    opened.t1.scale = (3, 1, 1)
    opened.t1.translate = (1, 2, 3)
    assert opened.changed.called
    opened.look()
    case = opened.bench.sessions[-1].case
    # FLAIR has the smaller voxels, and T1 is brought onto it: its own are of 3 mm along z now.
    assert opened.layers._told[0][Modality.T1][1].volume.voxel_mm == pytest.approx((1, 1, 3))
    assert "changed in the viewer" not in opened.layers.warnings()[Modality.T1]
    assert case.files.keys() == {Modality.FLAIR}  # a layer that was no file is none
    sessions = len(opened.bench.sessions)
    opened.look()
    assert len(opened.bench.sessions) == sessions


def test_a_file_that_is_moved_keeps_its_place_and_is_flagged(opened: Opened) -> None:
    opened.t1.translate = (0, 5, 0)
    opened.changed.assert_called_once_with()
    opened.look()
    assert len(opened.bench.sessions) == 1
    assert "moved in the viewer" in opened.layers.warnings()[Modality.T1]
    assert Modality.FLAIR not in opened.layers.warnings()
    opened.layers.close()
    opened.changed.reset_mock()
    opened.t1.translate = (0, 6, 0)
    opened.changed.assert_not_called()


@pytest.mark.parametrize("ours", [True, False])
def test_values_that_are_assigned_in_place_are_predicted_from(opened: Opened, ours: bool) -> None:
    if not ours:
        opened.take_another_readers_t1()
    for factor in (2.0, 3.0):
        before, count = opened.bench.sessions[-1].case.images[Modality.T1].data.copy(), len(opened.bench.sessions)
        opened.t1.data *= factor
        opened.look()
        assert len(opened.bench.sessions) == count + 1
        found = opened.bench.sessions[-1].case.images[Modality.T1].data
        np.testing.assert_allclose(found, factor * before)
        assert opened.layers.warnings()[Modality.T1].count("changed in the viewer") == 1


def test_values_that_were_written_silently_are_seen_once_the_layer_is_chosen_again(opened: Opened) -> None:
    opened.take_another_readers_t1()
    before = opened.bench.sessions[-1].case.images[Modality.T1].data.copy()
    opened.t1.data[...] *= 2
    for name in (None, "another"):
        opened.layers.choose(Modality.T1, name)
        opened.look()
    np.testing.assert_allclose(opened.bench.sessions[-1].case.images[Modality.T1].data, 2 * before)


def test_values_written_into_a_files_layer_are_not_said_to_be_the_files(opened: Opened) -> None:
    opened.t1.data[...] *= 2
    opened.look()
    assert not opened.bench.state.case.changed  # nobody has told yet
    opened.layers.choose(Modality.T1, "T1")
    opened.look()
    assert opened.bench.state.case.changed == {Modality.T1}
    assert len(opened.bench.sessions) == 2
    opened.layers.choose(Modality.T1, "T1")
    opened.look()
    assert "changed in the viewer" in opened.layers.warnings()[Modality.T1]


def test_values_that_are_no_image_cost_the_slot_until_they_are_mended(opened: Opened) -> None:
    good = np.asarray(opened.t1.data).copy()
    opened.t1.data = np.full_like(good, np.nan)
    with pytest.raises(ShaSpecError, match="finite values in the layer T1"):
        opened.layers.update()
    opened.bench.jobs.finish_all()
    assert opened.bench.state.case.available == {Modality.FLAIR}
    for data, there in ((good[0], False), (good, True)):  # a single slice is no case
        opened.t1.data = data
        opened.look()
        assert (Modality.T1 in opened.bench.state.case.available) is there


def test_strokes_on_the_reference_and_undo_are_measured(opened: Opened) -> None:
    layer, bench = opened.add_reference(np.full(SHAPE, 2, np.uint8)), opened.bench
    layer.visible = True
    opened.look()
    first, agreement = bench.state.case.truth, bench.state.agreement
    opened.changed.reset_mock()
    layer.data_setitem((np.array([1]), np.array([2]), np.array([3])), 0)
    opened.changed.assert_called()
    opened.look()
    painted = bench.state.case.truth
    assert np.count_nonzero(painted.data == 0) == 1
    assert (first.data == 2).all()
    assert bench.state.agreement[Region.WT].dice < agreement[Region.WT].dice
    layer.refresh()  # as at every slice that is shown
    opened.look()
    assert bench.state.case.truth is painted
    layer.undo()
    assert np.count_nonzero(painted.data == 0) == 1
    opened.look()
    assert (bench.state.case.truth.data == 2).all()
    assert bench.state.agreement == agreement
    assert not any("changed in the viewer" in note for note in bench.state.case.notes)
    assert len(bench.sessions) == 1


def test_an_empty_reference_is_one(opened: Opened) -> None:
    reference = opened.add_reference(np.ones(SHAPE, np.uint8))
    reference.data = np.zeros_like(reference.data)
    opened.look()
    assert not opened.bench.state.case.truth.data.any()


def test_filtered_images_are_still_the_same_patients(opened: Opened) -> None:
    opened.bench.controller.set_available(Modality.T1, False)
    patient = opened.bench.controller.patient
    for layer in (opened.flair, opened.t1):
        layer.data = np.sqrt(np.asarray(layer.data))
    opened.look()
    assert opened.bench.state.available == {Modality.FLAIR}
    assert opened.bench.controller.patient == patient


def test_layers_that_left_are_not_heard(opened: Opened) -> None:
    opened.viewer.layers.remove(opened.t1)
    opened.look()
    opened.t1.data = np.asarray(opened.t1.data) * 2
    opened.changed.assert_not_called()
    opened.layers.close()
    opened.flair.data = np.asarray(opened.flair.data) * 2
    opened.changed.assert_not_called()


def test_files_of_another_folder_are_another_case(opened: Opened) -> None:
    other = image(Modality.FLAIR, 3, "two")
    opened.viewer.add_layer(other)
    opened.look()
    assert opened.bench.state.case.available == {Modality.FLAIR}
    assert opened.bench.controller.patient == 2
    assert (opened.flair.visible, opened.t1.visible, other.visible) == (False, False, True)


def test_of_two_cases_that_come_at_once_the_topmost_is_taken(opened: Opened) -> None:
    first, second = [image(Modality.T2, 3, "two"), image(Modality.FLAIR, 4, "two")], image(Modality.FLAIR, 5, "three")
    references = reference("two"), reference("three", 4), reference("two")
    opened.viewer.layers.extend([*first, references[0], second, *references[1:]])
    opened.look()
    case = opened.bench.state.case
    assert case.files == {Modality.FLAIR: Path("three/p_flair.nii.gz")}
    assert case.truth_file == Path("three/p_seg.nii.gz")
    assert "those of three are used" in opened.bench.state.message
    assert [layer.visible for layer in (opened.flair, opened.t1, *first, second)] == [False] * 4 + [True]


def test_the_reference_of_a_case_that_is_put_aside_is_not_taken(opened: Opened) -> None:
    opened.viewer.layers.extend([image(Modality.T2, 3, "two"), reference("two"), image(Modality.T2, 4)])
    opened.look()
    assert opened.bench.state.case.available == {Modality.FLAIR, Modality.T1, Modality.T2}
    assert {path.parent.name for path in opened.bench.state.case.files.values()} == {"one"}
    assert opened.bench.state.case.truth is None
    elsewhere = reference("label maps of all patients")
    opened.viewer.add_layer(elsewhere)
    opened.look()
    assert opened.bench.state.case.truth is not None
    opened.viewer.layers.extend([image(Modality.FLAIR, 5, "three"), reference("label maps of all patients", 4)])
    opened.look()
    assert (opened.bench.state.case.truth.data == 4).all()


def test_a_reference_goes_with_the_last_image_of_its_case(opened: Opened) -> None:
    truth = reference("one")
    opened.viewer.add_layer(truth)
    opened.look()
    assert opened.bench.state.case.truth is not None
    for layer in (opened.flair, opened.t1):
        opened.viewer.layers.remove(layer)
    opened.look()
    opened.viewer.add_layer(image(Modality.FLAIR, 3, "two"))
    opened.look()
    assert truth in opened.viewer.layers
    assert opened.bench.state.case.truth is None
    opened.viewer.add_layer(opened.flair)  # and comes back with them
    opened.look()
    assert opened.bench.state.case.truth_file == Path("one/p_seg.nii.gz")


def test_a_reference_goes_with_the_last_image_whyever_that_goes(opened: Opened) -> None:
    elsewhere = reference("label maps of all patients")
    opened.viewer.add_layer(elsewhere)
    opened.look()
    assert opened.bench.state.case.truth is not None
    for modality in (Modality.FLAIR, Modality.T1):
        opened.layers.choose(modality, None)
    opened.look()
    opened.layers.choose(Modality.T1, opened.t1.name)  # taken out and put back
    opened.look()
    assert opened.bench.state.case.truth is not None
    opened.layers.choose(Modality.T1, None)
    opened.look()
    opened.viewer.add_layer(image(Modality.FLAIR, 3, "two"))
    opened.look()
    assert opened.bench.state.case.truth is None


def test_a_second_reference_from_elsewhere_takes_the_place_of_the_first(opened: Opened) -> None:
    """As of a second rater; then a case comes with its own."""
    for layer, file in ((reference("one"), "one"), (reference("second rater", 4), "second rater")):
        opened.viewer.add_layer(layer)
        opened.look()
        assert opened.bench.state.case.truth_file == Path(f"{file}/p_seg.nii.gz")
    opened.viewer.layers.extend([image(Modality.FLAIR, 3, "two"), reference("label maps of all patients")])
    opened.look()
    assert opened.bench.state.case.truth_file == Path("label maps of all patients/p_seg.nii.gz")


def test_a_second_patient_in_the_same_folder_is_a_case_of_its_own(opened: Opened) -> None:
    truth = reference("one")
    opened.viewer.add_layer(truth)
    opened.look()
    others = [
        image(modality, seed, file=f"q_{modality.value}", name="other")
        for seed, modality in enumerate((Modality.FLAIR, Modality.T1), 5)
    ]
    opened.viewer.layers.extend(others)
    opened.look()
    assert opened.bench.controller.patient == 2
    assert [layer.visible for layer in (opened.flair, opened.t1, *others)] == [False, False, True, True]
    assert opened.bench.state.case.truth is None
    assert truth in opened.viewer.layers


def test_voxels_that_no_scanner_makes_cost_the_row_until_they_are_mended(opened: Opened) -> None:
    opened.take_another_readers_t1()
    with pytest.raises(ShaSpecError, match=r"voxels of .* mm and an image of at most"):
        opened.rescale((1000.0,) * 3)
    assert opened.bench.state.slots == {Modality.FLAIR: "FLAIR"}
    opened.rescale((1.0,) * 3)
    assert opened.bench.state.slots[Modality.T1] == "another"
    sessions = len(opened.bench.sessions)
    opened.t1.units = ("cm",) * 3
    opened.look()
    assert len(opened.bench.sessions) == sessions + 1  # of an image ten times as large


def test_another_image_of_the_same_patient_keeps_the_reference(opened: Opened) -> None:
    """As the one that an atlas tool has stripped, whether it is chosen or dropped."""
    elsewhere = reference("label maps of all patients")
    opened.viewer.add_layer(elsewhere)
    opened.layers.choose(Modality.T1, None)
    opened.look()
    opened.viewer.add_layer(image(Modality.FLAIR, 7, file="p_flair_bet", name="FLAIR bet"))
    opened.look()
    assert opened.bench.state.slots == {Modality.FLAIR: "FLAIR bet"}
    assert opened.bench.state.case.truth is not None
    assert "hidden" not in opened.bench.state.message
    opened.layers.choose(Modality.FLAIR, "FLAIR")
    opened.look()
    assert opened.bench.state.case.truth is not None


def test_another_series_is_no_other_patient(opened: Opened) -> None:
    for seed, name in enumerate(("4_AX_T1_POST", "1901_SAG_T1_POST"), 3):
        for modality in (Modality.FLAIR, Modality.T1):
            opened.layers.choose(modality, None)
        opened.viewer.add_layer(image(Modality.T1C, seed, file=name, name=name))
        opened.look()
        assert opened.bench.state.slots == {Modality.T1C: name}
    assert opened.viewer.layers["4_AX_T1_POST"].visible
    assert opened.bench.state.message == ""


def test_several_images_of_one_modality_are_told(opened: Opened) -> None:
    """As of dcm2niix: axial, coronal and sagittal after contrast."""
    for seed, name in enumerate(("3_AX_T1_POST", "4_COR_T1_POST"), 3):
        opened.viewer.add_layer(image(Modality.T1C, seed, file=name))
    opened.look()
    assert "2 images are named T1c: 4_COR_T1_POST.nii.gz is used" in opened.bench.state.message


def test_images_of_another_folder_are_told_to_be_another_case(opened: Opened) -> None:
    opened.viewer.add_layer(image(Modality.T2, 3, "two"))
    opened.look()
    assert "those before are hidden" in opened.bench.state.message


def test_a_case_that_is_mixed_takes_no_reference_by_itself(opened: Opened) -> None:
    truth = reference("one")
    opened.viewer.add_layer(truth)
    opened.look()
    opened.viewer.layers.extend([image(Modality.FLAIR, 3, "two"), image(Modality.T2, 4, "two")])
    opened.look()
    assert opened.bench.state.case.truth is None
    opened.layers.choose(Modality.T1, opened.t1.name)
    opened.look()
    assert opened.bench.state.case.available == {Modality.FLAIR, Modality.T1, Modality.T2}
    assert opened.bench.state.case.truth is None
    for modality in (Modality.FLAIR, Modality.T2):  # what is left is the first case's
        opened.layers.choose(modality, None)
    opened.look()
    assert opened.bench.state.case.truth_file == Path("one/p_seg.nii.gz")


def test_of_two_layers_the_older_one_takes_over_when_the_newer_is_deleted(opened: Opened) -> None:
    first = reference("one", 2)
    again = [image(Modality.FLAIR, 1), image(Modality.T1, 2), reference("one", 4)]
    opened.viewer.layers.extend([first, *again])
    opened.look()
    assert (opened.bench.state.case.truth.data == 4).all()
    for layer in again:
        opened.viewer.layers.remove(layer)
        opened.look()
    assert opened.bench.state.slots == {Modality.FLAIR: "FLAIR", Modality.T1: "T1"}
    assert opened.bench.state.case.available == {Modality.FLAIR, Modality.T1}
    assert (opened.bench.state.case.truth.data == 2).all()
    assert opened.bench.controller.patient == 1
    opened.layers.choose(Modality.T1, None)  # the user's own wish stays
    opened.look()
    assert opened.bench.state.case.available == {Modality.FLAIR}


def test_a_panel_that_is_opened_again_takes_the_case_that_is_shown(opened: Opened) -> None:
    other = image(Modality.FLAIR, 3, "two")
    opened.viewer.add_layer(other)
    opened.look()
    opened.viewer.layers.move(opened.viewer.layers.index(other), 0)
    opened.layers.close()
    opened.layers = CaseLayers(opened.viewer, opened.bench.controller, opened.changed)
    opened.look()
    assert opened.bench.state.case.files == {Modality.FLAIR: Path("two/p_flair.nii.gz")}
    assert [layer.visible for layer in (opened.flair, opened.t1, other)] == [False, False, True]


class TwoCases:
    """A second case over the first, each shown by its FLAIR alone, as dropped folders are."""

    def __init__(self, opened: Opened, folder: str) -> None:
        self.opened, self.first = opened, [opened.t1, opened.flair]
        opened.t1.visible = False
        self.second = [image(each, 3, folder, f"q_{each.value}") for each in (Modality.T1, Modality.FLAIR)]
        self.second[0].visible = False
        opened.viewer.layers.extend(self.second)
        opened.look()

    @property
    def seen(self) -> list[Image]:
        return [layer for layer in self.opened.viewer.layers if layer.visible]


@pytest.fixture(params=["two", "one"])
def two_cases(opened: Opened, request: pytest.FixtureRequest) -> TwoCases:
    """In folders of their own, or in one."""
    return TwoCases(opened, request.param)


@pytest.mark.parametrize("rows", [(Modality.FLAIR, Modality.T1), (Modality.T1, Modality.FLAIR)])
@pytest.mark.parametrize("emptied", [False, True])
def test_a_case_that_is_chosen_again_is_what_is_seen(
    two_cases: TwoCases, rows: tuple[Modality, ...], emptied: bool
) -> None:
    opened = two_cases.opened
    assert two_cases.seen == [two_cases.second[1]]
    steps = [(modality, None) for modality in rows if emptied] + [(modality, modality.title) for modality in rows]
    for modality, name in steps:
        opened.layers.choose(modality, name)
        opened.look()
    assert {path.name for path in opened.bench.state.case.files.values()} == {"p_flair.nii.gz", "p_t1.nii.gz"}
    (seen,) = two_cases.seen
    assert seen in two_cases.first


def test_the_case_before_is_there_again_when_the_present_one_is_deleted(two_cases: TwoCases) -> None:
    opened = two_cases.opened
    for layer in two_cases.second:
        opened.viewer.layers.remove(layer)
    opened.look()
    assert opened.bench.state.slots == {Modality.FLAIR: "FLAIR", Modality.T1: "T1"}
    assert two_cases.seen == [opened.flair]


def test_what_the_user_has_hidden_stays_so(two_cases: TwoCases) -> None:
    """All images, to see the labels alone; and one of the case before, to compare."""
    two_cases.second[1].visible = False
    two_cases.opened.flair.visible = True
    two_cases.second[0].data = np.asarray(two_cases.second[0].data) * 2
    two_cases.opened.look()
    assert two_cases.seen == [two_cases.opened.flair]


def test_layers_tell_where_they_come_from(opened: Opened) -> None:
    opened.viewer.add_layer(image(Modality.FLAIR, 3, "two"))
    opened.viewer.add_layer(Image(np.asarray(opened.t1.data), name="made here"))
    files = [("FLAIR [1]", "two/p_flair.nii.gz"), ("T1", "one/p_t1.nii.gz"), ("FLAIR", "one/p_flair.nii.gz")]
    assert list(opened.layers.origins().items()) == [
        ("made here", ""),
        *((name, str(Path(file))) for name, file in files),
    ]


@pytest.mark.parametrize("folder", ["two", "one"])
def test_a_copy_of_an_image_put_aside_leaves_the_case(opened: Opened, folder: str) -> None:
    """As of napari's *Duplicate*: hidden like what it was made of; a folder may hold the files of many."""
    others = [
        image(each, seed, folder, f"q_{each.value}") for seed, each in enumerate((Modality.FLAIR, Modality.T1), 3)
    ]
    opened.viewer.layers.extend(others)
    opened.look()
    slots, case = dict(opened.bench.state.slots), opened.bench.state.case
    opened.viewer.add_layer(copy_of(opened.t1))
    opened.look()
    assert opened.bench.state.slots == slots
    assert opened.bench.state.case is case
    assert [layer.visible for layer in (opened.flair, opened.t1, *others)] == [False, False, True, True]


def test_a_copy_of_a_hidden_image_of_the_case_takes_its_slot(opened: Opened) -> None:
    opened.t1.visible = False  # as all of a dropped folder but the first are
    copy = copy_of(opened.t1)
    opened.viewer.add_layer(copy)
    opened.look()
    assert opened.bench.state.slots == {Modality.FLAIR: "FLAIR", Modality.T1: copy.name}


def test_what_a_filter_makes_takes_only_an_empty_slot(opened: Opened) -> None:
    filtered = np.sqrt(np.asarray(opened.flair.data))
    for name in ("FLAIR gaussian", "T2 registered", "T2 registered twice"):
        opened.viewer.add_layer(Image(filtered, name=name))
        opened.look()
    slots = {Modality.FLAIR: "FLAIR", Modality.T1: "T1", Modality.T2: "T2 registered"}
    assert opened.bench.state.slots == slots
    assert opened.bench.controller.patient == 1
    assert opened.flair.visible
    assert opened.t1.visible


def test_linked_files_are_of_the_folder_that_holds_the_links(opened: Opened, tmp_path: Path) -> None:
    """As DataLad has them: each file's content lies in a folder of its own."""
    (tmp_path / "case").mkdir()
    for seed, modality in enumerate(Modality):
        content = tmp_path / modality / "content"
        content.parent.mkdir()
        content.touch()
        layer = image(modality, seed, f"{tmp_path}/case")
        layer.metadata["napari_shaspec"].path.symlink_to(content)
        opened.viewer.add_layer(layer)
        opened.look()
    assert opened.bench.state.case.available == frozenset(Modality)
