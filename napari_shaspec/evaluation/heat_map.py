"""A summary as a picture: a cell for each subset and column, the darker the worse."""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_shaspec.evaluation.summary import Summary, row_titles, titles
from napari_shaspec.io.atomic import replacing

CELL_INCHES = (0.75, 0.32)
LIGHT_FROM = 55.0
"""Percent, from where on black is read better than white on the colour map."""


def write_heat_map(summary: Summary, path: Path) -> None:
    """Draw mean Dice in percent as PNG, 0 to 100 on one scale, so that pictures compare.

    Raises
    ------
    ShaSpecError
        If the file cannot be written.
    """
    rows = row_titles(summary)
    percent = np.array(
        [[100 * cells[each].dice if each in cells else nan for cells in summary.values()] for each in rows], float
    )
    height, width = percent.shape
    figure = Figure(figsize=(2.6 + CELL_INCHES[0] * width, 1.9 + CELL_INCHES[1] * height), layout="constrained")
    FigureCanvasAgg(figure)  # no window, no global state
    axes = figure.add_subplot()
    picture = axes.imshow(percent, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    axes.set_xticks(range(width), titles(summary), rotation=45, ha="left")
    axes.set_yticks(range(height), list(rows.values()))
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.axhline(height - 1.5, color="white", linewidth=2)  # above the average
    for (row, column), value in np.ndenumerate(percent):
        if not isnan(value):
            colour = "black" if value >= LIGHT_FROM else "white"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(picture, ax=axes, label="Dice, %")
    with replacing(path) as place:
        figure.savefig(place, format="png", dpi=120)
