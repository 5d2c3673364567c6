"""Between viewer and session: what happens, in which order, when somebody clicks.

Knows neither Qt nor napari: threads and painting are handed in, so that the rules can be tested by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.patients import doubt_about
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.case_run import case_steps, reference_steps
from napari_shaspec.plugin.feature_requests import FeatureRequests
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.plugin.measures import Measures
from napari_shaspec.plugin.painter import Painter
from napari_shaspec.plugin.predictions import Predictions
from napari_shaspec.plugin.state import PluginState, Status
from napari_shaspec.plugin.sweeps import Sweeps

if TYPE_CHECKING:
    from napari_shaspec.inference.feature_choice import FeatureChoice
    from napari_shaspec.inference.feature_pictures import FeatureMap
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.volume import Case

CLOSING_SECONDS = 20.0
"""A tile on a slow machine takes some seconds; a thread that outlives the window may crash the program's exit."""


class Controller:
    """Runs what the panel asks for.

    Parameters
    ----------
    state
        Read and written on the caller's thread only.
    painter
        Where labels are shown.
    start
        Runs work in another thread.
    network
        What runs, kept from one request to the next.
    """

    def __init__(self, state: PluginState, painter: Painter, start: Start, network: KeptNetwork) -> None:
        self.state = state
        self.patient = 0
        """How often the images became another patient's."""
        self.weights: Path | None = None
        self.device = "auto"
        self.checkpoint: Checkpoint | None = None
        self.network = network
        self._off: frozenset[Modality] = frozenset()
        self._predict_when_ready = False
        self._sources: dict[Modality, LayerSource] = {}
        self._reference: Latest[Case] = Latest(start, self._referenced, on_error=self._reference_failed)
        self._case: Latest[Case] = Latest(start, self._assembled, on_error=self._failed)
        self._features = FeatureRequests(network, start, self._failed)
        self.measures = Measures(state, painter, start, self._failed)
        self.sweeps = Sweeps(state, start, network, request=self._request, loaded=self._loaded, on_error=self._failed)
        self.predictions = Predictions(
            state,
            painter,
            start,
            network,
            request=self._request,
            features=self._features,
            measures=self.measures,
            loaded=self._loaded,
            on_error=self._failed,
        )

    # The case

    def set_images(
        self,
        sources: Mapping[Modality, tuple[str, LayerSource]],
        truth: LayerSource | None,
        *,
        another_patient: bool = False,
    ) -> None:
        """Take these layers for the modalities, and put the case together.

        Parameters
        ----------
        sources, truth
            As `case_steps` takes them.
        another_patient
            Than before: what was switched off, and the place that was looked at, say nothing of these.
        """
        state = self.state
        if another_patient:
            self.patient += 1
            self._off = frozenset()
        images = {modality: source for modality, (_, source) in sources.items()}
        state.slots = {modality: name for modality, (name, _) in sources.items()}
        if images == self._sources and state.case is not None:
            self._set_truth(truth)
            return
        self._sources = images
        self._cancel_all()
        self.network.forget()
        state.case = None
        self.predictions.forget()
        self.sweeps.forget()
        state.pinned = None
        if not sources:
            self._case.cancel()
            state.available = frozenset()
            state.status = Status.EMPTY
            self._predict_when_ready = False
            return
        state.status = Status.ASSEMBLING
        self._case.run(partial(case_steps, dict(sources), truth))

    def _assembled(self, case: Case) -> None:
        state = self.state
        state.case = case
        state.notes = case.notes
        if doubt := doubt_about(case.files.values()):  # one of the notes, which is not to be overlooked
            state.message = "\n".join(filter(None, (state.message, doubt)))
        # What is loaded is switched on, unless it was switched off before.
        state.available = (case.available - self._off) or case.available
        state.status = Status.READY
        if state.live or self._predict_when_ready:
            self.predictions.begin()  # and what was said of these images stays
        self._predict_when_ready = False

    def _set_truth(self, truth: LayerSource | None) -> None:
        """Another reference, or none: labels, edits and encodings stay."""
        case = self.state.case
        if case is not None:
            self._reference.run(partial(reference_steps, case, truth))

    def _referenced(self, case: Case) -> None:
        self.state.agreement = {}
        self.state.case = case
        self.predictions.renew_notes()
        self.sweeps.reference_changed()
        if self.state.status is not Status.RUNNING:
            self.measures.refresh()

    def _reference_failed(self, error: Exception) -> None:
        """There is another reference, and nothing can be compared with it: nor is it with the one before."""
        if self.state.case is not None:
            self._referenced(*reference_steps(self.state.case, None, Event()))
        self._failed(error)

    # Modalities

    def set_available(self, modality: Modality, on: bool) -> None:
        """Switch a modality on or off; the last one cannot be switched off, and the message says why."""
        available = self.state.available | {modality} if on else self.state.available - {modality}
        self.choose(available)

    def choose(self, available: frozenset[Modality]) -> None:
        """Give the network exactly these modalities."""
        state = self.state
        if state.case is None:
            return
        if not available:
            state.message = "At least one modality has to stay on: without any image there is nothing to predict from."
            state.events.available.emit(state.available, state.available)  # the check box jumps back
            return
        if not available <= state.case.available or available == state.available:
            return
        state.message = ""
        self._off = state.case.available - available
        state.available = available
        if state.live:
            self.predictions.predict()

    def solo(self, modality: Modality) -> None:
        """Only this one; once more, all again."""
        case = self.state.case
        if case is not None and modality in case.available:
            self.choose(frozenset(case.available if self.state.available == {modality} else {modality}))

    # The network

    def set_model(self, weights: Path | None, checkpoint: Checkpoint) -> None:
        """Use another checkpoint from now on; ``weights`` is its path, None for the bundled one."""
        self.weights, self.checkpoint = weights, checkpoint
        self.state.statement = checkpoint.statement
        self.state.network = checkpoint.sha256
        self._restart()

    def set_device(self, device: str) -> None:
        """Use another device from now on."""
        if device != self.device:
            self.device = device
            self._restart()

    def _restart(self) -> None:
        self.state.encoded = frozenset()
        self.sweeps.cancel("Stopped, because another network or device was chosen.")
        asked = self.state.live or self.state.status is Status.RUNNING
        if asked and self.state.case is not None:
            self.predictions.predict()  # which cancels what runs, and whose result asks for maps again
        else:
            self.predictions.cancel(silently=True)
            self._features.give_up()

    def predict_when_ready(self) -> None:
        """Now, or once the images that are on their way make a case; `drop_wish` if there are none."""
        if self.state.case is None:
            self._predict_when_ready = True
        else:
            self.predictions.predict()

    def drop_wish(self) -> None:
        """Nothing is on its way: what is opened later is another matter."""
        self._predict_when_ready = False

    def _request(self, case: Case) -> NetworkRequest:
        return NetworkRequest(case, tuple(self._sources.items()), self.weights, self.checkpoint, self.device)

    def _loaded(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.state.stand_in = checkpoint.model.config.stand_in
        self.state.network = checkpoint.sha256
        self.state.statement = checkpoint.statement

    def _failed(self, error: Exception) -> None:
        if self.state.status is Status.ASSEMBLING:
            self.state.status = Status.EMPTY
        self.state.message = str(error) if isinstance(error, ShaSpecError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, ShaSpecError):
            raise error  # a bug: napari shows where

    # Features

    def request_features(
        self,
        choice: FeatureChoice,
        deliver: Callable[[dict[Modality, FeatureMap | None]], None],
        failed: Callable[[], None],
    ) -> None:
        """Compute the maps of all modalities for the present subset, and deliver them on this thread."""
        case, available = self.state.case, self.state.available
        if case is None or not available:
            failed()
            return
        self._features.ask(self._request(case), choice, available, deliver, failed)

    @property
    def computing_features(self) -> bool:
        """Whether maps that were requested are on their way."""
        return self._features.running

    def close(self) -> bool:
        """Stop everything; whether all threads have ended."""
        self._case.cancel()
        self._cancel_all()  # at once, and only then wait for each
        kinds = (self._case, self._reference, self.predictions, self.measures, self._features, self.sweeps)
        ended = [each.close(CLOSING_SECONDS) for each in kinds]
        self.network.forget()
        return all(ended)

    def _cancel_all(self) -> None:
        """Of what runs for the present case nothing is heard any more."""
        for running in (self._reference, self._features, self.measures, self.sweeps):
            running.cancel()
        self.predictions.stop()
