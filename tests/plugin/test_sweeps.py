"""Every subset on demand: what is answered, what may come in between, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Thread

import numpy as np
import pytest

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.answers import Compared
from napari_shaspec.evaluation.sweep import sweep_order
from napari_shaspec.inference.canvas import TileResult
from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.kept_network import KeptNetwork, NetworkRequest
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.plugin.prediction_run import Asked
from napari_shaspec.plugin.state import Status
from napari_shaspec.plugin.sweeps import what_changed
from napari_shaspec.regions import Region
from napari_shaspec.volume import Case, Volume
from tests.plugin.conftest import SHAPE, Bench, FakeCheckpoint, FakeSession, Job

ALL = frozenset(Modality)


def begun(bench: Bench, *modalities: Modality) -> Job:
    """A sweep of a case that has been predicted."""
    bench.load(*modalities)
    bench.jobs.finish_all()
    bench.controller.sweeps.begin()
    return bench.jobs.started[-1]


def test_every_subset_answers_from_the_one_session(bench: Bench) -> None:
    job = begun(bench)
    assert bench.state.sweeping
    job.finish()
    assert not bench.state.sweeping
    swept = bench.state.swept
    assert swept is not None
    assert [answer.available for answer in swept.sweep.answers] == list(sweep_order(ALL))
    assert len(bench.sessions) == 1
    size = np.prod(SHAPE) / 1000
    for answer in swept.sweep.answers:
        assert answer.volumes_ml[Region.ET] == pytest.approx(size if Modality.T1C in answer.available else 0)
        assert answer.volumes_ml[Region.WT] == pytest.approx(size)
    added = swept.sweep.contributions[Compared.ALL]
    assert added[Region.ET] == {each: pytest.approx(float(each is Modality.T1C)) for each in Modality}
    assert added[Region.WT] == dict.fromkeys(Modality, pytest.approx(0.25))
    np.testing.assert_allclose(swept.sweep.consensus(Region.ET), 8 / 15)
    assert what_changed(bench.state) == ""


def test_a_case_of_two_images_has_three(bench: Bench) -> None:
    begun(bench, Modality.T1C, Modality.T2).finish()
    assert bench.state.swept is not None
    assert bench.state.swept.sweep.total == len(bench.state.swept.sweep.answers) == 3


def test_without_a_case_nothing_begins(bench: Bench) -> None:
    bench.controller.sweeps.begin()
    assert not bench.jobs.started
    assert not bench.state.sweeping


def test_a_toggle_is_answered_in_between(bench: Bench) -> None:
    job = begun(bench)
    for _ in range(4):
        job.step()
    bench.controller.set_available(Modality.T1C, False)
    prediction = bench.jobs.started[-1]
    assert prediction is not job
    prediction.finish()
    assert bench.state.result is not None
    assert bench.state.result.available == ALL - {Modality.T1C}
    assert bench.state.sweeping
    job.finish()
    assert bench.state.swept is not None
    assert bench.state.swept.sweep.finished
    assert len(bench.sessions) == 1


def test_cancelled_it_keeps_what_it_has(bench: Bench) -> None:
    job = begun(bench)
    for _ in range(4):
        job.step()
    bench.controller.sweeps.cancel()
    assert not bench.state.sweeping
    job.finish()
    assert bench.state.swept is not None
    assert len(bench.state.swept.sweep.answers) == 3
    assert not bench.state.swept.sweep.finished
    bench.controller.sweeps.begin()
    bench.jobs.finish_all()
    whole = bench.state.swept
    assert whole.sweep.finished
    bench.controller.sweeps.begin()
    assert bench.state.swept is whole  # until the first new answer
    bench.controller.sweeps.cancel()
    bench.jobs.finish_all()
    assert bench.state.swept is whole


def test_other_images_end_it_and_take_it_away(bench: Bench) -> None:
    job = begun(bench)
    job.step()
    job.step()
    assert bench.state.swept is not None
    bench.load(patient="two")
    assert bench.state.swept is None
    assert not bench.state.sweeping
    job.finish()
    assert bench.state.swept is None


def test_another_network_ends_it_and_the_answers_say_so(bench: Bench) -> None:
    job = begun(bench)
    job.step()
    job.step()
    bench.controller.set_model(None, FakeCheckpoint(sha256="1"))  # type: ignore[arg-type]
    assert not bench.state.sweeping
    assert "another network or device" in bench.state.sweep_stopped
    job.finish()
    bench.jobs.finish_all()
    assert bench.state.swept is not None
    assert len(bench.state.swept.sweep.answers) == 1
    assert what_changed(bench.state) == "network"


def test_thresholds_smoothing_and_reference_are_those_of_the_time(bench: Bench) -> None:
    bench.state.thresholds = {**bench.state.thresholds, Region.WT: 0.8}
    begun(bench).finish()
    swept = bench.state.swept
    assert swept is not None
    by_subset = {answer.available: answer.volumes_ml[Region.WT] for answer in swept.sweep.answers}
    assert by_subset[frozenset({Modality.T2})] == 0  # 0.7 there
    assert by_subset[frozenset({Modality.T1C})] > 0
    bench.state.thresholds = {**bench.state.thresholds, Region.WT: 0.5}
    bench.state.smooth = True
    sources = {modality: (modality.title, bench.patients["one"][modality]) for modality in Modality}
    reference = LayerSource(Volume(np.full(SHAPE, 4, np.uint8), np.eye(4)))
    bench.controller.set_images(sources, reference)
    bench.jobs.finish_all()
    assert what_changed(bench.state) == "thresholds, smoothing, reference"
    bench.controller.sweeps.begin()
    bench.jobs.finish_all()
    assert what_changed(bench.state) == ""
    assert bench.state.swept is not None
    assert bench.state.swept.sweep.answers[0].dice[Compared.REFERENCE][Region.WT] == 1
    for value, changed in ((1, "reference"), (4, "")):  # a stroke, and undo
        painted = LayerSource(Volume(np.full(SHAPE, value, np.uint8), np.eye(4)))
        bench.controller.set_images(sources, painted)
        bench.jobs.finish_all()
        assert what_changed(bench.state) == changed


def test_a_stroke_on_the_reference_and_undo_while_it_runs_are_no_change(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    sources = {modality: (modality.title, source) for modality, source in bench.patients["one"].items()}

    def reference(value: int) -> None:
        bench.controller.set_images(sources, LayerSource(Volume(np.full(SHAPE, value, np.uint8), np.eye(4))))
        bench.jobs.started[-1].finish()

    reference(4)
    bench.controller.sweeps.begin()
    job = bench.jobs.started[-1]
    for _ in range(3):
        job.step()
    reference(1)
    assert what_changed(bench.state) == "reference"
    reference(4)
    job.step()  # brings the reference of its beginning
    assert what_changed(bench.state) == ""
    bench.jobs.finish_all()
    assert what_changed(bench.state) == ""


def test_an_error_reaches_the_user_and_the_next_one_works(bench: Bench) -> None:
    job = begun(bench)
    job.step()
    bench.sessions[0].error = ShaSpecError("memory", "none", "close something")
    job.finish()
    assert not bench.state.sweeping
    assert "close something" in bench.state.message
    bench.sessions[0].error = None
    bench.controller.sweeps.begin()
    assert bench.state.message == ""
    bench.jobs.finish_all()
    assert bench.state.swept is not None
    assert bench.state.swept.sweep.finished
    assert bench.state.status is Status.READY


def test_it_tells_of_the_network_as_a_prediction_does(bench: Bench) -> None:
    bench.state.live = False
    bench.load()
    assert bench.state.statement == ""
    bench.controller.sweeps.begin()
    bench.jobs.finish_all()
    assert bench.state.statement == "For tests only."
    assert bench.state.network == "0"
    assert bench.state.stand_in == "shared features of the first"
    assert set(bench.state.subset_trust) == set(sweep_order(ALL))
    assert bench.loads == [None]
    bench.controller.sweeps.begin()
    bench.jobs.finish_all()
    bench.controller.predictions.predict()
    bench.jobs.finish_all()
    assert bench.loads == [None]  # once


def test_cancelled_before_it_begins_it_loads_nothing(bench: Bench) -> None:
    bench.state.live = False
    bench.load()
    bench.controller.sweeps.begin()
    bench.controller.sweeps.cancel()
    bench.jobs.finish_all()
    assert bench.loads == []


def test_a_device_that_becomes_full_is_told(bench: Bench) -> None:
    job = begun(bench)
    for _ in range(4):
        job.step()
    bench.sessions[0].notes = ("cuda ran out of memory",)
    job.finish()
    assert bench.state.swept is not None
    assert bench.state.swept.notes == ("cuda ran out of memory",)


def test_another_device_ends_it(bench: Bench) -> None:
    job = begun(bench)
    job.step()
    bench.controller.set_device("cuda")
    assert not bench.state.sweeping
    assert "another network or device" in bench.state.sweep_stopped
    bench.jobs.finish_all()
    assert bench.state.swept is None
    bench.controller.sweeps.begin()
    assert bench.state.sweep_stopped == ""


class HeldSession(FakeSession):
    """Stays in its first answer until it is let go."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.begun, self.go = Event(), Event()

    def stream(self, available: frozenset[Modality], viewport: Box | None = None) -> Iterator[TileResult]:
        self.begun.set()
        assert self.go.wait(30)
        yield from super().stream(available, viewport)


