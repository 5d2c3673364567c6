"""The command line as a user meets it: what is written, what is said, and what becomes of mistakes."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import silhouette_score

from napari_shaspec import __version__
from napari_shaspec.cli.ablate import Kind
from napari_shaspec.cli.app import run
from napari_shaspec.cli.evaluate import _nearly_answered
from napari_shaspec.cli.features import _Source, _write_table
from napari_shaspec.cli.simulate import HIGHEST_SEED, Settings, case_seed
from napari_shaspec.cli.train import _without_folders
from napari_shaspec.cli.training_options import HIGHEST_SEED as HIGHEST_TRAINING_SEED
from napari_shaspec.cli.training_options import Preset, changed
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.subsets import Score, Variant
from napari_shaspec.io.atomic import staged
from napari_shaspec.io.cases import read_case
from napari_shaspec.io.report import read_report
from napari_shaspec.modalities import Modality, parse_subset
from napari_shaspec.model.checkpoint import load_checkpoint, save_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.released.checkpoint import STATEMENT
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.regions import Region
from napari_shaspec.reliability import SMALLEST_BRAIN_ML
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import SEEDS
from napari_shaspec.training.presets import PRESETS
from tests.released_reference import SMALL, random_net

AFFINE = np.array([[-4.0, 0, 0, 40], [0, -4, 0, 44], [0, 0, 5, -30], [0, 0, 0, 1]])
SHAPE = (20, 22, 12)
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of random weights."""
    torch.manual_seed(4)
    model = ShaSpec(ModelConfig(widths=(4, 8, 16), voxel_mm=(4.0, 6.0)))
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(model, path, {"commit": "abc123", "seconds": 7, "validation": {"dice_WT": 0.5}})
    return path


