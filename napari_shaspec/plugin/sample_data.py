"""The bundled simulated case as napari layers."""

from __future__ import annotations

from importlib.resources import as_file, files

from napari_shaspec.plugin.layers import LayerData
from napari_shaspec.plugin.reader import read_layers


def load_sample() -> list[LayerData]:
    """Read the bundled case, the way of any other: an image for each modality, FLAIR on top, and the reference."""
    with as_file(files("napari_shaspec") / "resources" / "sample") as folder:
        return read_layers(str(folder))
