"""What is said of the labels that are shown: how large each region is, how well it agrees, and with what to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from psygnal import Signal

from napari_shaspec.plugin.agreement_run import agreement_steps
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.painter import Painter
from napari_shaspec.plugin.state import Agreement, Pinned, PluginState
from napari_shaspec.regions import Region, labels_to_masks, volumes_ml


class Measures:
    """Volumes at once, the agreement with a reference from a thread, and the labels that were pinned.

    Parameters
    ----------
    state
        Volumes, agreement and what is pinned are written.
    painter
        Has the labels, edits included.
    start
        Runs work in another thread.
    on_error
        Called with what went wrong there.
    """

    refreshed = Signal()
    """Volumes are those of the present labels; they may be the same as before where the labels are not."""

    def __init__(
        self, state: PluginState, painter: Painter, start: Start, on_error: Callable[[Exception], None]
    ) -> None:
        self._state = state
        self._painter = painter
        self._agreement: Latest[Mapping[Region, Agreement]] = Latest(start, self._measured, on_error=on_error)

    def refresh(self) -> None:
        """The labels in the layer are others now: measure them again."""
        state = self._state
        labels = self._painter.labels()
        if labels is None or state.case is None:
            state.volumes_ml, state.agreement = {}, {}
            self.refreshed.emit()
            return
        state.volumes_ml = volumes_ml(labels_to_masks(labels), state.case.grid.voxel_volume_mm3)
        self.refreshed.emit()
        if state.case.truth is None:
            return
        labels, truth, voxel_mm = labels.copy(), state.case.truth.data.astype(np.uint8), state.case.grid.voxel_mm
        self._agreement.run(partial(agreement_steps, labels, truth, voxel_mm))

    def pin(self) -> None:
        """Put the present labels aside to compare with."""
        labels, result = self._painter.labels(), self._state.result
        if labels is None or result is None:
            self._state.message = "There are no labels to pin yet: predict first."
            return
        self._state.pinned = Pinned(labels.copy(), dict(self._state.volumes_ml), result.available)

    def unpin(self) -> None:
        """Stop comparing."""
        self._state.pinned = None

    def cancel(self) -> None:
        """Other labels are on their way: what is measured of these is not heard any more."""
        self._agreement.cancel()

    def close(self, seconds: float) -> bool:
        """Stop; whether the thread has ended within this time."""
        return self._agreement.close(seconds)

    def _measured(self, agreement: Mapping[Region, Agreement]) -> None:
        self._state.agreement = agreement
