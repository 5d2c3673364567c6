"""All rows of the Audiovision-MNIST table in one folder: what is there is kept, what is missing is trained.

``runs.csv`` has a line for each network and each subset that it was tested with; ``recipe.json`` says how all of them
were trained, and one folder holds results of one recipe only.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from napari_shaspec.classification.av_mnist import MODALITIES, AudiovisionMNIST
from napari_shaspec.classification.imputation import AdversarialImputation, AutoencoderImputation, FullToMissing
from napari_shaspec.classification.methods import Available, Both, ImageOnly, Method, ShaSpecMethod, ShaSpecWithoutSound
from napari_shaspec.classification.smil import Smil
from napari_shaspec.classification.training import Recipe, Score, train_row
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.model.objective import AlignmentLoss

COLUMNS = ("method", "sound_percent", "seed", "available", "accuracy", "validation_accuracy", "epoch")
RUNS, RECIPE = "runs.csv", "recipe.json"

METHODS: Mapping[str, Method] = {
    "image": ImageOnly(),
    "shaspec": ShaSpecMethod(),
    "both": Both(),
    "shaspec-images": ShaSpecWithoutSound(),
    "smil": Smil(),
    "full2miss": FullToMissing(),
    "gan": AdversarialImputation(),
    "autoencoder": AutoencoderImputation(),
    "shaspec-mse": ShaSpecMethod(AlignmentLoss.MSE),
    "shaspec-kl": ShaSpecMethod(AlignmentLoss.KL),
    "shaspec-ce": ShaSpecMethod(AlignmentLoss.CE),
}
"""In the order in which they are trained."""


@dataclass(frozen=True, slots=True)
class Row:
    """The networks of one method at one share of sound in percent; None where the share makes no difference."""

    method: str
    sound_percent: float | None


Results = dict[Row, list[Score]]
Say = Callable[[str], None]
Advance = Callable[[str, int, int], None]


def rows_of(methods: Sequence[str], rates: Sequence[float]) -> list[Row]:
    """All rows that methods and shares of sound make."""
    return [Row(method, rate) for method in methods for rate in (rates if METHODS[method].depends_on_rate else [None])]


def train_missing(
    data: Callable[[], AudiovisionMNIST],
    rows: Sequence[Row],
    seeds: int,
    folder: Path,
    recipe: Recipe,
    screen: tuple[Say, Advance],
) -> Results:
    """Train what the folder lacks, row by row, and write each as soon as it is complete.

    Parameters
    ----------
    data
        Reads the data set; not called where nothing is missing.
    seeds
        Networks in each row. A row with fewer is trained again as a whole.
    screen
        Where to say what is finished, and where to show what is going on.

    Raises
    ------
    ShaSpecError
        If the folder holds results of another recipe, or cannot be written.
    """
    say, advance = screen
    _check_recipe(folder, recipe)
    results = read_results(folder)
    missing = [row for row in rows if len({score.seed for score in results.get(row, [])}) < seeds]
    pairs = data() if missing else None
    for number, row in enumerate(missing, 1):
        assert pairs is not None
        method = METHODS[row.method]
        share = "" if row.sound_percent is None else f", sound for {row.sound_percent:g} %"
        name = f"{method.title}{share}"
        start = time.monotonic()

        def show(done: int, total: int, position: str = f"row {number} of {len(missing)}, {name}") -> None:
            advance(position, done, total)

        results[row] = train_row(method, pairs, row.sound_percent or 0.0, range(seeds), recipe, show)
        write_results(results, folder)
        accuracies = [score.accuracy for score in results[row] if score.available == method.tested[0]]
        say(
            f"Row {number} of {len(missing)}, {name}: {sum(accuracies) / len(accuracies):.2f} % right, "
            f"mean of {seeds}, {time.monotonic() - start:.0f} s"
        )
    return results


def read_results(folder: Path) -> Results:
    """Results of earlier runs; none where there is no file.

    Raises
    ------
    ShaSpecError
        If the file is none that `write_results` wrote.
    """
    path = folder / RUNS
    results: Results = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            try:
                if tuple(reader.fieldnames or ()) != COLUMNS:
                    raise ValueError(f"columns {','.join(reader.fieldnames or ())}")
                for entry in reader:
                    share = entry["sound_percent"]
                    row = Row(entry["method"], float(share) if share else None)
                    results.setdefault(row, []).append(_score(entry))
            except (ValueError, TypeError, AttributeError) as error:
                raise ShaSpecError(
                    f"results of napari-shaspec avmnist in {path}", str(error), "Choose another folder"
                ) from error
    return results


def write_results(results: Results, folder: Path) -> None:
    """Write all results atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row, score in _flat(results):
        share = "" if row.sound_percent is None else repr(row.sound_percent).removesuffix(".0")
        numbers = f"{score.accuracy:.4f}", f"{score.validation_accuracy:.4f}", score.epoch
        writer.writerow((row.method, share, score.seed, available_name(score.available), *numbers))
    with replacing(folder / RUNS) as place:
        place.write_text(text.getvalue(), encoding="utf-8", newline="")


def available_name(available: Available) -> str:
    """``image``, ``sound`` or ``image+sound``."""
    return "+".join(name for name in MODALITIES if name in available)


def _flat(results: Results) -> Iterator[tuple[Row, Score]]:
    for row, scores in results.items():
        for score in scores:
            yield row, score


def _score(entry: Mapping[str, str]) -> Score:
    available = frozenset(entry["available"].split("+"))
    accuracies = float(entry["accuracy"]), float(entry["validation_accuracy"])
    return Score(int(entry["seed"]), available, *accuracies, int(entry["epoch"]))


def _check_recipe(folder: Path, recipe: Recipe) -> None:
    path = folder / RECIPE
    wanted = json.dumps(asdict(recipe), indent=2) + "\n"
    found = path.read_text(encoding="utf-8") if path.is_file() else None
    if found is None:
        with replacing(path) as place:
            place.write_text(wanted, encoding="utf-8")
    elif found != wanted:
        raise ShaSpecError(
            f"results that were trained like this in {folder}",
            f"others ({' '.join(found.split())})",
            "Choose another folder, or the options of before",
        )
