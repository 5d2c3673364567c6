"""`napari-shaspec avmnist`: the table of Audiovision-MNIST, what ShaSpec and SMIL cost, and a plot of features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from napari_shaspec.cli.screen import progress_bar, say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import make_folder, staged


def avmnist(  # noqa: PLR0913 (a command's options are its parameters)
    data: Annotated[Path, typer.Option(help="Folder with MNIST's files and FSDD's recordings, at any depth.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; what is there already is not run again.")],
    rates: Annotated[
        list[float] | None,
        typer.Option(help="Training pairs with sound, in percent; several behind one another.", show_default="5"),
    ] = None,
    more_rates: Annotated[list[float] | None, typer.Argument(hidden=True, metavar="[RATE...]")] = None,
    seeds: Annotated[int, typer.Option(help="Networks in each row, from seed 0.", min=2, max=1000)] = 10,
    methods: Annotated[
        str | None,
        typer.Option(help="Comma-separated: image, shaspec, both, ...; all if left out.", show_default=False),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.", min=1)] = 60,
    augment: Annotated[bool, typer.Option(help="Move the training images at random.")] = True,
    compute: Annotated[
        bool, typer.Option("--compute", help="Measure what ShaSpec and SMIL cost, instead of how good they are.")
    ] = False,
    plot: Annotated[
        bool,
        typer.Option("--plot", help="Train one ShaSpec at the lowest of --rates; plot its features of the test set."),
    ] = False,
) -> None:
    """Train and test ShaSpec and what it is compared with on images of digits that seldom come with their sound."""
    from napari_shaspec.classification.av_mnist import read_av_mnist

    if compute and plot:
        raise ShaSpecError("--compute or --plot", "both", "Run one after the other")
    make_folder(out)
    if compute:
        _measure(data, out)
        return
    shares = _shares([*(rates or ([] if more_rates else [5.0])), *(more_rates or [])])
    if plot:
        _plot(data, out, shares[0], epochs, augment=augment)
        return
    from napari_shaspec.classification.report import markdown, table, write_table
    from napari_shaspec.classification.results import METHODS, rows_of, train_missing
    from napari_shaspec.classification.training import Recipe

    chosen = methods.split(",") if methods else list(METHODS)
    unknown = [name for name in chosen if name not in METHODS]
    if unknown:
        raise ShaSpecError(f"methods out of {', '.join(METHODS)}", unknown[0], "Correct the name")
    with progress_bar("reading recordings") as advance:
        results = train_missing(
            lambda: read_av_mnist(data),
            rows_of(chosen, shares),
            seeds,
            out,
            Recipe(epochs=epochs, augment=augment),
            (say, advance),
        )
    lines = table(results, sorted({*shares, *(row.sound_percent for row in results if row.sound_percent is not None)}))
    written = write_table(lines, out)
    typer.echo(markdown(lines))
    say(f"Wrote {', '.join(str(path) for path in written)}")


def _measure(data: Path, out: Path) -> None:
    from napari_shaspec.classification.av_mnist import read_av_mnist
    from napari_shaspec.classification.compute import costs, markdown, write_costs

    with progress_bar("reading recordings") as advance:
        found = costs(read_av_mnist(data), advance)
    written = write_costs(found, out)
    typer.echo(markdown(found))
    say(f"Wrote {', '.join(str(path) for path in written)}")


def _plot(data: Path, out: Path, share: float, epochs: int, *, augment: bool) -> None:
    # Said at once if one of them is missing, not after the network is trained.
    import matplotlib  # noqa: F401
    import sklearn  # noqa: F401

    from napari_shaspec.classification.av_mnist import IMAGE, SOUND, read_av_mnist
    from napari_shaspec.classification.methods import ShaSpecMethod
    from napari_shaspec.classification.training import Recipe, train_network
    from napari_shaspec.evaluation.feature_plot import write_plot
    from napari_shaspec.evaluation.feature_space import FeaturePlot, cloud_of, of_inputs
    from napari_shaspec.model.shaspec import SharedSpecific

    method, recipe, seed = ShaSpecMethod(), Recipe(epochs=epochs, augment=augment), 0
    with progress_bar("reading recordings") as advance:
        pairs = read_av_mnist(data)
        network = train_network(
            method, pairs.training, share, seed, recipe, lambda done, total: advance("training", done, total)
        )
    assert isinstance(network, SharedSpecific)
    with progress_bar("t-SNE"):
        made = FeaturePlot.of(cloud_of([of_inputs(network, {IMAGE: pairs.test.images, SOUND: pairs.test.sounds})]))
    picture, report = out / "features.png", out / "features.json"
    how = {"method": method.title, "sound_percent": share, "seed": seed, "epochs": epochs, "augment": augment}
    with staged([picture, report], overwrite=True) as places:
        write_plot(places[picture], made)
        places[report].write_text(json.dumps(made.report(how), indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{len(made.placed)} points, {made.describe()}")
    say(f"Wrote {picture}, {report}")


def _shares(rates: list[float]) -> list[float]:
    for rate in rates:
        if not 1 <= rate <= 90:
            raise ShaSpecError("shares of pairs with sound from 1 to 90 %", f"{rate:g}", "Correct --rates")
    return sorted(set(rates))
