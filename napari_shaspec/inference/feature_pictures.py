"""Feature maps as pictures in patient space, in colours or on one scale that all modalities share.

Maps are brought to the working grid, so that a slice of a map and one of the image at the same place show the same
place.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.feature_choice import FeatureChoice, FeatureKind, FeatureView
from napari_shaspec.inference.features import Cancelled, FeatureAtlas
from napari_shaspec.inference.grid import Axis, apply_weights
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality

SAMPLES = 50_000
"""Voxels that principal components and ranges are computed from, about; more change no picture."""


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


class FeaturePictures:
    """Pictures of the feature maps of a session's case.

    The basis of the colours comes from all modalities of the case together, available or not, so that equal colours
    mean equal features across modalities and toggles.

    Parameters
    ----------
    session
        Whose case and network they are of.

    Raises
    ------
    ShaSpecError
        As `FeatureAtlas`.
    """

    def __init__(self, session: Session) -> None:
        self.atlas = FeatureAtlas(session)
        self._bases: dict[tuple[FeatureKind, int], _Basis] = {}

    @property
    def session(self) -> Session:
        """Whose maps these are."""
        return self.atlas.session

    def render(
        self,
        choice: FeatureChoice,
        modality: Modality,
        available: Collection[Modality],
        cancelled: Cancelled = lambda: False,
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
        given, level = frozenset(available), self.atlas.level(choice.level)
        channels = self.atlas.channels(level)
        if choice.view is FeatureView.CHANNEL and not 0 <= choice.channel < channels:
            raise ShaSpecError(
                f"a channel from 0 to {channels - 1} at level {level + 1}",
                str(choice.channel),
                "Choose another channel",
            )
        values = self.atlas.of(choice.kind, level, modality, given, cancelled)
        if values is None:
            return None
        if choice.view is FeatureView.COMPONENTS:
            picture, limits = self._coloured(values, self._basis(choice.kind, level, cancelled)), (0.0, 1.0)
        elif choice.view is FeatureView.SIMILARITY:
            other = self.atlas.of(choice.kind, level, choice.other, given, cancelled)
            if other is None:
                raise ShaSpecError(
                    f"{choice.other.title} among the available modalities",
                    "it is switched off",
                    "Compare with a modality that is available, or look at the shared maps",
                )
            picture, limits = torch.nn.functional.cosine_similarity(values, other, dim=0)[None], (-1.0, 1.0)
        else:
            picture, limits = _scalar(values, choice)[None], self._limits(choice, level, cancelled)
        return FeatureMap(self._on_grid(picture, level), self._affine(), limits, modality not in given)

    def _limits(self, choice: FeatureChoice, level: int, cancelled: Cancelled) -> tuple[float, float]:
        """From the first to the last percentile over the brain, of all modalities of the case together."""
        inside = self._lattice_brain(level)
        everything = [self.atlas.own(choice.kind, level, each, cancelled) for each in sorted(self.atlas.everything)]
        sample = torch.cat([_scalar(maps, choice)[inside] for maps in everything])
        sample = sample[:: max(1, inside.sum().item() // SAMPLES + 1)]
        low, high = torch.quantile(sample, torch.tensor([0.01, 0.99])).tolist()
        return low, max(high, low + 1e-6)

    def _coloured(self, values: Tensor, basis: _Basis) -> Tensor:
        projected = torch.einsum("cxyz,ck->kxyz", values - basis.mean[:, None, None, None], basis.axes)
        low, high = basis.low[:, None, None, None], basis.high[:, None, None, None]
        return ((projected - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)

    def _basis(self, kind: FeatureKind, level: int, cancelled: Cancelled) -> _Basis:
        """The first three principal components over the brain in all modalities of the case."""
        key = (kind, level)
        if key not in self._bases:
            inside = self._lattice_brain(level)
            columns = [
                self.atlas.own(kind, level, modality, cancelled)[:, inside]
                for modality in sorted(self.atlas.everything)
            ]
            every = max(1, len(columns) * columns[0].shape[1] // SAMPLES)
            sample = torch.cat(columns, 1)[:, ::every].T.double()
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

    def _lattice_brain(self, level: int) -> Tensor:
        step = 2**level
        brain = self.atlas.brain()[::step, ::step, ::step]
        return brain if brain.any() else torch.ones_like(brain)

    def _on_grid(self, picture: Tensor, level: int) -> NDArray[np.generic]:
        """(K, x, y, z) on the lattice -> the working grid, dark outside the brain."""
        brain = self.atlas.brain()
        step = 2.0**level
        weights = []
        for fine, coarse in zip(self.atlas.field.shape, picture.shape[1:], strict=True):
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
        shift[:3, 3] = self.atlas.field.start
        affine: NDArray[np.float64] = self.atlas.grid.affine @ shift
        return affine


def _scalar(maps: Tensor, choice: FeatureChoice) -> Tensor:
    """One channel, or the norm over channels: (C, x, y, z) -> (x, y, z)."""
    return maps[choice.channel] if choice.view is FeatureView.CHANNEL else maps.square().mean(0).sqrt()
