"""The panel of subsets in a real napari window."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import nibabel as nib
import numpy as np
import pytest
from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_shaspec.evaluation.answers import Compared
from napari_shaspec.evaluation.sweep import sweep_order
from napari_shaspec.inference.session import Session
from napari_shaspec.io.cases import read_case
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import Placement
from napari_shaspec.plugin.writer import write_image
from napari_shaspec.regions import Region, labels_to_masks
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from napari_shaspec.widgets.subsets import EXPECTED, FIRST_REGION, GIVEN, NO_MAP, VOLUME, SubsetsPanel
from tests.widgets.conftest import LONG_MS, finished

ALL = frozenset(Modality)


@pytest.fixture
def swept(loaded: ShaSpecWidget, qtbot: QtBot) -> ShaSpecWidget:
    """With every subset answered, and its tab in front."""
    loaded.tabs.setCurrentWidget(loaded.subsets_panel)
    qtbot.mouseClick(loaded.subsets_panel.button, Qt.MouseButton.LeftButton)
    assert loaded.subsets_panel.button.text() == "Stop comparing"
    done(loaded, qtbot)
    return loaded


def done(panel: ShaSpecWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: panel.state.swept is not None and not panel.state.sweeping, timeout=LONG_MS)


def rows(panel: SubsetsPanel) -> list[list[str]]:
    table = panel.table
    return [
        [table.item(row, column).text() for column in range(table.columnCount())] for row in range(table.rowCount())
    ]


def choose(panel: SubsetsPanel, region: str, qtbot: QtBot) -> None:
    """As with the keyboard, since a list that drops down is a window of its own."""
    panel.map.setFocus()
    panel.map.setCurrentText(region)
    panel.map.activated.emit(panel.map.currentIndex())


def test_a_row_for_each_subset_with_its_dice(swept: ShaSpecWidget) -> None:
    panel, sweep = swept.subsets_panel, swept.state.swept.sweep
    shown = rows(panel)
    assert [frozenset(m for m, mark in zip(Modality, row, strict=False) if mark == GIVEN) for row in shown] == list(
        sweep_order(ALL)
    )
    for row, answer in zip(shown, sweep.answers, strict=True):
        assert row[FIRST_REGION:] == [f"{answer.dice[Compared.REFERENCE][region]:.2f}" for region in Region]
    for region in Region:  # as the table of regions measured the same labels
        assert sweep.answers[0].dice[Compared.REFERENCE][region] == pytest.approx(swept.state.agreement[region].dice)
        assert sweep.answers[0].volumes_ml[region] == pytest.approx(swept.state.volumes_ml[region])
    assert panel.adds.isVisible()
    added = sweep.contributions[Compared.REFERENCE]
    assert panel.adds.item(2, 3).text() == f"{added[Region.WT][Modality.T1C]:+z.2f}"
    assert panel.adds.item(4, 3).text() == shown[0][FIRST_REGION + 2]  # the sum is the Dice of all
    assert panel.table.item(0, FIRST_REGION).toolTip().startswith("ET from all four: reliable. ")
    panel.shown.setCurrentText(VOLUME)
    panel.shown.textActivated.emit(VOLUME)
    assert rows(panel)[1][FIRST_REGION:] == [f"{sweep.answers[1].volumes_ml[region]:.1f}" for region in Region]
    assert not panel.adds.isVisible()
    panel.shown.setCurrentText(EXPECTED)
    panel.shown.textActivated.emit(EXPECTED)
    assert rows(panel)[0][FIRST_REGION:] == ["0.80", "0.60", "0.90"]  # of the table that the weights bring
    assert rows(panel)[1][FIRST_REGION:] == ["-"] * 3  # which has not this subset
    assert not panel.adds.isVisible()


def test_other_tabs_are_not_as_high_as_the_table(swept: ShaSpecWidget, qtbot: QtBot) -> None:
    # Qt lays out some time after a change, and the table's height changes with its cells: ask for its height each time.
    def holds_the_table() -> bool:
        return swept.tabs.height() >= swept.subsets_panel.sizeHint().height()

    qtbot.waitUntil(holds_the_table, timeout=LONG_MS)
    swept.tabs.setCurrentWidget(swept.export_form.native)
    qtbot.waitUntil(lambda: swept.tabs.height() < swept.subsets_panel.sizeHint().height() / 2, timeout=LONG_MS)
    swept.tabs.setCurrentWidget(swept.subsets_panel)
    qtbot.waitUntil(holds_the_table, timeout=LONG_MS)


def test_a_row_switches_the_modalities(swept: ShaSpecWidget, qtbot: QtBot) -> None:
    panel, before = swept.subsets_panel, swept.state.result
    assert panel.table.currentRow() == 0  # everything is on
    cell = panel.table.visualItemRect(panel.table.item(3, 0)).center()
    qtbot.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    assert swept.state.available == {Modality.T1C}
    finished(swept, qtbot, before)
    sweep = swept.state.swept.sweep
    assert swept.state.volumes_ml[Region.WT] == pytest.approx(sweep.answers[3].volumes_ml[Region.WT])
    qtbot.keyClick(panel.table, Qt.Key.Key_Down)
    assert swept.state.available == {Modality.T2}
    assert swept.modalities.boxes[Modality.T2].isChecked()
    assert not swept.modalities.boxes[Modality.T1C].isChecked()
    swept.controller.set_available(Modality.FLAIR, True)
    assert panel.table.currentRow() == 7
    assert rows(panel)[7][:FIRST_REGION] == [GIVEN, "", "", GIVEN]


def test_the_consensus_map_lies_on_the_case(
    swept: ShaSpecWidget, viewer: Viewer, case_folder: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    active = viewer.layers.selection.active
    choose(swept.subsets_panel, "WT", qtbot)
    layer = viewer.layers["Consensus WT"]
    assert viewer.layers.selection.active is active  # the brush stays where it was
    grid = swept.state.case.grid
    share = Placement.of(grid).to_file(layer.data)
    np.testing.assert_array_equal(share, swept.state.swept.sweep.consensus(Region.WT))
    everywhere = share == 1
    assert everywhere.any()
    assert (labels_to_masks(swept.overlay.labels())[2] | ~everywhere).all()
    np.testing.assert_allclose(layer.affine.affine_matrix[-4:, -4:], swept.overlay.layer.affine.affine_matrix[-4:, -4:])
    assert "Consensus WT" not in swept.layers.names()  # no image of the case
    write_image(str(tmp_path / "map.nii.gz"), layer.data, {"metadata": layer.metadata, "name": layer.name})
    written = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(written.affine, read_case(case_folder).grid.affine)
    np.testing.assert_allclose(np.asarray(written.dataobj), share)

    choose(swept.subsets_panel, "ET", qtbot)
    assert [each.name for each in viewer.layers if each.name.startswith("Consensus")] == ["Consensus ET"]
    viewer.layers.remove(layer)
    assert swept.subsets_panel.map.currentText() == NO_MAP
    choose(swept.subsets_panel, "TC", qtbot)
    choose(swept.subsets_panel, NO_MAP, qtbot)
    assert not any(each.name.startswith("Consensus") for each in viewer.layers)


def test_the_map_goes_with_the_answers_and_comes_with_new_ones(
    swept: ShaSpecWidget, viewer: Viewer, qtbot: QtBot
) -> None:
    choose(swept.subsets_panel, "WT", qtbot)
    layer, before = viewer.layers["Consensus WT"], swept.state.swept
    layer.opacity, layer.name = 0.3, "mine"
    qtbot.mouseClick(swept.subsets_panel.button, Qt.MouseButton.LeftButton)
    assert swept.subsets_panel.table.rowCount() == 15
    done(swept, qtbot)
    assert swept.state.swept is not before
    assert viewer.layers["mine"] is layer
    assert layer.opacity == 0.3
    swept.overlay_panel.thresholds[Region.WT].setValue(0.7)
    assert "Changed since then: thresholds" in swept.subsets_panel.line.text()
    viewer.layers.remove("T2")  # another case
    qtbot.waitUntil(lambda: swept.state.swept is None, timeout=LONG_MS)
    assert "mine" not in viewer.layers
    qtbot.waitUntil(lambda: swept.subsets_panel.button.text() == "Compare all 7 subsets", timeout=LONG_MS)


def test_the_table_is_saved(
    swept: ShaSpecWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    chosen = [tmp_path / "P1.v2"]
    offered: list[str] = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]

    def choose_file(parent: object, title: str, name: str, kinds: str) -> tuple[str, str]:
        offered.append(name)
        return str(chosen[0]), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose_file)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answers.pop(0))

    def save() -> str:
        swept.state.message = ""
        qtbot.mouseClick(swept.subsets_panel.save, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not swept.jobs.exporting, timeout=LONG_MS)
        return swept.state.message

    assert "Wrote P1.v2.csv, P1.v2_adds.csv" in save()
    assert offered == ["patient_subsets.csv"]
    table = tmp_path / "P1.v2.csv"
    with table.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 45
    table.write_text("mine")
    assert save() == ""  # the dialog has not asked about the name with its ending, so there was a question
    assert table.read_text() == "mine"
    assert "Wrote P1.v2.csv" in save()
    assert not answers
    chosen[0] = tmp_path / "nowhere" / "table.csv"
    assert "an existing folder" in save()


@pytest.fixture
def held(loaded: ShaSpecWidget, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> Iterator[ShaSpecWidget]:
    """A sweep that stays in its second subset, until the test is over."""
    gate, calls = Event(), []
    predict = Session.predict

    def wait(session: Session, *args: object) -> object:
        calls.append(args)
        if len(calls) > 1:
            gate.wait(30)
        return predict(session, *args)

    monkeypatch.setattr(Session, "predict", wait)
    qtbot.mouseClick(loaded.subsets_panel.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(calls) == 2 and loaded.state.swept is not None, timeout=LONG_MS)
    Timer(0.5, gate.set).start()  # whoever waits for the thread has to see it end
    yield loaded
    gate.set()


def test_escape_stops_it_and_the_rows_stay(held: ShaSpecWidget, qtbot: QtBot) -> None:
    panel = held.subsets_panel
    assert panel.bar.isVisibleTo(panel)
    assert held._keys._escape.isEnabled()
    held._keys._escape.activated.emit()
    assert not held.state.sweeping
    assert "1 of 15 subsets have answered" in panel.line.text()
    assert panel.table.rowCount() == 1
    assert panel.save.isEnabled()
    assert not panel.map.isEnabled()
    assert not held._keys._escape.isEnabled()
    held.controller.sweeps.begin()
    done(held, qtbot)
    assert held.state.swept.sweep.finished


def test_another_network_says_why_it_ended(held: ShaSpecWidget) -> None:
    held.controller.set_device("auto")
    assert "another network or device" in held.subsets_panel.line.text()


def test_closing_in_the_middle_ends_it(viewer: Viewer, held: ShaSpecWidget) -> None:
    assert held.state.sweeping
    viewer.window.remove_dock_widget(held)
    assert held._closed
    assert all(handle.wait(0) for handle in held.controller.sweeps._run._handles)
    assert not held.subsets_display._listening


def test_one_image_has_nothing_to_compare(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> None:
    button = panel.subsets_panel.button
    assert not button.isEnabled()
    assert "no case yet" in button.toolTip()
    panel.open_paths([str(next(case_folder.glob("*flair*")))])
    finished(panel, qtbot)
    assert not button.isEnabled()
    assert "no subsets" in button.toolTip()
