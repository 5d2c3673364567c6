"""The panel that steers the network, by itself."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import PluginState, Status
from napari_shaspec.widgets.run import RunPanel


def test_weights_of_the_released_code_can_be_chosen(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    panel = RunPanel(PluginState())
    qtbot.addWidget(panel)
    offered: list[str] = []

    def choose(_: object, __: str, ___: str, kinds: str) -> tuple[str, str]:
        offered.append(kinds)
        return str(tmp_path / "final.pth"), kinds

    monkeypatch.setattr(QFileDialog, "getOpenFileName", choose)
    with qtbot.waitSignal(panel.model_chosen) as chosen:
        panel.model.activated.emit(panel.model.count() - 1)
    assert chosen.args == [tmp_path / "final.pth"]
    for ending in ("*.safetensors", "*.pth", "*.pt"):
        assert ending in offered[0]
    panel.close_panel()


def test_images_that_make_no_case_are_spoken_of(qtbot: QtBot) -> None:
    state = PluginState()
    panel = RunPanel(state)
    qtbot.addWidget(panel)
    assert (panel.message.text(), panel.bar.format()) == ("", "drop a case folder or NIfTI files on the canvas")
    state.images = ("volume", "b", "c", "d")
    for text in (panel.message.text(), panel.button.toolTip()):
        assert text.startswith("No row uses volume, b, c, ...: choose a layer there")
    assert panel.bar.format() == "no case yet"
    state.slots = {Modality.T1: "volume"}
    state.status = Status.ASSEMBLING
    assert (panel.message.text(), panel.button.toolTip()) == ("", "The images are being brought onto one grid.")
    state.status = Status.EMPTY
    assert panel.message.text().startswith("The images in the rows do not make a case")
    assert panel.button.toolTip() == panel.message.text()
    state.message = "They do not overlap."
    assert panel.message.text() == "They do not overlap."
    panel.close_panel()


def test_without_live_it_says_whose_labels_are_shown(qtbot: QtBot) -> None:
    state = PluginState(live=False)
    panel = RunPanel(state)
    qtbot.addWidget(panel)
    made_by = Mock(sha256="one")
    state.network = "one"
    state.result = Mock(
        available=frozenset({Modality.FLAIR, Modality.T1C}), checkpoint=made_by, seconds=1.0, device="cpu"
    )
    state.available, state.status = frozenset({Modality.FLAIR, Modality.T1C}), Status.READY
    assert panel.message.text() == ""
    state.available = frozenset({Modality.FLAIR})
    assert panel.message.text() == "Labels and numbers are of FLAIR+T1c; Predict makes those of FLAIR."
    state.network = "two"
    both = "Labels and numbers are of FLAIR+T1c by the model before; Predict makes those of FLAIR by the chosen one."
    assert panel.message.text() == both
    state.available = state.result.available
    assert panel.message.text() == both.replace("of FLAIR by", "of FLAIR+T1c by")
    state.status = Status.RUNNING
    assert panel.message.text() == ""
    panel.close_panel()
