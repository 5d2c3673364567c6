"""Boxes of voxels: tiles, crops and viewports, and the order in which tiles are worth computing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """Voxels from ``start`` up to, not including, ``stop``, along three axes."""

    start: Triple
    stop: Triple

    @property
    def shape(self) -> Triple:
        """Voxels along each axis."""
        x, y, z = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box into an array of three axes."""
        x, y, z = (slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))
        return x, y, z

    def intersection(self, other: Box) -> Box | None:
        """What both share; None if nothing."""
        start = tuple(max(pair) for pair in zip(self.start, other.start, strict=True))
        stop = tuple(min(pair) for pair in zip(self.stop, other.stop, strict=True))
        if any(low >= high for low, high in zip(start, stop, strict=True)):
            return None
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def relative_to(self, origin: Triple) -> Box:
        """The same voxels, counted from ``origin``."""
        start = tuple(value - zero for value, zero in zip(self.start, origin, strict=True))
        stop = tuple(value - zero for value, zero in zip(self.stop, origin, strict=True))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def union(self, other: Box) -> Box:
        """The smallest box that holds both."""
        start = tuple(min(pair) for pair in zip(self.start, other.start, strict=True))
        stop = tuple(max(pair) for pair in zip(self.stop, other.stop, strict=True))
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def snapped(self, lattice: int, least: int) -> Box:
        """Grown outwards to multiples of ``lattice``, and to sides of at least ``least``."""
        start = tuple(lattice * (value // lattice) for value in self.start)
        stop = tuple(
            max(lattice * math.ceil(value / lattice), low + least) for value, low in zip(self.stop, start, strict=True)
        )
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def tile_boxes(field: Box, longest: int, overlap: int, stride: int) -> list[Box]:
    """Equal tiles that cover ``field``, as few as ``longest`` allows.

    Parameters
    ----------
    field
        Sides are multiples of ``stride``.
    longest
        No tile is longer than this along any axis.
    overlap
        Voxels that neighbours share, at least.
    stride
        Tiles start and end at multiples of this from the field's start.
    """
    starts: list[list[int]] = []
    sides: list[int] = []
    for first, length in zip(field.start, field.shape, strict=True):
        count = 1 if length <= longest else math.ceil((length - overlap) / (longest - overlap))
        side = min(length, stride * math.ceil((length + (count - 1) * overlap) / count / stride))
        free = (length - side) // stride
        starts.append([first + stride * round(free * index / max(1, count - 1)) for index in range(count)])
        sides.append(side)
    return [
        Box((x, y, z), (x + sides[0], y + sides[1], z + sides[2]))
        for x in starts[0]
        for y in starts[1]
        for z in starts[2]
    ]


def most_wanted_first(tiles: Sequence[Box], tumour: Tensor, origin: Triple, viewport: Box | None) -> list[Box]:
    """Order tiles: first those with tumour in view, then tumour or view, then the rest; more tumour earlier.

    Parameters
    ----------
    tumour
        Probability of WT over the whole field, (X, Y, Z); its voxel 0 is ``origin``.
    viewport
        What the user sees, on the same grid as the tiles.
    """

    def rank(tile: Box) -> tuple[int, float]:
        seen = viewport is None or tile.intersection(viewport) is not None
        inside = tumour[tile.relative_to(origin).slices]
        mass = float(inside[inside > 0.5].sum()) if inside.numel() else 0.0
        return -(int(seen) + int(mass > 0)), -mass

    return sorted(tiles, key=rank)


def taper(shape: Sequence[int], overlap: int) -> Tensor:
    """Weights of a tile's voxels when tiles are averaged: 1 inside, falling linearly over the overlap."""
    weights = torch.ones(tuple(shape))
    for axis, side in enumerate(shape):
        ramp = torch.minimum(torch.arange(side), torch.arange(side).flip(0)) + 1.0
        view = [1, 1, 1]
        view[axis] = side
        weights = weights * (ramp / (overlap + 1)).clamp(max=1.0).reshape(view)
    return weights
