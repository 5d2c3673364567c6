"""Feature maps as pictures in patient space: what the shared and the specific encoders make of each modality.

Voxel i of level l of the network lies at voxel 2**l * i of the working grid, because each level halves the resolution
by a stride and keeps the first voxel. Maps are brought to the working grid, so that a slice of a map and one of the
image at the same place show the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_shaspec.box import Box
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.feature_choice import FeatureChoice, FeatureKind, FeatureView
from napari_shaspec.inference.grid import Axis, apply_weights
from napari_shaspec.inference.lattice import Lattice
from napari_shaspec.inference.procedure import OVERLAP
from napari_shaspec.inference.session import Session
from napari_shaspec.inference.tiling import taper
from napari_shaspec.modalities import Modality
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.fusion import stand_in

SAMPLES = 50_000
"""Voxels that principal components and ranges are computed from; more change no picture."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """A picture of one modality's map.

    Parameters
    ----------
    data
        (X, Y, Z) float32, or (X, Y, Z, 3) uint8 of red, green, blue; axes along R, A, S.
    affine
        4 x 4, voxel to RAS mm.
    limits
        Range of ``data`` that all modalities share, so that they compare.
    stand_in
        Whether the modality is missing, and this is the mean that stands in for it.
    """

    data: NDArray[np.generic]
    affine: NDArray[np.float64]
    limits: tuple[float, float]
    stand_in: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Basis:
    """Colours for a kind and level: mean (C,), axes (C, 3), and the lowest and highest projection (3,) each."""

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor


class FeaturesCancelledError(Exception):
    """Somebody has asked for something else meanwhile."""


class FeatureAtlas:
    """Feature maps of a session's case.

    The basis of the colours comes from all modalities of the case together, available or not, so that equal colours
    mean equal features across modalities and toggles.

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
        self._substitution = session.config.substitution
        self._cancelled: Callable[[], bool] = lambda: False
        self._grid = session.fine_grid
        self._everything = session.case.available
        self._field = session.field(self._everything, self._grid)
        self._maps: dict[tuple[FeatureKind, int, Modality], Tensor] = {}
        self._bases: dict[tuple[FeatureKind, int], _Basis] = {}
        self._brain: Tensor | None = None

    @property
    def levels(self) -> int:
        """How many levels the network has."""
        return len(self.session.config.map_widths)

    def channels(self, level: int) -> int:
        """How many channels a level has."""
        return self.session.config.map_widths[self._level(level)]

    def render(
        self,
        choice: FeatureChoice,
        modality: Modality,
        available: Collection[Modality],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> FeatureMap | None:
        """One modality's map, as a picture.

        Parameters
        ----------
        available
            The modalities that the network is given; for the others the stand-in is shown.
        cancelled
            Asked before each tile.

        Returns
        -------
        None
            For the specific map of a missing modality: there is none.

        Raises
        ------
        ShaSpecError
            For a level or a channel that the network lacks.
        FeaturesCancelledError
            Once ``cancelled`` says so; what was computed until then is kept.
        """
        self._cancelled = cancelled
        level = self._level(choice.level)
        if choice.view is FeatureView.CHANNEL and not 0 <= choice.channel < self.channels(level):
            raise ShaSpecError(
                f"a channel from 0 to {self.channels(level) - 1} at level {level + 1}",
                str(choice.channel),
                "Choose another channel",
            )
        values = self._values(choice.kind, level, modality, frozenset(available))
        if values is None:
            return None
        picture, limits = self._picture(choice, level, values, frozenset(available))
        return FeatureMap(self._on_grid(picture, level), self._affine(), limits, modality not in available)

    def bottom(self, kind: FeatureKind, modality: Modality, cancelled: Callable[[], bool] = lambda: False) -> Tensor:
        """The map (C, x, y, z) of a modality of the case at the bottom of the network, on `lattice`.

        Raises
        ------
        FeaturesCancelledError
            Once ``cancelled``, which is asked before each tile, says so.
        """
        self._cancelled = cancelled
        return self._own(kind, self.levels - 1, modality)

    @property
    def lattice(self) -> Lattice:
        """Where the voxels of `bottom` lie."""
        step = 2 ** (self.levels - 1)
        x, y, z = (side // step for side in self._field.shape)
        return Lattice(self._grid, self._field.start, step, (x, y, z))

    def brain_share(self) -> Tensor:
        """How much of each cell of `lattice` is brain in any modality of the case, (x, y, z) from 0 to 1."""
        return self.lattice.share(self._whole_brain())

    def _picture(
        self, choice: FeatureChoice, level: int, values: Tensor, available: frozenset[Modality]
    ) -> tuple[Tensor, tuple[float, float]]:
        if choice.view is FeatureView.COMPONENTS:
            basis = self._basis(choice.kind, level)
            projected = torch.einsum("cxyz,ck->kxyz", values - basis.mean[:, None, None, None], basis.axes)
            low, high = basis.low[:, None, None, None], basis.high[:, None, None, None]
            return ((projected - low) / (high - low).clamp(min=1e-6)).clamp(0, 1), (0.0, 1.0)
        if choice.view is FeatureView.SIMILARITY:
            other = self._values(choice.kind, level, choice.other, available)
            if other is None:
                raise ShaSpecError(
                    f"{choice.other.title} among the available modalities",
                    "it is switched off",
                    "Compare with a modality that is available, or look at the shared maps",
                )
            return torch.nn.functional.cosine_similarity(values, other, dim=0)[None], (-1.0, 1.0)

        def scalar(maps: Tensor) -> Tensor:
            return maps[choice.channel] if choice.view is FeatureView.CHANNEL else maps.square().mean(0).sqrt()

        inside = self._lattice_brain(level)
        everything = [self._own(choice.kind, level, each) for each in sorted(self._everything)]
        sample = torch.cat([scalar(maps)[inside] for maps in everything])[:: max(1, inside.sum().item() // SAMPLES + 1)]
        low, high = torch.quantile(sample, torch.tensor([0.01, 0.99])).tolist()
        return scalar(values)[None], (low, max(high, low + 1e-6))

    def _values(
        self, kind: FeatureKind, level: int, modality: Modality, available: frozenset[Modality]
    ) -> Tensor | None:
        """(C, x, y, z) on the level's lattice over the field."""
        if modality in available:
            return self._own(kind, level, modality)
        if kind is FeatureKind.SPECIFIC:
            return None
        # The same rule at the bottom for f(i), and above it for the skips.
        there = [each for each in Modality if each in available]
        shared = [self._own(FeatureKind.SHARED, level, each) for each in there]
        return stand_in(shared, self._substitution)

    def _own(self, kind: FeatureKind, level: int, modality: Modality) -> Tensor:
        """The map of a modality that the case has, kept once it is stitched."""
        if kind is FeatureKind.FUSED and level < self.levels - 1:
            kind = FeatureKind.SHARED
        key = (kind, level, modality)
        if key not in self._maps:
            self._maps[key] = self.session.within_memory(lambda: self._stitched(kind, level, modality))
        return self._maps[key]

    def _stitched(self, kind: FeatureKind, level: int, modality: Modality) -> Tensor:
        step = 2**level
        shape = [side // step for side in self._field.shape]
        total, weights = torch.zeros(self.channels(level), *shape), torch.zeros(shape)
        for tile in self.session.tiles(self._everything, self._grid):
            if self._cancelled():
                raise FeaturesCancelledError
            values = self._tile(kind, level, modality, tile)
            inside = tile.relative_to(self._field.start)
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
            return self.session.specific_maps(modality, self._grid, tile)[level]
        if kind is FeatureKind.FUSED:
            return self.session.fused([modality], self._grid, tile)[modality.value]
        encoding = self.session.encoding(modality, self._grid, tile)
        values = encoding.specific if kind is FeatureKind.SPECIFIC else (*encoding.skips, encoding.shared)[level]
        return values[0].float().cpu()

    def _basis(self, kind: FeatureKind, level: int) -> _Basis:
        """The first three principal components over the brain in all modalities of the case."""
        key = (kind, level)
        if key not in self._bases:
            inside = self._lattice_brain(level)
            columns = [self._own(kind, level, modality)[:, inside] for modality in sorted(self._everything)]
            sample = torch.cat(columns, 1).T.double()
            sample = sample[:: max(1, len(sample) // SAMPLES)]
            mean = sample.mean(0)
            _, vectors = torch.linalg.eigh((sample - mean).T @ (sample - mean))
            axes = vectors.flip(1)[:, :3]
            # A component's sign is free: the largest entry is positive, so that colours are the same on every machine.
            axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
            projected = (sample - mean) @ axes
            low, high = torch.quantile(projected, torch.tensor([0.02, 0.98], dtype=torch.float64), dim=0)
            missing = 3 - axes.shape[1]  # a network of fewer than three channels
            axes = torch.nn.functional.pad(axes, (0, missing))
            low, high = (torch.nn.functional.pad(each, (0, missing)) for each in (low, high))
            self._bases[key] = _Basis(mean.float(), axes.float(), low.float(), high.float())
        return self._bases[key]

    def _whole_brain(self) -> Tensor:
        if self._brain is None:
            brains = [self.session.brain(modality, self._grid, self._field) for modality in sorted(self._everything)]
            self._brain = torch.stack(brains).any(0)
        return self._brain

    def _lattice_brain(self, level: int) -> Tensor:
        step = 2**level
        brain = self._whole_brain()[::step, ::step, ::step]
        return brain if brain.any() else torch.ones_like(brain)

    def _on_grid(self, picture: Tensor, level: int) -> NDArray[np.generic]:
        """(K, x, y, z) on the lattice -> the working grid, dark outside the brain."""
        brain = self._whole_brain()
        step = 2.0**level
        weights = []
        for fine, coarse in zip(self._field.shape, picture.shape[1:], strict=True):
            # The first lattice voxel is centred on the first voxel of the field.
            weights.append(Axis(fine, 1.0, 0.0).weights_from(Axis(coarse, step, 0.5 - 0.5 * step)))
        values = apply_weights(picture, (weights[0], weights[1], weights[2]))
        if len(values) == 1:
            scalar: NDArray[np.float32] = torch.where(brain, values[0], 0.0).numpy()
            return scalar
        colours = torch.where(brain, values, 0.0).mul(255).round().to(torch.uint8)
        return np.ascontiguousarray(colours.permute(1, 2, 3, 0).numpy())

    def _affine(self) -> NDArray[np.float64]:
        shift = np.eye(4)
        shift[:3, 3] = self._field.start
        affine: NDArray[np.float64] = self._grid.affine @ shift
        return affine

    def _level(self, level: int) -> int:
        if not -self.levels <= level < self.levels:
            raise ShaSpecError(f"a level from 1 to {self.levels}", str(level + 1), "Choose another level")
        return level % self.levels
