"""Boxes of voxels: tiles, crops and viewports."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
