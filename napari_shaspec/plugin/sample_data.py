"""The bundled simulated case as napari layers.

napari shows the last two axes first and calls them rows and columns, so the axes are reversed to (Z, Y, X): the
viewer opens on axial slices. The world of the layers is RAS+ in millimetres with its axes in that same order.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.io.cases import read_case
from napari_shaspec.volume import Volume

LayerData: TypeAlias = tuple[NDArray[np.generic], dict[str, object], str]
"""Data, keyword arguments and kind of a layer, as npe2 passes them."""


def load_sample() -> list[LayerData]:
    """Read the bundled case: a grey image for each modality, FLAIR visible, and its label map on top."""
    with as_file(files("napari_shaspec") / "resources" / "sample") as folder:
        case = read_case(folder)
    layers: list[LayerData] = []
    for modality, image in case.images.items():
        # The background outside the head is zero and would push both percentiles to it.
        darkest, brightest = np.percentile(image.data[image.data != 0], (1, 99.5))
        look = {
            "name": modality.title,
            "colormap": "gray",
            "contrast_limits": (float(darkest), float(brightest)),
            "visible": not layers,
        }
        layers.append((image.data.T, look | _placement(image), "image"))
    if case.truth is not None:
        layers.append((case.truth.data.T, {"name": "reference"} | _placement(case.truth), "labels"))
    return layers


def _placement(volume: Volume) -> dict[str, object]:
    """Where the reversed array lies: with the axes of array and world, the affine's rows and columns turn round."""
    reversed_axes = [2, 1, 0, 3]
    affine = volume.affine[np.ix_(reversed_axes, reversed_axes)]
    return {"affine": affine, "units": ("mm", "mm", "mm"), "axis_labels": ("z", "y", "x")}
