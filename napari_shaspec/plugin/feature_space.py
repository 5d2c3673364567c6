"""The feature plot's part in a thread: from a case to points that know their place in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.plugin.state import Progress

if TYPE_CHECKING:
    from napari_shaspec.evaluation.feature_space import FeaturePlot
    from napari_shaspec.inference.feature_points import CaseFeatures
    from napari_shaspec.inference.session import Session
    from napari_shaspec.volume import Volume

SEED = 0
"""The same case gives the same plot each time."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedPlot:
    """A plot whose points are places of a case.

    Parameters
    ----------
    plot
        The points.
    features
        Of the case.
    places
        Which of its places were drawn: what `FeatureCloud.sources` counts through.
    grid
        Of the case.
    """

    plot: FeaturePlot
    features: CaseFeatures
    places: NDArray[np.intp]
    grid: Volume

    @property
    def several(self) -> int:
        """The value of `marks` where points of several modalities were chosen."""
        return len(self.plot.cloud.names) + 1

    def place_mm(self, point: int) -> NDArray[np.float64]:
        """The middle of a point's cell, RAS mm."""
        cell = self.features.cells[self.places[[self.plot.cloud.sources[point]]]]
        place: NDArray[np.float64] = self.features.lattice.places_mm(cell)[0]
        return place

    def marks(self, points: Collection[int]) -> NDArray[np.uint8]:
        """The voxels that points stand for, on the case's grid in file order.

        1 and on for modalities in the order of `FeatureCloud.names`, `several` where more than one is meant, else 0.
        """
        cloud, lattice = self.plot.cloud, self.features.lattice
        table = np.zeros(lattice.shape, np.uint8)
        for point in points:
            cell = tuple(self.features.cells[self.places[cloud.sources[point]]])
            value = int(cloud.modalities[point]) + 1
            table[cell] = value if table[cell] in (0, value) else self.several
        return lattice.on_source(table)


def plot_steps(open_session: Callable[[], Session], cancelled: Event) -> Iterator[Progress | PlacedPlot]:
    """Encode the case, draw places, embed them; the plot comes last, unless somebody cancels."""
    # Missing packages are told before the network runs; torch comes after them.
    import matplotlib  # noqa: F401
    import sklearn  # noqa: F401

    from napari_shaspec.evaluation.feature_space import MOST_POINTS, FeaturePlot, at_places, cloud_of, draw_places
    from napari_shaspec.inference.feature_points import CaseFeatures, case_features

    yield Progress("loading the network")
    session = open_session()
    for step in case_features(session, cancelled.is_set):
        if cancelled.is_set():
            return
        if not isinstance(step, CaseFeatures):
            yield Progress(step.doing, step.done, step.total)
            continue
        places = draw_places(step, MOST_POINTS, SEED)
        cloud = cloud_of([at_places(step, places)])
        yield Progress(f"t-SNE of {len(cloud.features)} points")
        plot = FeaturePlot.of(cloud, SEED)
        if not cancelled.is_set():
            yield PlacedPlot(plot, step, places, session.case.grid)
