"""The panel that steers the network, by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog

from napari_shaspec.plugin.state import PluginState
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
