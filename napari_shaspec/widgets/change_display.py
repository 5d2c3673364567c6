"""What changed against the pinned labels: a layer of gained and lost voxels, and their volumes in the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_shaspec.plugin.derived_layers import change_map
from napari_shaspec.plugin.palette import GAINED, LOST
from napari_shaspec.regions import Region

if TYPE_CHECKING:
    from napari_shaspec.plugin.derived_layers import ChangeLayer
    from napari_shaspec.plugin.overlay import Overlay
    from napari_shaspec.plugin.state import PluginState
    from napari_shaspec.widgets.regions import RegionsPanel


class ChangeDisplay:
    """Compares the labels that are shown with those that were pinned.

    Parameters
    ----------
    state
        Knows what is pinned.
    overlay
        Has the labels that are shown.
    layer
        Shows the change of one region.
    panel
        Says which region, and shows gained and lost ml of all.
    """

    def __init__(self, state: PluginState, overlay: Overlay, layer: ChangeLayer, panel: RegionsPanel) -> None:
        self._state = state
        self._overlay = overlay
        self._layer = layer
        self._panel = panel
        panel.change_region_chosen.connect(self.refresh)
        overlay.cleared.connect(layer.remove)

    def refresh(self, *_: object) -> None:
        """Compare again; without anything to compare with, take away what is there."""
        pinned, case, labels = self._state.pinned, self._state.case, self._overlay.labels()
        if pinned is None or case is None or labels is None or pinned.labels.shape != labels.shape:
            self._layer.remove()
            self._panel.set_moved({})
            return
        changes = {region: change_map(labels, pinned.labels, region) for region in Region}
        self._layer.show(case.grid.with_data(changes[Region(self._panel.change_region.currentText())]))
        voxel_ml = case.grid.voxel_volume_mm3 / 1000
        self._panel.set_moved(
            {
                region: (
                    float(np.count_nonzero(change == GAINED)) * voxel_ml,
                    float(np.count_nonzero(change == LOST)) * voxel_ml,
                )
                for region, change in changes.items()
            }
        )
