"""A controller whose threads are run by hand, and a session that answers with numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_shaspec.box import Box
from napari_shaspec.inference.canvas import TileResult
from napari_shaspec.inference.prediction import Prediction
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.controller import Controller
from napari_shaspec.plugin.kept_network import KeptNetwork
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.plugin.state import PluginState
from napari_shaspec.reliability import Reliability
from napari_shaspec.volume import Case, Volume

SHAPE = (6, 7, 8)
HALVES = (Box((0, 0, 0), (3, 7, 8)), Box((3, 0, 0), (6, 7, 8)))


@dataclass
class Job:
    """Work that a test moves on step by step."""

    steps: Iterator[Any]
    on_item: Callable[[Any], None]
    on_done: Callable[[], None]
    on_error: Callable[[Exception], None]
    ended: bool = False

    def step(self) -> bool:
        """One result; whether there was one."""
        try:
            self.on_item(next(self.steps))
        except StopIteration:
            self.ended = True
            self.on_done()
        except Exception as error:  # noqa: BLE001 (as a thread would report it)
            self.ended = True
            self.on_error(error)
        return not self.ended

    def finish(self) -> None:
        while self.step():
            pass

    def wait(self, seconds: float) -> bool:
        return self.ended


@dataclass
class Jobs:
    """Instead of threads: a list."""

    started: list[Job] = field(default_factory=list)

    def __call__(
        self,
        work: Callable[[], Iterator[Any]],
        on_item: Callable[[Any], None],
        on_done: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> Job:
        job = Job(work(), on_item, on_done, on_error)
        self.started.append(job)
        return job

    def finish_all(self) -> None:
        while open_jobs := [job for job in self.started if not job.ended]:
            open_jobs[0].finish()


@dataclass
class FakePainter:
    """A record instead of layers."""

    painted: list[tuple[Box | None, int]] = field(default_factory=list)
    array: NDArray[np.uint8] | None = None
    begun: list[int] = field(default_factory=list)
    """How often had been painted each time that new labels were about to come."""

    kept: str | None = None
    """What `begin` and `clear` say once that painted labels were kept as."""

    def begin(self, grid: Volume) -> str | None:
        self.begun.append(len(self.painted))
        if self.array is None or self.array.shape != grid.shape:
            self.array = np.zeros(grid.shape, np.uint8)
        return self._say_kept()

    def clear(self) -> str | None:
        self.array = None
        return self._say_kept()

    def _say_kept(self) -> str | None:
        kept, self.kept = self.kept, None
        return kept

    def paint(self, box: Box | None, labels: NDArray[np.uint8]) -> None:
        assert self.array is not None
        self.array[box.slices if box is not None else ...] = labels
        self.painted.append((box, int(labels.max())))

    def labels(self) -> NDArray[np.uint8] | None:
        return self.array

    def viewport(self, grid: Volume) -> Box | None:
        return Box((0, 0, 2), (6, 7, 3))


class FakeSession:
    """Probabilities that tell which subset was asked for: with T1c there is ET, else there is only WT."""

    device = "cpu"
    notes: tuple[str, ...] = ()

    def __init__(self, case: Case) -> None:
        self.case = case
        self.asked: list[tuple[frozenset[Modality], Box | None]] = []
        self.error: Exception | None = None

    def stream(self, available: frozenset[Modality], viewport: Box | None = None) -> Iterator[TileResult]:
        self.asked.append((available, viewport))
        shares = (0.9, 0.9, 0.9) if Modality.T1C in available else (0.1, 0.1, 0.7)
        for number, (box, stage) in enumerate(zip((*HALVES, *HALVES), ("coarse",) * 2 + ("fine",) * 2, strict=True), 1):
            if self.error is not None and number == 3:
                raise self.error
            values = np.broadcast_to(np.array(shares, np.float32)[:, None, None, None], (3, *box.shape))
            yield TileResult(box, values, stage, number, 4)

    def predict(
        self, available: frozenset[Modality], progress: Callable[[TileResult], object] = lambda result: None
    ) -> Prediction:
        probabilities = np.zeros((3, *self.case.grid.shape), np.float32)
        for result in self.stream(available):
            probabilities[(slice(None), *result.box.slices)] = result.probabilities
            progress(result)
        return Prediction(probabilities, self.case.grid, available)


@dataclass(frozen=True)
class FakeCheckpoint:
    statement: str = "For tests only."
    sha256: str = "0"
    reliability: Reliability | None = None
    model: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(config=SimpleNamespace(stand_in="shared features of the first"))
    )


@dataclass
class Bench:
    """Everything a test of the controller needs."""

    state: PluginState
    painter: FakePainter
    jobs: Jobs
    sessions: list[FakeSession]
    controller: Controller

    patients: dict[str, dict[Modality, LayerSource]] = field(default_factory=dict)
    loaded: str = ""
    loads: list[Any] = field(default_factory=list)
    """The weights that were read from disk."""

    def load(self, *modalities: Modality, patient: str = "one") -> None:
        """Images of these modalities, put together; the same patient's are the same each time."""
        random = np.random.default_rng(len(self.patients))
        if patient not in self.patients:
            self.patients[patient] = {
                modality: LayerSource(Volume(random.random(SHAPE, np.float32), np.eye(4))) for modality in Modality
            }
        sources = {modality: (modality.title, self.patients[patient][modality]) for modality in modalities or Modality}
        self.controller.set_images(sources, None, another_patient=patient != self.loaded)
        self.loaded = patient
        self.jobs.started[-1].finish()


@pytest.fixture
def bench() -> Bench:
    state, painter, jobs, sessions = PluginState(), FakePainter(), Jobs(), []

    def open_session(checkpoint: object, case: Case, device: str) -> Any:
        sessions.append(FakeSession(case))
        return sessions[-1]

    loads: list[Any] = []

    def load(path: object) -> Any:
        loads.append(path)
        return FakeCheckpoint()

    network = KeptNetwork(load, open_session)
    controller = Controller(state, painter, jobs, network)
    return Bench(state, painter, jobs, sessions, controller, loads=loads)
