"""Feature maps of a case: what the shared and the specific encoders make of each modality, over the whole brain.

Voxel i of level l of the network lies at voxel 2**l * i of the working grid, because each level halves the resolution
by a stride and keeps the first voxel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.cache import FeatureCache
from napari_shaspec.inference.feature_choice import FeatureKind
from napari_shaspec.inference.lattice import Lattice
from napari_shaspec.inference.procedure import GIB, OVERLAP
from napari_shaspec.inference.session import Session
from napari_shaspec.inference.tiling import taper
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.fusion import stand_in

MAPS_BYTES = 2 * GIB
"""For maps that were stitched together: one of the finest level takes a quarter of a GiB at 1 mm."""

Cancelled = Callable[[], bool]
"""Asked before each tile."""


class FeaturesCancelledError(Exception):
    """Somebody has asked for something else meanwhile."""


class FeatureAtlas:
    """Feature maps of a session's case, stitched together from tiles and kept within `MAPS_BYTES`.

    Parameters
    ----------
    session
        Whose case and network they are of.

    Raises
    ------
    ShaSpecError
        For a network of the released code: its levels do not halve evenly, and its raw skips are not kept.
    """

    def __init__(self, session: Session) -> None:
        if not isinstance(session.config, ModelConfig):
            raise ShaSpecError(
                "a network of this program to show feature maps of",
                "one of the released code",
                "Choose other weights under Model, or look at the predictions alone",
            )
        self.session = session
        self.everything = session.case.available
        self.grid = session.fine_grid
        self.field = session.field(self.everything, self.grid)
        self._substitution = session.config.substitution
        self._maps: FeatureCache[Tensor] = FeatureCache(MAPS_BYTES)
        self._brain: Tensor | None = None

    @property
    def levels(self) -> int:
        """How many levels the network has."""
        return len(self.session.config.map_widths)

    def level(self, level: int) -> int:
        """A level counted from 0, or from -1 for the bottom, counted from 0.

        Raises
        ------
        ShaSpecError
            For a level that the network lacks.
        """
        if not -self.levels <= level < self.levels:
            raise ShaSpecError(f"a level from 1 to {self.levels}", str(level + 1), "Choose another level")
        return level % self.levels

    def channels(self, level: int) -> int:
        """How many channels a level has."""
        return self.session.config.map_widths[self.level(level)]

    def own(self, kind: FeatureKind, level: int, modality: Modality, cancelled: Cancelled = lambda: False) -> Tensor:
        """The map (C, x, y, z) of a modality that the case has, on the level's lattice over the field.

        Raises
        ------
        FeaturesCancelledError
            Once ``cancelled`` says so.
        """
        if kind is FeatureKind.FUSED and level < self.levels - 1:
            kind = FeatureKind.SHARED
        return self._maps.get_or(
            (kind, level, modality),
            lambda: self.session.within_memory(lambda: self._stitched(kind, level, modality, cancelled)),
        )

    def of(
        self,
        kind: FeatureKind,
        level: int,
        modality: Modality,
        available: frozenset[Modality],
        cancelled: Cancelled = lambda: False,
    ) -> Tensor | None:
        """The same given these modalities: of a missing one what stands in for it, and None for its specific map.

        Raises
        ------
        FeaturesCancelledError
            Once ``cancelled`` says so.
        """
        if modality in available:
            return self.own(kind, level, modality, cancelled)
        if kind is FeatureKind.SPECIFIC:
            return None
        # The same rule at the bottom for f(i), and above it for the skips.
        there = [each for each in Modality if each in available]
        shared = [self.own(FeatureKind.SHARED, level, each, cancelled) for each in there]
        return stand_in(shared, self._substitution)

    def bottom(self, kind: FeatureKind, modality: Modality, cancelled: Cancelled = lambda: False) -> Tensor:
        """The map (C, x, y, z) of a modality of the case at the bottom of the network, on `lattice`; see `own`."""
        return self.own(kind, self.levels - 1, modality, cancelled)

    @property
    def lattice(self) -> Lattice:
        """Where the voxels of `bottom` lie."""
        step = 2 ** (self.levels - 1)
        x, y, z = (side // step for side in self.field.shape)
        return Lattice(self.grid, self.field.start, step, (x, y, z))

    def brain(self) -> Tensor:
        """Which voxels of the field are brain in any modality of the case, (X, Y, Z)."""
        if self._brain is None:
            brains = [self.session.brain(modality, self.grid, self.field) for modality in sorted(self.everything)]
            self._brain = torch.stack(brains).any(0)
        return self._brain

    def brain_share(self) -> Tensor:
        """How much of each cell of `lattice` is brain in any modality of the case, (x, y, z) from 0 to 1."""
        return self.lattice.share(self.brain())

    def _stitched(self, kind: FeatureKind, level: int, modality: Modality, cancelled: Cancelled) -> Tensor:
        step = 2**level
        shape = [side // step for side in self.field.shape]
        total, weights = torch.zeros(self.channels(level), *shape), torch.zeros(shape)
        for tile in self.session.tiles(self.everything, self.grid):
            if cancelled():
                raise FeaturesCancelledError
            values = self._tile(kind, level, modality, tile)
            inside = tile.relative_to(self.field.start)
            place = tuple(
                slice(start // step, stop // step) for start, stop in zip(inside.start, inside.stop, strict=True)
            )
            weight = taper(values.shape[1:], max(1, OVERLAP // step))
            total[(slice(None), *place)] += weight * values
            weights[place] += weight
        return total / weights

    def _tile(self, kind: FeatureKind, level: int, modality: Modality, tile: Box) -> Tensor:
        bottom = level == self.levels - 1
        if kind is FeatureKind.SPECIFIC and not bottom:
            return self.session.specific_maps(modality, self.grid, tile)[level]
        if kind is FeatureKind.FUSED:
            return self.session.fused([modality], self.grid, tile)[modality.value]
        encoding = self.session.encoding(modality, self.grid, tile)
        values = encoding.specific if kind is FeatureKind.SPECIFIC else (*encoding.skips, encoding.shared)[level]
        return values[0].float().cpu()
