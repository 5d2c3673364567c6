"""Labels of the present subset: asked for, painted as they come, and made anew from probabilities that are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.plugin.feature_requests import FeatureRequests
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.measures import Measures
from napari_shaspec.plugin.painter import Painter
from napari_shaspec.plugin.prediction_run import Asked, Loaded, Piece, postprocessing_steps
from napari_shaspec.plugin.state import PluginState, Progress, Result, Status
from napari_shaspec.regions import Region
from napari_shaspec.reliability import confidence

if TYPE_CHECKING:
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.volume import Case


class Predictions:
    """One at a time: a newer one cancels what runs, and what was said of the labels before.

    Parameters
    ----------
    state
        Read and written on the caller's thread only.
    painter
        Where labels are shown.
    start
        Runs work in another thread.
    network
        Predicts.
    request
        On what it is to work, for a case.
    features, measures
        Of the present labels.
    loaded
        Called with the network once it is there.
    on_error
        Called with what went wrong in a thread, after the state was put in order.
    """

    def __init__(  # noqa: PLR0913 (all that a prediction changes)
        self,
        state: PluginState,
        painter: Painter,
        start: Start,
        network: KeptNetwork,
        *,
        request: Callable[[Case], NetworkRequest],
        features: FeatureRequests,
        measures: Measures,
        loaded: Callable[[Checkpoint], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._state = state
        self._painter = painter
        self._network = network
        self._request = request
        self._features = features
        self._measures = measures
        self._loaded = loaded
        self._on_error = on_error
        self._notes: tuple[str, ...] = ()
        self._run: Latest[Piece | Loaded | Result] = Latest(start, self._received, on_error=self._failed)
        self._post: Latest[Result] = Latest(start, self._postprocessed, on_error=on_error)

    # Asking

    def predict(self) -> None:
        """Ask for the present subset; whatever runs is cancelled."""
        self._state.message = ""
        self.begin()

    def begin(self) -> None:
        """As `predict`, and what was said last stays in view."""
        state = self._state
        case, available = state.case, state.available
        if case is None or not available:
            return
        for running in (self._features, self._post, self._measures):
            running.cancel()
        self._say_kept(self._painter.begin(case.grid))
        asked = Asked(available, self._painter.viewport(case.grid), self._chosen_post(), time.perf_counter())
        state.result = None
        state.status = Status.RUNNING
        state.progress = Progress("waiting" if self._network.busy else "preparing")
        self._run.run(partial(self._network.predict, self._request(case), asked))

    def cancel(self, *, silently: bool = False) -> None:
        """Stop predicting; what was painted stays, and what was encoded need not be again."""
        if self._run.running:
            self._run.cancel()
            self._state.progress = Progress()
            self._state.status = Status.READY
            self._measures.refresh()
            if not silently:
                self._state.message = "Cancelled. The labels show what was reached."

    def set_live(self, live: bool) -> None:
        """Whether to predict at every change; what has changed before is caught up with."""
        self._state.live = live
        if self._state.case is not None and self._state.status is Status.READY:  # else the end of a run looks at it
            self._catch_up()

    def set_postprocessing(self, thresholds: Mapping[Region, float], smooth: bool) -> None:
        """Make the labels again from the probabilities that are kept, without the network."""
        state = self._state
        if dict(thresholds) == dict(state.thresholds) and smooth == state.smooth:
            return
        state.thresholds, state.smooth = dict(thresholds), smooth
        self._apply_postprocessing()

    # Other images

    def stop(self) -> None:
        """Nothing of what runs is heard any more."""
        self._run.cancel()
        self._post.cancel()

    def forget(self) -> None:
        """Take off what was shown and said of images that are no longer there; edits stay in a layer of their own."""
        state = self._state
        kept = self._painter.clear()
        state.encoded = frozenset()
        state.result = None
        self._notes = ()
        state.progress = Progress()
        state.volumes_ml, state.agreement, state.confidence, state.notes = {}, {}, {}, ()
        state.message = ""
        self._say_kept(kept)

    def labels_removed(self) -> None:
        """The user has taken the labels away: nothing of them is shown or said any more, nor painted."""
        state = self._state
        if state.result is None and not state.volumes_ml and state.status is not Status.RUNNING:
            return  # there were none, or it is known already
        self.stop()
        self._measures.cancel()
        self._painter.clear()  # what follows from them
        state.progress = Progress()
        state.result = None
        state.confidence = {}
        if state.status is Status.RUNNING:
            state.status = Status.READY
        self._measures.refresh()
        state.message = "There are no labels any more. Predict brings them back."

    def renew_notes(self) -> None:
        """The case's own notes are others now; those of the run stay."""
        case = self._state.case
        self._state.notes = (*(case.notes if case is not None else ()), *self._notes)

    def close(self, seconds: float) -> bool:
        """Stop; whether the threads have ended within this time each."""
        ended = [each.close(seconds) for each in (self._run, self._post)]
        return all(ended)

    # What comes back

    def _received(self, item: Piece | Loaded | Result) -> None:
        state = self._state
        if isinstance(item, Loaded):
            self._loaded(item.checkpoint)
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
        state = self._state
        self._painter.paint(None, result.labels)
        state.progress = Progress()
        state.result = result
        state.status = Status.READY  # last: to be ready without a result is to have been cancelled, or to have failed
        self._measures.refresh()
        if self._catch_up():
            return  # it was not live yet when a modality was switched
        if (dict(result.thresholds), result.smooth) != (dict(state.thresholds), state.smooth):
            self._apply_postprocessing()  # changed while the network ran

    def _catch_up(self) -> bool:
        """While it is live, predict again if the labels are of another subset or network; whether that was so."""
        state, result = self._state, self._state.result
        same = result is not None and (result.available, result.checkpoint.sha256) == (
            state.available,
            state.network,
        )
        if same or not state.live:
            return False
        self.predict()
        return True

    def _failed(self, error: Exception) -> None:
        self._state.progress = Progress()
        self._state.status = Status.READY
        self._measures.refresh()  # some tiles of the new answer may have been painted
        self._on_error(error)

    def _apply_postprocessing(self) -> None:
        result = self._state.result
        if result is None:
            return  # a prediction that runs will see to it when it is finished
        self._say_kept(self._painter.begin(result.prediction.grid))
        self._post.run(partial(postprocessing_steps, result, self._chosen_post()))

    def _postprocessed(self, result: Result) -> None:
        self._say_kept(self._painter.begin(result.prediction.grid))  # once more: the brush was free meanwhile
        self._finished(result)

    def _chosen_post(self) -> Postprocessing:
        return Postprocessing(dict(self._state.thresholds), self._state.smooth)

    def _note(self, notes: tuple[str, ...]) -> None:
        self._notes = notes
        self.renew_notes()

    def _say_kept(self, kept: str | None) -> None:
        """Where painted labels are now: the panel's table and export speak of the new ones."""
        if kept is not None:
            self._state.kept = self._state.message = (
                f"What you painted is kept, hidden, as {kept}. The table and Export speak of the new labels; "
                "to save yours, select that layer, then File > Save Selected Layers."
            )
