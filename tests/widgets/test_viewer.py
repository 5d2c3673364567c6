"""A person with a mouse, in a real napari window."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Event, Timer
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest
import torch
from napari import Viewer
from napari.qt import QtViewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QTextDocumentFragment
from qtpy.QtWidgets import QAbstractButton, QApplication, QCheckBox, QDockWidget, QMessageBox

from napari_shaspec.cli.app import run as run_command
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.engine import TorchEngine
from napari_shaspec.inference.feature_choice import FeatureChoice, FeatureKind, FeatureView
from napari_shaspec.inference.session import Session
from napari_shaspec.io import nifti
from napari_shaspec.io.cases import read_case
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import Checkpoint, load_checkpoint
from napari_shaspec.model.shaspec import Encoding
from napari_shaspec.plugin import settings
from napari_shaspec.plugin.hover import describe_place
from napari_shaspec.plugin.layers import Placement
from napari_shaspec.plugin.state import PluginState, Status
from napari_shaspec.plugin.writer import write_labels
from napari_shaspec.regions import Region
from napari_shaspec.volume import Case
from napari_shaspec.widgets import commands
from napari_shaspec.widgets.feature_display import FeatureDisplay
from napari_shaspec.widgets.forms import OpenForm
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from tests.widgets.conftest import LONG_MS, finished, write_case

ALL = frozenset(Modality)


def drop(panel: ShaSpecWidget, paths: list[Path], canvas: QtViewer | None = None) -> None:
    """As the window system delivers it to napari's canvas."""
    canvas = canvas or panel.window().findChild(QtViewer)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    left, plain = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    # Qt delivers a drop to whoever has accepted the drag.
    QApplication.sendEvent(canvas, QDragEnterEvent(QPoint(50, 50), Qt.DropAction.CopyAction, data, left, plain))
    QApplication.sendEvent(canvas, QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, data, left, plain))


def click(panel: ShaSpecWidget, name: str, qtbot: QtBot) -> None:
    """With the mouse, on a button or check box by its name."""
    widget = next(each for each in panel.findChildren(QAbstractButton) if each.objectName() == name)
    place = widget.rect().center()
    if isinstance(widget, QCheckBox):
        place.setX(8)  # the box itself
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place)


def rest_the_mouse(panel: ShaSpecWidget, place: np.ndarray) -> None:
    """Over a place (z, y, x) of the world, in the slice through it."""
    viewer = panel.viewer
    viewer.dims.set_point(range(3), [float(value) for value in place])
    viewer.cursor.position = tuple(place)
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, None)


class GatedEngine(TorchEngine):
    """The network, which waits before each decode until the test lets it go on."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint.model, "cpu", "float32")
        self.gate = Event()
        self.reached = Event()

    def decode(self, encodings: Mapping[str, Encoding]) -> torch.Tensor:
        self.reached.set()
        assert self.gate.wait(60)
        return super().decode(encodings)


@pytest.fixture
def gate(panel: ShaSpecWidget, weights: Path) -> GatedEngine:
    """From now on the panel's network waits."""
    engine = GatedEngine(load_checkpoint(weights))

    def open_session(checkpoint: Checkpoint, case: Case, device: str) -> Session:
        return Session(checkpoint.model, case, engine=engine)

    panel.controller.network.open_session = open_session
    return engine


