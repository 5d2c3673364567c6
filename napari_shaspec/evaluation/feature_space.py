"""Do shared features tell modalities apart less than specific ones? The paper's figure 5, as points and as a number.

A point is what one encoder makes of one modality at one place, or on average over one case. Every place gives a point
for each kind and modality, so the groups that are compared are of one size and hold the same anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.feature_choice import ENCODED, FeatureKind

if TYPE_CHECKING:
    from torch import Tensor

    from napari_shaspec.inference.feature_points import CaseFeatures
    from napari_shaspec.model.shaspec import SharedSpecific

MOST_POINTS = 2000
"""t-SNE of so many takes seconds; more crowd the picture."""

FEWEST_POINTS = 6
PERPLEXITY = 30.0
"""scikit-learn's; less where there are few points."""

Scores = Mapping[FeatureKind, float | None]

Features = Mapping[tuple[FeatureKind, str], NDArray[np.float32]]
"""(N, C) for each kind and name of a modality."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureCloud:
    """Points in feature space, (P,) of everything.

    Parameters
    ----------
    features
        (P, C) float32.
    kinds
        Places in `ENCODED`.
    modalities
        Places in ``names``.
    names
        Of the modalities.
    sources
        What a point is of: a place or a case, counted from 0. Points of one source differ in kind and modality.
    """

    features: NDArray[np.float32]
    kinds: NDArray[np.intp]
    modalities: NDArray[np.intp]
    names: tuple[str, ...]
    sources: NDArray[np.intp]

    def of_kind(self, kind: FeatureKind) -> NDArray[np.bool_]:
        """Which points are of a kind."""
        chosen: NDArray[np.bool_] = self.kinds == ENCODED.index(kind)
        return chosen


def cloud_of(groups: Sequence[Features]) -> FeatureCloud:
    """Put together what was measured.

    Parameters
    ----------
    groups
        For each kind and modality, (N, C) features of N sources, the same ones throughout a group. Groups may lack
        modalities. `FeatureCloud.sources` counts on from group to group.
    """
    names = tuple(dict.fromkeys(name for group in groups for _, name in group))
    rows: list[tuple[NDArray[np.float32], int, int, int]] = []
    first = 0
    for group in groups:
        rows.extend((each, ENCODED.index(kind), names.index(name), first) for (kind, name), each in group.items())
        first += len(next(iter(group.values())))
    counts = [len(each) for each, _, _, _ in rows]
    return FeatureCloud(
        np.concatenate([each for each, _, _, _ in rows]),
        np.repeat([kind for _, kind, _, _ in rows], counts),
        np.repeat([modality for _, _, modality, _ in rows], counts),
        names,
        np.concatenate([start + np.arange(len(each)) for each, _, _, start in rows]),
    )


def draw_places(features: CaseFeatures, most_points: int, seed: int) -> NDArray[np.intp]:
    """Places of a case, drawn so that they make at most so many points; all of them where they are fewer."""
    places = len(features.cells)
    most = max(1, most_points // len(features.values))
    if places <= most:
        return np.arange(places)
    return np.sort(np.random.default_rng(seed).choice(places, most, replace=False))


def at_places(features: CaseFeatures, places: NDArray[np.intp]) -> Features:
    """What `cloud_of` takes, of some places of a case."""
    return {(kind, modality.title): each[places] for (kind, modality), each in features.values.items()}


def over_brain(features: CaseFeatures) -> Features:
    """What `cloud_of` takes, of a case as one source: the mean over its brain."""
    return {(kind, modality.title): each.mean(0, keepdims=True) for (kind, modality), each in features.values.items()}


def of_inputs(network: SharedSpecific, inputs: Mapping[str, Tensor]) -> Features:
    """What `cloud_of` takes, of whole inputs: their maps at the bottom, averaged over space.

    Parameters
    ----------
    network
        In evaluation mode.
    inputs
        (N, channels, *size) by name of the modality.

    Returns
    -------
    Mapping
        (N, C) for each kind and modality.
    """
    import torch  # here, because the viewer imports this module before it needs torch

    features = {}
    with torch.no_grad():
        for name, images in inputs.items():
            encoding = network.encode(images, name)
            for kind, maps in zip(ENCODED, (encoding.shared, encoding.specific), strict=True):
                features[kind, name] = maps.flatten(2).mean(2).float().cpu().numpy()
    return features


def silhouettes(cloud: FeatureCloud, coordinates: NDArray[np.floating]) -> Scores:
    """How well points of a kind cluster by modality: their mean silhouette.

    1: modalities are clusters far apart; 0: they overlap; below 0: points lie nearer to another modality than to their
    own. None where there are fewer than two modalities, or as many as points.

    Parameters
    ----------
    coordinates
        (P, C): the cloud's features, or its places in the plot. Over the places of a brain the two differ: features of
        one modality differ from place to place more than between modalities, and t-SNE looks at neighbours only.
    """
    from sklearn.metrics import silhouette_score

    scores: dict[FeatureKind, float | None] = {}
    for kind in ENCODED:
        chosen = cloud.of_kind(kind)
        modalities = cloud.modalities[chosen]
        enough = 2 <= len(np.unique(modalities)) < len(modalities)
        scores[kind] = float(silhouette_score(coordinates[chosen], modalities)) if enough else None
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class FeaturePlot:
    """A cloud as it is drawn.

    Parameters
    ----------
    placed
        (P, 2), what `embed` gives.
    in_plot, in_features
        Silhouettes by modality, of the places in the plot and of the features.
    """

    cloud: FeatureCloud
    placed: NDArray[np.float64]
    in_plot: Scores
    in_features: Scores

    @classmethod
    def of(cls, cloud: FeatureCloud, seed: int = 0) -> FeaturePlot:
        """Embed and measure; the errors are those of `embed`."""
        placed = embed(cloud, seed)
        return cls(cloud, placed, silhouettes(cloud, placed), silhouettes(cloud, cloud.features))

    def report(self, how: Mapping[str, object]) -> dict[str, object]:
        """Its numbers and what made them, ready for JSON."""
        return {
            "silhouette_by_modality": {"plot": self.in_plot, "features": self.in_features},
            "modalities": self.cloud.names,
            "count": len(self.placed),
            **how,
        }

    def describe(self) -> str:
        """The silhouettes in one line."""
        return f"silhouette by modality in the plot: {_said(self.in_plot)}; in feature space: {_said(self.in_features)}"


def _said(scores: Scores) -> str:
    return ", ".join(f"{kind} {'-' if value is None else format(value, '.2f')}" for kind, value in scores.items())


def embed(cloud: FeatureCloud, seed: int = 0) -> NDArray[np.float64]:
    """t-SNE of shared and specific features together, (P, 2); equal for equal points and seed.

    Raises
    ------
    ShaSpecError
        For too few points.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    count = len(cloud.features)
    if count < FEWEST_POINTS:
        raise ShaSpecError(
            f"at least {FEWEST_POINTS} points", str(count), "Take more cases, or points of places instead of cases"
        )
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    # One thread: with more of them sums are rounded in another order each time, and t-SNE makes much of little.
    with threadpool_limits(1):
        placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(cloud.features)
    return np.asarray(placed, np.float64)
