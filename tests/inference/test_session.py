"""The invariants of a session, by the names and numbers of docs/architecture.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.preprocess import prepare
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.config import ModelConfig, Normalisation
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.volume import Case, Volume

SUBSETS = nonempty_subsets(tuple(Modality))
FLAIR, T1, T1C, T2 = Modality


@pytest.fixture(scope="module", autouse=True)
def _two_threads() -> Iterator[None]:
    """As on a user's machine: sums that depend on how many there are would show. Tests side by side have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def session(model: ShaSpec, case: Case, make_engine: Callable[..., Any]) -> Session:
    """Asked for everything once, so that all later questions are toggles."""
    session = Session(model, case, engine=make_engine())
    session.predict()
    return session


@pytest.mark.parametrize("available", SUBSETS, ids=lambda subset: "+".join(sorted(subset)))
def test_1_a_toggled_prediction_equals_a_fresh_one(
    model: ShaSpec, case: Case, session: Session, available: frozenset[Modality]
) -> None:
    toggled = session.predict(available)
    only = replace(case, images={modality: case.images[modality] for modality in available})
    fresh = Session(model, only, device="cpu", precision="float32").predict()
    np.testing.assert_allclose(toggled.probabilities, fresh.probabilities, atol=1e-5)
    assert toggled.probabilities.max() > 0.5  # there is something to compare


def test_2_each_encoder_runs_once_per_modality_and_tile(
    model: ShaSpec, case: Case, make_engine: Callable[..., Any]
) -> None:
    engine = make_engine()
    session = Session(model, case, engine=engine)
    for available in SUBSETS:
        session.predict(available)
    assert len(engine.encoded) == len(set(engine.encoded))
    tiles = list(session.stream())[-1].total
    assert len(engine.encoded) == len(Modality) * tiles


def test_3_a_prediction_does_not_depend_on_absent_images(
    model: ShaSpec, case: Case, make_case: Callable[..., Case]
) -> None:
    other = make_case(seed=9)
    images = {**case.images, T1: case.images[T1].with_data(np.full(case.grid.shape, 7) + other.images[T1].data)}
    expected = Session(model, case, device="cpu", precision="float32").predict({FLAIR, T2})
    found = Session(model, replace(case, images=images), device="cpu", precision="float32").predict({FLAIR, T2})
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_3_a_prediction_does_not_depend_on_the_order_of_the_available_ones(session: Session) -> None:
    np.testing.assert_array_equal(
        session.predict([T2, FLAIR, T1]).probabilities, session.predict([T1, T2, FLAIR]).probabilities
    )


def test_4_the_first_fine_tile_touches_viewport_and_tumour(
    model: ShaSpec, make_engine: Callable[..., Any], make_case: Callable[..., Case]
) -> None:
    session = Session(model, make_case((120, 110, 90), (2.0, 2.0, 2.0)), engine=make_engine())
    viewport = Box((90, 0, 0), (91, 110, 90))
    results = list(session.stream(viewport=viewport))
    fine = [result for result in results if result.stage == "fine"]
    assert len(fine) > 2
    assert fine[0].box.intersection(viewport) is not None
    assert (fine[0].probabilities[-1] > 0.5).any()


def test_5_draining_the_stream_equals_predict(session: Session) -> None:
    painted = np.zeros((3, *session.case.grid.shape), np.float32)
    stages = []
    for result in session.stream({T1C}):
        painted[(slice(None), *result.box.slices)] = result.probabilities
        stages.append((result.stage, result.done, result.total))
    np.testing.assert_array_equal(painted, session.predict({T1C}).probabilities)
    assert [done for _, done, _ in stages] == list(range(1, stages[-1][2] + 1))
    assert stages[0][0] == "coarse"


