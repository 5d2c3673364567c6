"""The table: resumed row by row, honest about what was not run, and the arithmetic of its intervals."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import napari_shaspec.classification.results as results_module
from napari_shaspec.classification import av_mnist, training
from napari_shaspec.classification.av_mnist import AudiovisionMNIST
from napari_shaspec.classification.methods import EVERYTHING, ONLY_IMAGE, ONLY_SOUND, Method
from napari_shaspec.classification.networks import ShaSpecClassifier
from napari_shaspec.classification.report import markdown, paired_difference, table, write_table
from napari_shaspec.classification.results import METHODS, Row, read_results, rows_of, train_missing, write_results
from napari_shaspec.classification.training import Recipe, Score
from napari_shaspec.cli.app import run
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation import feature_space

SHASPEC = Row("shaspec", 5.0)


def scores(accuracies: Sequence[float], available: frozenset[str] = ONLY_IMAGE) -> list[Score]:
    return [Score(seed, available, accuracy, 90.0, 7) for seed, accuracy in enumerate(accuracies)]


def test_rows_of_bounds_are_trained_once() -> None:
    rows = rows_of(["image", "shaspec", "both"], [5, 10])
    assert rows == [Row("image", None), Row("shaspec", 5), Row("shaspec", 10), Row("both", None)]


def test_results_survive_the_file(tmp_path: Path) -> None:
    results = {
        Row("image", None): scores([90.25, 91.5]),
        SHASPEC: scores([93, 94]) + scores([80, 81], ONLY_SOUND),
        Row("shaspec", 100 / 3): scores([95]),
    }
    write_results(results, tmp_path)
    assert read_results(tmp_path) == results
    (tmp_path / "runs.csv").write_text("method,accuracy\nimage,3\n")
    with pytest.raises(ShaSpecError, match="Choose another folder"):
        read_results(tmp_path)


def test_only_what_is_missing_is_trained(
    tmp_path: Path, made_up: AudiovisionMNIST, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, float, int]] = []
    said: list[str] = []

    def train(method: Method, data: object, rate: float, seeds: Sequence[int], *rest: object) -> list[Score]:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append((method.title, rate, len(seeds)))
        return scores([90.0 + rate] * len(seeds))

    monkeypatch.setattr(results_module, "train_row", train)
    rows, screen = rows_of(["image", "shaspec"], [5, 10]), (said.append, lambda *state: None)
    with pytest.raises(KeyboardInterrupt):
        train_missing(lambda: made_up, rows, 3, tmp_path, Recipe(), screen)
    assert len(said) == 2
    assert said[1].startswith("Row 2 of 3, ShaSpec, sound for 5 %: 95.00 % right, mean of 3, ")
    first = trained[:]
    trained.clear()
    train_missing(lambda: made_up, rows, 3, tmp_path, Recipe(), screen)
    assert first + trained == [("image only (lower bound)", 0.0, 3), ("ShaSpec", 5, 3), ("ShaSpec", 10, 3)]
    trained.clear()
    train_missing(lambda: pytest.fail("read for nothing"), rows, 3, tmp_path, Recipe(), screen)
    assert trained == []
    train_missing(lambda: made_up, rows[:1], 4, tmp_path, Recipe(), screen)
    assert trained == [("image only (lower bound)", 0.0, 4)]
    with pytest.raises(ShaSpecError, match="trained like this"):
        train_missing(lambda: made_up, rows, 3, tmp_path, Recipe(epochs=2), screen)


def test_a_paired_difference_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.302653.
    paired = paired_difference([91, 93, 95], [90, 91, 92])
    assert (paired.mean, paired.low, paired.high) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138), abs=1e-5)


def test_the_table_pairs_seeds_and_leaves_empty_what_was_not_run(tmp_path: Path) -> None:
    results = {
        Row("image", None): scores([90, 91, 92]),
        Row("shaspec-images", None): scores([91, 92, 93]),
        SHASPEC: list(reversed(scores([91, 93, 95]))) + scores([97, 98, 99], EVERYTHING),
    }
    lines = table(results, [5, 10])
    text = markdown(lines)
    assert "| image only (lower bound) | 10 % | image | 3 | 91.00 | 1.00 | 92.35 |  |  |" in text
    assert "| 5 % | image | 3 | 93.00 | 2.00 | 93.33 | +2.00 (-0.48 to +4.48) | +1.00 (-1.48 to +3.48) |" in text
    assert "| ShaSpec's network, images only | 5 % | image | 3 | 92.00 | 1.00 |  | +1.00 (+1.00 to +1.00) |  |" in text
    assert "| ShaSpec | 5 % | image+sound | 3 | 98.00 | 1.00 |  |  |  |" in text
    assert "| ShaSpec | 5 % | sound |  |  |  |  |  |  |" in text
    assert "| ShaSpec | 10 % | image |  |  |  | 93.56 |  |  |" in text
    assert "| SMIL | 10 % | image |  |  |  | 93.11 |  |  |" in text
    unpublished = markdown(table(results, [5.7]))
    assert "| ShaSpec | 5.7 % | image |  |  |  |  |  |  |" in unpublished
    files = write_table(lines, tmp_path)
    assert [path.name for path in files] == ["table.csv", "table.md", "table.png"]
    with files[0].open(newline="") as file:
        entries = list(csv.DictReader(file))
    assert len(entries) == len(lines) == 2 * sum(len(method.tested) for method in METHODS.values())
    found = next(entry for entry in entries if (entry["method"], entry["sound_percent"]) == ("shaspec", "5"))
    assert (found["mean"], found["interval_low"], found["seeds"]) == ("93.00", "-0.48", "3")
    assert (found["above_same_network"], found["same_network_high"]) == ("1.00", "3.48")
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_costs_are_measured(tmp_path: Path, made_up: AudiovisionMNIST, monkeypatch: pytest.MonkeyPatch) -> None:
    import napari_shaspec.classification.compute as compute
    import napari_shaspec.classification.smil as smil

    monkeypatch.setattr(smil, "PRETRAINING_EPOCHS", 0)
    monkeypatch.setattr(compute, "ITERATIONS", 6)
    monkeypatch.setattr(compute, "WARM_UP", 2)
    found = compute.costs(made_up, lambda *state: None)
    assert found["ShaSpec"].parameters < found["SMIL"].parameters
    assert all(0 < cost.test_seconds < cost.training_seconds < 60 and cost.peak_mib > 50 for cost in found.values())
    files = compute.write_costs(found, tmp_path)
    entries = json.loads(files[0].read_text())
    assert entries["methods"]["SMIL"]["parameters"] == found["SMIL"].parameters
    ratio = found["SMIL"].training_seconds / found["ShaSpec"].training_seconds
    assert f"ShaSpec trains {ratio:.2f} times" in files[1].read_text()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Row], int, Recipe]]:
    """What the command asks to train."""
    calls: list[tuple[list[Row], int, Recipe]] = []

    def train(data: object, rows: list[Row], seeds: int, folder: Path, recipe: Recipe, screen: object) -> object:
        calls.append((rows, seeds, recipe))
        return {}

    monkeypatch.setattr(results_module, "train_missing", train)
    return calls


def test_rates_stand_behind_one_another(tmp_path: Path, asked: list[tuple[list[Row], int, Recipe]]) -> None:
    out = tmp_path / "new" / "out"
    command = ["avmnist", "--data", str(tmp_path), "--rates", "5", "10", "20", "--seeds", "3", "--out", str(out)]
    assert run([*command, "--methods", "shaspec,image", "--no-augment"]) == 0
    rows = [Row("shaspec", 5), Row("shaspec", 10), Row("shaspec", 20), Row("image", None)]
    assert asked == [(rows, 3, Recipe(augment=False))]
    assert (out / "table.md").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "shaspec,magic"], "found magic"),
        (["--rates", "5", "95"], "found 95"),
        ([], "Free Spoken Digit Dataset"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("librosa")
    assert run(["avmnist", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_features_are_plotted(tmp_path: Path, made_up: AudiovisionMNIST, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(av_mnist, "read_av_mnist", lambda folder: made_up)
    monkeypatch.setattr(training, "train_network", lambda *options: ShaSpecClassifier().eval())
    monkeypatch.setattr(feature_space, "embed", lambda cloud, seed: cloud.features[:, :2].astype(float))
    assert run(["avmnist", "--data", str(tmp_path), "--out", str(tmp_path), "--plot", "--rates", "20"]) == 0
    report = json.loads((tmp_path / "features.json").read_text())
    assert report["modalities"] == ["image", "sound"]
    assert (report["count"], report["sound_percent"]) == (4 * 450, 20)
    assert set(report["silhouette_by_modality"]["features"]) == {"shared", "specific"}
    assert (tmp_path / "features.png").read_bytes().startswith(b"\x89PNG")
