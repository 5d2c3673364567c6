"""What lies under the cursor: the label's name and the three probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from napari_shaspec.plugin.overlay import Overlay
from napari_shaspec.plugin.palette import LABEL_NAMES
from napari_shaspec.plugin.state import Result
from napari_shaspec.regions import Label


def describe_place(world_mm: Sequence[float], overlay: Overlay, result: Result | None) -> str:
    """One line for a place (z, y, x) of the world, as ``ED (oedema)   ET 2 %  TC 11 %  WT 96 %``.

    Without a finished result there are no probabilities to tell.
    """
    labels, placement = overlay.labels(), overlay.placement
    if labels is None or placement is None or len(world_mm) != 3:
        return "-"
    index = placement.file_index(tuple(world_mm))
    if index is None:
        return "outside the image"
    name = LABEL_NAMES[Label(int(labels[index]))] if int(labels[index]) in set(Label) else str(labels[index])
    if result is None:
        return name
    shares = "  ".join(f"{region} {value:.0%}" for region, value in result.prediction.at(index).items())
    return f"{name}   {shares}"
