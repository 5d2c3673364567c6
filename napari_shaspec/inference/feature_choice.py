"""Which feature maps to show, and how; kept apart from `features`, because a panel needs no torch to ask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from napari_shaspec.modalities import Modality


class FeatureKind(StrEnum):
    """Which of the network's maps."""

    SHARED = "shared"
    SPECIFIC = "specific"
    FUSED = "fused"


ENCODED = (FeatureKind.SHARED, FeatureKind.SPECIFIC)
"""What encoders give: it depends on one image alone."""


class FeatureView(StrEnum):
    """How the channels of a map become a picture."""

    COMPONENTS = "principal components"
    CHANNEL = "one channel"
    NORM = "norm"
    SIMILARITY = "cosine similarity"


@dataclass(frozen=True, slots=True)
class FeatureChoice:
    """What to show.

    Parameters
    ----------
    kind
        Shared r(i), specific s(i), or fused: what the decoder gets for the modality. Above the bottom level the decoder
        gets the shared map or its stand-in, to which networks with specific skips add the projected specific map, not
        shown.
    level
        0 is full resolution; -1 the bottom.
    view
        How. `FeatureView.SIMILARITY` compares with ``other``.
    channel
        For `FeatureView.CHANNEL`.
    other
        For `FeatureView.SIMILARITY`: the modality whose map every map is compared with.
    """

    kind: FeatureKind = FeatureKind.SHARED
    level: int = -1
    view: FeatureView = FeatureView.COMPONENTS
    channel: int = 0
    other: Modality = Modality.FLAIR
