"""The bottom of the network as points: what shared and specific encoders make of each place in the brain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.feature_choice import ENCODED, FeatureKind
from napari_shaspec.inference.features import FeatureAtlas
from napari_shaspec.inference.lattice import Lattice
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality

BRAIN_SHARE = 0.5
"""A cell counts where at least this much of it is brain."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far the work is."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class CaseFeatures:
    """Features of one case at every place of its brain.

    Parameters
    ----------
    name
        Of the case.
    lattice
        Where the places lie.
    cells
        (N, 3) of the lattice.
    values
        (N, C) float32, for each kind and modality.
    """

    name: str
    lattice: Lattice
    cells: NDArray[np.intp]
    values: Mapping[tuple[FeatureKind, Modality], NDArray[np.float32]]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Of the case, in their usual order."""
        return tuple(modality for modality in Modality if (FeatureKind.SHARED, modality) in self.values)


def case_features(session: Session, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Step | CaseFeatures]:
    """Encode all modalities of the session's case on its fine grid; the features come last.

    Features of a modality depend on its image alone, so there is nothing to choose: those that a user has switched off
    are here as well.

    Parameters
    ----------
    cancelled
        Asked before each tile.

    Raises
    ------
    FeaturesCancelledError
        Once ``cancelled`` says so.
    ShaSpecError
        If the brain is smaller than a cell.
    """
    atlas = FeatureAtlas(session)
    wanted = [(kind, modality) for modality in Modality if modality in session.case.available for kind in ENCODED]
    inside = atlas.brain_share().numpy() >= BRAIN_SHARE
    if not inside.any():
        raise ShaSpecError(
            f"a brain larger than a cube of {atlas.lattice.cell_mm:.0f} mm", "a smaller one", "Choose another case"
        )
    values = {}
    for done, (kind, modality) in enumerate(wanted):
        yield Step(f"{modality.title}, {kind} features", done, len(wanted))
        features = atlas.bottom(kind, modality, cancelled).numpy()
        values[kind, modality] = np.ascontiguousarray(features[:, inside].T, dtype=np.float32)
    yield CaseFeatures(session.case.name, atlas.lattice, np.argwhere(inside), values)
