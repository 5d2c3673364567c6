"""The weights between two networks, which is how the bundled ones were made (`benchmarks/mix.py`)."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_shaspec.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.growth import first_network
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.export import provenance

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mix.py"
CONFIG = ModelConfig(widths=(2, 3, 4))
WIDE = replace(CONFIG, widths=(3, 3, 6))


def mix(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def saved(path: Path, model: ShaSpec, start: Path | None = None, seed: int = 0) -> Path:
    """As training with this seed writes it, from such a start."""
    config = replace(TrainConfig(), seed=seed)
    begun: Checkpoint | None = load_checkpoint(start) if start is not None else None
    save_checkpoint(model, path, provenance(config, "train", "cases", torch.device("cpu"), begun), "For tests.")
    return path


def network(path: Path) -> ShaSpec:
    model = load_checkpoint(path).model
    assert isinstance(model, ShaSpec)
    return model


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return saved(tmp_path / "first.safetensors", first_network(CONFIG, 1))


def test_every_weight_lies_between(tmp_path: Path, first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second, out = saved(tmp_path / "second.safetensors", first_network(CONFIG, 2)), tmp_path / "out.safetensors"
    mix(monkeypatch, second, "--first", first, "--share", 0.25, "--out", out)
    a, b = network(first).state_dict(), network(second).state_dict()
    for name, weight in network(out).state_dict().items():
        torch.testing.assert_close(weight, 0.75 * a[name] + 0.25 * b[name], atol=1e-4, rtol=1e-3)
    begun = [load_checkpoint(each).sha256 for each in (first, second)]
    made = load_checkpoint(out)
    assert made.training["mixed"] == {"share": 0.25, "first": begun[0], "second": begun[1]}
    assert made.statement == "For tests."


@pytest.mark.parametrize("by_way_of_another", [False, True])
def test_a_narrower_first_is_grown_as_it_was_then(
    tmp_path: Path, first: Path, by_way_of_another: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = first_network(WIDE, 7, network(first))
    path = saved(tmp_path / "grown.safetensors", grown, first, seed=7)
    if by_way_of_another:
        path = saved(tmp_path / "later.safetensors", first_network(WIDE, 8), path, seed=8)
    out = tmp_path / "out.safetensors"
    mix(monkeypatch, path, "--first", first, "--share", 0, "--out", out)
    for name, weight in network(out).state_dict().items():
        torch.testing.assert_close(weight, grown.state_dict()[name], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (replace(CONFIG, specific_skips=not CONFIG.specific_skips), "differ in shape"),
        (replace(CONFIG, widths=(2, 2, 4)), "differ in shape"),
        (WIDE, "trained on from"),
    ],
)
def test_others_are_refused(
    tmp_path: Path,
    first: Path,
    second: ModelConfig,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = saved(tmp_path / "other.safetensors", ShaSpec(second))
    with pytest.raises(SystemExit):
        mix(monkeypatch, other, "--first", first, "--out", tmp_path / "out.safetensors")
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()
