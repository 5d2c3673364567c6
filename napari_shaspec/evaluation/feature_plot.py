"""The picture of a feature cloud: colours are modalities, dots are shared features, crosses specific ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.evaluation.feature_space import FeatureCloud, FeaturePlot
from napari_shaspec.inference.feature_choice import ENCODED, FeatureKind
from napari_shaspec.io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")
"""Okabe and Ito's, which colour-blind readers tell apart; one for each modality, in order."""

MARKERS = {FeatureKind.SHARED: "o", FeatureKind.SPECIFIC: "x"}
MANY = 200
"""More points are drawn smaller."""

DPI = 150
INCHES = (7.0, 6.0)


def draw_cloud(axes: Axes, cloud: FeatureCloud, placed: NDArray[np.float64]) -> dict[FeatureKind, PathCollection]:
    """Scatter the points on matplotlib's axes; one collection for each kind, its points in the cloud's order.

    Parameters
    ----------
    placed
        (P, 2), what `embed` gives.
    """
    many = len(placed) > MANY
    collections = {}
    for kind in ENCODED:
        chosen = cloud.of_kind(kind)
        x, y = placed[chosen].T
        collections[kind] = axes.scatter(
            x,
            y,
            c=[COLOURS[modality % len(COLOURS)] for modality in cloud.modalities[chosen]],
            marker=MARKERS[kind],
            s=12 if many else 36,
            linewidths=0.8 if many else 1.5,
        )
    for modality, name in enumerate(cloud.names):
        axes.scatter([], [], c=COLOURS[modality % len(COLOURS)], marker="s", label=name)
    colour = axes.xaxis.label.get_color()
    for kind in ENCODED:
        axes.scatter([], [], c=colour, marker=MARKERS[kind], label=kind.value)
    # What t-SNE draws has no unit and no direction.
    axes.set(xticks=[], yticks=[])
    return collections


def write_plot(path: Path, plot: FeaturePlot, *, overwrite: bool = True) -> None:
    """Draw the cloud into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw_cloud(axes, plot.cloud, plot.placed)
    axes.set_title(plot.describe().replace("; ", "\n"), fontsize="medium")
    figure.legend(loc="outside right upper", frameon=False)
    with replacing(path, overwrite=overwrite) as place:
        figure.savefig(place, dpi=DPI, metadata={"Software": "napari-shaspec"})
