"""The rules of the released code around its network, against a plain implementation of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.engine import OutOfMemoryError, TorchEngine
from napari_shaspec.inference.features import FeatureAtlas
from napari_shaspec.inference.session import Session
from napari_shaspec.inference.sliding_window import SlidingWindow, released_intensity
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.released.checkpoint import build_released
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.names import configured, translated
from napari_shaspec.model.released.network import ReleasedShaSpec
from napari_shaspec.model.shaspec import Encoding
from napari_shaspec.volume import Case, Volume
from tests.released_reference import (
    SMALL,
    DualNet,
    original_case,
    original_intensity,
    original_labels,
    random_net,
)

TILE = (16, 64, 64)
LPS = np.diag([-1.0, -1, 1, 1])
SHAPE = (64, 71, 20)
"""(x, y, z): one tile, two tiles and two tiles, the last ones moved back."""

SUBSETS = nonempty_subsets(tuple(Modality))


def network(net: DualNet, tile: tuple[int, int, int] = TILE) -> ReleasedShaSpec:
    state = net.state_dict()
    names = translated({name: tuple(tensor.shape) for name, tensor in state.items()})
    tensors = {ours: state[theirs] for theirs, ours in names.items()}
    config = configured({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    return build_released(replace(config, tile=tile), tensors.items())


def brain_case(shape: tuple[int, int, int] = SHAPE, seed: int = 0, affine: np.ndarray = LPS) -> Case:
    """Smooth tissue with a bright tail inside an ellipsoid, background 0, int16 as in BraTS."""
    random = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij"))
    brain = (places**2).sum(0) < 0.9
    images = {}
    for number, modality in enumerate(Modality):
        tissue = 60 + 15 * np.sin(places[number % 3] * 9 + number) + random.normal(0, 6, shape)
        tail = 40 * (random.random(shape) > 0.999)
        images[modality] = Volume(np.where(brain, tissue + tail, 0).astype(np.int16), affine)
    return Case("brain", images)


@pytest.fixture(scope="module")
def reference() -> DualNet:
    return random_net(1, **SMALL)


@pytest.fixture(scope="module")
def model(reference: DualNet) -> ReleasedShaSpec:
    return network(reference)


@pytest.fixture(scope="module")
def case() -> Case:
    return brain_case()


@pytest.fixture(scope="module")
def session(model: ReleasedShaSpec, case: Case) -> Session:
    """Asked for everything once, so that all later questions are toggles."""
    session = Session(model, case, device="cpu", precision="float32")
    session.predict()
    return session


def plain(case: Case, net: DualNet, available: frozenset[Modality], tile: tuple[int, int, int] = TILE) -> np.ndarray:
    order = tuple(Modality)
    volumes = {order.index(modality): volume.data for modality, volume in case.images.items()}
    return original_case(net, volumes, sorted(order.index(modality) for modality in available), tile)


@pytest.mark.parametrize("available", SUBSETS, ids=lambda subset: "+".join(sorted(subset)))
def test_a_whole_case_equals_the_plain_implementation(
    session: Session, case: Case, reference: DualNet, available: frozenset[Modality]
) -> None:
    expected = plain(case, reference, available)
    found = session.predict(available)
    assert float(np.abs(found.probabilities - expected).max()) < 1e-4
    assert float(expected.std()) > 0.1
    sure = (np.abs(expected - 0.5) > 1e-4).all(0)
    np.testing.assert_array_equal(found.labels()[sure], original_labels(expected)[sure])
    assert set(np.unique(found.labels())) == {0, 1, 2, 4}


def test_an_image_smaller_than_the_tile_is_padded_at_its_end(model: ReleasedShaSpec, reference: DualNet) -> None:
    case = brain_case((40, 64, 11), seed=3)
    available = frozenset({Modality.T1, Modality.T2})
    found = Session(model, case, device="cpu", precision="float32").predict(available).probabilities
    assert found.shape == (3, 40, 64, 11)
    assert float(np.abs(found - plain(case, reference, available)).max()) < 1e-4


def test_voxels_are_taken_in_file_order_and_a_note_says_when_that_is_unusual(model: ReleasedShaSpec) -> None:
    shape, chosen = (30, 64, 14), {Modality.FLAIR}
    usual = Session(model, brain_case(shape), device="cpu", precision="float32")
    assert usual.notes == ()
    turned = np.array([[0, 0, 2.0, 5], [-1, 0, 0, 7], [0, 1, 0, 0], [0, 0, 0, 1]])
    other = Session(model, brain_case(shape, affine=turned), device="cpu", precision="float32")
    assert "here they are P, S, R" in other.notes[0]
    assert "here they are 1 x 1 x 2 mm" in other.notes[1]
    np.testing.assert_array_equal(other.predict(chosen).probabilities, usual.predict(chosen).probabilities)


@pytest.mark.parametrize(
    ("shape", "tile", "starts"),
    [
        ((155, 240, 240), (80, 160, 160), ([0, 54, 75], [0, 80], [0, 80])),
        ((80, 160, 161), (80, 160, 160), ([0], [0], [0, 1])),
        ((10, 300, 160), (80, 160, 160), ([0], [0, 107, 140], [0])),
    ],
)
def test_tiles(shape: tuple[int, int, int], tile: tuple[int, int, int], starts: tuple[list[int], ...]) -> None:
    rules = SlidingWindow(ReleasedConfig(tile=tile))
    z, x, y = shape
    grid, same = rules.grids(Volume(np.zeros((x, y, z), np.int16), LPS))
    assert grid is same
    assert grid.shape == shape
    tiles = rules.tiles(rules.field(grid, []), 0)
    assert [box.start for box in tiles] == [(a, b, c) for a in starts[0] for b in starts[1] for c in starts[2]]
    assert {box.shape for box in tiles} == {tile}


def test_intensities_equal_an_independent_computation() -> None:
    for volume in brain_case(seed=4).images.values():
        expected = original_intensity(volume.data)
        np.testing.assert_allclose(released_intensity(volume.data, Modality.T1), expected, atol=1e-5)
        clipped = volume.data.max() > np.unique(volume.data[expected == expected.max()]).min()
        assert clipped  # the tail was there, and is not any more
        inside = expected[volume.data > 0]
        assert abs(inside.mean()) < 1e-5
        assert abs(inside.std() - 1) < 1e-5


def test_a_background_of_another_value_than_zero() -> None:
    data = brain_case().images[Modality.T1].data + 7
    found = released_intensity(data, Modality.T1)
    np.testing.assert_allclose(found, original_intensity(data), atol=1e-5)
    assert not found[data == 7].any()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (np.linspace(0, 1, 4096).reshape(16, 16, 16), "values from 0 to 1"),
        (np.random.default_rng(0).normal(size=(16, 16, 16)), "values from -"),
        (np.linspace(0, 1e9, 4096).reshape(16, 16, 16), "values from 0 to 1e"),
        (np.zeros((16, 16, 16)), "values from 0 to 0"),
        (np.arange(64).reshape(4, 4, 4), "no intensity above the background that 50 voxels share"),
        (np.arange(4096).reshape(16, 16, 16), "no intensity above the background that 50 voxels share"),
        (np.where(np.arange(4096).reshape(16, 16, 16) > 4000, 900, 0), "one intensity for nearly all"),
    ],
)
def test_intensities_that_these_rules_would_ruin(data: np.ndarray, found: str) -> None:
    with pytest.raises(ShaSpecError, match=f"Expected T1c as it was acquired, .*found {found}"):
        released_intensity(data, Modality.T1C)


def test_one_half_does_not_belong_to_a_region() -> None:
    values = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.25], np.float32)
    judged = SlidingWindow(ReleasedConfig()).judged(values)
    assert judged.dtype == np.float32
    assert (judged >= 0.5).tolist() == [False, True, False]
    np.testing.assert_allclose(judged, values, atol=1e-7)


class CountingEngine(TorchEngine):
    """Remembers what it encoded, and may be full."""

    full = 0

    def __init__(self, model: ReleasedShaSpec, fails: int = 0, device_type: str = "cpu") -> None:
        super().__init__(model, "cpu", "float32")
        self.encoded: list[tuple[str, bytes]] = []
        self.fails = fails
        self.device_type = device_type

    @property
    def device(self) -> torch.device:
        return torch.device(self.device_type)

    def encode(self, image: torch.Tensor, modality: str) -> Encoding:
        self.encoded.append((modality, image.numpy().tobytes()))
        return super().encode(image, modality)

    def decode(self, encodings: Mapping[str, Encoding]) -> torch.Tensor:
        if self.fails:
            self.fails -= 1
            raise OutOfMemoryError("full")
        return super().decode(encodings)


def test_encoders_run_once_and_the_budget_holds_a_case(model: ReleasedShaSpec, case: Case) -> None:
    engine = CountingEngine(model)
    session = Session(model, case, engine=engine)
    for available in SUBSETS[::2]:
        session.predict(available)
    assert len(engine.encoded) == len(set(engine.encoded)) == 4 * 4
    assert session._cache.budget_bytes == 4 * 2**30


def test_without_a_cache_results_are_the_same(model: ReleasedShaSpec, case: Case, session: Session) -> None:
    engine = CountingEngine(model)
    chosen = {Modality.T1C}
    bare = Session(model, case, engine=engine, cache_bytes=0)
    np.testing.assert_array_equal(bare.predict(chosen).probabilities, session.predict(chosen).probabilities)
    assert bare._cache.used_bytes == 0


def test_the_stream_reports_tiles_in_view_first_and_can_be_left(model: ReleasedShaSpec, case: Case) -> None:
    engine = CountingEngine(model)
    session = Session(model, case, engine=engine)
    stream = session.stream({Modality.T2}, viewport=Box((0, 70, 19), (64, 71, 20)))
    first = next(stream)
    stream.close()
    assert (first.stage, first.done, first.total) == ("full", 1, 4)
    assert first.box == Box((0, 7, 4), (64, 71, 20))
    assert len(engine.encoded) == 1
    results = list(session.stream({Modality.T2}))
    assert len(engine.encoded) == 4
    painted = np.zeros((3, *case.grid.shape), np.float32)
    for result in results:
        painted[(slice(None), *result.box.slices)] = result.probabilities
    np.testing.assert_array_equal(painted, session.predict({Modality.T2}).probabilities)
    assert [one.done < two.done for one, two in pairwise(results)] == [True] * 3


def test_a_full_device_first_keeps_nothing_then_hands_over(
    model: ReleasedShaSpec, case: Case, session: Session
) -> None:
    """Tiles never shrink: another tile would be another result."""
    moved = Session(model, case, engine=CountingEngine(model, fails=2, device_type="meta"))
    np.testing.assert_array_equal(moved.predict().probabilities, session.predict().probabilities)
    first, second = moved.notes
    assert "nothing is kept for toggles" in first
    assert "the CPU runs the network" in second
    with pytest.raises(ShaSpecError, match="memory for a tile"):
        Session(model, case, engine=CountingEngine(model, fails=9)).predict()


def test_feature_maps_are_refused_in_words(session: Session) -> None:
    with pytest.raises(ShaSpecError, match="one of the released code"):
        FeatureAtlas(session)


def test_the_engine_shares_the_weights(model: ReleasedShaSpec) -> None:
    """The published network has 0.7 GiB of them: a second copy would be more memory than the original takes."""
    engine = TorchEngine(model, "cpu", "float32")
    for name, parameter in engine._model.named_parameters():
        if parameter.ndim == 5 and "decoder.output" not in name:
            assert parameter.data_ptr() == model.get_parameter(name).data_ptr(), name
