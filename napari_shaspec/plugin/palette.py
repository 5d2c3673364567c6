"""Names and colours of labels and regions: one palette for layers, legend and pictures."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.io.overlay import COLOURS
from napari_shaspec.regions import Label, Region

LABEL_NAMES = {
    Label.BACKGROUND: "background",
    Label.NCR_NET: "NCR/NET (necrosis, non-enhancing core)",
    Label.ED: "ED (oedema)",
    Label.ET: "ET (enhancing tumour)",
}
NO_LABEL = (255, 0, 200)
"""Of a number that stands for nothing: it cannot be exported, and so must not be overlooked."""

REGION_NAMES = {Region.ET: "enhancing tumour", Region.TC: "tumour core", Region.WT: "whole tumour"}

REGION_COLOURS = {Region.ET: (255, 90, 40), Region.TC: (90, 200, 255), Region.WT: (250, 235, 80)}
"""Bright relatives of the labels' colours: lines are thinner than areas."""

GAINED, LOST = 1, 2
CHANGE_COLOURS = {GAINED: (0, 220, 130), LOST: (255, 60, 200)}
"""Green and magenta differ in brightness too, for colour-blind readers."""

CONSENSUS_ALPHA = 0.8
LEAST_SHARE = 0.01
"""Only 0 is clear in a map of shares: from here on its colours are whole, and one of fifteen is more."""


def rgba(colour: tuple[int, int, int], alpha: float = 1.0) -> NDArray[np.float32]:
    """0 to 255 -> 0 to 1."""
    return np.array([*(value / 255 for value in colour), alpha], np.float32)


def colormap(
    colours: dict[int, tuple[int, int, int]], other: tuple[int, int, int] | None = None
) -> dict[int | None, NDArray[np.float32]]:
    """For napari; where a number has no colour it is ``other``, or transparent."""
    nothing = np.zeros(4, np.float32)
    unknown = nothing if other is None else rgba(other)
    mapping: dict[int | None, NDArray[np.float32]] = defaultdict(lambda: unknown)
    mapping.update({0: nothing, None: unknown})
    mapping.update({value: rgba(colour) for value, colour in colours.items()})
    return mapping


def label_look() -> dict[str, Any]:
    """Keywords of a Labels layer that holds a label map: colours, and names for the status bar."""
    from napari.utils.colormaps import DirectLabelColormap

    features = {"index": [int(label) for label in Label], "label": [LABEL_NAMES[each] for each in Label]}
    return {
        "colormap": DirectLabelColormap(
            color_dict=colormap({int(key): value for key, value in COLOURS.items()}, NO_LABEL)
        ),
        "features": features,
    }


def reference_look() -> dict[str, Any]:
    """A reference is hidden at first, so that it does not cover the prediction."""
    return {**label_look(), "visible": False, "opacity": 0.9}


def flat_look(colours: dict[int, tuple[int, int, int]]) -> dict[str, Any]:
    """Keywords of a Labels layer of a few plain values."""
    from napari.utils.colormaps import DirectLabelColormap

    return {"colormap": DirectLabelColormap(color_dict=colormap(colours))}


def consensus_look() -> dict[str, Any]:
    """Keywords of an Image layer of shares, 0 to 1: nothing where the share is 0, so that the MRI below is seen."""
    from napari.utils.colormaps import Colormap, ensure_colormap

    shown = ensure_colormap("plasma").map(np.linspace(0, 1, 16))
    shown[:, 3] = CONSENSUS_ALPHA
    colours = [np.zeros(4), *shown]
    controls = [0.0, *np.linspace(LEAST_SHARE, 1, len(shown))]
    return {
        "colormap": Colormap(colours, controls=controls, name="share of the answers"),
        "contrast_limits": (0.0, 1.0),
        "blending": "translucent",
    }
