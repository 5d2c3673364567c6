"""Every subset of the case's images, on demand: the table of the panel *Subsets* and the map where they agree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.state import PluginState, Swept

if TYPE_CHECKING:
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
    on_error
        Called with what went wrong in the thread, after the state was put in order.
    """

    def __init__(
        self,
        state: PluginState,
        start: Start,
        network: KeptNetwork,
        request: Callable[[Case], NetworkRequest],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._state = state
        self._network = network
        self._request = request
        self._on_error = on_error
        self._run: Latest[Swept] = Latest(start, self._received, self._over, self._failed)

    def begin(self) -> None:
        """Ask for all of them anew; what was answered before goes."""
        state = self._state
        if state.case is None:
            return
        state.message = ""
        state.swept = None
        state.sweeping = True
        post = Postprocessing(dict(state.thresholds), state.smooth)
        self._run.run(partial(self._network.sweep, self._request(state.case), post))

    def cancel(self) -> None:
        """Stop; what has been answered stays, and is called incomplete."""
        self._run.cancel()
        self._over()

    def forget(self) -> None:
        """Stop, and take away what was answered: the images are others."""
        self.cancel()
        self._state.swept = None

    def close(self, seconds: float) -> bool:
        """Stop; whether the thread has ended within this time."""
        return self._run.close(seconds)

    def _received(self, swept: Swept) -> None:
        self._state.swept = swept

    def _over(self) -> None:
        self._state.sweeping = False

    def _failed(self, error: Exception) -> None:
        self._over()
        self._on_error(error)


def what_changed(state: PluginState) -> str:
    """Why the answers that are there are not those that the network would give now; empty where they are."""
    swept = state.swept
    if swept is None:
        return ""
    changes = {
        "network": swept.network != (state.network or swept.network),
        "thresholds": dict(swept.thresholds) != dict(state.thresholds),
        "smoothing": swept.smooth != state.smooth,
        "reference": state.case is not None and swept.reference is not state.case.truth,
    }
    return ", ".join(name for name, changed in changes.items() if changed)
