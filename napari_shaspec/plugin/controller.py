"""Between viewer and session: what happens, in which order, when somebody clicks.

Knows neither Qt nor napari: threads and painting are handed in, so that the rules can be tested by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.case_run import case_steps, reference_steps
from napari_shaspec.plugin.feature_requests import FeatureRequests
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.plugin.measures import Measures
from napari_shaspec.plugin.painter import Painter
from napari_shaspec.plugin.prediction_run import Asked, Loaded, Piece, postprocessing_steps
from napari_shaspec.plugin.state import PluginState, Progress, Result, Status
from napari_shaspec.regions import Region
from napari_shaspec.reliability import confidence

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
        self._painter = painter
        self.network = network
        self._off: frozenset[Modality] = frozenset()
        self._predict_when_ready = False
        self._notes_of_run: tuple[str, ...] = ()
        self._sources: dict[Modality, LayerSource] = {}
        self._reference: Latest[Case] = Latest(start, self._referenced, on_error=self._failed)
        self._case: Latest[Case] = Latest(start, self._assembled, on_error=self._failed)
        self._prediction: Latest[Piece | Loaded | Result] = Latest(
            start, self._received, on_error=self._prediction_failed
        )
        self._post: Latest[Result] = Latest(start, self._postprocessed, on_error=self._failed)
        self._features = FeatureRequests(network, start, self._failed)
        self.measures = Measures(state, painter, start, self._failed)

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
        for running in (self._reference, self._prediction, self._post, self._features, self.measures):
            running.cancel()
        self.network.forget()
        kept = self._painter.clear()
        state.encoded = frozenset()
        state.case = state.result = state.pinned = None
        self._notes_of_run = ()
        state.progress = Progress()
        state.volumes_ml, state.agreement, state.confidence, state.notes = {}, {}, {}, ()
        state.message = ""
        self._say_kept(kept)
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
        # What is loaded is switched on, unless it was switched off before.
        state.available = (case.available - self._off) or case.available
        state.status = Status.READY
        if state.live or self._predict_when_ready:
            self._predict()  # and what was said of these images stays
        self._predict_when_ready = False

    def _set_truth(self, truth: LayerSource | None) -> None:
        """Another reference, or none: labels, edits and encodings stay."""
        case = self.state.case
        if case is not None:
            self._reference.run(partial(reference_steps, case, truth))

    def _referenced(self, case: Case) -> None:
        self.state.agreement = {}
        self.state.case = case
        self._note(self._notes_of_run)
        if self.state.result is not None:
            self.measures.refresh()

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
            self.predict()

    def solo(self, modality: Modality) -> None:
        """Only this one; once more, all again."""
        case = self.state.case
        if case is not None and modality in case.available:
            self.choose(frozenset(case.available if self.state.available == {modality} else {modality}))

    # Prediction

    def set_model(self, weights: Path | None, checkpoint: Checkpoint) -> None:
        """Use another checkpoint from now on; ``weights`` is its path, None for the bundled one."""
        self.weights, self.checkpoint = weights, checkpoint
        self.state.statement = checkpoint.statement
        self.state.network = checkpoint.sha256
        self._restart()
        result = self.state.result
        if result is not None and result.checkpoint.sha256 != checkpoint.sha256:
            self.state.message = "The labels are still those of the model before: run the prediction again."

    def set_device(self, device: str) -> None:
        """Use another device from now on."""
        if device != self.device:
            self.device = device
            self._restart()

    def _restart(self) -> None:
        self.state.encoded = frozenset()
        if self.state.live and self.state.case is not None:
            self.predict()  # which cancels what runs, and whose result asks for maps again
        else:
            self.cancel(silently=True)
            self._features.give_up()

    def predict(self) -> None:
        """Ask for the present subset; whatever runs is cancelled."""
        self.state.message = ""
        self._predict()

    def predict_when_ready(self) -> None:
        """Now, or once the images that are on their way make a case; `drop_wish` if there are none."""
        if self.state.case is None:
            self._predict_when_ready = True
        else:
            self.predict()

    def drop_wish(self) -> None:
        """Nothing is on its way: what is opened later is another matter."""
        self._predict_when_ready = False

    def set_live(self, live: bool) -> None:
        """Whether to predict at every change; what has changed before is caught up with."""
        self.state.live = live
        if self.state.case is not None and self.state.status is Status.READY:  # else the end of a run looks at it
            self._catch_up()

    def _catch_up(self) -> bool:
        """While it is live, predict again if the labels are of another subset or network; whether that was so."""
        state, result = self.state, self.state.result
        same = result is not None and (result.prediction.available, result.checkpoint.sha256) == (
            state.available,
            state.network,
        )
        if same or not state.live:
            return False
        self.predict()
        return True

    def _predict(self) -> None:
        state = self.state
        case, available = state.case, state.available
        if case is None or not available:
            return
        for running in (self._features, self._post, self.measures):
            running.cancel()
        self._say_kept(self._painter.begin(case.grid))
        post = Postprocessing(dict(state.thresholds), state.smooth)
        asked = Asked(available, self._painter.viewport(case.grid), post, time.perf_counter())
        state.result = None
        state.status = Status.RUNNING
        state.progress = Progress("waiting" if self.network.busy else "preparing")
        self._prediction.run(partial(self.network.predict, self._request(case), asked))

    def cancel(self, *, silently: bool = False) -> None:
        """Stop predicting; what was painted stays, and what was encoded need not be again."""
        if self._prediction.running:
            self._prediction.cancel()
            self.state.progress = Progress()
            self.state.status = Status.READY
            self.measures.refresh()
            if not silently:
                self.state.message = "Cancelled. The labels show what was reached."

    def _request(self, case: Case) -> NetworkRequest:
        return NetworkRequest(case, tuple(self._sources.items()), self.weights, self.checkpoint, self.device)

    def _received(self, item: Piece | Loaded | Result) -> None:
        state = self.state
        if isinstance(item, Loaded):
            self.checkpoint = item.checkpoint
            state.stand_in = item.checkpoint.model.config.stand_in
            state.network = item.checkpoint.sha256
            state.statement = item.checkpoint.statement
            extents = state.case.extents if state.case is not None else {}
            state.confidence = confidence(item.checkpoint.reliability, item.available, extents)
            self._note(item.notes)
        elif isinstance(item, Piece):
            self._painter.paint(item.box, item.labels)
            state.encoded = state.encoded | item.encoded
            state.progress = item.progress
        else:
            self._note(item.notes)
            self._finished(item)

    def _finished(self, result: Result) -> None:
        state = self.state
        self._painter.paint(None, result.labels)
        state.progress = Progress()
        state.result = result
        state.status = Status.READY  # last: to be ready without a result is to have been cancelled, or to have failed
        self.measures.refresh()
        if self._catch_up():
            return  # it was not live yet when a modality was switched
        if (dict(result.thresholds), result.smooth) != (dict(state.thresholds), state.smooth):
            self._apply_postprocessing()  # changed while the network ran

    def _note(self, notes: tuple[str, ...]) -> None:
        self._notes_of_run = notes
        self.state.notes = (*(self.state.case.notes if self.state.case is not None else ()), *notes)

    def _prediction_failed(self, error: Exception) -> None:
        self.state.progress = Progress()
        self.state.status = Status.READY
        self.measures.refresh()  # some tiles of the new answer may have been painted
        self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self.state.status is Status.ASSEMBLING:
            self.state.status = Status.EMPTY
        self.state.message = str(error) if isinstance(error, ShaSpecError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, ShaSpecError):
            raise error  # a bug: napari shows where

    # After the network

    def set_postprocessing(self, thresholds: Mapping[Region, float], smooth: bool) -> None:
        """Make the labels again from the probabilities that are kept, without the network."""
        state = self.state
        if dict(thresholds) == dict(state.thresholds) and smooth == state.smooth:
            return
        state.thresholds, state.smooth = dict(thresholds), smooth
        self._apply_postprocessing()

    def _apply_postprocessing(self) -> None:
        result = self.state.result
        if result is None:
            return  # a prediction that runs will see to it when it is finished
        post = Postprocessing(dict(self.state.thresholds), self.state.smooth)
        self._say_kept(self._painter.begin(result.prediction.grid))
        self._post.run(partial(postprocessing_steps, result, post))

    def _postprocessed(self, result: Result) -> None:
        self._say_kept(self._painter.begin(result.prediction.grid))  # once more: the brush was free meanwhile
        self._finished(result)

    def _say_kept(self, kept: str | None) -> None:
        """Where painted labels are now: the panel's table and export speak of the new ones."""
        if kept is not None:
            self.state.message = (
                f"What you painted is kept, hidden, as {kept}. The table and Export speak of the new labels; "
                "to save yours, select that layer, then File > Save Selected Layers."
            )

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
        kinds = (self._case, self._reference, self._prediction, self._post, self.measures, self._features)
        for each in kinds:
            each.cancel()
        ended = [each.close(CLOSING_SECONDS) for each in kinds]
        self.network.forget()
        return all(ended)
