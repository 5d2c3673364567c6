"""Every subset of the case's images, on demand: the table of the panel *Subsets* and the map where they agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.prediction_run import Loaded
from napari_shaspec.plugin.state import PluginState, Swept
from napari_shaspec.reliability import confidence

if TYPE_CHECKING:
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.volume import Case


class Sweeps:
    """One at a time; predictions and maps come in between two of its subsets.

    Parameters
    ----------
    state
        What was answered is written to it.
    start
        Runs work in another thread.
    network
        Predicts.
    request
        On what it is to work, for a case.
    loaded
        Called with the network once it is there.
    on_error
        Called with what went wrong in the thread, after the state was put in order.
    """

    def __init__(
        self,
        state: PluginState,
        start: Start,
        network: KeptNetwork,
        *,
        request: Callable[[Case], NetworkRequest],
        loaded: Callable[[Checkpoint], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._state = state
        self._network = network
        self._request = request
        self._loaded = loaded
        self._on_error = on_error
        self._run: Latest[Loaded | Swept] = Latest(start, self._received, self._over, self._failed)

    def begin(self) -> None:
        """Ask for all of them anew; older answers stay until the first new one."""
        state = self._state
        if state.case is None:
            return
        state.message = state.sweep_stopped = ""
        state.sweeping = True
        post = Postprocessing(dict(state.thresholds), state.smooth)
        self._run.run(partial(self._network.sweep, self._request(state.case), post))

    def cancel(self, why: str = "") -> None:
        """Stop; what has been answered stays, and is called incomplete.

        Parameters
        ----------
        why
            What to say of it, where it was not the user who stopped it.
        """
        if self._state.sweeping:
            self._run.cancel()
            self._state.sweep_stopped = why
            self._over()

    def forget(self) -> None:
        """Stop, and take away what was answered: the images are others."""
        self.cancel()
        self._state.swept = None
        self._state.sweep_stopped = ""

    def reference_changed(self) -> None:
        """The case has another reference; where its values are those of before, as after undo, nothing has changed."""
        if self._state.swept is not None:
            self._state.swept = self._with_present_reference(self._state.swept)

    def close(self, seconds: float) -> bool:
        """Stop; whether the thread has ended within this time."""
        return self._run.close(seconds)

    def _received(self, item: Loaded | Swept) -> None:
        state = self._state
        if isinstance(item, Swept):
            state.swept = self._with_present_reference(item)
            return
        self._loaded(item.checkpoint)
        extents = state.case.extents if state.case is not None else {}
        subsets = nonempty_subsets([each for each in Modality if each in item.available])
        state.subset_trust = {subset: confidence(item.checkpoint.reliability, subset, extents) for subset in subsets}

    def _with_present_reference(self, swept: Swept) -> Swept:
        truth = self._state.case.truth if self._state.case is not None else None
        if swept.reference is truth or swept.reference is None or truth is None:
            return swept
        return replace(swept, reference=truth) if np.array_equal(swept.reference.data, truth.data) else swept

    def _over(self) -> None:
        self._state.sweeping = False

    def _failed(self, error: Exception) -> None:
        self._state.sweep_stopped = "An error stopped it."
        self._over()
        self._on_error(error)


def what_changed(state: PluginState) -> str:
    """In what the answers that are there are not those that the network would give now; empty where they are."""
    if state.swept is None:
        return ""
    origin = state.swept.sweep.origin
    changes = {
        "network": origin.weights != (state.network or origin.weights),
        "thresholds": dict(origin.thresholds) != dict(state.thresholds),
        "smoothing": origin.smooth != state.smooth,
        "reference": state.case is not None and state.swept.reference is not state.case.truth,
    }
    return ", ".join(name for name, changed in changes.items() if changed)