def save(path: Path, data: np.ndarray) -> None:
    nib.Nifti1Image(data, AFFINE).to_filename(path)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A BraTS folder: an ellipsoid of noise in four modalities, and a label map."""
    draw = np.random.default_rng(2)
    x, y, z = np.meshgrid(*[np.linspace(-1.1, 1.1, length) for length in SHAPE], indexing="ij")
    brain = x**2 + y**2 + z**2 < 1
    folder = tmp_path / "cases" / "BraTS_1"
    folder.mkdir(parents=True)
    for ending in ("flair", "t1", "t1ce", "t2"):
        save(folder / f"BraTS_1_{ending}.nii.gz", (brain * draw.integers(100, 900, SHAPE)).astype(np.int16))
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:14, 8:14, 4:8], labels[10:12, 10:12, 5:7], labels[11, 11, 5] = 2, 1, 4
    save(folder / "BraTS_1_seg.nii.gz", labels)
    return folder


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run a command; the answer is exit code, standard output and standard error."""

    def answer(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return answer


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_predict_writes_labels_on_the_grid_of_the_images(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    code, out, err = say("predict", case, "--out", tmp_path / "seg.nii.gz", "--weights", weights, "--device", "cpu")
    assert code == 0, err
    image = nib.load(tmp_path / "seg.nii.gz")
    assert (image.shape, image.get_data_dtype()) == (SHAPE, np.uint8)
    np.testing.assert_array_equal(image.affine, AFFINE)
    labels = labels_of(tmp_path / "seg.nii.gz")
    assert set(np.unique(labels)) <= {0, 1, 2, 4}
    whole_ml = np.count_nonzero(labels) * 80 / 1000
    assert re.search(rf"WT\W+{whole_ml:.2f} ml", out)
    assert f"Wrote {tmp_path / 'seg.nii.gz'}" in out
    assert err.count(SIMULATED_STATEMENT) == 1
    assert SIMULATED_STATEMENT not in out
    assert re.search(r"Predicted from FLAIR, T1, T1c, T2 in \d+\.\d s\.", err)
    assert "BraTS_1_t1ce.nii.gz" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases", "seg.nii.gz"]


def test_predict_everything_that_can_be_asked_for(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    common = ("predict", case, "--weights", weights, "--device", "cpu", "--precision", "float32")
    out = tmp_path / "out"
    out.mkdir()
    extras = ("--probabilities", "--overlay", out / "o.png", "--convention", "1-2-3")
    code, printed, err = say(*common, "--out", out / "seg.nii.gz", *extras)
    assert code == 0, err
    names = ["seg.nii.gz", "seg_ET.nii.gz", "seg_TC.nii.gz", "seg_WT.nii.gz", "o.png"]
    assert sorted(files_in(out)) == sorted(names)
    assert [line.rpartition("/")[2] for line in printed.splitlines() if line.startswith("Wrote")] == names
    probabilities = {}
    for region in ("ET", "TC", "WT"):
        image = nib.load(out / f"seg_{region}.nii.gz")
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, AFFINE)
        probabilities[region] = np.asarray(image.dataobj)
        assert 0 <= probabilities[region].min() < probabilities[region].max() <= 1
    labels = labels_of(out / "seg.nii.gz")
    np.testing.assert_array_equal(labels == 3, probabilities["ET"] >= 0.5)
    assert 3 in labels
    assert 4 not in labels
    with Image.open(out / "o.png") as picture:
        assert picture.format == "PNG"
    assert say(*common, "--out", out / "old.nii", "--convention", "1-2-4")[0] == 0
    np.testing.assert_array_equal(labels_of(out / "old.nii"), np.where(labels == 3, 4, labels))


def test_predict_with_other_thresholds_and_a_mask_for_each_region(
    case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    out, chosen = tmp_path / "seg.nii.gz", {"ET": 0.62, "TC": 0.5, "WT": 0.45}
    options = (
        "--convention",
        "regions",
        "--threshold",
        "et=0.62",
        "--threshold",
        "WT=0.45",
        "--probabilities",
        "--report",
    )
    code, _, err = say("predict", case, "--weights", weights, "--precision", "float32", "--out", out, *options)
    assert code == 0, err
    files = {f"seg_{region}{ending}.nii.gz" for region in chosen for ending in ("", "_mask")}
    assert {path.name for path in tmp_path.glob("seg*")} == files | {"seg.json"}
    inside = np.zeros(SHAPE, bool)
    for region, threshold in chosen.items():
        inside |= labels_of(tmp_path / f"seg_{region}.nii.gz") >= threshold
        np.testing.assert_array_equal(labels_of(tmp_path / f"seg_{region}_mask.nii.gz"), inside)
    assert json.loads((tmp_path / "seg.json").read_text())["thresholds"] == chosen
    assert say("predict", "--from", tmp_path / "seg.json", "--out", tmp_path / "again.nii.gz")[0] == 0
    again, first = (tmp_path / f"{name}_ET_mask.nii.gz" for name in ("again", "seg"))
    assert again.read_bytes() == first.read_bytes()


def test_predict_names_probabilities_after_the_labels(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    say("predict", case, "--weights", weights, "--out", tmp_path / "a.b.nii", "--probabilities", "--available", "t1")
    assert sorted(path.name for path in tmp_path.glob("*.nii")) == ["a.b.nii", "a.b_ET.nii", "a.b_TC.nii", "a.b_WT.nii"]


def test_absent_images_do_not_matter(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    common = ("predict", case, "--weights", weights, "--available", "t1c,FLAIR", "--out")
    code, _, err = say(*common, tmp_path / "a.nii.gz")
    assert code == 0, err
    assert "Predicted from FLAIR, T1c in" in err
    assert "Missing: T1, T2;" in err
    (case / "BraTS_1_t2.nii.gz").write_bytes(b"no image at all")
    save(case / "BraTS_1_t1.nii.gz", np.ones(SHAPE, np.int16))
    assert say(*common, tmp_path / "b.nii.gz")[0] == 0
    for ending in ("t1", "t2", "seg"):
        (case / f"BraTS_1_{ending}.nii.gz").unlink()
    assert say(*common, tmp_path / "c.nii.gz")[0] == 0
    assert say("predict", case, "--weights", weights, "--out", tmp_path / "d.nii.gz")[0] == 0
    results = [(tmp_path / f"{name}.nii.gz").read_bytes() for name in "abcd"]
    assert results == [results[0]] * 4


def test_files_one_by_one_and_files_with_their_modality(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    flair, t2 = case / "BraTS_1_flair.nii.gz", case / "BraTS_1_t2.nii.gz"
    shutil.copy(flair, tmp_path / "x.nii.gz")
    common = ("predict", "--weights", weights, "--out")
    assert say(*common, tmp_path / "a.nii.gz", t2, flair)[0] == 0
    code, _, err = say(*common, tmp_path / "b.nii.gz", "--flair", tmp_path / "x.nii.gz", "--t2", t2)
    assert code == 0, err
    assert "named like" not in err
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert "(named like T2!)" in say(*common, tmp_path / "c.nii.gz", "--t1", t2)[2]


def test_overwriting_has_to_be_asked_for(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    (tmp_path / "seg_TC.nii.gz").write_text("mine")
    command = ("predict", case, "--out", tmp_path / "seg.nii.gz", "--weights", weights, "--probabilities")
    before = files_in(tmp_path)
    code, out, err = say(*command)
    assert (code, out) == (1, "")
    assert err.startswith("Error: Expected no file at ")
    assert "--overwrite" in err
    assert files_in(tmp_path) == before
    assert say(*command, "--overwrite")[0] == 0
    assert labels_of(tmp_path / "seg_TC.nii.gz").shape == SHAPE
    code, _, err = say(*command[:-1], "--convention", "1-2-3", "--overwrite")
    assert (code, "not of these labels: seg_ET.nii.gz, seg_TC.nii.gz, seg_WT.nii.gz." in err) == (0, True)
    assert "left from before" not in say(*command, "--overwrite")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{case}", "--out", "{here}/seg.mha"], "ends in .nii.gz or .nii"),
        (["{case}", "--out", "{here}/.nii.gz"], "ends in .nii.gz or .nii"),
        (["{case}", "--out", "{here}/none/seg.nii.gz"], "an existing folder"),
        (["{case}", "--out", "{here}/cases"], "ends in .nii.gz"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--overlay", "{here}/o.jpg"], "ends in .png"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--overlay", "{here}/none/o.png"], "an existing folder"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--available", "flair,pet"], "found 'pet'"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--available", ""], "at least one available modality"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--weights", "{here}/w"], "found nothing at"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--weights", "{case}"], "a checkpoint file, found a folder at"),
        (
            ["{case}", "--out", "{here}/seg.nii.gz", "--weights", "{case}/BraTS_1_t1.nii.gz"],
            "a .safetensors checkpoint",
        ),
        (["{case}", "--out", "{here}/seg.nii.gz", "--device", "abacus"], "found abacus"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--threshold", "ED=0.4"], "as in ET=0.4, found ED=0.4"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--threshold", "ET=40"], "as in ET=0.4, found ET=40"),
        (["{case}", "--out", "{here}/seg.nii.gz", "--threshold", "ET"], "as in ET=0.4, found ET."),
        (["{case}", "--out", "{case}/BraTS_1_t2.nii.gz", "--overwrite"], "BraTS_1_t2.nii.gz, a file of the case"),
        (["{case}", "--out", "{case}/BraTS_1_seg.nii.gz", "--overwrite"], "BraTS_1_seg.nii.gz, a file of the case"),
        (["{case}", "--sample", "--out", "{here}/seg.nii.gz"], "found more than one"),
        (["--out", "{here}/seg.nii.gz"], "found none"),
        (["{here}/nowhere", "--out", "{here}/seg.nii.gz"], "found nothing"),
        (["{case}/BraTS_1_t1.nii.gz", "--out", "{here}/seg.nii.gz", "--available", "t2"], "found t2 in --available"),
        (["--t1", "{here}/broken.nii.gz", "--out", "{here}/seg.nii.gz"], "broken.nii.gz"),
    ],
)
def test_mistakes_in_predict(
    arguments: list[str], message: str, case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    (tmp_path / "broken.nii.gz").write_bytes((case / "BraTS_1_t1.nii.gz").read_bytes()[:900])
    before = files_in(tmp_path)
    given = [argument.format(case=case, here=tmp_path) for argument in arguments]
    if "--weights" not in given:
        given += ["--weights", str(weights)]
    code, out, err = say("predict", *given)
    assert (code, out) == (1, "")
    *_, last = err.splitlines()
    assert last.startswith("Error: Expected ")
    assert message in last
    assert err.count("Error:") == 1
    assert files_in(tmp_path) == before


def test_nothing_is_left_of_outputs_that_fail_together(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "a.txt", tmp_path / "other" / "b.txt"]

    def write(error: Exception | None, taken: Path | None = None) -> None:
        with staged(paths, overwrite=False) as places:
            for path in paths:
                places[path].write_text("new")
            if taken is not None:
                taken.write_text("theirs")
            if error is not None:
                raise error

    with pytest.raises(ShaSpecError, match="disk"):
        write(ShaSpecError("space", "a full disk", "Clean up"))
    assert files_in(tmp_path) == {}
    with pytest.raises(ShaSpecError, match="no file at"):
        write(None, taken=paths[1])
    assert files_in(tmp_path) == {"other/b.txt": b"theirs"}
    paths[1].unlink()
    write(None)
    assert files_in(tmp_path) == {"a.txt": b"new", "other/b.txt": b"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "other"]


def test_a_report_makes_the_same_labels_again(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    options = ("--weights", weights, "--device", "cpu", "--available", "flair,t2", "--smooth", "--convention", "1-2-3")
    code, _, err = say("predict", case, "--out", tmp_path / "seg.nii.gz", "--report", *options)
    assert code == 0, err
    code, _, err = say("predict", "--from", tmp_path / "seg.json", "--out", tmp_path / "again.nii.gz")
    assert code == 0, err
    lost = (tmp_path / "seg.nii.gz").read_bytes()
    assert (tmp_path / "again.nii.gz").read_bytes() == lost
    assert "Predicted from FLAIR, T2" in err
    # Beside the report they are made again, too, and it stays; where it lists others, it does not.
    told = (tmp_path / "seg.json").read_bytes()
    for name, free in (("seg.nii.gz", True), ("seg.nii", False)):
        (tmp_path / "seg.nii.gz").unlink()
        code, _, err = say("predict", "--from", tmp_path / "seg.json", "--out", tmp_path / name)
        assert (code == 0, "the labels differ" in err) == (free, False)
        assert (tmp_path / name).exists() == free
        assert (tmp_path / "seg.json").read_bytes() == told
        (tmp_path / "seg.nii.gz").write_bytes(lost)
    (tmp_path / "seg.nii.gz").unlink()
    # What another machine has made, or somebody has painted on, cannot be made again: the report stays.
    for change in ({"outputs": {"seg.nii.gz": "0" * 64}}, {"edited": True}):
        (tmp_path / "seg.json").write_text(json.dumps(json.loads(told) | change))
        code, _, err = say("predict", "--from", tmp_path / "seg.json", "--out", tmp_path / "seg.nii.gz")
        assert (code, "--overwrite" in err) == (1, True)
        assert not (tmp_path / "seg.nii.gz").exists()
        assert json.loads((tmp_path / "seg.json").read_text()) == json.loads(told) | change


def test_a_report_of_other_images_or_weights_is_refused(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    own = tmp_path / "own.safetensors"
    shutil.copy(weights, own)
    options = ("--weights", own, "--device", "cpu", "--report")
    assert say("predict", case, "--out", tmp_path / "seg.nii.gz", *options)[0] == 0
    torch.manual_seed(5)
    save_checkpoint(ShaSpec(ModelConfig(widths=(4, 8, 16), voxel_mm=(4.0, 6.0))), own, {})
    again = ("predict", "--from", tmp_path / "seg.json", "--out", tmp_path / "again.nii.gz")
    code, _, err = say(*again)
    assert (code, "the weights" in err) == (1, True)
    shutil.copy(weights, own)
    (case / "BraTS_1_t2.nii.gz").write_bytes((case / "BraTS_1_t1.nii.gz").read_bytes())
    code, _, err = say(*again)
    assert (code, "the T2 that the report names" in err) == (1, True)
    assert not (tmp_path / "again.nii.gz").exists()
    for beside in (["--available", "flair"], ["--smooth"], ["--convention", "1-2-3"], ["--report"]):
        code, _, err = say(*again, *beside)
        assert (code, "a report alone" in err) == (1, True)


def test_a_report_of_a_device_that_is_not_here_runs_on_another(
    case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    options = ("--weights", weights, "--device", "cpu", "--precision", "float32", "--report")
    assert say("predict", case, "--out", tmp_path / "seg.nii.gz", *options)[0] == 0
    report = tmp_path / "seg.json"
    report.write_text(report.read_text().replace('"device": "cpu"', '"device": "tpu:1"'))
    code, _, err = say("predict", "--from", report, "--out", tmp_path / "again.nii.gz")
    assert code == 0, err
    assert "tpu:1, which the report names, does not work here" in err
    assert (tmp_path / "again.nii.gz").read_bytes() == (tmp_path / "seg.nii.gz").read_bytes()
    assert "the labels differ" not in err
    code, _, err = say("predict", "--from", report, "--out", tmp_path / "plain.nii", "--device", "cpu")
    assert (code, "the labels differ" in err, "which are no .nii file" in err) == (0, False, True)
    report.write_text(re.sub(r'"seg.nii.gz": "\w+"', '"seg.nii.gz": "0"', report.read_text()))
    code, _, err = say("predict", "--from", report, "--out", tmp_path / "third.nii.gz", "--device", "cpu")
    assert (code, "the labels differ" in err, "does not work here" in err) == (0, True, False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["view", "none"], "a file or folder at none"),
        (["view", "--sample"], "a screen to open a window on"),
        (["view", "--screenshot", "a.png"], "a case to take a picture of"),
        (["view", "--sample", "--screenshot", "a.jpg"], "ends in .png"),
        (["view", ".", "--sample"], "a case or --sample"),
    ],
)
def test_mistakes_in_view(
    arguments: list[str], expected: str, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, _, err = say(*arguments)
    if sys.platform != "linux" and "screen" in expected:
        pytest.skip("every window system but X and Wayland is always there")
    assert (code, expected in err) == (1, True)


def test_evaluate_writes_a_tidy_table(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    code, out, err = say("evaluate", case, "--out", tmp_path / "t.csv", "--weights", weights)
    assert code == 0, err
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "case,available,region,dice,hd95_mm"
    rows = list(csv.DictReader(lines))
    assert len(rows) == 45
    assert [row["available"] for row in rows[::3]] == [
        "flair", "t1", "t1c", "t2", "flair+t1", "flair+t1c", "flair+t2", "t1+t1c", "t1+t2", "t1c+t2",
        "flair+t1+t1c", "flair+t1+t2", "flair+t1c+t2", "t1+t1c+t2", "flair+t1+t1c+t2",
    ]  # fmt: skip
    assert [row["region"] for row in rows] == ["ET", "TC", "WT"] * 15
    assert {row["case"] for row in rows} == {"BraTS_1"}
    table, _, added = out.partition("\n\n")
    assert len(table.splitlines()) == 2 + 15 + 1
    assert table.splitlines()[-1].startswith("| average | 1 | ")
    assert added.startswith("| adds, in points of Dice | ET | TC | WT |")
    whole = f"{100 * float(rows[-1]['dice']):.1f}"
    assert added.splitlines()[-1].endswith(f" | {whole} |")
    assert err.count(SIMULATED_STATEMENT) == 1
    assert (say("evaluate", case, "--out", tmp_path / "t.csv", "--weights", weights)[0]) == 1


def test_evaluate_puts_networks_and_published_rows_side_by_side(
    case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    other = tmp_path / "other.safetensors"
    torch.manual_seed(5)
    save_checkpoint(ShaSpec(ModelConfig(widths=(4, 8, 16), voxel_mm=(6.0, 6.0))), other, {}, "")
    common = ("evaluate", case, "--out", tmp_path / "t.csv", "--device", "cpu", "--published")
    code, out, err = say(*common, "--weights", weights, "--weights", other)
    assert code == 0, err
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert list(rows[0]) == ["case", "available", "region", "dice", "hd95_mm", "variant", "weights"]
    assert len(rows) == 2 * 15 * 7
    assert out == (tmp_path / "t.md").read_text()
    assert "ET tiny | ET* tiny | ET postpro tiny | ET other |" in out
    assert "ShaSpec (published)" in out
    assert [name for name in ("tiny", "other") if f"adds (Shapley value), {name}:" in out] == ["tiny", "other"]
    assert len((tmp_path / "t_summary.csv").read_text().splitlines()) == 1 + 16 * (14 + 6)
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.format == "PNG"
    code, _, err = say("evaluate", case, "--out", tmp_path / "t2.csv", "--weights", other, "--weights", other)
    assert (code, "every checkpoint once" in err) == (1, True)


def test_networks_are_compared_over_the_same_cases(
    tmp_path: Path, weights: Path, say: Say, case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them cannot answer one of the cases, as the released code's rules refuse some images."""
    shutil.copytree(case, case.with_name("BraTS_2"))
    other = tmp_path / "other.safetensors"
    shutil.copy(weights, other)
    module = import_module("napari_shaspec.cli.evaluate")
    scores, refused = module._scores, [2]

    def refuse(network: Any, files: Any, text: str) -> Any:
        if network.name == "other" and int(text.split()[1]) >= refused[0]:
            raise ShaSpecError("an image", "none", "Do without")
        return scores(network, files, text)

    monkeypatch.setattr(module, "_scores", refuse)
    command = ("evaluate", case.parent, "--weights", weights, "--weights", other, "--device", "cpu", "--overwrite")
    code, out, err = say(*command, "--out", tmp_path / "t.csv")
    assert (code, "since not every network has an answer" in err) == (1, True)
    assert "| FLAIR | 1 |" in out
    assert len(list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))) == 3 * 15 * 7
    refused[0] = 1
    code, out, err = say(*command, "--out", tmp_path / "t.csv")
    assert (code, "Without any answer: other" in err) == (1, True)
    assert "| FLAIR | 2 |" in out
    assert " other" not in out


def test_without_a_common_case_there_are_no_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_two = [Score(case, frozenset({Modality.T1}), Region.WT, 0.5, 1.0, weights=case) for case in "ab"]
    files = [tmp_path / name for name in ("t.csv", "t_summary.csv", "t.md", "t.png")]
    import_module("napari_shaspec.cli.evaluate")._write(of_two, ["a", "b"], files, overwrite=False, published=False)
    assert "no tables are written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_evaluate_attaches_what_it_measured(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    rated = tmp_path / "rated.safetensors"
    common = ("evaluate", case, "--weights", weights, "--device", "cpu", "--cases-are", "made-up cases")
    code, _, err = say(*common, "--out", tmp_path / "t.csv", "--attach", rated)
    assert code == 0, err
    table = load_checkpoint(rated).reliability
    assert table is not None
    assert table.source == "1 made-up cases"
    for modality, extent in read_case(case).extents.items():  # far less than a brain, and what the table speaks of
        assert table.limits[modality].smallest_ml == extent.filled_ml < SMALLEST_BRAIN_ML
    code, out, _ = say("info", "--weights", rated)
    assert (code, "700 litres" in out, "0.7 litres, voxels to 6.5 mm" in out) == (0, False, True)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert len(rows) == 45
    for row in rows:
        found = table.dice[parse_subset(row["available"])][Region(row["region"])]
        assert found == pytest.approx(float(row["dice"]), abs=1e-4)
    code, out, err = say("predict", case, "--out", tmp_path / "seg.nii.gz", "--weights", rated, "--available", "t1")
    assert code == 0, err
    assert re.search(r"WT +\W+[\d.]+ ml\W+(reliable|fair|unreliable)", out)
    assert re.search(r"^ET from T1 alone: \w+\. Mean Dice \d\.\d\d of 1 made-up cases", err, re.MULTILINE)
    code, out, _ = say("info", "--weights", rated)
    assert "1 made-up cases" in out
    assert say("evaluate", case, "--out", tmp_path / "u.csv", "--weights", weights, "--attach", rated)[0] == 1


def test_cohort_goes_on_where_it_stopped(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    broken = case.with_name("A_broken")
    broken.mkdir()
    (broken / "A_broken_t1.nii.gz").write_bytes(b"broken")
    out = tmp_path / "out"
    common = ("cohort", case.parent, "--out", out, "--weights", weights, "--device", "cpu", "--workers", 1)
    code, printed, err = say(*common)
    assert code == 1
    assert printed == f"Wrote {out / 'cohort.csv'}: 1 predicted, 0 kept, 1 failed\n"
    assert err.splitlines()[-1].startswith("Error: Expected to segment all 2 cases, found 1 that failed")
    rows = {row["case"]: row for row in csv.DictReader((out / "cohort.csv").read_text().splitlines())}
    assert (rows["A_broken"]["error"][:8], rows["A_broken"]["labels"]) == ("Expected", "")
    labels = labels_of(out / rows["BraTS_1"]["labels"])
    assert float(rows["BraTS_1"]["WT_ml"]) == pytest.approx(np.count_nonzero(labels) * 80 / 1000)
    assert sorted(path.name for path in out.iterdir()) == ["BraTS_1_seg.nii.gz", "cohort.csv"]
    shutil.rmtree(broken)
    code, printed, err = say(*common)  # without a worker: there is nothing left to do
    assert (code, printed) == (0, f"Wrote {out / 'cohort.csv'}: 0 predicted, 1 kept, 0 failed\n")
    assert "1 of 1 cases are finished already." in err
    corrected = nib.load(out / "BraTS_1_seg.nii.gz")
    nib.Nifti1Image(np.zeros(corrected.shape, np.uint8), corrected.affine).to_filename(out / "BraTS_1_seg.nii.gz")
    code, printed, err = say(*common)
    assert (code, "Changed since they were written: the label maps of BraTS_1." in err) == (0, True)
    image = next(case.glob("*t1.nii.gz"))
    os.utime(image, (1e9, 1e9))  # another image, older than the labels
    code, _, err = say(*common)
    assert (code, "found changed ones of BraTS_1" in err) == (1, True)
    assert "Of other images than before, so their results are replaced: BraTS_1." in err
    assert "In cohort.csv from before, and not among these cases: A_broken." in err
    assert not labels_of(out / "BraTS_1_seg.nii.gz").any()  # still there
    (out / "BraTS_1_seg.nii.gz").unlink()
    code, printed, _ = say(*common)
    assert (code, printed) == (0, f"Wrote {out / 'cohort.csv'}: 1 predicted, 0 kept, 0 failed\n")


def test_cohort_writes_reports_and_probabilities_too(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    out = tmp_path / "out"
    common = ("cohort", case.parent, "--out", out, "--weights", weights, "--device", "cpu", "--workers", 1)
    more = ("--report", "--probabilities", "--threshold", "ET=0.4", "--threshold", "wt=0.55")
    predicted = f"Wrote {out / 'cohort.csv'}: 1 predicted, 0 kept, 0 failed\n"
    out.mkdir()
    (out / "BraTS_1_seg.json").write_text("{}")  # somebody's, though it is named like a report
    code, _, err = say(*common, *more)
    assert code == 1
    assert "BraTS_1_seg.json" in err
    (out / "BraTS_1_seg.json").unlink()
    assert say(*common, *more)[1] == predicted
    names = {f"BraTS_1_seg{each}" for each in ("_ET.nii.gz", "_TC.nii.gz", "_WT.nii.gz", ".nii.gz", ".json")}
    assert {path.name for path in out.iterdir()} == {"cohort.csv", *names}
    one = tmp_path / "seg.nii.gz"
    say("predict", case, "--out", one, "--weights", weights, "--device", "cpu", *more)
    assert one.read_bytes() == (out / "BraTS_1_seg.nii.gz").read_bytes()
    assert one.with_name("seg_WT.nii.gz").read_bytes() == (out / "BraTS_1_seg_WT.nii.gz").read_bytes()
    again = tmp_path / "again.nii.gz"
    assert say("predict", "--from", out / "BraTS_1_seg.json", "--out", again)[0] == 0
    assert again.read_bytes() == one.read_bytes()
    kept = f"Wrote {out / 'cohort.csv'}: 0 predicted, 1 kept, 0 failed\n"
    assert say(*common, *more)[1] == kept
    (out / "BraTS_1_seg_TC.nii.gz").unlink()
    assert say(*common, *more)[1] == predicted
    assert say(*common)[1] == predicted  # at one half again
    assert "left from before" in (out / "cohort.csv").read_text()  # the probabilities
    assert read_report(out / "BraTS_1_seg.json").thresholds[Region.ET] == 0.5  # renewed with the labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{here}/nowhere", "--out", "{here}/out"], "a folder of cases"),
        (["{case}", "--out", "{case}"], "a folder apart from the cases"),
        (["{case}", "--out", "{here}/out", "--device", "abacus"], "found abacus"),
        (["{case}", "--out", "{here}/out", "--threshold", "ET=2"], "as in ET=0.4, found ET=2"),
        (["{case}", "--out", "{here}/out", "--scheduler", "tcp://x:1", "--workers", "2"], "--scheduler or --workers"),
        (["{case}", "--out", "{here}/out", "--scheduler", "nonsense"], "a dask scheduler at nonsense"),
        (["{case}", "--out", "{case}/BraTS_1_t1.nii.gz"], "a folder to write to at"),
    ],
)
def test_mistakes_in_cohort(
    arguments: list[str], message: str, case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    given = [argument.format(case=case, here=tmp_path) for argument in arguments]
    code, out, err = say("cohort", *given, "--weights", weights)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("Error: Expected ")
    assert message in err


def test_sweep_writes_every_subset_and_where_they_agree(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    out = tmp_path / "P1.csv"
    code, shown, told = say("sweep", case, "--weights", weights, "--out", out, "--maps")
    assert code == 0
    assert "Dice with the reference" in shown
    assert "Adds to Dice" in shown
    assert "FLAIR: " in told
    with out.open(newline="") as file:
        rows = {(row["available"], row["region"]): row for row in csv.DictReader(file)}
    assert len(rows) == 45
    say("evaluate", case, "--weights", weights, "--out", tmp_path / "evaluated.csv")
    with (tmp_path / "evaluated.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            dice = float(rows[row["available"], row["region"]]["dice_reference"])
            assert dice == pytest.approx(float(row["dice"]), abs=1e-4)
    higher = tmp_path / "higher.csv"
    say("sweep", case, "--weights", weights, "--out", higher, "--threshold", "ET=0.55")
    with higher.open(newline="") as file:
        smaller = [float(row["ml"]) for row in csv.DictReader(file) if row["region"] == "ET"]
    assert sum(smaller) < sum(float(row["ml"]) for (_, region), row in rows.items() if region == "ET")
    say("predict", case, "--weights", weights, "--out", tmp_path / "seg.nii.gz", "--available", "t2,flair")
    everywhere = nib.load(tmp_path / "P1_WT_consensus.nii.gz")
    labels = labels_of(tmp_path / "seg.nii.gz")
    assert float(rows["flair+t2", "WT"]["ml"]) == pytest.approx((labels > 0).sum() * 0.08, abs=1e-3)
    shares = np.asarray(everywhere.dataobj) * 15
    np.testing.assert_allclose(shares, shares.round(), atol=1e-5)
    assert (shares[labels > 0] > 0.5).all()
    np.testing.assert_allclose(everywhere.affine, AFFINE)
    maps = {f"P1_{region}_consensus.nii.gz" for region in Region}
    assert {path.name for path in tmp_path.glob("P1_*")} == {"P1_adds.csv", *maps}
    assert (tmp_path / "P1_adds.csv").read_text().count("\n") == 1 + 4 * 3
    assert {row["case"] for row in rows.values()} == {"BraTS_1"}
    assert {row["weights"] for row in rows.values()} == {load_checkpoint(weights).sha256}


def test_sweep_without_a_reference_holds_all_against_everything(
    case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    shutil.copy(case / "BraTS_1_seg.nii.gz", case / "BraTS_1_second_seg.nii.gz")
    out = tmp_path / "sweep.csv"
    code, shown, told = say("sweep", case, "--weights", weights, "--out", out)
    assert code == 0
    assert "Dice with the answer from all images" in shown
    assert "Note: compared with the answer from all images alone: Expected at most one label map" in told
    assert say("sweep", case, "--weights", weights, "--out", out)[0] == 1  # it is there
    flair = next(case.glob("*flair*"))
    one = ("sweep", "--flair", flair, "--weights", weights, "--out", tmp_path / "flair.csv", "--overwrite")
    code, shown, told = say(*one, "--maps")
    assert code == 0
    assert "Adds to Dice" not in shown  # a single image adds everything
    assert "A single image has no subsets" in told
    assert "Dice with the reference" in say(*one, "--reference", case / "BraTS_1_seg.nii.gz")[1]
    assert (tmp_path / "flair.csv").read_text().count(",flair,") == 3


def test_sweep_goes_on_without_a_label_map_that_is_none(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    labels = case / "BraTS_1_seg.nii.gz"
    save(labels, np.full(SHAPE, 7, np.uint8))
    common = ("sweep", case, "--weights", weights, "--out", tmp_path / "sweep.csv")
    code, shown, told = say(*common)
    assert code == 0
    assert "Dice with the answer from all images" in shown
    assert "Note: compared with the answer from all images alone: Expected labels out of" in told
    code, _, told = say(*common, "--overwrite", "--reference", labels)  # asked for by name, it has to be one
    assert code == 1
    assert "Expected labels out of" in told
    next(case.glob("*t2*")).write_bytes(b"broken")
    assert say(*common, "--overwrite")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{case}", "--out", "{here}/sweep.txt"], "ends in .csv"),
        (["--out", "{here}/sweep.csv"], "one of a case, files with their modality, and --sample, found none"),
        (["{case}", "--sample", "--out", "{here}/sweep.csv"], "found more than one"),
        (["{case}", "--out", "{here}/sweep.csv", "--threshold", "ET"], "as in ET=0.4, found ET"),
    ],
)
def test_mistakes_in_sweep(arguments: list[str], message: str, case: Path, tmp_path: Path, say: Say) -> None:
    code, _, told = say("sweep", *(each.format(case=case, here=tmp_path) for each in arguments))
    assert code == 1
    assert message in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.glob("sweep*"))


def test_features_are_plotted_and_measured(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    common = ("features", case, "--weights", weights, "--device", "cpu", "--most", 80)
    code, out, err = say(*common, "--plot", tmp_path / "p.png", "--table", "--report")
    assert code == 0, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases", "p.csv", "p.json", "p.png"]
    with Image.open(tmp_path / "p.png") as picture:
        assert min(picture.size) > 500
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    assert {(row["kind"], row["modality"]) for row in rows} == {
        (kind, modality) for kind in ("shared", "specific") for modality in ("FLAIR", "T1", "T1c", "T2")
    }
    report = json.loads((tmp_path / "p.json").read_text())
    # The table holds what the silhouette in the plot is measured from.
    shared = [row for row in rows if row["kind"] == "shared"]
    placed = np.array([[float(row["tsne_1"]), float(row["tsne_2"])] for row in shared])
    expected = silhouette_score(placed, [row["modality"] for row in shared])
    assert report["silhouette_by_modality"]["plot"]["shared"] == pytest.approx(expected, abs=1e-3)
    assert f"80 points, silhouette by modality in the plot: shared {expected:.2f}" in out
    # Every place lies in the image.
    places = np.array([[float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")] for row in rows])
    index = (places - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE[:3, :3]).T
    assert (index > -0.5).all()
    assert (index < np.array(SHAPE) - 0.5).all()
    code, _, err = say(*common, "--plot", tmp_path / "p.png")
    assert (code, "--overwrite" in err) == (1, True)


def test_features_of_several_cases_are_means(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    shutil.copytree(case, case.parent / "BraTS_2")
    (case.parent / "BraTS_2" / "BraTS_1_t1.nii.gz").unlink()
    arguments = ("--weights", weights, "--device", "cpu", "--plot", tmp_path / "p.png", "--table")
    code, _, err = say("features", case.parent, *arguments)
    assert code == 0, err
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = [(row["kind"], row["modality"], row["x_mm"]) for row in csv.DictReader(file)]
    assert len(rows) == 2 * (4 + 3)
    assert rows.count(("specific", "T1", "")) == 1
    assert rows.count(("specific", "T2", "")) == 2


def test_evaluate_goes_on_after_a_broken_case(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    for name, wanted in (("A_broken", ("t1", "seg")), ("C_unlabelled", ("t1",)), ("D_two", ("flair", "t2", "seg"))):
        folder = case.with_name(name)
        folder.mkdir()
        for ending in wanted:
            shutil.copy(case / f"BraTS_1_{ending}.nii.gz", folder / f"{name}_{ending}.nii.gz")
    (case.with_name("A_broken") / "A_broken_t1.nii.gz").write_bytes(b"broken")
    code, out, err = say("evaluate", case.parent, "--out", tmp_path / "t.csv", "--weights", weights)
    assert code == 1
    assert "C_unlabelled skipped: it has no label map." in err
    assert "A_broken failed: Expected" in err
    assert err.splitlines()[-1].startswith(
        "Error: Expected to evaluate all 3 cases with a label map, found 1 that failed"
    )
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["case"] for row in rows] == ["BraTS_1"] * 45 + ["D_two"] * 9
    assert {row["available"] for row in rows[45:]} == {"flair", "t2", "flair+t2"}
    assert "| FLAIR+T2 | 2 |" in out
    assert "| T1 | 1 |" in out


def test_evaluate_notices_the_networks_own_answer(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    (case / "BraTS_1_seg.nii.gz").unlink()
    made = case / "BraTS_1_seg.nii.gz"
    assert say("predict", case, "--out", made, "--weights", weights)[0] == 0
    assert labels_of(made).any()
    _, _, err = say("evaluate", case, "--out", tmp_path / "t.csv", "--weights", weights)
    assert "BraTS_1: the label map is nearly what the network answers from flair+t1+t1c+t2" in err


def test_no_file_of_others_is_replaced_beside_the_images(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    truth, image = case / "BraTS_1_seg.nii.gz", case / "BraTS_1_t1.nii.gz"
    before = truth.read_bytes()
    command = ("predict", image, "--weights", weights, "--overwrite", "--out")
    code, _, err = say(*command, truth)
    assert (code, "BraTS_1_seg.nii.gz, a file of the case" in err) == (1, True)
    assert truth.read_bytes() == before
    assert [say(*command, case / "mine_seg.nii.gz")[0] for _ in range(2)] == [0, 0]
    sidecar = case / "theirs_dseg.json"
    sidecar.write_text('{"Manual": true}')
    code, _, err = say(*command, case / "theirs_dseg.nii.gz", "--report")
    assert (code, "theirs_dseg.json, a file of the case" in err) == (1, True)
    assert sidecar.read_text() == '{"Manual": true}'


def test_evaluate_takes_no_absent_tumour_for_a_copy() -> None:
    """Nothing follows from a variant that scores ET alone, where neither has any."""
    case = Mock(truth=Mock(data=np.ones(SHAPE, np.uint8)))
    subset = frozenset({Modality.T1})
    none_found = [Score("a", subset, Region.ET, 1.0, 0.0, Variant.ET_POSTPRO)]
    different = [Score("a", subset, region, dice, 0.0) for region, dice in zip(Region, (1.0, 0.5, 0.5), strict=True)]
    assert _nearly_answered(case, [*different, *none_found]) == ""
    assert _nearly_answered(case, [Score("a", subset, region, 1.0, 0.0) for region in Region]) == "t1"
    smoothed = [Score("a", subset, region, dice, 0.0) for region, dice in zip(Region, (1.0, 1.0, 0.98), strict=True)]
    assert _nearly_answered(case, smoothed) == "t1"


def test_names_that_would_be_misread_are_refused(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    command = ("predict", case, "--weights", weights, "--out", tmp_path / "BraTS-GLI-1-seg.nii.gz")
    code, _, err = say(*command)
    assert (code, "the numbers 1, 2 and 3 in BraTS-GLI-1-seg.nii.gz" in err) == (1, True)
    assert say(*command, "--convention", "1-2-3")[0] == 0


def test_evaluate_says_that_there_is_nothing_to_find(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    save(case / "BraTS_1_seg.nii.gz", np.zeros(SHAPE, np.uint8))
    code, _, err = say("evaluate", case, "--out", tmp_path / "t.csv", "--weights", weights)
    assert (code, "BraTS_1: the label map is empty" in err) == (0, True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_names_that_are_no_text(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    """A folder out of an old archive: Latin-1."""
    strange = case.rename(case.with_name(os.fsdecode(b"M\xfcller")))
    for path in sorted(strange.iterdir()):
        path.rename(path.with_name(path.name.replace("BraTS_1_", "")))
    out = tmp_path / "seg.nii.gz"
    program = (sys.executable, "-m", "napari_shaspec", "predict")
    subprocess.run([*program, strange, "--out", out, "--weights", weights, "--report"], check=True, timeout=300)
    report = read_report(tmp_path / "seg.json")
    assert report.case == strange.name
    assert Path(report.images[Modality.T1][0]).is_file()


def test_the_table_of_a_feature_plot_names_cases_that_are_no_text(tmp_path: Path) -> None:
    one = np.zeros(1, int)
    cloud = Mock(kinds=one, modalities=one, sources=one, names=("t1",))
    _write_table(tmp_path / "a.csv", Mock(cloud=cloud, placed=np.zeros((1, 2))), [_Source("M\udcfcller")])
    assert (tmp_path / "a.csv").read_bytes().splitlines()[1].startswith(b"M\xfcller,shared,t1,")


def test_who_needs_no_label_map_may_have_two(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    shutil.copy(case / "BraTS_1_seg.nii.gz", case / "seg.nii.gz")
    assert say("predict", case, "--out", tmp_path / "seg.nii.gz", "--weights", weights)[0] == 0


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_features_refuse_seeds_that_t_sne_has_not(case: Path, tmp_path: Path, say: Say, seed: int) -> None:
    code, _, err = say("features", case, "--plot", tmp_path / "a.png", "--seed", seed)
    assert (code, "--seed" in err) == (2, True)


@pytest.mark.parametrize("options", ["--points places --most 7", "--points cases --most 100"])
def test_features_refuse_a_number_that_they_could_not_keep(case: Path, tmp_path: Path, say: Say, options: str) -> None:
    code, _, err = say("features", case, "--plot", tmp_path / "a.png", *options.split())
    assert (code, "--most" in err) == (1, True)


def test_train_refuses_what_real_cases_would_ignore(case: Path, tmp_path: Path, say: Say) -> None:
    for options in (("--draws", 4), ("--tumour-free-share", 0.5)):
        code, _, err = say("train", case.parent, *options, "--out", tmp_path / "run")
        assert (code, f"found {options[0]}. Leave it out" in err) == (1, True)
    assert not (tmp_path / "run").exists()


def test_ablate_refuses_what_it_would_ignore(case: Path, tmp_path: Path, say: Say) -> None:
    out = tmp_path / "out"
    for options in (("--split", tmp_path / "mine.json"), (case.parent, "--cases", 5)):
        code, _, err = say("ablate", "dao", *options, "--out", out)
        assert (code, err.startswith("Error: Expected ")) == (1, True)
        assert not out.exists()
    out.mkdir()
    (out / "split.json").write_text('{"train": ["a", "b"], "validation": ["c"]}')
    code, _, err = say("ablate", "dao", "--cases", 4, "--out", out)
    assert (code, "Expected --cases 3, as at first, found 4" in err) == (1, True)
    assert [path.name for path in out.iterdir()] == ["split.json"]


def test_evaluate_says_why_its_only_case_is_none(case: Path, weights: Path, tmp_path: Path, say: Say) -> None:
    shutil.copy(case / "BraTS_1_seg.nii.gz", case / "seg.nii.gz")
    code, _, err = say("evaluate", case, "--out", tmp_path / "t.csv", "--weights", weights)
    assert code == 1
    assert "at most one label map" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{case}", "--out", "{here}/t.txt"], "ends in .csv"),
        (["{case}", "--out", "{here}/none/t.csv"], "an existing folder"),
        (["{case}", "--out", "{here}/t.csv", "--device", "abacus"], "found abacus"),
        (["{here}/nowhere", "--out", "{here}/t.csv"], "a folder of cases"),
        (["{here}/unlabelled", "--out", "{here}/t.csv"], "at least one case with a label map"),
    ],
)
def test_mistakes_in_evaluate(
    arguments: list[str], message: str, case: Path, weights: Path, tmp_path: Path, say: Say
) -> None:
    (tmp_path / "unlabelled").mkdir()
    shutil.copy(case / "BraTS_1_t1.nii.gz", tmp_path / "unlabelled")
    before = files_in(tmp_path)
    given = [argument.format(case=case, here=tmp_path) for argument in arguments]
    code, out, err = say("evaluate", *given, "--weights", weights)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("Error: Expected ")
    assert message in err
    assert files_in(tmp_path) == before


def test_a_checkpoint_of_the_released_code_is_converted_and_predicts(case: Path, tmp_path: Path, say: Say) -> None:
    source, out = tmp_path / "final.pth", tmp_path / "out.safetensors"
    torch.save({"model": random_net(2, **SMALL), "iter": 12}, source)
    assert say("convert", source, out) == (0, f"Wrote {out}\n", "")
    code, printed, err = say("convert", source, out)
    assert (code, printed) == (1, "")
    assert err.startswith(f"Error: Expected no file at {out}")
    for weights in (source, out):
        code, printed, _ = say("info", "--weights", weights)
        assert code == 0
        assert "of the released code" in printed
        assert re.search(r"iterations +12\n", printed)
    with safe_open(out, framework="pt") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    header["config"] = header["config"].replace("[80, 160, 160]", "[16, 64, 64]")  # as it is, a test would take long
    save_file(tensors, out, header)

    few_levels = np.where(np.indices(SHAPE).sum(0) % 9 > 0, 100 + np.indices(SHAPE).sum(0) % 9, 0).astype(np.int16)
    for ending in ("t1", "t2"):
        save(case / f"BraTS_1_{ending}.nii.gz", few_levels)
    common = ("predict", case, "--available", "t1,t2", "--out", tmp_path / "seg.nii.gz", "--device", "cpu")
    code, printed, err = say(*common, "--weights", out, "--report")
    assert code == 0, err
    assert STATEMENT in err
    assert "Note: These weights learned from voxels of 1 mm" in err
    assert "Missing: FLAIR, T1c; the shared features of the first available modality stood in." in err
    assert labels_of(tmp_path / "seg.nii.gz").shape == SHAPE
    assert "first available modality" in (tmp_path / "seg.json").read_text()
    code, _, err = say("predict", "--from", tmp_path / "seg.json", "--out", tmp_path / "again.nii.gz")
    assert code == 0, err
    np.testing.assert_array_equal(labels_of(tmp_path / "again.nii.gz"), labels_of(tmp_path / "seg.nii.gz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and nothing more", "torch.save has written in full"),
        (b"\x80\x02}.", "(.pth, .pt)"),
        (None, "nothing at"),
    ],
)
def test_mistakes_in_convert(content: bytes | None, message: str, tmp_path: Path, say: Say) -> None:
    if content is not None:
        (tmp_path / "final.pth").write_bytes(content)
    before = files_in(tmp_path)
    code, printed, err = say("convert", tmp_path / "final.pth", tmp_path / "out.safetensors")
    assert (code, printed) == (1, "")
    assert re.fullmatch(r"Error: Expected [^\n]+\n", err)
    assert message in err
    assert files_in(tmp_path) == before


def test_simulate_writes_brats_folders_and_repeats_itself(tmp_path: Path, say: Say) -> None:
    common = ("simulate", "--seed", 7, "--voxel-mm", 4, "--settings", "held-out")
    code, out, err = say(*common, "--count", 2, "--out", tmp_path / "a")
    assert (code, err) == (0, "")
    assert out == f"Wrote 2 cases to {tmp_path / 'a'}\n"
    assert sorted(files_in(tmp_path / "a")) == [
        f"SIM-7-00{index}/SIM-7-00{index}_{ending}.nii.gz"
        for index in (0, 1)
        for ending in ("flair", "seg", "t1", "t1ce", "t2")
    ]
    folder = tmp_path / "a" / "SIM-7-000"
    assert nib.load(folder / "SIM-7-000_t1ce.nii.gz").get_data_dtype() == np.int16
    labels = nib.load(folder / "SIM-7-000_seg.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    assert set(np.unique(labels.dataobj)) <= {0, 1, 2, 4}
    assert labels.header.get_zooms() == (4, 4, 4)
    assert files_in(folder) != files_in(tmp_path / "a" / "SIM-7-001")
    assert say(*common, "--count", 1, "--out", tmp_path / "b")[0] == 0
    assert files_in(tmp_path / "b" / "SIM-7-000") == files_in(folder)

    before = files_in(tmp_path)
    code, _, err = say(*common, "--count", 3, "--out", tmp_path / "a")
    assert code == 1
    assert err.startswith("Error: Expected no case SIM-7-000 in ")
    assert files_in(tmp_path) == before


def test_simulated_healthy_brains_have_no_label(tmp_path: Path, say: Say) -> None:
    code, _, err = say("simulate", "--healthy", "--seed", 7, "--voxel-mm", 4, "--count", 2, "--out", tmp_path)
    assert (code, err) == (0, "")
    for index in (0, 1):
        assert not np.asanyarray(nib.load(tmp_path / f"SIM-7-00{index}" / f"SIM-7-00{index}_seg.nii.gz").dataobj).any()


def test_a_simulated_case_that_has_no_tumour_by_chance_is_told(tmp_path: Path, say: Say) -> None:
    code, _, err = say("simulate", "--seed", 1, "--voxel-mm", 4, "--count", 1, "--out", tmp_path)
    assert (code, err) == (0, "Without tumour, as some brains are: SIM-1-000\n")
    assert not np.asanyarray(nib.load(tmp_path / "SIM-1-000" / "SIM-1-000_seg.nii.gz").dataobj).any()


def test_simulate_needs_a_folder(tmp_path: Path, say: Say) -> None:
    (tmp_path / "file").write_text("mine")
    for out, message in (("file", "a folder to write cases to"), ("file/inside", "to write ")):
        code, printed, err = say("simulate", "--seed", 7, "--voxel-mm", 4, "--count", 1, "--out", tmp_path / out)
        assert (code, printed) == (1, "")
        assert re.fullmatch(rf"Error: Expected {message}[^\n]+\n", err)
    assert files_in(tmp_path) == {"file": b"mine"}


def test_simulated_seeds_meet_neither_each_other_nor_training() -> None:
    """As torch's generator of a CPU sees them."""
    seeds = [case_seed(seed, index) % 2**32 for seed in (0, 1, 2, HIGHEST_SEED) for index in (0, 1, 9_999)]
    assert sorted(set(seeds)) == seeds
    draws = [torch.rand(3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5 + 2**32)]
    assert torch.equal(*draws)  # else there is no need of all this
    largest_training_seed = HIGHEST_TRAINING_SEED * SEEDS + SEEDS - 1
    assert largest_training_seed < min(seeds)


def test_names_of_settings_and_presets_are_those_of_the_library() -> None:
    from napari_shaspec.simulate.settings import SETTINGS
    from napari_shaspec.training.ablation import Ablation

    assert set(Settings) == set(SETTINGS)
    assert set(Preset) == set(PRESETS)
    assert [each.value for each in Kind] == [each.value for each in Ablation]


def test_a_shorter_run_shortens_what_would_not_end_in_it() -> None:
    modern = PRESETS["modern"]
    shorter = changed(modern, steps=modern.steps // 10)
    assert (shorter.all_steps, shorter.warmup_steps) == (modern.all_steps // 10, modern.warmup_steps // 10)
    hardly = changed(modern, steps=modern.steps - 1)
    assert (hardly.all_steps, hardly.warmup_steps) == (modern.all_steps, modern.warmup_steps)
    assert changed(modern, steps=100, all_steps=50).all_steps == 50


def test_train_resumes_only_what_exists(tmp_path: Path, say: Say) -> None:
    code, out, err = say("train", "--out", tmp_path / "run", "--preset", "quick", "--resume")
    assert (code, out) == (1, "")
    assert err.startswith("Error: Expected a run to resume in ")
    assert not (tmp_path / "run").exists()


def test_train_into_a_file_is_one_error(case: Path, tmp_path: Path, say: Say) -> None:
    shutil.copytree(case, case.with_name("BraTS_2"))
    (tmp_path / "taken").write_text("mine")
    for folder in ((), (case.parent,)):
        code, _, err = say("train", *folder, "--out", tmp_path / "taken", "--preset", "quick")
        assert (code, "Expected a folder to write to at" in err) == (1, True)
    assert (tmp_path / "taken").read_text() == "mine"


def test_train_takes_the_shape_of_the_weights_that_it_starts_from(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def recorded(config: TrainConfig, out: Path, **options: Any) -> Path:
        given.update(options, config=config)
        return out / "best.safetensors"

    monkeypatch.setattr("napari_shaspec.training.train.train", recorded)
    bundled = load_checkpoint()
    order = ("--steps", 10, "--coarse-start", 0.8, "--draws", 4, "--tumour-free-share", 0.25)
    code, _, err = say("train", "--out", tmp_path, "--preset", "paper", "--start", "bundled", *order)
    assert (code, err.strip()) == (0, bundled.statement)
    assert given["start"].sha256 == bundled.sha256
    assert given["config"].model.widths == bundled.model.config.widths != PRESETS["paper"].model.widths
    assert given["config"].all_steps == 0
    assert (given["config"].coarse_start, given["config"].draws) == (0.8, 4)
    assert given["config"].tumour_free_share == 0.25

    code, _, _ = say("train", "--out", tmp_path, "--start", "bundled", "--widths", "64,64,64,80")
    assert code == 0
    assert given["config"].model == replace(bundled.model.config, widths=(64, 64, 64, 80), sure=None, sure_each=())

    code, _, err = say("train", "--out", tmp_path, "--start", tmp_path / "none.safetensors")
    assert code == 1
    assert "Expected a checkpoint file" in err


def test_weights_do_not_tell_where_they_were_made() -> None:
    arguments = ["train", "--out", "/home/me/runs/mine", "--weights=/a/b.safetensors", "cases", "--steps=4"]
    shortened = ["train", "--out", "mine", "--weights=b.safetensors", "cases", "--steps=4"]
    assert [_without_folders(argument) for argument in arguments] == shortened


def test_info_tells_versions_devices_and_weights(weights: Path, say: Say) -> None:
    code, out, err = say("info", "--weights", weights)
    assert (code, err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines() if line and not line.startswith("device"))
    assert facts["torch"] == torch.__version__
    assert re.fullmatch(r"[0-9a-f]{64}", facts["sha256"])
    assert facts["weights"] == str(weights)
    assert facts["modalities"] == "flair, t1, t1c, t2"
    assert facts["voxels"] == "4 to 6 mm"
    assert (facts["commit"], facts["seconds"], facts["validation"]) == ("abc123", "7", "dice_WT 0.5")
    assert re.search(r"^device cpu +works, (bfloat16|float32) by default$", out, re.MULTILINE)
    assert out.count(SIMULATED_STATEMENT) == 1


def test_info_shows_what_weights_started_from(tmp_path: Path, say: Say) -> None:
    before = {"commit": "def456", "earlier": [{"step": 3}], "outputs_shifted_to": {"ET": 0.4}}
    training = {
        "commit": "abc123",
        "train_config": {"seed": 1},
        "started_from": {"sha256": "f" * 64, "training": before},
    }
    save_checkpoint(ShaSpec(ModelConfig(widths=(4, 8))), tmp_path / "w.safetensors", training)
    _, out, _ = say("info", "--weights", tmp_path / "w.safetensors")
    first, second = out.partition("how they were trained\n")[2].split("\n\n")
    assert first.splitlines() == ["commit              abc123"]
    assert second.splitlines() == [
        f"started from        {'f' * 64}",
        "commit              def456",
        "earlier             1 start before, in the header of the file",
        "outputs shifted to  ET 0.4",
    ]


def test_version(say: Say) -> None:
    assert say("--version") == (0, f"napari-shaspec {__version__}\n", "")


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    command = ["predict", str(tmp_path / "nowhere"), "--out", str(tmp_path / "seg.nii.gz")]
    for arguments in (["--debug", *command], [*command, "--debug"]):
        with pytest.raises(ShaSpecError, match="found nothing"):
            run(arguments)


@pytest.mark.parametrize(
    "arguments",
    [["predict"], ["predict", "--out"], ["fly"], ["evaluate", "--nonsense"], ["predict", "--convention", "3-2-1"]],
)
def test_wrong_usage_is_one_line(arguments: list[str], say: Say) -> None:
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"Error: [^\n]+\n", err)


def test_no_argument_is_a_question_for_help(say: Say) -> None:
    code, out, _ = say()
    assert code == 0
    assert all(command in out for command in ("predict", "cohort", "evaluate", "simulate", "train", "info"))


def test_missing_extra_is_named(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "napari_shaspec.training.train", raising=False)
    code, _, err = say("train", "--out", tmp_path)
    assert code == 1
    assert re.fullmatch(r'Error: This command needs lightning, [^\n]+pip install "napari-shaspec\[train\]"\n', err)


def test_interruption_is_one_line(weights: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("napari_shaspec.model.checkpoint.load_checkpoint", interrupt)
    code, _, err = say("info", "--weights", weights)
    assert (code, err) == (130, "Stopped.\n")


def test_asked_to_end_it_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = """
import signal, sys
from pathlib import Path
from napari_shaspec.cli import app
from napari_shaspec.io.atomic import replacing

def run(arguments):
    with replacing(Path(arguments[0])) as place:
        place.write_bytes(b"half")
        signal.raise_signal(signal.SIGTERM)

app.run = run
app.main()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "seg.nii.gz")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "Stopped.\n")
    assert list(tmp_path.iterdir()) == []


def test_exit_codes_and_single_lines_reach_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "napari_shaspec"]
    failed = subprocess.run(
        [*command, "predict", str(tmp_path / "nowhere"), "--out", str(tmp_path / "seg.nii.gz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(r"Error: Expected a file or folder at [^\n]+\n", failed.stderr)
    debugged = subprocess.run(
        [*command, "--debug", "predict", str(tmp_path / "nowhere"), "--out", str(tmp_path / "seg.nii.gz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert debugged.returncode == 1
    assert debugged.stderr.startswith("Traceback")


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from napari_shaspec.cli.app import run; code = run(['predict', '--help']); "
        "print([name for name in ('torch', 'nibabel', 'lightning', 'monai') if name in sys.modules], code)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[] 0"