def test_a_dropped_folder_becomes_layers_and_labels(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> None:
    drop(panel, [case_folder])
    finished(panel, qtbot)
    names = [layer.name for layer in panel.viewer.layers]
    assert names[:5] == ["T2", "T1c", "T1", "FLAIR", "Reference"]
    assert "ShaSpec labels" in names
    assert panel.state.available == ALL
    expected = Session(panel.controller.checkpoint.model, read_case(case_folder), device="cpu").predict()
    labels = panel.overlay.labels()
    assert labels is not None
    np.testing.assert_array_equal(labels, expected.labels())
    assert len(np.unique(labels)) == 4
    # Radiological: the patient's right on the left of the screen, the front at the top.
    assert panel.viewer.scene.camera.orientation2d == ("up", "left")
    assert [str(unit) for unit in panel.viewer.layers["FLAIR"].units] == ["millimeter"] * 3


def test_four_dropped_files_are_one_case(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> None:
    files = [path for path in sorted(case_folder.iterdir()) if "seg" not in path.name]
    sidecar = case_folder / "patient_flair.json"  # as dcm2niix writes it
    sidecar.write_text("{}")
    drop(panel, [*files, sidecar])
    finished(panel, qtbot)
    assert dict(panel.state.slots) == {modality: modality.title for modality in Modality}
    assert panel.state.case is not None
    assert panel.state.case.truth is None
    assert panel.regions.table.isColumnHidden(5)


def test_a_check_box_changes_the_labels_at_once(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    before, result = loaded.overlay.labels().copy(), loaded.state.result
    volumes = dict(loaded.state.volumes_ml)
    click(loaded, "available_t1c", qtbot)
    finished(loaded, qtbot, result)
    assert loaded.state.available == ALL - {Modality.T1C}
    assert not np.array_equal(loaded.overlay.labels(), before)
    assert loaded.state.volumes_ml != volumes
    text = loaded.modalities.states[Modality.T1C].text()
    assert text.startswith("off (stand-in: mean of FLAIR, T1, T2)")
    # A fresh session gives the same.
    case = loaded.state.case
    fresh = Session(loaded.controller.checkpoint.model, case, device="cpu").predict(ALL - {Modality.T1C})
    np.testing.assert_array_equal(loaded.overlay.labels(), fresh.labels())


def test_trust_follows_the_check_boxes(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    def shown() -> list[str]:
        return [loaded.regions.table.item(row, 7).text() for row in range(3)]

    assert shown() == ["reliable", "fair", "reliable"]
    result = loaded.state.result
    click(loaded, "available_t1c", qtbot)
    finished(loaded, qtbot, result)
    assert shown() == ["unreliable", "unreliable", "reliable"]
    assert loaded.regions.trust_line.isVisible()
    assert loaded.regions.trust_line.text().startswith("ET without T1c: unreliable\nTC without T1c: unreliable\n")
    assert "0.10 of 7 made-up cases" in loaded.regions.table.item(0, 7).toolTip()
    result = loaded.state.result
    click(loaded, "available_t1", qtbot)
    finished(loaded, qtbot, result)
    assert shown() == ["not measured"] * 3


def test_keys_toggle(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    window = loaded.window()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    canvas = window.findChild(QtViewer)
    result = loaded.state.result
    qtbot.keyClick(canvas, Qt.Key.Key_1)
    finished(loaded, qtbot, result)
    assert loaded.state.available == ALL - {Modality.FLAIR}
    result = loaded.state.result
    qtbot.keyClick(canvas, Qt.Key.Key_1)
    finished(loaded, qtbot, result)
    assert loaded.state.available == ALL


def test_other_values_in_an_image_are_predicted_from(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    case, result, place = loaded.state.case, loaded.state.result, loaded.viewer.dims.point[0] - 4
    loaded.viewer.dims.set_point(0, place)
    layer = loaded.viewer.layers["T1"]
    layer.data = np.sqrt(np.asarray(layer.data))
    finished(loaded, qtbot, result)
    np.testing.assert_allclose(loaded.state.case.images[Modality.T1].data, np.sqrt(case.images[Modality.T1].data))
    assert "changed in the viewer" in loaded.modalities.states[Modality.T1].text()
    assert loaded.viewer.dims.point[0] == pytest.approx(place, abs=1)  # where the user looks


def test_the_last_box_jumps_back_and_says_why(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    loaded.modalities.solos[Modality.T2].click()
    assert loaded.state.available == {Modality.T2}
    click(loaded, "available_t2", qtbot)
    assert loaded.modalities.boxes[Modality.T2].isChecked()
    assert "At least one modality has to stay on" in loaded.run.message.text()
    finished(loaded, qtbot, loaded.state.result)


def test_cancel_in_the_middle(panel: ShaSpecWidget, gate: GatedEngine, case_folder: Path, qtbot: QtBot) -> None:
    panel.open_paths([str(case_folder)])
    qtbot.waitUntil(gate.reached.is_set, timeout=LONG_MS)
    qtbot.waitUntil(lambda: panel.run.button.text() == "Cancel")
    click(panel, "predict", qtbot)
    assert panel.state.status is Status.READY
    assert panel.run.button.text() == "Predict"
    assert panel.run.message.text().startswith("Cancelled")
    gate.gate.set()
    assert panel.state.result is None
    assert not panel.regions.pin.isEnabled()  # half of an answer is nothing to compare with
    click(panel, "predict", qtbot)
    finished(panel, qtbot)
    assert panel.regions.pin.isEnabled()


def test_closing_in_the_middle_leaves_nothing_behind(
    viewer: Viewer, panel: ShaSpecWidget, gate: GatedEngine, case_folder: Path, qtbot: QtBot
) -> None:
    panel.open_paths([str(case_folder)])
    qtbot.waitUntil(gate.reached.is_set, timeout=LONG_MS)
    dims = (viewer.dims.events.point, viewer.dims.events.ndisplay)
    callbacks, of_dims = len(viewer.layers.events.inserted.callbacks), [len(each.callbacks) for each in dims]
    Timer(0.2, gate.gate.set).start()  # the thread is in the middle of a tile when the dock is closed
    viewer.window.remove_dock_widget(panel)
    assert panel._closed
    assert viewer.layers["ShaSpec labels"].editable  # they are the user's now
    assert all(handle.wait(0) for handle in panel.controller.predictions._run._handles)
    assert len(viewer.layers.events.inserted.callbacks) < callbacks
    # The line at the cursor hears both, and 3-D is told of where the camera looks.
    assert [len(each.callbacks) for each in dims] == [of_dims[0] - 1, of_dims[1] - 2]
    assert panel._on_mouse_move not in viewer.mouse_move_callbacks
    assert not panel._settle_layers.isActive()
    assert not panel._settle_edits.isActive()
    viewer.add_image(np.random.default_rng(1).random((5, 5, 5)))  # nobody listens any more
    assert panel.state.status is not Status.ASSEMBLING


def test_the_panel_can_be_closed_and_opened_again(
    viewer: Viewer, loaded: ShaSpecWidget, qtbot: QtBot, case_folder: Path
) -> None:
    viewer.window.remove_dock_widget(loaded)
    assert loaded._closed
    _, again = viewer.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    finished(again, qtbot)
    assert again.state.available == ALL
    again.overlay.layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 4)  # only one of them listens
    assert loaded.overlay.layer is None


def test_what_a_closed_panel_has_left_does_not_pass_for_the_answer(
    viewer: Viewer, loaded: ShaSpecWidget, qtbot: QtBot
) -> None:
    click(loaded, "show_TC", qtbot)
    click(loaded, "show_features", qtbot)
    qtbot.waitUntil(lambda: loaded.features.shown, timeout=LONG_MS)
    maps = [*loaded.features.maps.values(), *loaded.features.outlines.values()]
    old, region = loaded.overlay.layer, viewer.layers["TC"]
    viewer.window.remove_dock_widget(loaded)
    assert (old.visible, region.visible, viewer.canvas.grid.enabled) == (True, True, False)
    assert not any(layer.visible for layer in maps)  # without a grid they would cover the image
    _, again = viewer.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    finished(again, qtbot)
    assert (old.visible, region.visible, again.overlay.layer.visible) == (False, False, True)
    assert again.overlay.layer is not old


def test_the_window_closes_in_the_middle(
    make_napari_viewer: Callable[..., Viewer], panel: ShaSpecWidget, gate: GatedEngine, case_folder: Path, qtbot: QtBot
) -> None:
    panel.open_paths([str(case_folder)])
    qtbot.waitUntil(gate.reached.is_set, timeout=LONG_MS)
    prediction = panel.controller.predictions._run
    Timer(0.2, gate.gate.set).start()
    panel.viewer.close()
    assert panel._closed
    assert all(handle.wait(0) for handle in prediction._handles)


def test_export_and_open_again(loaded: ShaSpecWidget, tmp_path: Path, qtbot: QtBot, case_folder: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    loaded.tabs.setCurrentWidget(loaded.export_form.native)
    loaded.export_form.path.value = out / "seg.nii.gz"
    loaded.export_form.form.value = "1-2-3 (BraTS from 2023)"
    loaded.export_form.probabilities.value = True
    qtbot.mouseClick(loaded.export_form.button.native, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: loaded.state.message.startswith("Wrote seg.nii.gz"), timeout=LONG_MS)
    names = {"seg.nii.gz", "seg_ET.nii.gz", "seg_TC.nii.gz", "seg_WT.nii.gz", "seg.json"}
    assert {path.name for path in out.iterdir()} == names
    written, source = nib.load(out / "seg.nii.gz"), nib.load(case_folder / "patient_flair.nii.gz")
    labels = loaded.overlay.labels()
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.where(labels == 4, 3, labels))
    np.testing.assert_array_equal(written.affine, source.affine)
    assert written.header["sform_code"] == source.header["sform_code"]
    layer = loaded.viewer.open(str(out / "seg.nii.gz"), plugin="napari-shaspec")[0]
    np.testing.assert_array_equal(layer.data, loaded.overlay.layer.data)
    np.testing.assert_allclose(layer.affine.affine_matrix, loaded.overlay.layer.affine.affine_matrix, atol=1e-6)
    assert settings.Settings.load().label_convention == "1-2-3"


def test_the_report_makes_the_same_file_again(loaded: ShaSpecWidget, tmp_path: Path, qtbot: QtBot) -> None:
    result = loaded.state.result
    click(loaded, "available_t1", qtbot)
    finished(loaded, qtbot, result)
    loaded.export_request.export(tmp_path / "seg.nii.gz", "1-2-4", False, False)
    qtbot.waitUntil(lambda: loaded.state.message.startswith("Wrote"), timeout=LONG_MS)
    assert run_command(["predict", "--from", str(tmp_path / "seg.json"), "--out", str(tmp_path / "again.nii.gz")]) == 0
    assert (tmp_path / "again.nii.gz").read_bytes() == (tmp_path / "seg.nii.gz").read_bytes()
    report = json.loads((tmp_path / "seg.json").read_text())
    assert report["available"] == "flair+t1c+t2"
    assert report["edited"] is False


def test_maps_are_exported_with_the_labels_or_nothing_is(
    loaded: ShaSpecWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    loaded.tabs.setCurrentWidget(loaded.features_panel)
    click(loaded, "show_features", qtbot)
    qtbot.waitUntil(lambda: loaded.features.shown, timeout=LONG_MS)
    loaded.features.maps[Modality.T2].name = "mine / T2"  # a name for no file
    out = tmp_path / "out"
    out.mkdir()
    full = ShaSpecError("room on the disk", "none", "Make some")
    import_module("napari_shaspec.inference.export")  # it takes the real function, and keeps it
    with monkeypatch.context() as patched:
        patched.setattr(nifti, "write_volume", Mock(side_effect=full))
        loaded.export_request.export(out / "seg.nii.gz", "1-2-4", False, True)
        qtbot.waitUntil(lambda: str(full) in loaded.state.message, timeout=LONG_MS)
    qtbot.waitUntil(lambda: not loaded.jobs.exporting)
    assert not list(out.iterdir())
    loaded.export_request.export(out / "seg.nii.gz", "1-2-4", False, True)
    qtbot.waitUntil(lambda: loaded.state.message.startswith("Wrote"), timeout=LONG_MS)
    maps = {f"seg_shared_{modality.title}_{colour}.nii.gz" for modality in Modality for colour in (1, 2, 3)}
    assert {path.name for path in out.iterdir()} == {"seg.nii.gz", "seg.json"} | maps


def test_a_path_to_export_to_is_one_patients(
    loaded: ShaSpecWidget, tmp_path: Path, case_folder: Path, qtbot: QtBot
) -> None:
    form, result = loaded.export_form, loaded.state.result
    form.path.value = tmp_path / "seg.nii.gz"
    (case_folder / "patient_t1.nii.gz").rename(case_folder / "patient_mprage_t1.nii.gz")
    drop(loaded, [case_folder / "patient_mprage_t1.nii.gz"])  # the same patient's
    finished(loaded, qtbot, result)
    assert form.path.value == tmp_path / "seg.nii.gz"
    result = loaded.state.result
    drop(loaded, [write_case(tmp_path / "other", seed=4)])
    finished(loaded, qtbot, result)
    form.button.changed.emit(True)
    assert loaded.state.message.startswith("Choose a file name for the labels first")
    assert not (tmp_path / "seg.nii.gz").exists()


def test_maps_of_another_subset_or_network_are_not_exported_beside_the_labels(
    loaded: ShaSpecWidget, tmp_path: Path, qtbot: QtBot
) -> None:
    loaded.tabs.setCurrentWidget(loaded.features_panel)
    click(loaded, "show_features", qtbot)
    qtbot.waitUntil(lambda: loaded.features.shown, timeout=LONG_MS)
    controller, display, out = loaded.controller, loaded.feature_display, tmp_path / "out" / "seg.nii.gz"
    out.parent.mkdir()
    click(loaded, "live", qtbot)
    click(loaded, "available_t1c", qtbot)  # the maps follow, the labels do not
    qtbot.waitUntil(lambda: not display.waiting, timeout=LONG_MS)
    loaded.export_request.export(out, "1-2-4", False, True)
    others = "The feature maps are of FLAIR+T1+T2, the labels of FLAIR+T1+T1c+T2: "
    assert loaded.state.message == f"{others}predict first, or export without maps."
    click(loaded, "available_t1c", qtbot)
    assert display.waiting
    loaded.export_request.export(out, "1-2-4", False, True)
    assert loaded.state.message == f"{others}wait for those that are on their way, or export without maps."
    qtbot.waitUntil(lambda: not display.waiting, timeout=LONG_MS)
    controller.set_model(controller.weights, replace(controller.checkpoint, sha256="0" * 64))
    display.show(loaded.features_panel.choice())
    qtbot.waitUntil(lambda: not display.waiting, timeout=LONG_MS)
    loaded.export_request.export(out, "1-2-4", False, True)
    assert loaded.state.message.startswith("The feature maps are of FLAIR+T1+T1c+T2 by another model, the labels of")
    assert not loaded.jobs.exporting
    assert not list(out.parent.iterdir())
    loaded.export_request.export(out, "1-2-4", False, False)
    qtbot.waitUntil(lambda: loaded.state.message.startswith("Wrote seg.nii.gz, seg.json"), timeout=LONG_MS)


def test_export_asks_before_it_replaces(
    loaded: ShaSpecWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case_folder: Path, qtbot: QtBot
) -> None:
    asked: list[str] = []

    def answer(parent: object, title: str, question: str) -> QMessageBox.StandardButton:
        asked.append(question)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", answer)
    (tmp_path / "seg.nii.gz").write_text("mine")
    loaded.export_request.export(tmp_path / "seg.nii.gz", "1-2-4", False, False)
    assert asked == [f"Replace seg.nii.gz in {tmp_path.resolve()}?"]
    assert (tmp_path / "seg.nii.gz").read_text() == "mine"
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    flair = case_folder / "patient_flair.nii.gz"
    before = flair.read_bytes()
    loaded.export_request.export(flair, "1-2-4", False, False)
    qtbot.waitUntil(lambda: loaded.state.message != "Writing...", timeout=LONG_MS)
    assert "apart from the case" in loaded.state.message
    assert flair.read_bytes() == before


def test_an_export_holds_the_labels_of_the_moment_it_was_asked_for(
    loaded: ShaSpecWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    before = loaded.overlay.labels().copy()

    def answer(*_: object) -> QMessageBox.StandardButton:
        loaded.overlay.paint(None, np.full_like(before, 4))  # the network, or a brush, while the question is open
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QMessageBox, "question", answer)
    out = tmp_path / "seg.nii.gz"
    out.write_text("older")
    loaded.export_request.export(out, "1-2-4", False, False)
    qtbot.waitUntil(lambda: loaded.state.message.startswith("Wrote"), timeout=LONG_MS)
    np.testing.assert_array_equal(np.asarray(nib.load(out).dataobj), before)
    assert json.loads((tmp_path / "seg.json").read_text())["edited"] is False


def test_a_bare_name_is_beside_the_images(
    loaded: ShaSpecWidget, case_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot: QtBot
) -> None:
    """And the message says what is not in it."""
    (tmp_path / "started here").mkdir()
    monkeypatch.chdir(tmp_path / "started here")
    layer, result = loaded.overlay.layer, loaded.state.result
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 4 if layer.data[0, 0, 0] != 4 else 1)
    click(loaded, "available_t1", qtbot)
    finished(loaded, qtbot, result)
    loaded.export_form.path.line_edit.value = "mine.nii.gz"  # as typed
    loaded.export_form.button.changed.emit(True)
    qtbot.waitUntil(lambda: loaded.state.message.startswith("Wrote"), timeout=LONG_MS)
    assert (case_folder / "mine.nii.gz").is_file()
    assert str(case_folder.resolve()) in loaded.state.message
    assert "Not in it: what you painted on ShaSpec labels (edited)." in loaded.state.message
    loaded.viewer.layers["ShaSpec labels (edited)"].name = "what I painted"
    assert loaded.overlay.set_aside() == ["what I painted"]
    loaded.overlay.clear()  # the next patient's labels begin: these are not missing from them
    assert loaded.overlay.set_aside() == []
    assert not list(Path().iterdir())


def test_what_a_folder_leaves_out_is_told_where_something_is_missing(
    panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot
) -> None:
    (case_folder / "patient_t1ce.nii.gz").rename(case_folder / "scan7.nii.gz")
    panel.open_paths([str(case_folder)])
    finished(panel, qtbot)
    assert "Not opened, for their names say no modality: scan7.nii.gz." in panel.run.message.text()


def test_a_brush_stroke_changes_the_table_and_undo_changes_it_back(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    layer = loaded.overlay.layer
    before = loaded.state.volumes_ml[Region.ET]
    shown = loaded.regions.table.item(0, 1).text()
    background = tuple(int(value) for value in np.argwhere(layer.data == 0)[500])
    layer.brush_size = 7
    layer.paint(background, 4)
    qtbot.waitUntil(lambda: loaded.state.volumes_ml[Region.ET] > before, timeout=LONG_MS)
    qtbot.waitUntil(lambda: loaded.regions.table.item(0, 1).text() != shown)
    assert loaded.overlay.edited()
    layer.undo()
    qtbot.waitUntil(lambda: loaded.state.volumes_ml[Region.ET] == pytest.approx(before), timeout=LONG_MS)
    assert not loaded.overlay.edited()


def test_edits_are_kept_when_a_toggle_comes(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    layer = loaded.overlay.layer
    given = int(layer.data[0, 0, 0])
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 4 if given != 4 else 1)
    edited, result = layer.data.copy(), loaded.state.result
    probabilities = weakref.ref(result.prediction.probabilities)
    click(loaded, "available_flair", qtbot)
    finished(loaded, qtbot, result)
    del result
    qtbot.waitUntil(lambda: gc.collect() >= 0 and probabilities() is None)  # 100 MB of a BraTS case
    np.testing.assert_array_equal(loaded.viewer.layers["ShaSpec labels (edited)"].data, edited)
    assert loaded.overlay.layer is loaded.viewer.layers["ShaSpec labels"]
    np.testing.assert_array_equal(loaded.overlay.labels(), loaded.state.result.labels)
    layer.undo()  # the kept layer has kept its history too
    assert layer.data[0, 0, 0] == given
    # The brush is free while thresholds are applied.
    result, second = loaded.state.result, loaded.overlay.layer
    given = int(second.data[0, 0, 0])
    loaded.overlay_panel.thresholds[Region.WT].setValue(0.9)
    second.data_setitem((np.array([0]), np.array([0]), np.array([0])), 4 if given != 4 else 1)
    finished(loaded, qtbot, result)
    assert loaded.viewer.layers["ShaSpec labels (edited 2)"].data[0, 0, 0] != given
    np.testing.assert_array_equal(loaded.overlay.labels(), loaded.state.result.labels)


def test_feature_layers_come_go_and_follow(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    viewer = loaded.viewer
    before = [layer.name for layer in viewer.layers]
    loaded.tabs.setCurrentWidget(loaded.features_panel)
    click(loaded, "show_features", qtbot)
    qtbot.waitUntil(lambda: loaded.features.shown, timeout=LONG_MS)
    assert viewer.canvas.grid.enabled
    assert [viewer.layers[0].name, viewer.layers[1].name] == ["FLAIR", "ShaSpec labels"]
    assert {layer.name for layer in loaded.features.maps.values()} == {f"shared {each.title}" for each in Modality}
    # The map of the layer lies where the session's own grid says.
    shared = loaded.features.maps[Modality.T1]
    session = loaded.controller.network.session
    field = session.field(ALL, session.fine_grid)
    for place in ((0, 0, 0), (3, 5, 7)):
        working = np.array([*(np.array(place[::-1]) + field.start), 1])
        patient = (session.fine_grid.affine @ working)[:3]
        np.testing.assert_allclose(shared.data_to_world(place)[::-1], patient, atol=1e-4)
    own = np.asarray(shared.data).copy()
    # Which image stands first does not change, nor are labels and maps parted by labels that are kept.
    for layer in loaded.layers.candidates():
        layer.visible = True
    edited = loaded.overlay.layer
    edited.data_setitem((np.array([0]), np.array([0]), np.array([0])), 4 if edited.data[0, 0, 0] != 4 else 1)
    order = [layer.name for layer in viewer.layers]
    click(loaded, "available_t1", qtbot)
    assert [layer.name for layer in viewer.layers] == [*order, "ShaSpec labels (edited)"]
    qtbot.waitUntil(lambda: loaded.features.maps[Modality.T1].name == "shared T1 (stand-in)", timeout=LONG_MS)
    assert [viewer.layers[0].name, viewer.layers[1].name] == ["FLAIR", "ShaSpec labels"]
    assert not np.array_equal(loaded.features.maps[Modality.T1].data, own)
    # Zoom, place and the grid's own button are the user's, even when there are fewer maps.
    viewer.scene.camera.zoom, viewer.scene.camera.center = 12.0, (0.0, 7.0, 9.0)
    viewer.canvas.grid.enabled = False
    loaded.features_panel.kind.setCurrentText("specific")
    loaded.features_panel.kind.activated.emit(1)
    qtbot.waitUntil(lambda: Modality.T1 not in loaded.features.maps, timeout=LONG_MS)
    assert "No specific maps for T1" in loaded.features_panel.line.text()
    assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == (12.0, (0.0, 7.0, 9.0))
    assert not viewer.canvas.grid.enabled
    click(loaded, "show_features", qtbot)
    assert [layer.name for layer in viewer.layers] == [*before[:-1], "ShaSpec labels (edited)", before[-1]]
    assert not viewer.canvas.grid.enabled


def test_maps_are_withdrawn_when_they_are_of_another_subset_or_network() -> None:
    """Without napari: layers and panel only record."""
    layers, panel = Mock(shown=False), Mock()
    state = PluginState(available=ALL, network="one", live=True)
    controller = Mock(state=state)
    display = FeatureDisplay(panel, layers, controller, Mock(), Mock())

    def cancelled() -> None:
        state.status = Status.RUNNING
        state.status = Status.READY

    display.show(FeatureChoice(FeatureKind.SHARED, 0, FeatureView.NORM))
    _, deliver = controller.request_features.call_args.args
    state.network = "two"  # known once it has run
    deliver({})
    layers.shown = True
    cancelled()
    layers.remove.assert_not_called()
    for available, network in ((ALL - {Modality.T1}, "two"), (ALL, "three")):
        state.available, state.network = available, network
        layers.remove.reset_mock()
        cancelled()
        layers.remove.assert_called_once()
        panel.set_shown.assert_called_with(shown=False)
    layers.shown = False
    layers.remove.reset_mock()
    state.available = frozenset({Modality.T2})
    cancelled()
    layers.remove.assert_not_called()
    # Asked for, then given up for a prediction that was cancelled.
    display.show(FeatureChoice(FeatureKind.SHARED, 0, FeatureView.NORM))
    controller.computing_features = False
    panel.set_shown.reset_mock()
    cancelled()
    panel.set_shown.assert_called_once_with(shown=False)
    state.case = Mock()
    display.show(FeatureChoice(FeatureKind.SHARED, 0, FeatureView.NORM))
    state.case = None  # what was asked for comes with the next one
    panel.set_shown.reset_mock()
    cancelled()
    panel.set_shown.assert_not_called()


def test_pin_and_compare(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    click(loaded, "pin", qtbot)
    result, pinned = loaded.state.result, loaded.overlay.labels().copy()
    click(loaded, "available_t2", qtbot)
    finished(loaded, qtbot, result)
    change = loaded.viewer.layers["Change"]
    now = loaded.overlay.labels()
    expected = np.where((now > 0) & (pinned == 0), 1, np.where((now == 0) & (pinned > 0), 2, 0))
    np.testing.assert_array_equal(change.data, loaded.overlay.placement.to_display(expected))
    voxel_ml = 1.5 * 1.5 * 2 / 1000
    assert loaded.regions.table.item(2, 3).text() == f"{np.count_nonzero(expected == 1) * voxel_ml:.1f}"
    assert loaded.regions.table.item(2, 4).text() == f"{np.count_nonzero(expected == 2) * voxel_ml:.1f}"
    said = QTextDocumentFragment.fromHtml(loaded.regions.pinned_line.text()).toPlainText()
    assert said == "Against the pinned flair+t1+t1c+t2: ■ gained, ■ lost"
    click(loaded, "unpin", qtbot)
    assert "Change" not in loaded.viewer.layers


def test_a_comparison_goes_with_labels_that_are_taken_away_and_comes_above_new_ones(
    loaded: ShaSpecWidget, qtbot: QtBot
) -> None:
    click(loaded, "pin", qtbot)
    layers, result = loaded.viewer.layers, loaded.state.result
    assert "Change" in layers
    layers.remove("ShaSpec labels")
    loaded.predict()
    assert "Change" not in layers  # of labels that are gone, over those that are only coming
    finished(loaded, qtbot, result)  # with the volumes of before
    assert layers.index("Change") > layers.index("ShaSpec labels")
    assert not layers["Change"].data.any()


def test_labels_that_are_deleted_leave_nothing_of_them_in_the_panel(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    click(loaded, "pin", qtbot)
    click(loaded, "show_TC", qtbot)
    loaded.tabs.setCurrentWidget(loaded.features_panel)
    click(loaded, "show_features", qtbot)
    qtbot.waitUntil(lambda: loaded.features.shown, timeout=LONG_MS)
    layers, volumes = loaded.viewer.layers, dict(loaded.state.volumes_ml)
    assert loaded.features.outlines
    layers.remove("ShaSpec labels")
    qtbot.waitUntil(lambda: "Predict brings them back" in loaded.run.message.text(), timeout=LONG_MS)
    assert {loaded.regions.table.item(row, column).text() for row in range(3) for column in range(1, 8)} == {""}
    assert not loaded.regions.pin.isEnabled()
    assert "predict first" in loaded.regions.pin.toolTip()
    assert loaded.run.bar.text() == "ready"
    assert {"TC", "Change"}.isdisjoint(layer.name for layer in layers)
    assert loaded.features.shown
    assert not loaded.features.outlines
    assert not any("outline" in layer.name for layer in layers)
    click(loaded, "predict", qtbot)
    finished(loaded, qtbot)
    assert loaded.state.volumes_ml == volumes
    assert loaded.regions.pin.isEnabled()
    assert not loaded.run.message.text()
    assert {"TC", "Change"} <= {layer.name for layer in layers}
    qtbot.waitUntil(lambda: len(loaded.features.outlines) == len(Modality), timeout=LONG_MS)


def test_regions_are_layers_of_their_own(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    assert "TC" not in loaded.viewer.layers
    click(loaded, "show_TC", qtbot)
    layer = loaded.viewer.layers["TC"]
    assert layer.visible
    assert layer.contour > 0
    labels = loaded.overlay.labels()
    np.testing.assert_array_equal(layer.data, loaded.overlay.placement.to_display(np.isin(labels, (1, 4))))
    loaded.overlay_panel.filled[Region.TC].click()
    assert layer.contour == 0
    click(loaded, "show_TC", qtbot)
    assert not layer.visible
    result = loaded.state.result
    click(loaded, "available_t1c", qtbot)
    finished(loaded, qtbot, result)
    layer.visible = True  # by the eye in the list: what changed meanwhile is caught up with
    expected = np.isin(loaded.overlay.labels(), (1, 4))
    np.testing.assert_array_equal(layer.data, loaded.overlay.placement.to_display(expected))
    layer.opacity = 0.7
    result = loaded.state.result
    click(loaded, "available_t1c", qtbot)
    finished(loaded, qtbot, result)
    assert (layer.visible, layer.opacity) == (True, 0.7)  # as the user has set them


def test_what_is_under_the_cursor(loaded: ShaSpecWidget) -> None:
    layer = loaded.overlay.layer
    place = tuple(int(value) for value in np.argwhere(layer.data == 4)[0])
    rest_the_mouse(loaded, layer.data_to_world(place))
    index = Placement.of(loaded.state.case.grid).file_index(layer.data_to_world(place))
    shares = loaded.state.result.prediction.probabilities[(slice(None), *index)]
    beside = "  ".join(f"{region} {share:.0%}" for region, share in zip(("ET", "TC", "WT"), shares, strict=True))
    assert loaded.regions.cursor_line.text().endswith(f"ET (enhancing tumour)   {beside}")
    assert describe_place(loaded.viewer.cursor.position, loaded.overlay, None) == "ET (enhancing tumour)"
    loaded.viewer.dims.ndisplay = 3  # where the cursor is at no voxel
    assert loaded.regions.cursor_line.text() == "At the cursor: only in 2-D"


def test_what_is_under_a_resting_mouse_follows_labels_and_slices(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    layer, dims, result = loaded.overlay.layer, loaded.viewer.dims, loaded.state.result
    place = np.argwhere(layer.data == 4)[0]
    above = place + np.array([3, 0, 0])
    dims.set_point(0, dims.point[0] + 2)
    assert loaded.regions.cursor_line.text() == "At the cursor: -"  # the mouse has not been there yet
    rest_the_mouse(loaded, layer.data_to_world(place))

    def line(at: np.ndarray) -> str:
        return f"At the cursor: {describe_place(layer.data_to_world(at), loaded.overlay, loaded.state.result)}"

    said: list[str] = []
    loaded.state.events.result.connect(lambda: said.append(loaded.regions.cursor_line.text()))
    before = line(place)
    click(loaded, "available_t1c", qtbot)
    finished(loaded, qtbot, result)
    assert "%" not in said[0]  # while the network runs
    assert before != loaded.regions.cursor_line.text() == line(place)
    dims.set_point(0, layer.data_to_world(above)[0])
    before = loaded.regions.cursor_line.text()
    assert line(place) != before == line(above)
    layer.data_setitem(tuple(above[:, None]), 4 if layer.data[tuple(above)] != 4 else 1)
    qtbot.waitUntil(lambda: before != loaded.regions.cursor_line.text() == line(above), timeout=LONG_MS)
    loaded.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: loaded.regions.cursor_line.text() == "At the cursor: -", timeout=LONG_MS)


def test_maps_that_are_deleted_take_their_outlines_along(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    layers = loaded.viewer.layers
    before = [layer.name for layer in layers]
    loaded.tabs.setCurrentWidget(loaded.features_panel)
    click(loaded, "show_features", qtbot)
    qtbot.waitUntil(lambda: loaded.features.shown, timeout=LONG_MS)
    layers.remove("shared T1")
    qtbot.waitUntil(lambda: "shared T1 outline" not in layers, timeout=LONG_MS)
    names = [layer.name for layer in layers]
    for place, name in enumerate(names):
        if name.endswith("outline"):
            assert place % 2 == 1
            assert names[place - 1] == name.removesuffix(" outline")
    for name in ("shared FLAIR", "shared T1c", "shared T2"):
        layers.remove(name)
    qtbot.waitUntil(lambda: [layer.name for layer in layers] == before, timeout=LONG_MS)
    assert loaded.features_panel.button.text() == "Show maps"
    assert not loaded.viewer.canvas.grid.enabled


def test_a_broken_file_is_one_message(loaded: ShaSpecWidget, tmp_path: Path, qtbot: QtBot) -> None:
    broken = tmp_path / "broken_t1.nii.gz"
    whole = (tmp_path / "patient" / "patient_t1.nii.gz").read_bytes()
    broken.write_bytes(whole[:900])
    before = list(loaded.viewer.layers)
    drop(loaded, [broken])
    qtbot.waitUntil(lambda: not loaded.reading, timeout=LONG_MS)
    assert "broken_t1.nii.gz" in loaded.run.message.text()
    assert list(loaded.viewer.layers) == before
    # In company: the others open, and the message stays.
    other = write_case(tmp_path / "second", seed=5)
    (other / "second_t2.nii.gz").write_bytes(whole[:900])
    drop(loaded, [other])
    qtbot.waitUntil(lambda: loaded.state.result is not None and loaded.state.case.name == "second", timeout=LONG_MS)
    assert loaded.state.available == ALL - {Modality.T2}
    assert "second_t2.nii.gz" in loaded.run.message.text()
    result = loaded.state.result
    click(loaded, "available_t1", qtbot)
    finished(loaded, qtbot, result)


def test_a_second_case_takes_the_slots(loaded: ShaSpecWidget, tmp_path: Path, qtbot: QtBot) -> None:
    other = write_case(tmp_path / "other", seed=4, shift_mm=500.0)
    result = loaded.state.result
    drop(loaded, [other])
    finished(loaded, qtbot, result)
    assert loaded.state.case.name == "other"
    assert {path.parent for path in loaded.state.case.files.values()} == {other}
    low, high = np.array(loaded.layers.shown_image().extent.world)[:, 1:]
    assert all(low <= np.array(loaded.viewer.scene.camera.center[1:]))  # and it is in view
    assert all(np.array(loaded.viewer.scene.camera.center[1:]) <= high)


def test_3d_is_no_mirror_image(panel: ShaSpecWidget) -> None:
    """From the front, head up, the patient's right is on the left of the screen."""
    viewer = panel.viewer
    image = np.zeros((24, 24, 24), np.float32)  # from below, behind and the left
    image[9:15, 9:15, 18:] = 1
    viewer.add_image(image, name="a spot on the right", colormap="red")
    viewer.dims.ndisplay = 3
    viewer.scene.camera.set_view_direction((0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
    viewer.reset_view(reset_camera_angle=False)
    assert np.allclose(viewer.scene.camera.view_direction, (0, -1, 0), atol=1e-3)
    assert np.allclose(viewer.scene.camera.up_direction, (1, 0, 0), atol=1e-3)
    red, green, _ = np.moveaxis(viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int), -1, 0)
    columns = np.flatnonzero((red - green > 100).any(0))
    assert columns.size
    assert columns.mean() < red.shape[1] / 2 - 10


def test_a_wrong_slot_is_flagged_and_corrected(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    row = loaded.modalities.layers[Modality.T2]
    row.setCurrentText("FLAIR")
    row.activated.emit(row.currentIndex())
    assert "named like FLAIR" in loaded.modalities.states[Modality.T2].text()
    assert Modality.FLAIR not in loaded.state.slots
    finished(loaded, qtbot, loaded.state.result)


def test_a_file_whose_name_says_nothing_asks_for_a_row(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> None:
    drop(panel, [(case_folder / "patient_t1.nii.gz").rename(case_folder.parent / "volume.nii.gz")])
    qtbot.waitUntil(lambda: panel.run.message.text().startswith("No row uses volume: choose a layer there"))
    row = panel.modalities.layers[Modality.T1]
    row.setCurrentText("volume")
    row.activated.emit(row.currentIndex())
    finished(panel, qtbot)
    assert panel.run.message.text() == ""


def test_images_that_do_not_meet_are_spoken_of(panel: ShaSpecWidget, tmp_path: Path, qtbot: QtBot) -> None:
    (near,) = write_case(tmp_path / "near").glob("*_t1.nii.gz")
    (far,) = write_case(tmp_path / "far", shift_mm=500.0).glob("*_t2.nii.gz")
    drop(panel, [near, far.rename(near.with_name(far.name))])
    qtbot.waitUntil(lambda: "an overlap of 0%" in panel.run.message.text(), timeout=LONG_MS)
    for modality in (Modality.T1, Modality.T2):
        assert panel.modalities.boxes[modality].toolTip().startswith("The images in the rows do not make a case")
        assert panel.modalities.states[modality].text() == "loaded, but the images do not make a case"
    assert panel.run.button.toolTip().startswith("The images in the rows do not make a case")


def test_a_stroke_on_the_reference_changes_the_agreement(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    before, shown = loaded.state.agreement[Region.ET], loaded.regions.table.item(0, 5).text()
    layer = loaded.viewer.layers["Reference"]
    layer.visible = True
    layer.brush_size, layer.n_edit_dimensions = 20, 3
    layer.paint(tuple(int(value) for value in np.argwhere(layer.data == 0)[20_000]), 4)
    qtbot.waitUntil(lambda: loaded.regions.table.item(0, 5).text() not in {"", shown}, timeout=LONG_MS)
    layer.undo()
    qtbot.waitUntil(lambda: loaded.state.agreement.get(Region.ET) == before, timeout=LONG_MS)


def test_smoothing_and_thresholds_do_not_run_the_network(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    result = loaded.state.result
    loaded.overlay_panel.thresholds[Region.WT].setValue(0.9)
    finished(loaded, qtbot, result)
    assert loaded.state.result.prediction is result.prediction
    second = loaded.state.result
    click(loaded, "smooth", qtbot)
    finished(loaded, qtbot, second)
    assert loaded.state.result.prediction is result.prediction


def test_file_save_writes_the_report_too(loaded: ShaSpecWidget, tmp_path: Path) -> None:
    loaded.viewer.layers.selection.active = loaded.overlay.layer
    assert loaded.viewer.layers.save(str(tmp_path / "saved.nii.gz"), selected=True, plugin="napari-shaspec")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "saved.nii.gz").dataobj), loaded.overlay.labels())
    assert json.loads((tmp_path / "saved.json").read_text())["available"] == "flair+t1+t1c+t2"


def test_file_save_replaces_nothing_that_was_not_asked_about(loaded: ShaSpecWidget, tmp_path: Path) -> None:
    layer, viewer = loaded.overlay.layer, loaded.viewer
    sidecar, other = tmp_path / "sub-01_dseg.json", tmp_path / "ShaSpec labels.nii.gz"
    sidecar.write_text('{"Manual": true}')
    other.write_bytes(b"theirs")
    data, options, _ = layer.as_layer_data_tuple()
    # napari's dialog proposes the second name, and passes it on as it is.
    for name in ("sub-01_dseg.nii.gz", "ShaSpec labels"):
        with pytest.raises(ShaSpecError, match="no file at"):
            write_labels(str(tmp_path / name), data, options)
    assert (sidecar.read_text(), other.read_bytes()) == ('{"Manual": true}', b"theirs")
    assert {path.name for path in tmp_path.iterdir()} >= {sidecar.name, other.name}
    assert not (tmp_path / "sub-01_dseg.nii.gz").exists()
    for _ in range(2):  # its own report may be replaced
        assert layer.save(str(tmp_path / "seg.nii.gz"), plugin="napari-shaspec")
    # A part that was cut out lies where it was cut out.
    corner = layer.data_to_world((4, 6, 8))
    affine = np.array(layer.affine.affine_matrix)
    affine[:3, 3] = corner
    cut = viewer.add_labels(data[4:, 6:, 8:], **options | {"affine": affine, "name": "cut"})
    assert cut.save(str(tmp_path / "cut.nii.gz"), plugin="napari-shaspec")
    assert not (tmp_path / "cut.json").exists()
    whole, part = nib.load(tmp_path / "seg.nii.gz"), nib.load(tmp_path / "cut.nii.gz")
    index = np.argwhere(np.asarray(part.dataobj) == 4)[0]
    there = np.linalg.inv(whole.affine) @ part.affine @ np.append(index, 1)
    assert np.asarray(whole.dataobj)[tuple(np.round(there[:3]).astype(int))] == 4


def test_half_an_answer_is_saved_without_the_report_of_the_one_before(
    loaded: ShaSpecWidget,
    gate: GatedEngine,
    tmp_path: Path,
    case_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    loaded.controller.network._key = ()
    withdrawn: list[Status] = []
    monkeypatch.setattr(loaded.features_panel, "set_line", lambda text: withdrawn.append(loaded.state.status))
    click(loaded, "available_t1", qtbot)
    qtbot.waitUntil(gate.reached.is_set, timeout=LONG_MS)
    assert withdrawn == []
    loaded.controller.predictions.cancel()
    assert withdrawn == [Status.READY]  # maps of the subset before would be shown as this one's
    gate.gate.set()
    loaded.viewer.layers.selection.active = loaded.overlay.layer
    assert loaded.viewer.layers.save(str(tmp_path / "saved.nii.gz"), selected=True, plugin="napari-shaspec")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "saved.nii.gz").dataobj), loaded.overlay.labels())
    assert not (tmp_path / "saved.json").exists()
    truth = case_folder / "patient_seg.nii.gz"
    untouched = truth.read_bytes()
    with pytest.raises(ShaSpecError, match="apart from the case"):
        loaded.overlay.layer.save(str(truth), plugin="napari-shaspec")
    assert truth.read_bytes() == untouched
    before = loaded.state.volumes_ml[Region.ET]
    layer = loaded.overlay.layer
    layer.brush_size = 7
    layer.paint(tuple(int(value) for value in np.argwhere(layer.data == 0)[500]), 4)  # the table follows all the same
    qtbot.waitUntil(lambda: loaded.state.volumes_ml[Region.ET] > before, timeout=LONG_MS)


def test_the_label_map_of_an_expert_is_never_replaced(
    panel: ShaSpecWidget, case_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    truth = tmp_path / "expert_seg.nii.gz"
    (case_folder / "patient_seg.nii.gz").rename(truth)
    panel.open_paths([str(case_folder)])
    finished(panel, qtbot)
    assert panel.state.case.truth is None
    panel.open_paths([str(truth)])  # after the result whose labels are saved
    qtbot.waitUntil(lambda: panel.state.case.truth is not None, timeout=LONG_MS)
    before = truth.read_bytes()
    panel.viewer.layers.remove("ShaSpec labels")  # of those that come next none has been finished
    qtbot.waitUntil(lambda: "Predict brings them back" in panel.state.message, timeout=LONG_MS)
    panel.controller.predictions.begin()
    with pytest.raises(ShaSpecError, match="apart from the case"):
        panel.overlay.layer.save(str(truth), plugin="napari-shaspec")
    finished(panel, qtbot)
    panel.export_request.export(truth, "1-2-4", False, False)
    qtbot.waitUntil(lambda: "apart from the case" in panel.state.message, timeout=LONG_MS)
    with pytest.raises(ShaSpecError, match="apart from the case"):
        panel.overlay.layer.save(str(truth), plugin="napari-shaspec")
    assert truth.read_bytes() == before


def test_labels_whose_type_is_converted_stay_the_labels(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    layer = loaded.overlay.layer
    shown = np.asarray(layer.data).copy()
    background = tuple(int(value) for value in np.argwhere(shown == 0)[500])
    shown[background] = 4
    layer.data = shown.astype(np.int32)  # as napari's layer menu does it
    np.testing.assert_array_equal(layer.data, shown)
    np.testing.assert_array_equal(Placement.of(loaded.state.case.grid).to_display(loaded.overlay.labels()), shown)
    layer.visible = False  # a hidden layer says less, and means the same
    shown[background] = 1
    layer.data = shown.astype(np.int64)
    np.testing.assert_array_equal(Placement.of(loaded.state.case.grid).to_display(loaded.overlay.labels()), shown)
    layer.visible = True
    before = loaded.state.volumes_ml[Region.ET]
    layer.brush_size = 9
    layer.paint(background, 4)
    qtbot.waitUntil(lambda: loaded.state.volumes_ml[Region.ET] > before, timeout=LONG_MS)
    assert loaded.overlay.edited()


def test_no_brush_while_the_network_paints(loaded: ShaSpecWidget, gate: GatedEngine, qtbot: QtBot) -> None:
    loaded.controller.network._key = ()
    click(loaded, "available_t1", qtbot)
    assert not loaded.overlay.layer.editable
    gate.gate.set()
    finished(loaded, qtbot)
    assert loaded.overlay.layer.editable


def test_a_renamed_layer_keeps_its_slot(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    result = loaded.state.result
    loaded.viewer.layers["T1"].name = "before contrast"
    qtbot.waitUntil(lambda: loaded.state.slots[Modality.T1] == "before contrast")
    assert loaded.modalities.layers[Modality.T1].currentText() == "before contrast"
    assert loaded.state.result is result


def test_menu_commands(viewer: Viewer, case_folder: Path, qtbot: QtBot) -> None:
    settings.remember(live=False)
    viewer.open(str(case_folder), plugin="napari-shaspec")
    commands.segment()
    panel = commands.open_panel()
    finished(panel, qtbot)
    commands.show_subsets()
    assert panel.tabs.currentWidget() is panel.subsets_panel
    commands.show_features()
    assert panel.tabs.currentWidget() is panel.features_panel
    dock = next(each for each in viewer.window._qt_window.findChildren(QDockWidget) if each.isAncestorOf(panel))
    dock.hide()
    commands.export()
    assert panel.tabs.currentWidget() is panel.export_form.native
    assert panel.isVisible()


def test_a_simulated_case_from_the_form(panel: ShaSpecWidget, qtbot: QtBot) -> None:
    panel.tabs.setCurrentIndex(panel.tabs.count() - 1)
    panel.simulate_form.voxel_mm.value = 3.0
    qtbot.mouseClick(panel.simulate_form.button.native, Qt.MouseButton.LeftButton)
    finished(panel, qtbot)
    assert panel.state.available == ALL
    assert panel.state.case.truth is not None
    assert {panel.viewer.layers[name].metadata["case"] for name in ("T1", "Reference")} == {"simulated_1"}


def test_what_is_chosen_last_is_opened(panel: ShaSpecWidget, case_folder: Path, tmp_path: Path, qtbot: QtBot) -> None:
    opened: list[list[str]] = []
    form = OpenForm(opened.append)
    files = tuple(sorted(case_folder.glob("*t1*")))
    form.files.value = files
    form.folder.value = case_folder
    form.button.changed.emit(True)
    form.button.changed.emit(True)  # the next case begins with neither
    form.folder.value = tmp_path
    form.files.value = files
    form.button.changed.emit(True)
    assert opened == [[str(case_folder)], [], [str(path) for path in files]]
    surname_first = tmp_path / "Doe, John"
    (tmp_path / "Doe").mkdir()
    shutil.copytree(case_folder, surname_first)
    files = tuple(sorted(surname_first.glob("*t1*")))
    form.files.value = files
    form.button.changed.emit(True)
    form.folder.value = surname_first
    form.button.changed.emit(True)
    assert opened[3:] == [[str(path) for path in files], [str(surname_first)]]
    panel.open_paths([])
    assert "Choose a case folder first" in panel.run.message.text()


def test_a_floating_panel_takes_drops_too(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> None:
    canvas = panel.window().findChild(QtViewer)
    dock = panel.parent()
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.setFloating(True)
    assert panel.window() is not canvas.window()
    drop(panel, [case_folder], canvas)
    finished(panel, qtbot)
    dock.setFloating(False)


def test_disabled_buttons_say_why(panel: ShaSpecWidget) -> None:
    assert not panel.run.button.isEnabled()
    assert "drop a case folder" in panel.run.button.toolTip()
    assert not panel.modalities.boxes[Modality.T1].isEnabled()
    assert "No T1 is loaded" in panel.modalities.boxes[Modality.T1].toolTip()
    assert "no case yet" in panel.features_panel.button.toolTip()


def test_the_statement_of_the_weights_stays_visible(loaded: ShaSpecWidget) -> None:
    assert loaded.run.statement.isVisible()
    assert loaded.run.statement.text() == "A random network, for tests."
    assert "CPU" in loaded.run.notes.text()


def test_the_offer_to_read_nifti_is_made_once(panel: ShaSpecWidget, qtbot: QtBot) -> None:
    assert panel.offer.isVisible()
    click(panel, "offer_yes", qtbot)
    assert not panel.offer.isVisible()
    assert settings.reads_nifti()
    assert not settings.Settings.load().offer_reader
    from napari.settings import get_settings

    get_settings().plugins.extension2reader = {}


def test_two_viewers_share_nothing(
    loaded: ShaSpecWidget, make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    other = make_napari_viewer()
    _, second = other.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    assert second.state.case is None
    result = loaded.state.result
    click(loaded, "available_t1", qtbot)
    finished(loaded, qtbot, result)
    assert second.state.available == frozenset()
    assert not list(other.layers)


def test_opacity_and_live_are_remembered(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    loaded.overlay_panel.opacity.setValue(30)
    assert loaded.overlay.layer.opacity == pytest.approx(0.3)
    qtbot.waitUntil(lambda: settings.Settings.load().opacity == pytest.approx(0.3))
    click(loaded, "live", qtbot)
    remembered = settings.Settings.load()
    assert remembered.opacity == pytest.approx(0.3)
    assert not remembered.live
    result = loaded.state.result
    click(loaded, "available_t1", qtbot)
    assert loaded.state.status is Status.READY
    assert loaded.state.result is result


def test_torch_is_not_needed_for_the_panel() -> None:
    import subprocess
    import sys

    code = (
        "import sys, napari_shaspec.widgets.shaspec, napari_shaspec.plugin.reader, napari_shaspec.plugin.writer\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_report_every_error(qtbot: QtBot) -> None:
    from napari_shaspec.plugin.threads import start_thread

    errors: list[Exception] = []

    def work() -> object:
        yield 1
        raise RuntimeError("CUDA out of memory")

    handle = start_thread(work, lambda item: None, lambda: None, errors.append)  # type: ignore[arg-type]
    assert handle.wait(20)
    qtbot.waitUntil(lambda: bool(errors), timeout=LONG_MS)
    assert str(errors[0]) == "CUDA out of memory"
