"""The one network of a panel: its session and feature maps outlive a request, because encoding is what costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.plugin.prediction_run import Asked, Loaded, Piece, prediction_steps, run_notes
from napari_shaspec.plugin.state import Result, Swept

if TYPE_CHECKING:
    from napari_shaspec.inference.feature_choice import FeatureChoice
    from napari_shaspec.inference.feature_pictures import FeatureMap, FeaturePictures
    from napari_shaspec.inference.prediction import Prediction
    from napari_shaspec.inference.session import Session
    from napari_shaspec.inference.smoothing import Postprocessing
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.volume import Case


class _CancelledError(Exception):
    """Out of a prediction that nobody waits for."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkRequest:
    """On what a run is to work, as it stood when it was asked for: the user may choose anew while it loads.

    Parameters
    ----------
    case
        Put together from ``sources``, which tell two cases apart.
    weights
        Path of the checkpoint, None for the bundled one; read only where ``checkpoint`` is not there yet.
    device
        As `Session` takes it.
    """

    case: Case
    sources: tuple[tuple[Modality, LayerSource], ...]
    weights: Path | None
    checkpoint: Checkpoint | None
    device: str


class KeptNetwork:
    """Runs one request at a time; its methods are called in worker threads.

    Parameters
    ----------
    load_checkpoint
        Path, or None for the bundled weights -> network.
    open_session
        Network, case and device -> session.
    """

    def __init__(
        self,
        load_checkpoint: Callable[[Path | None], Checkpoint],
        open_session: Callable[[Checkpoint, Case, str], Session],
    ) -> None:
        self.open_session = open_session
        self._load_checkpoint = load_checkpoint
        # A cancelled run leaves at its next tile, and the cache is no place for two.
        self._lock = Lock()
        # Whoever waits for the lock holds this one, and a sweep has to get past it.
        self._next = Lock()
        self._key: tuple[object, ...] = ()
        self._pictures: FeaturePictures | None = None
        self.session: Session | None = None

    @property
    def busy(self) -> bool:
        """Whether a request that comes now has to wait."""
        return self._lock.locked()

    def forget(self) -> None:
        """Another case is about to come, or none; a run that has begun keeps what it has."""
        self.session = self._pictures = None
        self._key = ()  # it holds the images

    def predict(self, request: NetworkRequest, asked: Asked, cancelled: Event) -> Iterator[Loaded | Piece | Result]:
        """What is known of the network, then labels piece by piece, then the finished prediction."""
        with self._turn():
            if cancelled.is_set():
                return
            checkpoint, session = self._ready(request, cancelled)
            yield Loaded(checkpoint, asked.available, run_notes(session))
            yield from prediction_steps(checkpoint, session, asked, cancelled)

    def feature_maps(
        self, request: NetworkRequest, choice: FeatureChoice, available: frozenset[Modality], cancelled: Event
    ) -> Iterator[dict[Modality, FeatureMap | None]]:
        """The maps of all modalities that the network knows, at once."""
        from napari_shaspec.inference.feature_pictures import FeaturePictures
        from napari_shaspec.inference.features import FeaturesCancelledError

        with self._turn():
            if cancelled.is_set():
                return
            _, session = self._ready(request, cancelled)
            pictures = self._pictures
            if pictures is None or pictures.session is not session:
                pictures = FeaturePictures(session)
                if not cancelled.is_set():
                    self._pictures = pictures
            maps: dict[Modality, FeatureMap | None] = {}
            try:
                for modality in Modality:
                    if modality.value in session.config.modalities:
                        maps[modality] = pictures.render(choice, modality, available, cancelled.is_set)
            except FeaturesCancelledError:
                return
        yield maps

    def sweep(self, request: NetworkRequest, post: Postprocessing, cancelled: Event) -> Iterator[Loaded | Swept]:
        """What is known of the network, then every subset of the case's images; others come in between two of them."""
        from napari_shaspec.evaluation.answers import Origin
        from napari_shaspec.evaluation.sweep import sweep

        with self._turn():
            if cancelled.is_set():
                return
            checkpoint, session = self._ready(request, cancelled)
        case = request.case
        yield Loaded(checkpoint, case.available, run_notes(session))
        reference = None if case.truth is None else case.truth.data.astype(np.uint8)
        origin = Origin(case.name, checkpoint.sha256, post.thresholds, post.smooth)
        for found in sweep(self._each_subset(session, cancelled), origin, reference):
            yield Swept(found, case.truth, tuple(session.notes))

    def _each_subset(self, session: Session, cancelled: Event) -> Iterator[tuple[frozenset[Modality], Prediction]]:
        from napari_shaspec.evaluation.subsets import scan_subsets
        from napari_shaspec.evaluation.sweep import sweep_order

        def stop(result: object) -> None:
            if cancelled.is_set():
                raise _CancelledError

        scan = scan_subsets(session, sweep_order(session.case.available), stop)
        while True:
            with self._turn():
                try:
                    answer = None if cancelled.is_set() else next(scan, None)
                except _CancelledError:
                    return
            if answer is None:
                return
            yield answer
            del answer  # 100 MB of a BraTS case, which need not wait for the next one

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The network to oneself; a sweep, which asks again at once, comes after whoever waits."""
        with self._next:
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _ready(self, request: NetworkRequest, cancelled: Event) -> tuple[Checkpoint, Session]:
        """Made in the worker, because torch takes seconds to import; kept unless somebody chose anew meanwhile."""
        checkpoint = request.checkpoint or self._load_checkpoint(request.weights)
        key = (request.sources, request.device, checkpoint.sha256)
        if self.session is not None and key == self._key:
            return checkpoint, self.session
        session = self.open_session(checkpoint, request.case, request.device)
        if not cancelled.is_set():
            self.session, self._key, self._pictures = session, key, None
        return checkpoint, session
