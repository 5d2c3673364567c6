"""A digit that is seen and heard, in a real napari window; the network is trained there, on a few made-up pairs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog

from napari_shaspec.classification import av_mnist
from napari_shaspec.classification.av_mnist import AudiovisionMNIST, Pairs
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.plugin import digit_pairs
from napari_shaspec.plugin.state import Progress
from napari_shaspec.widgets import digits
from napari_shaspec.widgets.digits import NAME, DigitsDock
from tests.widgets.conftest import LONG_MS

LEFT = Qt.MouseButton.LeftButton


def pairs(of_each: int, seed: int) -> Pairs:
    """A bright row for each digit in the image, a bright column in the sound."""
    generator = torch.Generator().manual_seed(seed)
    digits = torch.arange(10).repeat_interleave(of_each)
    images = torch.rand(len(digits), 1, 28, 28, generator=generator) - 1
    sounds = torch.randn(len(digits), 1, 20, 20, generator=generator)
    for place, digit in enumerate(digits.tolist()):
        images[place, 0, 2 * digit + 4] = 1
        sounds[place, 0, :, 2 * digit] += 5
    return Pairs(images, sounds, digits, torch.arange(len(digits)) % 3)


@pytest.fixture
def dock(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> DigitsDock:
    """Opened from *File > Open Sample*, and trained."""
    data = AudiovisionMNIST(pairs(18, 0), pairs(2, 1))
    answers = iter([ShaSpecError("MNIST's files", "none", "Download them"), data])

    def read(folder: Path) -> AudiovisionMNIST:
        assert folder == tmp_path
        answer = next(answers)
        if isinstance(answer, ShaSpecError):
            raise answer
        return answer

    monkeypatch.setattr(av_mnist, "read_av_mnist", read)
    monkeypatch.setattr(digit_pairs, "EPOCHS", 2)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    viewer = make_napari_viewer(show=True)
    with pytest.raises(ShaSpecError, match="MNIST's files"):
        viewer.open_sample("napari-shaspec", "audiovision_mnist")
    dock = viewer.window.dock_widgets[NAME]
    assert isinstance(dock, DigitsDock)
    assert "MNIST's files" in dock.message.text()
    assert dock.button.text() == "Choose the data..."
    layers = viewer.open_sample("napari-shaspec", "audiovision_mnist")
    assert [layer.name for layer in layers] == ["image", "sound"]
    qtbot.waitUntil(lambda: dock.trained is not None and dock.bar.isHidden(), timeout=LONG_MS)
    return dock


def shown(dock: DigitsDock) -> list[int]:
    return [bar.value() for bar in dock.bars]


def test_the_window_closes_in_the_middle(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, cancelled = threading.Event(), threading.Event()

    def steps(folder: Path, event: threading.Event) -> Iterator[Progress]:
        reached.set()
        while not event.wait(0.01):
            yield Progress("training", 1, 2)
        cancelled.set()

    monkeypatch.setattr(digits, "training_steps", steps)
    viewer = make_napari_viewer(show=True)
    dock = digits.open_digits(viewer)
    dock.open_folder(tmp_path)
    qtbot.waitUntil(lambda: reached.is_set() and dock.isVisible(), timeout=LONG_MS)
    viewer.close()
    assert dock._closed
    assert cancelled.is_set()


def test_a_pair_its_boxes_and_its_bars(dock: DigitsDock, qtbot: QtBot) -> None:
    viewer, trained = dock._viewer, dock.trained
    assert len(viewer.layers) == 2
    assert trained is not None
    test = trained.data.test
    np.testing.assert_array_equal(viewer.layers["image"].data, test.images[0, 0].numpy())
    np.testing.assert_array_equal(viewer.layers["sound"].data, test.sounds[0, 0].numpy()[::-1])
    assert viewer.layers["sound"].extent.world[0, 1] > viewer.layers["image"].extent.world[1, 1]  # beside each other
    both = shown(dock)
    assert abs(sum(both) - 1000) <= 10
    with torch.inference_mode():
        logits = trained.network({"image": test.images[:1], "sound": test.sounds[:1]}).logits
    np.testing.assert_allclose(both, 1000 * logits.softmax(1)[0].numpy(), atol=0.5001)

    qtbot.mouseClick(dock.boxes["sound"], LEFT, pos=QPoint(8, dock.boxes["sound"].height() // 2))
    assert not viewer.layers["sound"].visible
    assert "from image" in dock.message.text()
    with torch.inference_mode():
        alone = trained.network({"image": test.images[:1]}).logits
    np.testing.assert_allclose(shown(dock), 1000 * alone.softmax(1)[0].numpy(), atol=0.5001)
    assert shown(dock) != both
    dock.boxes["image"].click()  # the last one jumps back
    assert dock.boxes["image"].isChecked()
    assert "At least one" in dock.message.text()

    dock.pair.setValue(7)
    np.testing.assert_array_equal(viewer.layers["image"].data, test.images[7, 0].numpy())
    assert "The digit is 3" in dock.message.text()
    work = dock._work
    viewer.window.remove_dock_widget(dock)
    assert dock._closed
    assert all(handle.wait(0) for handle in work._handles)
