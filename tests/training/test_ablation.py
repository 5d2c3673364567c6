"""Ablations: variants that differ in one thing, runs that are not repeated, and tables."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.subsets import Score
from napari_shaspec.io.cases import CaseFiles
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.regions import Region
from napari_shaspec.training import ablation as module
from napari_shaspec.training.ablation import GRID, Ablation, Outcome, outcomes, run_variants, variants
from napari_shaspec.training.ablation_tables import average, curve, markdown, tidy, write_tables
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.train import Hardware

BASE = TrainConfig(
    model=ModelConfig(widths=(2, 4), voxel_mm=(4.0, 4.0)),
    steps=2,
    patch=(8, 8, 8),
    coarse_patch=(8, 8, 8),
    all_steps=1,
    validation_steps=2,
    validation_cases=1,
    picture_steps=0,
)
SUBSETS = nonempty_subsets(tuple(Modality))


def differences(config: TrainConfig) -> dict[str, Any]:
    """What of a configuration is not that of the base."""
    mine, base = config.to_dict(), BASE.to_dict()
    flat = {**mine, **mine["model"]}, {**base, **base["model"]}
    return {name: flat[0][name] for name in flat[0] if name != "model" and flat[0][name] != flat[1][name]}


def test_variants_differ_in_one_thing() -> None:
    changes = {kind: [differences(config) for config in variants(kind, BASE).values()] for kind in Ablation}
    assert changes[Ablation.DAO] == [{}, {"alignment": "mse"}, {"alignment": "kl"}, {"alignment": "ce"}]
    assert changes[Ablation.DEDICATED] == [{}, *({"dedicated": (name,)} for name in ("flair", "t1", "t1c", "t2"))]
    assert changes[Ablation.SUBSTITUTION] == [{}, {"substitution": "first"}, {"substitution": "zero"}]
    assert len(changes[Ablation.WEIGHTS]) == 11
    assert [change["alpha"] for change in changes[Ablation.WEIGHTS] if "alpha" in change] == [0, 0.02, 0.5, 0.7, 1]
    assert [change["beta"] for change in changes[Ablation.WEIGHTS] if "beta" in change] == [0, 0.1, 0.5, 0.7, 1]
    assert all(len(change) <= 1 for change in changes[Ablation.WEIGHTS])


# The CSV log lies in the folder of the checkpoint and is there first.
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning")
@pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging:UserWarning")
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers:UserWarning")
def test_what_is_finished_is_not_run_again(
    tmp_path: Path, cases: tuple[CaseFiles, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware, out = Hardware("cpu", precision="float32", workers=0), tmp_path / "out"
    known = variants(Ablation.DEDICATED, BASE)
    chosen = {name: known[name] for name in ("all-subsets", "only-t2")}
    run_variants(chosen, cases, out, hardware)
    finished = outcomes(known, out)
    assert [outcome.variant for outcome in finished] == ["all-subsets", "only-t2"]
    assert len({score.available for score in finished[0].scores}) in (7, 15)  # the case kept aside may lack T1
    assert {score.available for score in finished[1].scores} == {frozenset({Modality.T2})}

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "train", never)
    run_variants(chosen, cases, out, hardware)
    with pytest.raises(ShaSpecError, match=r"steps = 2 as in .*all-subsets, found 4"):
        run_variants({"all-subsets": replace(BASE, steps=4)}, cases, out, hardware)
    # Nor into one table: only one of them is run now, and both are there.
    with pytest.raises(ShaSpecError, match=r"steps = 2 as in .*all-subsets, found 4"):
        outcomes({name: replace(config, steps=4) for name, config in known.items()}, out)
    (out / "only-t2" / "scores.csv").unlink()  # as of one that was stopped
    with pytest.raises(ShaSpecError, match="--steps 2, with which only-t2 was begun, found 4"):
        run_variants({"only-t2": replace(known["only-t2"], steps=4)}, cases, out, hardware)


@pytest.fixture
def finished() -> list[Outcome]:
    """The whole grid, with a Dice that falls with alpha, on two cases."""
    return [
        Outcome(
            name,
            config,
            tuple(
                Score(case, available, region, (1 - config.alpha / 2) * share, 5.0)
                for case, share in (("a", 0.6), ("b", 0.8))
                for available in SUBSETS
                for region in Region
            ),
        )
        for name, config in variants(Ablation.WEIGHTS, BASE).items()
    ]


def test_the_tidy_table_has_a_row_for_each_variant_subset_and_region(finished: list[Outcome]) -> None:
    rows = list(csv.DictReader(io.StringIO(tidy(Ablation.WEIGHTS, finished))))
    assert len(rows) == 11 * 15 * 3
    row = next(each for each in rows if each["variant"] == "alpha-1_beta-0.02" and each["available"] == "flair+t1c")
    said = tuple(row[name] for name in ("ablation", "alpha", "beta", "region", "cases"))
    assert said == ("weights", "1.0", "0.02", "ET", "2")
    assert float(row["dice_mean"]) == pytest.approx(0.35)
    assert float(row["dice_sd"]) == pytest.approx(0.5 * 0.2 / 2**0.5, abs=1e-6)


def test_the_printed_table_is_in_percent(finished: list[Outcome]) -> None:
    lines = markdown(finished).splitlines()
    assert len(lines) == 2 + 11 * 6
    assert "| alpha-1_beta-0.02 | average of 15 | 35.00 | 35.00 | 35.00 |" in lines
    assert average(finished[0], Region.ET) == pytest.approx(70)


def test_the_curve_shows_both_grids(finished: list[Outcome]) -> None:
    first, second = curve(finished).axes
    assert [label.get_text() for label in first.get_xticklabels()] == [f"{value:g}" for value in GRID]
    assert list(first.lines[0].get_ydata()) == pytest.approx([70 * (1 - alpha / 2) for alpha in GRID])
    assert list(second.lines[0].get_ydata()) == pytest.approx([70 * 0.95] * len(GRID))


def test_tables_are_written_with_what_there_is(tmp_path: Path, finished: list[Outcome]) -> None:
    assert [path.name for path in write_tables(Ablation.WEIGHTS, finished[:3], tmp_path, "A title.")] == [
        "weights.csv",
        "weights.md",
    ]
    assert (tmp_path / "weights.md").read_text().startswith("A title.\n\n| variant |")
    assert write_tables(Ablation.WEIGHTS, finished, tmp_path, "A title.")[-1].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ShaSpecError, match="at least one finished variant"):
        write_tables(Ablation.DAO, [], tmp_path, "")
