"""What is remembered between runs, where the disk does not play along."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import napari.utils.notifications
import pytest

from napari_shaspec.plugin import settings
from napari_shaspec.plugin.settings import Settings, remember


class ReadOnly:
    """As napari's settings whose folder cannot be written: the value is set, and then saving fails."""

    opacity = 0.5

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        raise PermissionError(13, "Permission denied", "settings.yaml")


def test_what_cannot_be_saved_holds_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, warned = ReadOnly(), Mock()
    monkeypatch.setattr(settings, "_entries", lambda: entries)
    monkeypatch.setattr(napari.utils.notifications, "show_warning", warned)
    remember(opacity=0.8)
    assert entries.opacity == 0.8
    assert "cannot save its settings" in warned.call_args.args[0]


def test_weights_that_cannot_be_reached_are_gone(tmp_path: Path) -> None:
    there = tmp_path / "a.safetensors"
    there.touch()
    assert Settings(weights=str(there)).weights_path == there
    for weights in ("", str(tmp_path / "b.safetensors"), str(tmp_path / ("a" * 300))):
        assert Settings(weights=weights).weights_path is None
