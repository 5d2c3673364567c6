"""Ties the panel of subsets to what computes them, to the layer of the consensus map, and to the file of the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_shaspec.plugin.exporting import sweep_files
from napari_shaspec.regions import Region
from napari_shaspec.widgets.export_request import may_replace

if TYPE_CHECKING:
    from napari_shaspec.plugin.controller import Controller
    from napari_shaspec.plugin.derived_layers import ConsensusLayer
    from napari_shaspec.plugin.jobs import Jobs
    from napari_shaspec.widgets.subsets import SubsetsPanel


class SubsetsDisplay:
    """Keeps the map true to the answers that the panel shows.

    Parameters
    ----------
    panel
        What the user wants to see.
    layer
        Shows the map of one region.
    controller
        Predicts.
    jobs
        Writes the table in a thread, and tells.
    """

    def __init__(self, panel: SubsetsPanel, layer: ConsensusLayer, controller: Controller, jobs: Jobs) -> None:
        self._panel = panel
        self._layer = layer
        self._state = controller.state
        self._jobs = jobs
        self._region: Region | None = None
        panel.run_clicked.connect(controller.sweeps.begin)
        panel.cancel_clicked.connect(controller.sweeps.cancel)
        panel.subset_chosen.connect(controller.choose)
        panel.map_chosen.connect(self._choose)
        panel.save_chosen.connect(self._save)
        layer.removed.connect(self._on_removed)
        self._listening = self._state.listen(swept=self._refresh, sweeping=self._refresh)

    def close(self) -> None:
        """Stop listening; the layer stays with the user."""
        self._state.forget(self._listening)
        self._layer.removed.disconnect(self._on_removed)
        self._layer.close()

    def _choose(self, region: Region | None) -> None:
        self._region = region
        self._refresh()

    def _refresh(self, *_: object) -> None:
        state, swept, case = self._state, self._state.swept, self._state.case
        if self._region is None or case is None or swept is None:
            self._layer.remove()
        elif swept.sweep.finished:
            self._layer.show(self._region, case.grid.with_data(swept.sweep.consensus(self._region)))
        elif not state.sweeping:
            self._layer.remove()  # else the map before stays, with its place and look, until the next one is there

    def _on_removed(self) -> None:
        self._region = None
        self._panel.set_map(None)

    def _save(self, path: Path) -> None:
        if self._state.swept is None or not self._jobs.may_export():
            return
        sweep = self._state.swept.sweep
        # The dialog has asked about the name that was typed, and knows of no other.
        if may_replace(self._panel, (each for each in sweep_files(path, sweep) if each != path)):
            self._jobs.save_sweep(path, sweep)