def test_who_asks_while_a_subset_is_predicted_comes_next() -> None:
    """A lock alone would be taken again by the sweep before anybody else wakes up."""
    case = Case("one", {each: Volume(np.ones(SHAPE, np.float32), np.eye(4)) for each in Modality})
    session = HeldSession(case)
    network = KeptNetwork(lambda path: FakeCheckpoint(), lambda *_: session)  # type: ignore[arg-type, return-value]
    request = NetworkRequest(case, (), None, None, "cpu")
    wanted = frozenset({Modality.T1, Modality.T2})
    asked = Asked(wanted, Box((0, 0, 0), SHAPE), Postprocessing(), 0.0)
    sweeping = Thread(target=lambda: list(network.sweep(request, Postprocessing(), Event())))
    predicting = Thread(target=lambda: list(network.predict(request, asked, Event())))
    sweeping.start()
    assert session.begun.wait(30)
    predicting.start()
    late = time.monotonic() + 30
    while not network._next.locked():  # it has come as far as it can
        assert time.monotonic() < late
    session.go.set()
    sweeping.join(30)
    predicting.join(30)
    order = [available for available, viewport in session.asked]
    assert order[1] == wanted
    assert session.asked[1][1] is not None  # asked by the prediction, not by the sweep
    assert [order[0], *order[2:]] == list(sweep_order(ALL))
