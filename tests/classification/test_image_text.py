"""Images and texts that each hold half of the evidence: reading, networks, and what is learned from them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_shaspec.classification.image_text import (
    IMAGE,
    PADDING,
    TEXT,
    UNKNOWN,
    Studies,
    Vocabulary,
    read_studies,
)
from napari_shaspec.classification.image_text_networks import Concatenation, ImageTextShaSpec, TextEncoder
from napari_shaspec.classification.image_text_training import (
    EVERYTHING,
    METHODS,
    ONLY_IMAGE,
    ONLY_TEXT,
    Recipe,
    area_under_curve,
    split_studies,
    train,
)
from napari_shaspec.cli.app import run
from napari_shaspec.errors import ShaSpecError

SIDE = 16
FILLERS = ["heart", "size", "lungs", "clear", "stable", "no", "acute", "finding", "today", "compared"]
SYNONYMS = 24
SHOWN = 0.8
"""How often an image, and how often a text, holds any evidence."""


def generated(count: int, seed: int) -> Studies:
    """Complementary evidence: a bright half of the image and one of many words in the text, each of them not always.

    Where both speak, the image is easily believed, so that whoever learns from both at once learns few of the words.
    """
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    seen, told = draw.random((2, count)) < SHOWN
    images = draw.normal(0, 0.5, (count, SIDE, SIDE)).astype(np.float32)
    reports = []
    for place, label in enumerate(labels):
        if seen[place]:
            images[place, :, label * SIDE // 2 : (label + 1) * SIDE // 2] += 1
        words = draw.choice(FILLERS, 5).tolist()
        if told[place]:
            words[draw.integers(5)] = f"sign{label}{draw.integers(SYNONYMS)}"
        reports.append(" ".join(words))
    return Studies(torch.from_numpy(images)[:, None], tuple(reports), torch.from_numpy(labels).float())


def write_folder(folder: Path, studies: Studies) -> Path:
    """As a user keeps them: PNG files in a folder of their own, and a table with a column that nobody asked for."""
    (folder / "images").mkdir(parents=True)
    with (folder / "reports.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("Study", "Label", "Image", "Report"))
        for place, (report, label) in enumerate(zip(studies.reports, studies.labels.int().tolist(), strict=True)):
            grey = ((studies.images[place, 0].clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
            Image.fromarray(grey).save(folder / "images" / f"{place}.png")
            writer.writerow((place, label, f"images/{place}.png", report))
    return folder


def test_reading(tmp_path: Path) -> None:
    studies = generated(6, 1)
    read = read_studies(write_folder(tmp_path / "data", studies), tmp_path / "data" / "reports.csv", SIDE)
    assert read.reports == studies.reports
    np.testing.assert_allclose(read.images.numpy(), studies.images.clamp(-1, 1).numpy(), atol=0.005)
    assert torch.equal(read.labels, studies.labels)


@pytest.mark.parametrize(("kind", "suffix"), [(np.uint16, "png"), (np.int32, "tiff"), (np.float32, "tiff")])
def test_images_of_many_bits_are_not_cut_off(tmp_path: Path, kind: type, suffix: str) -> None:
    ramp = np.linspace(100, 4095, SIDE * SIDE).reshape(SIDE, SIDE)
    for place in range(2):
        Image.fromarray(ramp.astype(kind)).save(tmp_path / f"{place}.{suffix}")
    (tmp_path / "t.csv").write_text(f"image,report,label\n0.{suffix},heart,0\n1.{suffix},heart,1\n")
    read = read_studies(tmp_path, tmp_path / "t.csv", SIDE).images
    np.testing.assert_allclose(read[0, 0], np.linspace(-1, 1, SIDE * SIDE).reshape(SIDE, SIDE), atol=0.001)


def test_a_damaged_image_is_our_error(tmp_path: Path) -> None:
    Image.new("P", (SIDE, SIDE)).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[46:50] = b"\xff\xff\xff\xff"  # how many colours the palette has
    (tmp_path / "a.bmp").write_bytes(content)
    Image.fromarray(np.full((SIDE, SIDE), np.nan, np.float32)).save(tmp_path / "b.tiff")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)
    Image.fromarray(noise).save(tmp_path / "c.png")  # in more than one piece
    content = bytearray((tmp_path / "c.png").read_bytes())
    content[content.rindex(b"IDAT") : content.rindex(b"IDAT") + 4] = b"\1\2\3\4"
    (tmp_path / "c.png").write_bytes(content)
    for name in ("a.bmp", "b.tiff", "c.png"):
        (tmp_path / "t.csv").write_text(f"image,report,label\n{name},heart,0\n")
        with pytest.raises(ShaSpecError, match="an image at"):
            read_studies(tmp_path, tmp_path / "t.csv", SIDE)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,text,label\n", "no report"),
        ("image,report,label\na.png,heart,2\n", "label in line 2 of t.csv"),
        ("image,report,label\na.png,heart,1\n", "an image at"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(ShaSpecError, match=message):
        read_studies(tmp_path, path, SIDE)


def test_one_label_is_no_question(tmp_path: Path) -> None:
    studies = generated(4, 0)
    same = Studies(studies.images, studies.reports, torch.ones(4))
    with pytest.raises(ShaSpecError, match="both labels"):
        read_studies(write_folder(tmp_path / "data", same), tmp_path / "data" / "reports.csv", SIDE)


def test_words_become_tokens() -> None:
    vocabulary = Vocabulary(["The heart, the HEART.", "lungs"])
    tokens = vocabulary.tokens(["heart lungs", "The spleen heart!", ""])
    heart, the, lungs = UNKNOWN + 1, UNKNOWN + 2, UNKNOWN + 3  # by frequency, then by the alphabet
    assert tokens.tolist() == [[heart, lungs, PADDING], [the, UNKNOWN, heart], [UNKNOWN, PADDING, PADDING]]
    assert len(vocabulary) == 5


def test_the_end_of_a_text_is_its_last_word() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(9, 8).eval()
    with torch.inference_mode():
        padded = encoder(torch.tensor([[3, 4, 0, 0], [3, 4, 5, 6]]))
        alone = encoder(torch.tensor([[3, 4]]))
    np.testing.assert_allclose(padded[0], alone[0], atol=1e-6)
    assert (padded[1] - padded[0]).abs().max() > 1e-3


def test_a_table_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match=r"^Expected to read \S+reports\.csv, found No such file or directory\."):
        read_studies(tmp_path, tmp_path / "reports.csv", SIDE)


def test_each_subset_has_an_answer_and_missing_inputs_have_none() -> None:
    torch.manual_seed(0)
    inputs = {IMAGE: torch.randn(3, 1, SIDE, SIDE), TEXT: torch.randint(1, 9, (3, 5))}
    for network in (ImageTextShaSpec(9, 16).eval(), Concatenation(9, 16).eval()):
        answers = []
        for subset in (ONLY_TEXT, ONLY_IMAGE, EVERYTHING):
            given = network({name: inputs[name] for name in subset})
            logits = given if isinstance(network, Concatenation) else given.logits
            assert logits.shape == (3,)
            answers.append(logits)
        assert (answers[0] - answers[2]).abs().max() > 1e-4
        assert (answers[1] - answers[2]).abs().max() > 1e-4


def test_images_that_are_missing_teach_nothing() -> None:
    torch.manual_seed(0)
    split = split_studies(generated(80, 3), 50, 0)
    places = np.arange(8)
    half = np.array([True] * 4 + [False] * 4)
    batch = split.fitted.at(places)
    other = torch.cat([batch.images[:4], torch.randn(4, 1, SIDE, SIDE)])
    for name in ("concatenation", "shaspec", "image"):
        network = METHODS[name].network(split.words, 16).eval()
        loss = METHODS[name].loss(network, batch, half)
        changed = METHODS[name].loss(network, type(batch)(other, batch.tokens, batch.labels), half)
        assert loss.item() == pytest.approx(changed.item(), abs=1e-6)


def test_split_is_stratified_and_disjoint() -> None:
    studies = generated(200, 2)
    marked = Studies(torch.arange(200.0)[:, None, None, None], studies.reports, studies.labels)
    split = split_studies(marked, 30, seed=4)
    parts = [part.images.flatten().int().tolist() for part in (split.fitted, split.validation, split.test)]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(200))
    assert len(parts[2]) == 40
    assert abs(split.test.labels.mean() - studies.labels.mean()) < 0.03
    assert (~split.has_image).sum() == round(0.3 * len(parts[0]))


def test_studies_with_one_report_are_in_one_part() -> None:
    """Two views of each patient; and a phrase that so many reports consist of is too much for test and validation."""
    views = generated(60, 6)
    twice = Studies(
        torch.arange(140.0)[:, None, None, None],
        [*views.reports, *(report.upper() + " " for report in views.reports), *["no acute finding"] * 20],
        torch.cat([views.labels, views.labels, torch.zeros(20)]),
    )
    split = split_studies(twice, 30, seed=1)
    parts = [part.images.flatten().int().tolist() for part in (split.fitted, split.validation, split.test)]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(140))
    patients = [{min(place % 60, place) if place < 120 else 120 for place in part} for part in parts]
    assert sum(map(len, patients)) == 61
    assert 120 in patients[0]
    assert 20 <= len(parts[2]) <= 28


def test_the_command_writes_every_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "data", generated(60, 5))
    arguments = ["imagetext", str(folder), "--out", str(tmp_path / "auc.csv"), "--epochs", "1", "--side", "16"]
    assert run(arguments) == 0
    with (tmp_path / "auc.csv").open(newline="") as file:
        rows = [(row["method"], row["available"]) for row in csv.DictReader(file)]
    both = [(name, given) for name in ("concatenation", "ShaSpec") for given in ("text", "image", "image+text")]
    assert rows == [("image only", "image"), ("text only", "text"), *both]
    assert "| ShaSpec | text |" in capsys.readouterr().out
    assert run([*arguments, "--overwrite", "--methods", "resnet"]) == 1
    assert "found resnet" in capsys.readouterr().err
    table = folder / "reports.csv"
    before = table.read_bytes()
    assert run(["imagetext", str(folder), "--out", str(table), "--epochs", "1", "--side", "16", "--overwrite"]) == 1
    assert table.read_bytes() == before


def test_shaspec_makes_more_of_a_text_alone_than_concatenation() -> None:
    """The paper's experiment, small: 30 % of the training images are missing; mean over two seeds."""
    recipe = Recipe(missing_percent=30, epochs=20, learning_rate=0.01, width=16)
    areas: dict[str, list[dict[frozenset[str], float]]] = {"concatenation": [], "shaspec": []}
    for seed in (0, 1):
        split = split_studies(generated(500, seed), recipe.missing_percent, seed)
        for name, results in areas.items():
            method = METHODS[name]
            network = train(method, split, recipe, seed)
            results.append({subset: area_under_curve(method, network, split.test, subset) for subset in method.tested})
    mean = {
        name: {subset: float(np.mean([result[subset] for result in results])) for subset in (ONLY_TEXT, EVERYTHING)}
        for name, results in areas.items()
    }
    assert mean["shaspec"][ONLY_TEXT] > mean["concatenation"][ONLY_TEXT]
    assert mean["shaspec"][ONLY_TEXT] > 0.85
    # The evidence is complementary: both tell more than the text alone.
    for each in mean.values():
        assert each[EVERYTHING] > each[ONLY_TEXT]
