"""Thresholds are those of the highest mean Dice, and the calibrated file begins its regions there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import generate_binary_structure, label
from scipy.special import expit, logit

from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint, save_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.simulate.settings import HELD_OUT, without_tumours
from napari_shaspec.training import calibration
from napari_shaspec.training.calibration import (
    SURE,
    SURE_EACH,
    THRESHOLDS,
    Curves,
    Progress,
    calibrate,
    dice_by_threshold,
    dice_curves,
    dice_of_pieces,
)
from napari_shaspec.training.presets import PRESETS
from napari_shaspec.volume import Case


def plain_dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    total = predicted.sum() + truth.sum()
    return 1.0 if total == 0 else 2 * (predicted & truth).sum() / total


@pytest.mark.parametrize("seed", range(3))
def test_dice_of_every_threshold_is_that_of_its_mask(seed: int) -> None:
    draw = np.random.default_rng(seed)
    probabilities = draw.random((3, 7, 5, 6)).astype(np.float32)
    truth = draw.random((3, 7, 5, 6)) < np.array([0.0, 0.3, 0.6])[:, None, None, None]
    probabilities[0] *= 0.5  # nothing above, and nothing true: right from there on
    probabilities[2, 0, 0] = np.float32(0.5)  # exactly on a threshold
    scores = dice_by_threshold(probabilities, truth)
    for row, threshold in enumerate(THRESHOLDS):
        for region in range(3):
            assert scores[row, region] == pytest.approx(plain_dice(probabilities[region] >= threshold, truth[region]))
    assert scores[-1, 0] == 1.0
    assert scores[0, 0] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_dice_of_pieces_is_that_of_the_shifted_network_and_its_rule(seed: int) -> None:
    draw = np.random.default_rng(seed)
    probabilities = (0.6 * draw.random((9, 7, 1 if seed == 3 else 8))).astype(np.float32)
    probabilities += 0.38 * (draw.random(probabilities.shape) < 0.04)
    truth = draw.random(probabilities.shape) < (0.0 if seed == 2 else 0.2)
    scores = dice_of_pieces(probabilities, truth, 0.7)
    for row, threshold in enumerate(THRESHOLDS):
        shifted = expit(logit(probabilities) - logit(threshold))
        pieces, count = label(probabilities >= threshold, generate_binary_structure(3, 2))
        kept = [number for number in range(1, count + 1) if shifted[pieces == number].max() >= 0.7]
        assert scores[row] == pytest.approx(plain_dice(np.isin(pieces, kept), truth))
    assert len(set(scores)) > 4 or seed == 2
    assert dice_of_pieces(np.zeros_like(probabilities), truth, 0.7).tolist() == [float(seed == 2)] * len(THRESHOLDS)


def test_the_best_threshold_is_where_the_mean_is_highest() -> None:
    mean = np.zeros((len(THRESHOLDS), 3))
    mean[[2, 5, 9], [0, 1, 2]] = 1
    assert Curves(mean, mean[::-1]).best() == {"ET": 0.4, "TC": 0.55, "WT": 0.75}
    mean[:, 0] = 1  # all the same: left where it is
    mean[[0, 9], 1] = 1  # 0.3 and 0.75 tie with 0.55
    mean[6:, 2] = 1
    assert Curves(mean, mean).best() == {"ET": 0.5, "TC": 0.55, "WT": 0.6}
    mean[4, 2] = 0.996  # one half itself is as good
    assert Curves(mean, mean).best()["WT"] == 0.5


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small network that knows nothing."""
    torch.manual_seed(2)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(ShaSpec(ModelConfig(widths=(4, 8), voxel_mm=(6.0, 6.0))).eval(), path, {"step": 0}, "")
    return path


def test_curves_come_from_whole_cases_of_all_subsets(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "HELD_OUT", without_tumours(HELD_OUT))
    monkeypatch.setattr(calibration, "VOXEL_MM", 6.0)
    seen: list[tuple[int, int]] = []
    curves = dice_curves(
        load_checkpoint(weights).model, 2, "cpu", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]
    # Without a tumour a score is 1 or 0, and the higher the threshold, the more often nothing is found.
    assert bool((np.diff(curves.mean, axis=0) >= 0).all())
    assert set(np.unique(2 * curves.all_four)) <= {0.0, 1.0, 2.0}


