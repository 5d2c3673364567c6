"""Points in feature space: what is put together, how it is measured, and where it is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_shaspec.classification.networks import ShaSpecClassifier
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.feature_plot import write_plot
from napari_shaspec.evaluation.feature_space import FeatureCloud, FeaturePlot, cloud_of, embed, of_inputs, silhouettes
from napari_shaspec.inference.feature_choice import FeatureKind

SHARED, SPECIFIC = FeatureKind.SHARED, FeatureKind.SPECIFIC


@pytest.fixture
def cloud() -> FeatureCloud:
    """Shared features that differ by place only, specific ones that differ by modality as well."""
    draw = np.random.default_rng(5)
    places = draw.normal(size=(20, 8)).astype(np.float32)
    values = {}
    for number, name in enumerate(("a", "b", "c")):
        offset = np.zeros(8, np.float32)
        offset[number] = 20
        values[SHARED, name] = places + 0.1 * draw.normal(size=places.shape).astype(np.float32)
        values[SPECIFIC, name] = places + offset
    return cloud_of([values])


def test_silhouettes_tell_specific_from_shared(cloud: FeatureCloud) -> None:
    scores = silhouettes(cloud, cloud.features)
    assert scores[SPECIFIC] is not None
    assert scores[SHARED] is not None
    assert scores[SPECIFIC] > 0.6
    assert abs(scores[SHARED]) < 0.1


def test_silhouette_is_that_of_its_definition(cloud: FeatureCloud) -> None:
    chosen = cloud.of_kind(SPECIFIC)
    points, groups = cloud.features[chosen].astype(float), cloud.modalities[chosen]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    values = []
    for point, group in enumerate(groups):
        own = distance[point, (groups == group) & (np.arange(len(groups)) != point)].mean()
        other = min(distance[point, groups == each].mean() for each in range(3) if each != group)
        values.append((other - own) / max(own, other))
    assert silhouettes(cloud, cloud.features)[SPECIFIC] == pytest.approx(np.mean(values), abs=1e-5)


def test_one_modality_cannot_cluster() -> None:
    features = np.random.default_rng(0).random((9, 4), np.float32)
    cloud = cloud_of([{(SHARED, "a"): features, (SPECIFIC, "a"): features}])
    assert silhouettes(cloud, cloud.features) == {SHARED: None, SPECIFIC: None}


def test_groups_that_lack_a_modality() -> None:
    ones, twos = np.ones((2, 3), np.float32), np.full((1, 3), 2, np.float32)
    first = {(SHARED, "a"): ones, (SHARED, "b"): ones * 3}
    cloud = cloud_of([first, {(SHARED, "b"): twos}])
    assert cloud.names == ("a", "b")
    rows = sorted(zip(cloud.sources.tolist(), cloud.modalities.tolist(), cloud.features[:, 0].tolist(), strict=True))
    assert rows == [(0, 0, 1.0), (0, 1, 3.0), (1, 0, 1.0), (1, 1, 3.0), (2, 1, 2.0)]


def test_the_plot_is_the_same_each_time_and_keeps_clusters(cloud: FeatureCloud) -> None:
    plot, again = FeaturePlot.of(cloud, seed=3), embed(cloud, seed=3)
    np.testing.assert_array_equal(plot.placed, again)
    assert plot.placed.shape == (120, 2)
    specific, shared = plot.in_plot[SPECIFIC], plot.in_plot[SHARED]
    assert specific is not None
    assert shared is not None
    assert specific > 0.4 > 0.2 > shared


def test_too_few_points() -> None:
    one = np.ones((1, 3), np.float32)
    with pytest.raises(ShaSpecError, match="at least 6 points, found 2"):
        embed(cloud_of([{(SHARED, "a"): one, (SPECIFIC, "a"): one}]))


def test_the_picture_has_every_colour(cloud: FeatureCloud, tmp_path: Path) -> None:
    scores = dict.fromkeys((SHARED, SPECIFIC), 0.25)
    plot = FeaturePlot(cloud, np.random.default_rng(1).random((120, 2)), scores, scores)
    path = tmp_path / "plot.png"
    write_plot(path, plot)
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24) or []}
    assert {(0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9), (0x00, 0x9E, 0x73)} <= colours
    assert list(tmp_path.iterdir()) == [path]


def test_features_of_inputs_are_the_means_of_the_bottom_maps() -> None:
    torch.manual_seed(3)
    network = ShaSpecClassifier().eval()
    inputs = {"image": torch.randn(5, 1, 28, 28), "sound": torch.randn(5, 1, 20, 20)}
    features = of_inputs(network, inputs)
    assert set(features) == {(kind, name) for kind in (SHARED, SPECIFIC) for name in inputs}
    for name, images in inputs.items():
        for sample in range(5):
            encoding = network.encode(images[sample : sample + 1], name)
            for kind, maps in ((SHARED, encoding.shared), (SPECIFIC, encoding.specific)):
                expected = maps[0].double().sum((1, 2)) / (maps.shape[2] * maps.shape[3])
                np.testing.assert_allclose(features[kind, name][sample], expected.detach(), atol=1e-5)
