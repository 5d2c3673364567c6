"""Tiles: how a field is cut into them, and the order in which they are worth computing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from napari_shaspec.box import Box, Triple


def tile_boxes(field: Box, longest: int, overlap: int, stride: int) -> list[Box]:
    """Equal tiles that cover ``field``, as few as ``longest`` allows.

    Parameters
    ----------
    field
        Sides are multiples of ``stride``.
    longest
        A multiple of ``stride`` greater than ``overlap``; no tile is longer along any axis.
    overlap
        Voxels that neighbours share; tiles begin at whole strides, so that some may share up to a stride less.
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
