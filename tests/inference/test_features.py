"""Feature maps: where they lie, what they hold, and what stands in for a missing modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference import features
from napari_shaspec.inference.engine import Engine
from napari_shaspec.inference.feature_choice import ENCODED, FeatureChoice, FeatureKind, FeatureView
from napari_shaspec.inference.feature_pictures import FeaturePictures
from napari_shaspec.inference.feature_points import CaseFeatures, Step, case_features
from napari_shaspec.inference.features import FeaturesCancelledError
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig, Substitution
from napari_shaspec.model.shaspec import Encoding, ShaSpec
from napari_shaspec.volume import Case, Volume

ALL = frozenset(Modality)


@pytest.fixture
def pictures(model: ShaSpec, case: Case) -> FeaturePictures:
    return FeaturePictures(Session(model, case, device="cpu", precision="float32"))


class EchoEngine:
    """A network whose maps are the image itself, every 2**l-th voxel of it."""

    device = torch.device("cpu")

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def encode(self, image: torch.Tensor, modality: str) -> Encoding:
        levels = self.specific_maps(image, modality)
        return Encoding(tuple(each[None] for each in levels[:-1]), levels[-1][None], levels[-1][None])

    def decode(self, encodings: Mapping[str, Encoding]) -> torch.Tensor:
        return torch.zeros(3, *next(iter(encodings.values())).skips[0].shape[2:])

    def specific_maps(self, image: torch.Tensor, modality: str) -> tuple[torch.Tensor, ...]:
        return tuple(
            image[:: 2**level, :: 2**level, :: 2**level].expand(width, -1, -1, -1)
            for level, width in enumerate(self.config.widths)
        )

    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, torch.Tensor]:
        return {name: encoding.shared[0] for name, encoding in encodings.items()}

    def on_cpu(self) -> Engine:
        return self


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("kind", list(FeatureKind))
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_maps_line_up_with_the_image_to_half_a_voxel(
    case: Case, model: ShaSpec, kind: FeatureKind, level: int, axis: int
) -> None:
    """An image that rises along one axis of patient space: its map must show the same rise at the same place."""
    grid = case.grid
    voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    world = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    ramp = Volume((world[..., axis] + 500).astype(np.float32), grid.affine)
    session = Session(model, Case("ramp", {Modality.T1: ramp}), engine=EchoEngine(model.config))
    choice = FeatureChoice(kind, level, FeatureView.CHANNEL, 1)
    picture = FeaturePictures(session).render(choice, Modality.T1, {Modality.T1})

    assert picture is not None
    inner = tuple(slice(10, side - 14) for side in picture.data.shape)
    places = np.stack(np.meshgrid(*map(np.arange, picture.data.shape), indexing="ij"), -1)[inner].reshape(-1, 3)
    place_mm = (places @ picture.affine[:3, :3].T + picture.affine[:3, 3])[:, axis]
    values = picture.data[inner].ravel()
    # The session normalises intensities: read its scale off the full-resolution map itself.
    full = session._image(Modality.T1, session.fine_grid).image.numpy()
    shape = np.stack(np.meshgrid(*map(np.arange, full.shape), indexing="ij"), -1).reshape(-1, 3)
    true_mm = (shape @ session.fine_grid.affine[:3, :3].T + session.fine_grid.affine[:3, 3])[:, axis]
    middle = np.zeros(full.shape, bool)
    middle[8:-8, 8:-8, 8:-8] = True  # away from the border, where an image made of a ramp has background
    inside = middle.ravel()
    slope, offset = np.polyfit(full.ravel()[inside], true_mm[inside], 1)
    np.testing.assert_allclose(values * slope + offset, place_mm, atol=0.5 * float(grid.voxel_mm.min()))


@pytest.mark.parametrize("level", [0, 1, -1])
@pytest.mark.parametrize("kind", list(FeatureKind))
@pytest.mark.parametrize("view", list(FeatureView))
def test_every_choice_gives_a_picture(
    pictures: FeaturePictures, kind: FeatureKind, level: int, view: FeatureView
) -> None:
    picture = pictures.render(FeatureChoice(kind, level, view, 2, Modality.T2), Modality.T1, ALL)
    assert picture is not None
    assert not picture.stand_in
    if view is FeatureView.COMPONENTS:
        assert picture.data.dtype == np.uint8
        assert picture.data.shape[3:] == (3,)
        assert picture.data.std() > 10
    else:
        assert picture.data.dtype == np.float32
        assert np.isfinite(picture.data).all()
        assert picture.limits[0] < picture.limits[1]


def test_the_stand_in_follows_the_rule_of_the_network(case: Case) -> None:
    torch.manual_seed(3)
    network = ShaSpec(ModelConfig(widths=(4, 6, 8), voxel_mm=(2.0, 4.0), substitution=Substitution.FIRST)).eval()
    pictures = FeaturePictures(Session(network, case))
    choice = FeatureChoice(FeatureKind.SHARED, -1, FeatureView.CHANNEL, 3)
    available = ALL - {Modality.FLAIR}
    picture = pictures.render(choice, Modality.FLAIR, available)
    first = pictures.render(choice, Modality.T1, available)
    other = pictures.render(choice, Modality.T2, available)
    assert picture is not None
    assert first is not None
    assert other is not None
    assert picture.stand_in
    np.testing.assert_allclose(picture.data, first.data, atol=1e-4)
    assert np.abs(picture.data - other.data).max() > 0.01


def test_the_stand_in_is_the_mean_of_the_available(pictures: FeaturePictures) -> None:
    choice = FeatureChoice(FeatureKind.SHARED, -1, FeatureView.CHANNEL, 3)
    available = ALL - {Modality.T2}
    picture = pictures.render(choice, Modality.T2, available)
    parts = [pictures.render(choice, modality, available) for modality in sorted(available)]
    assert picture is not None
    assert picture.stand_in
    np.testing.assert_allclose(picture.data, np.mean([part.data for part in parts if part], 0), atol=1e-5)
    own = pictures.render(choice, Modality.T2, ALL)
    assert own is not None
    assert np.abs(own.data - picture.data).max() > 1e-3


def test_the_stand_in_of_the_fused_map_is_what_the_decoder_gets(
    pictures: FeaturePictures, model: ShaSpec, case: Case
) -> None:
    session = Session(model, case, device="cpu", precision="float32")
    available = [Modality.FLAIR, Modality.T1]
    tile = session.tiles(ALL, session.fine_grid)[0]
    fused = session.fused(available, session.fine_grid, tile)
    shared = [session.encoding(each, session.fine_grid, tile).shared[0] for each in available]
    torch.testing.assert_close(fused["t2"], torch.stack(shared).mean(0), rtol=1e-4, atol=1e-5)
    picture = pictures.render(FeatureChoice(FeatureKind.FUSED, -1, FeatureView.NORM), Modality.T2, available)
    same = pictures.render(FeatureChoice(FeatureKind.SHARED, -1, FeatureView.NORM), Modality.T2, available)
    assert picture is not None
    assert same is not None
    np.testing.assert_array_equal(picture.data, same.data)


def test_a_missing_modality_has_no_specific_map(pictures: FeaturePictures) -> None:
    assert pictures.render(FeatureChoice(FeatureKind.SPECIFIC), Modality.T1, [Modality.T2]) is None


def test_colours_do_not_depend_on_what_is_available(pictures: FeaturePictures) -> None:
    first = pictures.render(FeatureChoice(), Modality.FLAIR, ALL)
    second = pictures.render(FeatureChoice(), Modality.FLAIR, [Modality.FLAIR])
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.data, second.data)


def test_a_map_is_most_like_itself(pictures: FeaturePictures) -> None:
    choice = FeatureChoice(FeatureKind.SHARED, 1, FeatureView.SIMILARITY, other=Modality.T1)
    itself = pictures.render(choice, Modality.T1, ALL)
    other = pictures.render(choice, Modality.T2, ALL)
    assert itself is not None
    assert other is not None
    brain = itself.data != 0
    np.testing.assert_allclose(itself.data[brain], 1, atol=1e-5)
    assert other.data[brain].mean() < 0.99


def test_impossible_choices(pictures: FeaturePictures) -> None:
    with pytest.raises(ShaSpecError, match="a level from 1 to 3, found 6"):
        pictures.render(FeatureChoice(level=5), Modality.T1, ALL)
    with pytest.raises(ShaSpecError, match="a channel from 0 to 3 at level 1, found 4"):
        pictures.render(FeatureChoice(FeatureKind.SHARED, 0, FeatureView.CHANNEL, 4), Modality.T1, ALL)
    choice = FeatureChoice(FeatureKind.SPECIFIC, -1, FeatureView.SIMILARITY, other=Modality.T2)
    with pytest.raises(ShaSpecError, match="T2 among the available"):
        pictures.render(choice, Modality.T1, [Modality.T1])


def test_a_budget_for_maps_changes_no_picture(
    model: ShaSpec, case: Case, pictures: FeaturePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "MAPS_BYTES", 100_000)  # less than the maps of one level together
    poor = FeaturePictures(Session(model, case, device="cpu", precision="float32"))
    for level, view in ((0, FeatureView.COMPONENTS), (1, FeatureView.NORM), (0, FeatureView.COMPONENTS)):
        choice = FeatureChoice(FeatureKind.SHARED, level, view)
        expected = pictures.render(choice, Modality.FLAIR, [Modality.T1, Modality.T2])
        found = poor.render(choice, Modality.FLAIR, [Modality.T1, Modality.T2])
        np.testing.assert_array_equal(found.data, expected.data)


def test_tiles_are_stitched(make_case: Callable[..., Case], model: ShaSpec) -> None:
    """A field of several tiles: every place gets a value."""
    session = Session(model, make_case((130, 40, 40), (1.9, 2.0, 2.0)), device="cpu", precision="float32")
    assert len(session.tiles(ALL, session.fine_grid)) > 1
    picture = FeaturePictures(session).render(FeatureChoice(FeatureKind.SHARED, 0, FeatureView.NORM), Modality.T1, ALL)
    assert picture is not None
    assert np.isfinite(picture.data).all()


def test_a_full_device_gives_maps_from_smaller_tiles(
    make_case: Callable[..., Case], model: ShaSpec, make_engine: Callable[..., Engine]
) -> None:
    case = make_case((100, 40, 40), (1.9, 2.0, 2.0))
    small = Session(model, case, engine=make_engine(memory_voxels=40**3))
    large = Session(model, case, device="cpu", precision="float32")
    assert max(max(tile.shape) for tile in large.tiles(ALL, large.fine_grid)) > 40
    for kind in (FeatureKind.SHARED, FeatureKind.SPECIFIC):
        choice = FeatureChoice(kind, 0, FeatureView.NORM)
        first, second = (FeaturePictures(each).render(choice, Modality.T1, ALL) for each in (small, large))
        assert first is not None
        assert second is not None
        assert first.data.shape == second.data.shape
        assert np.isfinite(first.data).all()
    assert any("ran out of memory" in note for note in small.notes)
    nothing = Session(model, case, engine=make_engine(memory_voxels=1))
    with pytest.raises(ShaSpecError, match="memory for a tile of the smallest size"):
        FeaturePictures(nothing).render(FeatureChoice(FeatureKind.SHARED, 0, FeatureView.NORM), Modality.T1, ALL)


def test_points_know_their_place(model: ShaSpec, case: Case) -> None:
    """A point's features are what the map shows at its place."""
    two = Case("two", {modality: case.images[modality] for modality in (Modality.FLAIR, Modality.T2)})
    session = Session(model, two, device="cpu", precision="float32")
    *steps, features = case_features(session)
    assert isinstance(features, CaseFeatures)
    assert [(step.doing, step.done, step.total) for step in steps if isinstance(step, Step)] == [
        ("FLAIR, shared features", 0, 4),
        ("FLAIR, specific features", 1, 4),
        ("T2, shared features", 2, 4),
        ("T2, specific features", 3, 4),
    ]
    places = features.lattice.places_mm(features.cells)
    assert len(places) > 50
    for kind in ENCODED:
        for modality in two.images:
            choice = FeatureChoice(kind, -1, FeatureView.CHANNEL, 5)
            picture = FeaturePictures(session).render(choice, modality, two.available)
            assert picture is not None
            exact = (np.linalg.inv(picture.affine) @ np.column_stack([places, np.ones(len(places))]).T)[:3].T
            index = np.round(exact).astype(int)
            np.testing.assert_allclose(exact, index, atol=1e-6)
            inside = ((index >= 0) & (index < picture.data.shape)).all(1)
            shown = picture.data[tuple(index[inside].T)]
            brain = shown != 0  # dark outside of the brain, where the middle of a cell at the rim may lie
            assert brain.mean() > 0.8
            values = features.values[kind, modality][inside, 5]
            np.testing.assert_allclose(values[brain], shown[brain], atol=1e-5)


def test_points_can_be_cancelled(model: ShaSpec, case: Case) -> None:
    points = case_features(Session(model, case, device="cpu", precision="float32"), lambda: True)
    next(points)
    with pytest.raises(FeaturesCancelledError):
        next(points)