def test_5_pieces_that_are_sure_nowhere_are_taken_back_at_the_end(
    case: Case, make_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    decode = engine.decode
    monkeypatch.setattr(engine, "decode", lambda encodings: decode(encodings).clamp(max=0.65))
    config = engine.config
    monkeypatch.setattr(type(engine), "config", replace(config, sure=0.7))
    session = Session(engine.model, case, engine=engine)
    painted = np.zeros((3, *case.grid.shape), np.float32)
    done = []
    for result in session.stream():
        before = painted.copy()
        painted[(slice(None), *result.box.slices)] = result.probabilities
        done.append(result.done)
    assert done == [*range(1, result.total + 1), result.total]
    assert before.max() > 0.6
    assert 0.4 < painted.max() < 0.5
    np.testing.assert_array_equal(painted, session.predict().probabilities)
    monkeypatch.setattr(type(engine), "config", replace(config, sure=None, sure_each=(0.7,) * 3))
    assert Session(engine.model, case, engine=engine).predict().probabilities.max() < 0.5
    monkeypatch.setattr(type(engine), "config", config)
    np.testing.assert_array_equal(before, Session(engine.model, case, engine=engine).predict().probabilities)


def test_15_a_tiny_budget_changes_speed_and_not_results(
    model: ShaSpec, case: Case, session: Session, make_engine: Callable[..., Any]
) -> None:
    engine = make_engine()
    small = Session(model, case, engine=engine, cache_bytes=1)
    np.testing.assert_array_equal(small.predict().probabilities, session.predict().probabilities)
    small.predict()
    assert len(engine.encoded) > len(set(engine.encoded))


def test_the_answer_lies_on_the_source_grid_and_stays_within_the_brain(session: Session) -> None:
    prediction = session.predict({FLAIR})
    assert prediction.probabilities.shape == (3, *session.case.grid.shape)
    assert prediction.probabilities.dtype == np.float32
    assert np.isfinite(prediction.probabilities).all()
    assert prediction.probabilities.min() >= 0
    assert prediction.probabilities.max() <= 1
    labels = prediction.labels()
    assert set(np.unique(labels)) <= {0, 1, 2, 4}
    volumes = prediction.volumes_ml()
    assert volumes["ET"] <= volumes["TC"] <= volumes["WT"]
    brightest = tuple(int(each) for each in np.unravel_index(prediction.probabilities[2].argmax(), labels.shape))
    assert list(prediction.at(brightest).values()) == prediction.probabilities[(slice(None), *brightest)].tolist()


def test_turning_the_file_turns_the_answer(model: ShaSpec, case: Case) -> None:
    """The same anatomy stored with other axes gives the same answer at the same place in space."""
    expected = Session(model, case, device="cpu", precision="float32").predict({FLAIR, T1C}).probabilities
    turn = np.array([[0, -1, 0, case.grid.shape[0] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    # New index (i, j, k) holds what old index turn @ (i, j, k) held.
    images = {
        modality: Volume(np.flip(volume.data, 0).transpose(1, 0, 2), volume.affine @ turn)
        for modality, volume in case.images.items()
    }
    found = Session(model, Case("turned", images), device="cpu", precision="float32").predict({FLAIR, T1C})
    np.testing.assert_allclose(np.flip(found.probabilities.transpose(0, 2, 1, 3), 1), expected, atol=1e-5)


def test_cancelling_keeps_what_was_encoded(model: ShaSpec, case: Case, make_engine: Callable[..., Any]) -> None:
    engine = make_engine()
    session = Session(model, case, engine=engine)
    stream = session.stream()
    next(stream)
    stream.close()
    assert len(engine.encoded) == len(Modality)
    session.predict()
    assert len(engine.encoded) == len(set(engine.encoded))


def test_a_full_device_gets_smaller_tiles(
    model: ShaSpec, case: Case, session: Session, make_engine: Callable[..., Any]
) -> None:
    engine = make_engine(memory_voxels=40**3)
    small = Session(model, case, engine=engine)
    prediction = small.predict()
    assert len(small.notes) >= 1
    assert "ran out of memory" in small.notes[0]
    # Tiles see less of the brain, so the answer may differ a little; it has to be complete all the same.
    assert ((prediction.probabilities > 0) == (session.predict().probabilities > 0)).mean() > 0.9


def test_a_device_without_room_hands_over_to_the_cpu(
    model: ShaSpec, case: Case, session: Session, make_engine: Callable[..., Any]
) -> None:
    engine = make_engine(memory_voxels=1, device_type="meta")
    moved = Session(model, case, engine=engine)
    np.testing.assert_array_equal(moved.predict().probabilities, session.predict().probabilities)
    assert "the CPU runs the network" in moved.notes[-1]


def test_a_machine_without_room_says_so(model: ShaSpec, case: Case, make_engine: Callable[..., Any]) -> None:
    with pytest.raises(ShaSpecError, match="memory for a tile"):
        Session(model, case, engine=make_engine(memory_voxels=1)).predict()


@pytest.mark.parametrize("shape", [(40, 50, 1), (1, 33, 40), (9, 9, 9), (70, 3, 64)])
def test_awkward_shapes(model: ShaSpec, shape: tuple[int, int, int], make_case: Callable[..., Case]) -> None:
    prediction = Session(model, make_case(shape), device="cpu").predict({T2})
    assert prediction.probabilities.shape == (3, *shape)
    assert np.isfinite(prediction.probabilities).all()


def test_one_voxel_size_needs_one_pass(case: Case) -> None:
    model = ShaSpec(ModelConfig(widths=(4, 6), voxel_mm=(3.0, 3.0))).eval()
    results = list(Session(model, case, device="cpu").stream())
    assert {result.stage for result in results} == {"coarse"}


@pytest.mark.parametrize("available", [[], ["t2"]])
def test_impossible_subsets(model: ShaSpec, case: Case, available: list[Modality]) -> None:
    only = replace(case, images={FLAIR: case.images[FLAIR]})
    with pytest.raises(ShaSpecError, match="modalities of random"):
        Session(model, only, device="cpu").predict(available)


def test_a_case_of_other_modalities_than_the_network(case: Case) -> None:
    model = ShaSpec(ModelConfig(modalities=("flair", "t2"), widths=(4, 6)))
    with pytest.raises(ShaSpecError, match="modalities that the network knows"):
        Session(model, case, device="cpu")


def test_a_voxel_that_is_no_number_is_refused(model: ShaSpec, case: Case) -> None:
    """It would spread to all of them, and an image of nothing else has no tumour."""
    data = case.images[Modality.T1].data.astype(np.float32)
    data[30, 20, 25] = np.nan
    broken = Case("broken", {**case.images, Modality.T1: case.grid.with_data(data)})
    session = Session(model, broken, device="cpu", precision="float32")
    with pytest.raises(ShaSpecError, match="values in the T1 of broken that are finite"):
        session.predict()
    large = case.grid.with_data(case.images[Modality.T1].data.astype(np.float64) * 1e38)
    with pytest.raises(ShaSpecError, match="finite as 32-bit numbers"):
        Session(model, Case("broken", {Modality.T1: large}), device="cpu").predict()
    assert np.isfinite(session.predict({Modality.T2}).probabilities).all()


def test_a_network_is_shown_intensities_scaled_by_its_own_rule(case: Case) -> None:
    torch.manual_seed(0)
    robust = ShaSpec(ModelConfig(widths=(4, 6, 8), voxel_mm=(2.0, 4.0))).eval()
    zscored = ShaSpec(replace(robust.config, normalisation=Normalisation.ZSCORE)).eval()
    zscored.load_state_dict(robust.state_dict())
    sessions = [Session(network, case, device="cpu") for network in (robust, zscored)]
    modality = next(iter(case.images))
    images = [session._image(modality, session.coarse_grid).image for session in sessions]
    for image, session in zip(images, sessions, strict=True):
        expected = prepare(case.images[modality], [session.coarse_grid], session.config.normalisation)[0].image
        torch.testing.assert_close(image, expected)
    assert not torch.allclose(*images)
    assert (sessions[0].predict().probabilities != sessions[1].predict().probabilities).any()


def test_voxels_of_typical_intensity_are_brain(model: ShaSpec) -> None:
    """Normalised they are exactly 0, as the background is."""
    data = np.zeros((24, 24, 24), np.float32)
    data[4:20, 4:20, 4:20] = np.random.default_rng(3).integers(90, 111, (16, 16, 16))
    case = Case("p", {Modality.T1: Volume(data, np.diag([*(model.config.voxel_mm[0],) * 3, 1]))})
    session = Session(model, case, device="cpu")
    box = session.field({Modality.T1}, session.fine_grid)
    image = session._image(Modality.T1, session.fine_grid).image
    brain = session.brain(Modality.T1, session.fine_grid, box)
    assert int(brain.sum()) == 16**3 > int((image != 0).sum())