def test_calibrated_weights_begin_at_the_best_threshold(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean = np.zeros((len(THRESHOLDS), 3))
    mean[[2, 5, 9], [0, 1, 2]] = 1
    monkeypatch.setattr(calibration, "dice_curves", lambda model, cases, *how: Curves(mean, mean))
    out = tmp_path / "calibrated.safetensors"
    calibrate([weights], out, 5)
    before, after = load_checkpoint(weights), load_checkpoint(out)
    assert after.training == before.training | {"outputs_shifted_to": {"ET": 0.4, "TC": 0.55, "WT": 0.75}}
    rules = {"sure": SURE, "sure_each": (SURE_EACH["ET"], 0.0, 0.0)}
    assert after.model.config == replace(before.model.config, **rules)  # type: ignore[arg-type]
    # The bundled file is such a one, of the preset's network, grown (docs/training.md).
    assert load_checkpoint().model.config == replace(PRESETS["bundled"].model, widths=(16, 32, 64, 64), **rules)
    moved = before.model.decoder.output.bias - after.model.decoder.output.bias  # type: ignore[union-attr]
    torch.testing.assert_close(moved, torch.logit(torch.tensor([0.4, 0.55, 0.75])), rtol=0, atol=2e-3)


def test_the_better_of_two_networks_is_calibrated(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, out = tmp_path / "other.safetensors", tmp_path / "calibrated.safetensors"
    save_checkpoint(load_checkpoint(weights).model, other, {"step": 1}, "")
    found: list[tuple[int, float]] = []

    def curves(model: object, cases: int, device: str, precision: str, progress: Progress, subsets: object) -> Curves:
        mean = np.zeros((len(THRESHOLDS), 3))
        threshold, score = found.pop(0)
        mean[threshold] = score
        progress(cases, cases)
        return Curves(mean, mean)

    monkeypatch.setattr(calibration, "dice_curves", curves)
    for first, second, step, threshold in ((0.5, 0.6, 1, 0.55), (0.6, 0.5, 0, 0.4), (0.5, 0.5, 0, 0.4)):
        found = [(2, first), (5, second)]
        seen: list[tuple[int, int]] = []
        best = calibrate([weights, other], out, 5, progress=lambda done, total, seen=seen: seen.append((done, total)))  # type: ignore[misc]
        written = load_checkpoint(out).training
        assert written["step"] == step
        assert written["outputs_shifted_to"] == dict.fromkeys(("ET", "TC", "WT"), threshold)
        assert best.score == pytest.approx(max(first, second))
        assert seen == [(5, 10), (10, 10)]


def test_networks_are_compared_at_the_thresholds_that_they_get() -> None:
    mean = np.full((len(THRESHOLDS), 3), 0.2)
    mean[4] = 0.6  # one half
    mean[8, 0] = 0.604  # better by less than counts: it stays at one half
    mean[8, 1] = 0.7
    curves = Curves(mean, mean)
    assert curves.best() == {"ET": 0.5, "TC": 0.7, "WT": 0.5}
    assert curves.score == pytest.approx((0.6 + 0.7 + 0.6) / 3)


@pytest.fixture
def small_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole heads at 6 mm."""
    monkeypatch.setattr(calibration, "VOXEL_MM", 6.0)


@pytest.mark.usefixtures("small_cases")
def test_calibration_measures_and_writes(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated.safetensors"
    curves = calibrate([weights], out, 2, "cpu", "float32")
    assert load_checkpoint(out).training["outputs_shifted_to"] == pytest.approx(curves.best(), abs=1e-3)


@pytest.mark.usefixtures("small_cases")
def test_the_last_row_is_that_of_all_four(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sure:
        """Marks everything with all four modalities, else nothing."""

        def __init__(self, model: object, case: Case, **how: object) -> None:
            self.case = case

        def predict(self, available: frozenset[Modality]) -> Prediction:
            probability = 1.0 if len(available) == 4 else 0.0
            grid = self.case.grid
            return Prediction(np.full((3, *grid.data.shape), probability, np.float32), grid, available)

    monkeypatch.setattr(calibration, "Session", Sure)
    monkeypatch.setattr(calibration, "HELD_OUT", replace(HELD_OUT, tumour_counts=(0.0, 1.0)))
    curves = dice_curves(load_checkpoint(weights).model, 2)
    assert bool((curves.all_four[:, 2] > 0).all())
    np.testing.assert_allclose(curves.mean[:, 2], curves.all_four[:, 2] / 15)
    # A dedicated network is measured with what it takes, and nothing else.
    alone = dice_curves(load_checkpoint(weights).model, 2, subsets=[frozenset([Modality.T1])])
    np.testing.assert_array_equal(alone.mean, alone.all_four)
    assert not alone.mean[:, 2].any()
