"""What the panel does in threads beside predicting: messages, what comes of it, and what is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.plugin import jobs as jobs_module
from napari_shaspec.plugin import simulation
from napari_shaspec.plugin.jobs import Jobs
from napari_shaspec.plugin.layers import LayerData
from napari_shaspec.plugin.state import PluginState
from tests.plugin.conftest import Jobs as Threads

BROKEN = ShaSpecError("a readable file", "half of one", "Get it again")


@dataclass
class Panel:
    """A record of what jobs tell the panel."""

    state: PluginState = field(default_factory=PluginState)
    threads: Threads = field(default_factory=Threads)
    layers: list[LayerData] = field(default_factory=list)
    opened: int = 0
    notified: list[str] = field(default_factory=list)
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.state, self.threads, self.layers.append, self._opened, self.notified.append)

    def _opened(self) -> None:
        self.opened += 1


@pytest.fixture
def panel() -> Panel:
    return Panel()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "p_t1.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(3).random((4, 5, 6)).astype(np.float32), np.eye(4)), path)
    return path


def test_what_can_be_read_of_a_drop_is_opened_and_the_rest_is_told(panel: Panel, image: Path, tmp_path: Path) -> None:
    broken = tmp_path / "p_t2.nii.gz"
    broken.write_bytes(b"no image")
    panel.jobs.open([str(broken), str(image)])
    assert panel.jobs.reading
    assert panel.state.message == "Reading p_t2.nii.gz, p_t1.nii.gz..."
    panel.threads.finish_all()
    assert not panel.jobs.reading
    assert panel.state.message == ""
    assert [options["name"] for _, options, _ in panel.layers] == ["T1"]
    assert len(panel.state.problems) == len(panel.notified) == 1
    assert "p_t2.nii.gz" in panel.notified[0]
    assert panel.opened == 1


def test_two_drops_are_read_until_both_are(panel: Panel, image: Path) -> None:
    panel.jobs.open([str(image)])
    panel.jobs.open([str(image)])
    panel.threads.started[0].finish()
    assert panel.jobs.reading
    panel.threads.started[1].finish()
    assert not panel.jobs.reading
    assert panel.opened == 2


def test_what_is_read_after_closing_is_dropped(panel: Panel, image: Path) -> None:
    panel.jobs.open([str(image)])
    panel.jobs.close(0)
    panel.threads.finish_all()
    assert panel.layers == []
    assert panel.opened == 0


def test_an_export_tells_what_it_wrote(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "export_result", lambda path, *_, **__: [path, path.with_suffix(".json")])
    labels = np.zeros((2, 2, 2), np.uint8)
    path = Path("folder") / "seg.nii"
    panel.jobs.export(path, "1-2-4", None, None, labels, probabilities=False, pictures={})  # type: ignore[arg-type]
    assert panel.state.message == "Writing..."
    panel.threads.finish_all()
    assert panel.state.message == f"Wrote seg.nii, seg.json to {path.resolve().parent}"


def test_maps_of_an_export_before_are_told(panel: Panel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobs_module, "export_result", lambda path, *_, **__: [path])
    (tmp_path / "seg_WT.nii.gz").touch()
    labels = np.zeros((2, 2, 2), np.uint8)
    told = {}
    for maps in (True, False):
        panel.jobs.export(tmp_path / "seg", "1-2-3", None, Mock(), labels, probabilities=maps, pictures={})  # type: ignore[arg-type]
        panel.threads.finish_all()
        told[maps] = panel.state.message
    left = "; left from before, not of these labels: seg_WT.nii.gz"
    assert (left in told[True], left in told[False]) == (False, True)


@pytest.mark.parametrize(
    ("error", "told", "raised"),
    [
        (BROKEN, "Expected a readable file, found half of one. Get it again.", False),
        (ModuleNotFoundError("nilearn"), 'Simulating needs nilearn: pip install "napari-shaspec[train]"', False),
        (ValueError("a bug"), "a bug", True),
    ],
)
def test_a_simulation_that_fails_is_told_and_its_button_comes_back(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str, raised: bool
) -> None:
    def fail(seed: int, voxel_mm: float) -> list[LayerData]:
        raise error

    monkeypatch.setattr(simulation, "simulated_layers", fail)
    over: list[bool] = []
    panel.jobs.simulate(1, 2.0, lambda: over.append(True))
    if raised:
        with pytest.raises(ValueError, match="a bug"):
            panel.threads.finish_all()
    else:
        panel.threads.finish_all()
    assert over == [True]
    assert panel.notified == [told]
    assert panel.state.message == told


def test_of_two_choices_of_weights_the_newer_one_is_used(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "load_weights", lambda weights: f"network of {weights}")
    used: list[tuple[Path | None, object]] = []

    def use(weights: Path | None, checkpoint: object) -> None:
        used.append((weights, checkpoint))

    panel.jobs.load_weights(Path("older"), use)
    panel.jobs.load_weights(None, use)
    assert panel.state.message == "Loading the weights..."
    panel.threads.finish_all()
    assert used == [(None, "network of None")]
    assert panel.state.message == ""


def test_weights_that_cannot_be_read_are_told(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(weights: Path | None) -> Iterator[None]:
        raise BROKEN

    monkeypatch.setattr(jobs_module, "load_weights", broken)
    panel.jobs.load_weights(Path("x"), lambda weights, checkpoint: pytest.fail("there is no network"))
    panel.threads.finish_all()
    assert panel.notified == [str(BROKEN)]
