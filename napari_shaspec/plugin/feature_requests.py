"""Feature maps on demand: the newest request is answered, or its asker told that none will come, unless cancelled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.latest import Latest, Start

if TYPE_CHECKING:
    from napari_shaspec.inference.feature_choice import FeatureChoice
    from napari_shaspec.inference.feature_pictures import FeatureMap


class FeatureRequests:
    """Asks the network for maps, one request at a time.

    Parameters
    ----------
    network
        Computes them.
    start
        Runs work in another thread.
    on_error
        Called with what went wrong there, after the asker was told.
    """

    def __init__(self, network: KeptNetwork, start: Start, on_error: Callable[[Exception], None]) -> None:
        self._network = network
        self._on_error = on_error
        self._deliver: Callable[[dict[Modality, FeatureMap | None]], None] = lambda maps: None
        self._withdraw: Callable[[], None] = lambda: None
        self._run: Latest[dict[Modality, FeatureMap | None]] = Latest(start, self._computed, on_error=self._failed)

    @property
    def running(self) -> bool:
        """Whether maps that were asked for are on their way."""
        return self._run.running

    def ask(
        self,
        request: NetworkRequest,
        choice: FeatureChoice,
        available: frozenset[Modality],
        deliver: Callable[[dict[Modality, FeatureMap | None]], None],
        withdraw: Callable[[], None],
    ) -> None:
        """Compute the maps of all modalities, and ``deliver`` them on this thread.

        ``withdraw`` is called after an error and by `give_up`; a newer request, or `cancel`, drops this one silently.
        """
        self._deliver, self._withdraw = deliver, withdraw
        self._run.run(partial(self._network.feature_maps, request, choice, available))

    def cancel(self) -> None:
        """Drop the request silently: maps are asked for again with the next labels, or nobody wants them."""
        self._run.cancel()

    def give_up(self) -> None:
        """Cancel, and tell whoever waits that nothing will come."""
        waited = self.running
        self.cancel()
        if waited:
            self._withdraw()

    def close(self, seconds: float) -> bool:
        """Stop; whether the thread has ended within this time."""
        return self._run.close(seconds)

    def _computed(self, maps: dict[Modality, FeatureMap | None]) -> None:
        self._deliver(maps)

    def _failed(self, error: Exception) -> None:
        self._withdraw()
        self._on_error(error)
