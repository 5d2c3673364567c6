"""The order of things, with a session that is no network and threads that are a list."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.plugin.state import Status
from napari_shaspec.regions import Region
from napari_shaspec.reliability import Limits, Reliability, Verdict
from napari_shaspec.volume import Volume
from tests.plugin.conftest import SHAPE, Bench, FakeCheckpoint

ALL = frozenset(Modality)


def test_a_case_is_predicted_as_soon_as_it_is_there(bench: Bench) -> None:
    bench.load()
    assert bench.state.status is Status.RUNNING
    bench.jobs.finish_all()
    assert bench.state.status is Status.READY
    assert bench.state.result is not None
    assert bench.state.result.prediction.available == ALL
    assert bench.state.encoded == ALL
    assert bench.state.statement == "For tests only."
    assert [box for box, _ in bench.painter.painted][-1] is None
    assert bench.state.volumes_ml[Region.ET] == pytest.approx(np.prod(SHAPE) / 1000)


def test_the_slice_in_view_goes_to_the_session(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    assert bench.sessions[0].asked == [(ALL, Box((0, 0, 2), (6, 7, 3)))]


def test_a_toggle_predicts_at_once_from_the_same_session(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.controller.set_available(Modality.T1C, False)
    assert bench.state.status is Status.RUNNING
    bench.jobs.finish_all()
    assert bench.state.result is not None
    assert bench.state.result.prediction.available == ALL - {Modality.T1C}
    assert bench.state.volumes_ml[Region.ET] == 0
    assert len(bench.sessions) == 1


def test_a_stale_tile_is_never_painted(bench: Bench) -> None:
    bench.load()
    old = bench.jobs.started[-1]
    old.step()  # loaded
    old.step()  # the first tile
    assert len(bench.painter.painted) == 1
    bench.controller.set_available(Modality.T1C, False)
    new = bench.jobs.started[-1]
    assert new is not old
    while not old.ended:
        old.step()
    assert len(bench.painter.painted) == 1  # what came late was dropped
    new.finish()
    assert {value for _, value in bench.painter.painted[1:]} == {2}  # only ED, the answer without T1c
    assert bench.state.status is Status.READY


def test_a_cancelled_run_says_so_and_the_next_one_works(bench: Bench) -> None:
    bench.load()
    job = bench.jobs.started[-1]
    job.step()
    job.step()
    bench.controller.predictions.cancel()
    assert bench.state.status is Status.READY
    assert bench.state.message.startswith("Cancelled")
    painted = len(bench.painter.painted)
    job.finish()
    assert len(bench.painter.painted) == painted
    assert bench.state.result is None
    bench.controller.predictions.predict()
    assert bench.state.message == ""
    bench.jobs.finish_all()
    assert bench.state.result is not None


def test_labels_that_are_taken_away_end_what_makes_them(bench: Bench) -> None:
    bench.load()
    job = bench.jobs.started[-1]
    job.step()
    job.step()
    bench.painter.array = None
    bench.controller.predictions.labels_removed()
    assert bench.state.status is Status.READY
    assert "Predict brings them back" in bench.state.message
    painted = len(bench.painter.painted)
    job.finish()
    assert len(bench.painter.painted) == painted
    assert bench.state.result is None
    bench.state.message = ""
    bench.controller.predictions.labels_removed()  # said once
    assert bench.state.message == ""
    bench.controller.predictions.predict()
    bench.jobs.finish_all()
    assert bench.state.result is not None
    assert bench.state.volumes_ml


@pytest.mark.parametrize("error", [ShaSpecError("a", "b", "c"), RuntimeError("CUDA error")])
def test_an_error_in_a_tile_reaches_the_user_and_the_next_run_works(bench: Bench, error: Exception) -> None:
    bench.load()
    job = bench.jobs.started[-1]
    job.step()
    bench.sessions[0].error = error
    if isinstance(error, ShaSpecError):
        job.finish()
    else:
        with pytest.raises(RuntimeError):  # a bug is shown by napari, with its place
            job.finish()
    assert bench.state.status is Status.READY
    assert "expected a" in bench.state.message.lower() or "CUDA error" in bench.state.message
    bench.sessions[0].error = None
    bench.controller.predictions.predict()
    bench.jobs.finish_all()
    assert bench.state.result is not None


def test_the_last_modality_cannot_be_switched_off(bench: Bench) -> None:
    bench.load(Modality.FLAIR, Modality.T2)
    bench.jobs.finish_all()
    heard: list[object] = []
    bench.state.events.available.connect(heard.append)
    bench.controller.set_available(Modality.T2, False)
    bench.controller.set_available(Modality.FLAIR, False)
    assert bench.state.available == {Modality.FLAIR}
    assert "At least one modality has to stay on" in bench.state.message
    assert heard[-1] == {Modality.FLAIR}  # so that the check box jumps back


def test_solo_and_back(bench: Bench) -> None:
    bench.load()
    bench.controller.solo(Modality.T2)
    assert bench.state.available == {Modality.T2}
    bench.controller.solo(Modality.T2)
    assert bench.state.available == ALL


def test_without_live_nothing_runs_by_itself(bench: Bench) -> None:
    bench.state.live = False
    bench.load()
    assert bench.state.status is Status.READY
    bench.controller.set_available(Modality.T1, False)
    assert all(job.ended for job in bench.jobs.started)
    bench.controller.predictions.predict()
    bench.jobs.finish_all()
    assert bench.state.result is not None
    assert bench.state.result.prediction.available == ALL - {Modality.T1}


def test_switched_off_stays_off_when_another_image_comes(bench: Bench) -> None:
    bench.load(Modality.FLAIR, Modality.T1)
    bench.controller.set_available(Modality.T1, False)
    bench.load(Modality.FLAIR, Modality.T1, Modality.T2)
    assert bench.state.available == {Modality.FLAIR, Modality.T2}  # and what is new is on
    bench.load(patient="two")
    assert bench.state.available == ALL  # what was switched off for one patient says nothing of another


def test_nothing_of_one_patient_is_left_on_the_next(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.controller.measures.pin()
    assert bench.painter.array is not None
    bench.state.live = False
    bench.load(patient="two")
    assert bench.painter.array is None
    assert bench.state.result is None
    assert bench.state.pinned is None
    assert dict(bench.state.volumes_ml) == {}


def test_another_reference_leaves_labels_and_encodings_alone(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    result, asked = bench.state.result, len(bench.sessions[0].asked)
    sources = {modality: (modality.title, source) for modality, source in bench.patients["one"].items()}
    truth = LayerSource(Volume(np.full(SHAPE, 4, np.uint8), np.eye(4)))
    bench.controller.set_images(sources, truth)
    bench.jobs.finish_all()
    assert bench.state.result is result
    assert len(bench.sessions[0].asked) == asked
    assert bench.state.agreement[Region.ET].dice == 1
    bench.controller.set_images(sources, None)
    bench.jobs.finish_all()
    assert dict(bench.state.agreement) == {}


def test_a_result_names_what_made_it(bench: Bench) -> None:
    bench.load(Modality.FLAIR)
    while_it_runs = {Region.ET: 0.05, Region.TC: 0.5, Region.WT: 0.5}
    bench.controller.predictions.set_postprocessing(while_it_runs, False)
    bench.jobs.finish_all()
    assert bench.state.result is not None
    assert bench.state.result.thresholds[Region.ET] == 0.05
    assert bench.state.volumes_ml[Region.ET] > 0
    assert len(bench.sessions[0].asked) == 1


def test_there_is_no_result_while_labels_are_of_two_subsets(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.controller.set_available(Modality.T1C, False)
    job = bench.jobs.started[-1]
    job.step()
    job.step()
    bench.controller.predictions.cancel()
    assert bench.state.result is None
    bench.controller.measures.pin()
    assert bench.state.pinned is None
    assert bench.state.volumes_ml[Region.ET] == pytest.approx(3 * 7 * 8 / 1000)  # the half that is still the old one


def test_a_model_chosen_while_another_loads_is_the_one_that_runs(bench: Bench) -> None:
    bench.load()
    first = bench.jobs.started[-1]
    first.step()
    bench.controller.set_model(None, FakeCheckpoint(sha256="other"))  # type: ignore[arg-type]
    while not first.ended:
        first.step()
    bench.jobs.finish_all()
    assert len(bench.sessions) == 2
    assert bench.state.result is not None
    assert bench.state.result.checkpoint.sha256 == "other"


def test_thresholds_need_no_network(bench: Bench) -> None:
    bench.load(Modality.FLAIR)
    bench.jobs.finish_all()
    asked = len(bench.sessions[0].asked)
    bench.controller.predictions.set_postprocessing({Region.ET: 0.5, Region.TC: 0.5, Region.WT: 0.8}, False)
    bench.jobs.finish_all()
    assert bench.state.volumes_ml[Region.WT] == 0
    bench.controller.predictions.set_postprocessing({Region.ET: 0.05, Region.TC: 0.5, Region.WT: 0.5}, False)
    bench.jobs.finish_all()
    assert bench.state.volumes_ml[Region.ET] > 0
    assert len(bench.sessions[0].asked) == asked


def test_volumes_and_agreement_follow_edits(bench: Bench) -> None:
    truth = np.zeros(SHAPE, np.uint8)
    truth[:3] = 2
    image = Volume(np.random.default_rng(1).random(SHAPE, np.float32), np.eye(4))
    bench.controller.set_images({Modality.FLAIR: ("FLAIR", LayerSource(image))}, LayerSource(image.with_data(truth)))
    bench.jobs.finish_all()
    assert bench.state.agreement[Region.WT].dice == pytest.approx(2 / 3)
    assert bench.painter.array is not None
    bench.painter.array[3:] = 0
    bench.controller.measures.refresh()
    bench.jobs.finish_all()
    assert bench.state.volumes_ml[Region.WT] == pytest.approx(3 * 7 * 8 / 1000)
    assert bench.state.agreement[Region.WT].dice == 1
    assert bench.state.agreement[Region.WT].hd95_mm == 0


def test_a_pin_keeps_its_own_copy(bench: Bench) -> None:
    bench.load()
    bench.controller.measures.pin()
    assert bench.state.pinned is None
    assert "predict first" in bench.state.message
    bench.jobs.finish_all()
    bench.controller.measures.pin()
    bench.controller.set_available(Modality.T1C, False)
    bench.jobs.finish_all()
    assert bench.state.pinned is not None
    assert bench.state.pinned.available == ALL
    assert set(np.unique(bench.state.pinned.labels)) == {4}
    bench.controller.measures.unpin()
    assert bench.state.pinned is None


def test_another_model_or_device_opens_another_session(bench: Bench, tmp_path: object) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.controller.set_device("cpu")
    bench.jobs.finish_all()
    assert len(bench.sessions) == 2
    assert bench.state.result is not None


def test_another_device_begins_anew_what_was_asked_for(bench: Bench) -> None:
    bench.state.live = False
    bench.load()
    bench.controller.set_device("cpu")
    assert not [job for job in bench.jobs.started if not job.ended]  # nobody has asked for a prediction
    bench.controller.predictions.predict()
    bench.controller.set_device("cuda")
    assert bench.state.status is Status.RUNNING
    bench.jobs.finish_all()
    assert bench.state.result is not None
    assert len(bench.sessions) == 1


def test_a_reference_that_changes_after_a_cancel_is_measured_with(bench: Bench) -> None:
    bench.load()
    bench.jobs.started[-1].step()
    bench.controller.predictions.cancel()
    sources = {modality: (modality.title, source) for modality, source in bench.patients["one"].items()}
    bench.controller.set_images(sources, LayerSource(Volume(np.full(SHAPE, 4, np.uint8), np.eye(4))))
    bench.jobs.finish_all()
    assert bench.state.result is None
    assert set(bench.state.agreement) == set(Region)


def test_with_a_reference_that_does_not_fit_nothing_is_compared(bench: Bench) -> None:
    """Nor with the one before, which the user has replaced."""
    bench.load()
    bench.jobs.finish_all()
    sources = {modality: (modality.title, source) for modality, source in bench.patients["one"].items()}
    truth = Volume(np.full(SHAPE, 4, np.uint8), np.eye(4))
    bench.controller.set_images(sources, LayerSource(truth))
    bench.jobs.finish_all()
    assert bench.state.agreement
    far = np.eye(4)
    far[:3, 3] = 1000
    bench.controller.set_images(sources, LayerSource(Volume(truth.data, far)))
    bench.jobs.finish_all()
    assert "overlap" in bench.state.message
    assert bench.state.case.truth is None
    assert bench.state.agreement == {}
    assert bench.state.result is not None


def test_images_that_are_gone_are_not_kept(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    image = weakref.ref(bench.patients["one"][Modality.FLAIR].volume.data)
    bench.patients.clear()
    bench.jobs.started.clear()
    bench.sessions.clear()
    bench.controller.set_images({}, None)
    gc.collect()
    assert image() is None


def test_images_that_do_not_overlap_are_one_message(bench: Bench) -> None:
    random = np.random.default_rng(3)
    far = np.eye(4)
    far[:3, 3] = 1000
    sources = {
        Modality.FLAIR: ("a", LayerSource(Volume(random.random(SHAPE, np.float32), np.eye(4)))),
        Modality.T1: ("b", LayerSource(Volume(random.random(SHAPE, np.float32), far))),
    }
    bench.controller.set_images(sources, None)
    bench.jobs.finish_all()
    assert "show the same place" in bench.state.message
    assert bench.state.status is Status.EMPTY
    bench.load()
    bench.jobs.finish_all()
    assert bench.state.result is not None


def test_closing_stops_everything(bench: Bench) -> None:
    bench.load()
    job = bench.jobs.started[-1]
    job.step()
    assert not bench.controller.close()  # this list of jobs does not end by itself
    painted = len(bench.painter.painted)
    job.finish()
    assert len(bench.painter.painted) == painted
    assert bench.controller.close()


SMALL = dict.fromkeys(Modality, Limits(smallest_ml=0))
TABLE = Reliability({ALL: {Region.ET: 0.8}, ALL - {Modality.T1C}: {Region.ET: 0.1}}, "20 simulated cases", SMALL)


def test_the_stand_in_is_that_of_the_network(bench: Bench) -> None:
    assert bench.state.stand_in == ""
    bench.load()
    bench.jobs.finish_all()
    assert bench.state.stand_in == "shared features of the first"


def test_trust_belongs_to_what_was_asked_for(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    assert {each.verdict for each in bench.state.confidence.values()} == {Verdict.NOT_MEASURED}
    bench.controller.set_model(None, FakeCheckpoint(sha256="rated", reliability=TABLE))  # type: ignore[arg-type]
    bench.jobs.finish_all()
    assert bench.state.confidence[Region.ET].line == "ET from all four: reliable"
    bench.controller.set_available(Modality.T1C, False)
    bench.jobs.started[-1].step()  # the network is there: before the first tile is painted
    assert bench.state.confidence[Region.ET].line == "ET without T1c: unreliable"
    bench.jobs.finish_all()
    bench.state.live = False
    bench.controller.set_available(Modality.T1C, True)
    assert bench.state.confidence[Region.ET].line == "ET without T1c: unreliable"  # as the labels still are
    bench.controller.predictions.predict()
    bench.jobs.finish_all()
    assert bench.state.confidence[Region.ET].line == "ET from all four: reliable"
    bench.load(patient="two")
    assert bench.state.confidence == {}


@pytest.mark.parametrize(
    ("voxel_mm", "table", "why"),
    [
        ((40.0, 40, 40), TABLE, "more than a brain, voxels of 40 mm"),
        ((3.0, 3, 7), TABLE, "voxels of 7 mm"),
        ((2.0, 2, 2), Reliability(TABLE.dice, TABLE.source), "less than a brain"),
    ],
)
def test_nothing_is_promised_while_an_image_is_used_that_is_unlike_the_measured_ones(
    bench: Bench, voxel_mm: tuple[float, float, float], table: Reliability, why: str
) -> None:
    bench.load()
    images = {
        modality: (modality.title, LayerSource(Volume(source.volume.data, np.diag([*voxel_mm, 1]))))
        for modality, source in bench.patients["one"].items()
    }
    bench.controller.set_model(None, FakeCheckpoint(sha256="rated", reliability=table))  # type: ignore[arg-type]
    bench.controller.set_images(images, None)
    bench.jobs.finish_all()
    assert bench.state.confidence[Region.ET].line == "ET from all four: not measured"
    assert f"FLAIR: {why};" in bench.state.confidence[Region.ET].evidence


def test_labels_made_of_probabilities_again_ask_for_edits_once_more(bench: Bench) -> None:
    bench.load(Modality.FLAIR)
    bench.jobs.finish_all()
    bench.painter.begun.clear()
    bench.controller.predictions.set_postprocessing({Region.ET: 0.05, Region.TC: 0.5, Region.WT: 0.5}, False)
    painted = len(bench.painter.painted)
    assert bench.painter.begun == [painted]
    bench.jobs.finish_all()  # the brush was free meanwhile
    assert bench.painter.begun == [painted, painted]
    assert len(bench.painter.painted) == painted + 1


def test_it_is_said_where_painted_labels_are_kept(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.controller.solo(Modality.T1)
    assert bench.state.message == ""
    thresholds = {Region.ET: 0.05, Region.TC: 0.5, Region.WT: 0.5}
    for name, put_aside in (
        ("first", bench.controller.predictions.predict),
        ("second", lambda: bench.controller.predictions.set_postprocessing(thresholds, False)),
        ("third", lambda: bench.load(patient="two")),
    ):
        bench.painter.kept = name
        put_aside()
        bench.jobs.finish_all()
        assert f"kept, hidden, as {name}." in bench.state.message


def test_a_run_that_fails_halfway_leaves_the_volumes_of_what_is_there(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.sessions[0].error = ShaSpecError("a", "b", "c")
    bench.controller.set_available(Modality.T1C, False)
    bench.jobs.finish_all()
    assert bench.state.message.startswith("Expected a")
    assert bench.painter.array is not None
    assert not (bench.painter.array == 4).any()
    assert bench.state.volumes_ml[Region.ET] == 0


def test_without_live_another_model_is_known_beside_the_labels_of_the_one_before(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.state.live = False
    bench.controller.set_model(None, FakeCheckpoint(sha256="other"))  # type: ignore[arg-type]
    assert bench.state.result is not None
    assert (bench.state.network, bench.state.result.checkpoint.sha256) == ("other", "0")
    bench.controller.predictions.predict()
    bench.jobs.finish_all()
    assert bench.state.result.checkpoint.sha256 == "other"


def test_notes_of_files_are_those_of_the_case_and_go_with_their_reference(bench: Bench) -> None:
    bench.load()
    large = np.diag([40.0, 40, 40, 1])  # more than a brain, which is noted once
    images = {
        modality: (
            modality.title,
            LayerSource(Volume(source.volume.data, large), Path(f"p_{modality.value}.nii"), modality, ("tilted",)),
        )
        for modality, source in bench.patients["one"].items()
    }
    bench.controller.set_images(images, None)
    bench.jobs.finish_all()
    of_images = tuple(f"p_{modality.value}.nii: tilted" for modality in Modality)
    on_cpu = bench.state.notes[-1]
    assert on_cpu.startswith("Runs on the CPU")
    not_stripped = bench.state.notes[-2]
    assert "more than 2.3 litres" in not_stripped
    assert bench.state.notes == (*of_images, not_stripped, on_cpu)
    labels = np.full((3, 7, 8), 4, np.uint8)
    moved = large.copy()
    moved[0, 3] = 40
    truth = LayerSource(Volume(labels, moved), Path("p_seg.nii"), notes=("p_seg.nii: 4 is a cavity",))
    bench.controller.set_images(images, truth)
    bench.jobs.finish_all()
    *others, resampled, last = bench.state.notes
    assert (*others, last) == (*of_images, not_stripped, "p_seg.nii: 4 is a cavity", on_cpu)
    assert resampled.startswith("p_seg.nii: resampled (nearest)")
    assert bench.state.case is not None
    assert Path("p_seg.nii") in bench.state.case.all_files
    bench.controller.set_images(images, None)
    bench.jobs.finish_all()
    assert bench.state.notes == (*of_images, not_stripped, on_cpu)
    assert Path("p_seg.nii") not in bench.state.case.all_files


def test_files_that_are_named_after_two_patients_are_noted(bench: Bench) -> None:
    bench.load()
    files = {Modality.FLAIR: Path("P1_flair.nii"), Modality.T1: Path("P2_t1.nii"), Modality.T2: Path("x.nii")}
    images = {
        modality: (path.name, LayerSource(bench.patients["one"][modality].volume, path))
        for modality, path in files.items()
    }
    bench.controller.set_images(images, None)
    bench.jobs.finish_all()
    doubt = "the names begin differently (P1, P2): check that all are of one patient and visit"
    assert doubt in bench.state.notes
    assert bench.state.message == doubt


def test_a_wish_is_one_run_and_is_forgotten_with_what_it_was_for(bench: Bench) -> None:
    bench.controller.predict_when_ready()
    bench.load()
    assert len(bench.jobs.started) == 2  # the case, and a single prediction
    bench.jobs.finish_all()
    bench.state.live = False
    bench.load(patient="two")
    bench.jobs.finish_all()
    assert bench.state.result is None
    bench.controller.predict_when_ready()
    bench.jobs.finish_all()
    assert bench.state.result is not None
    bench.controller.set_images({}, None)
    bench.controller.predict_when_ready()
    bench.controller.drop_wish()
    bench.load(patient="one")
    bench.jobs.finish_all()
    assert bench.state.result is None


def test_live_catches_up_with_what_was_switched_before(bench: Bench) -> None:
    bench.load(Modality.FLAIR, Modality.T1)
    bench.jobs.finish_all()
    bench.controller.predictions.set_live(False)
    bench.controller.set_available(Modality.T1, False)
    bench.controller.predictions.set_live(True)
    bench.jobs.finish_all()
    assert bench.state.result.prediction.available == {Modality.FLAIR}
    # While the network runs, too.
    bench.controller.predictions.set_live(False)
    bench.controller.predictions.predict()
    bench.controller.set_available(Modality.T1, True)
    bench.controller.predictions.set_live(True)
    bench.jobs.finish_all()
    assert bench.state.result.prediction.available == {Modality.FLAIR, Modality.T1}


def test_maps_that_were_given_up_for_another_device_are_withdrawn(bench: Bench) -> None:
    bench.load()
    bench.jobs.finish_all()
    bench.controller.predictions.set_live(False)
    withdrawn = Mock()
    bench.controller.request_features(Mock(), Mock(), withdrawn)
    assert bench.controller.computing_features
    bench.controller.set_device("cuda")
    withdrawn.assert_called_once_with()
    assert not bench.controller.computing_features
