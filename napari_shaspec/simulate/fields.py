"""Random numbers and smooth random fields on a grid: what every effect of the simulator is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_shaspec.simulate.settings import Range


class Stream(IntEnum):
    """Who draws aside of a case's other numbers; no number twice, or two effects would draw the same."""

    FOLDS = 1
    SURROUNDINGS = 2
    MASKS = 3
    SPIN_ECHO = 4
    OUTLINES = 5
    SUPERFICIAL = 6


class Dice:
    """Draws for a batch: one generator, one device, one batch size.

    Parameters
    ----------
    seed
        Any integer; the same seed on the same kind of device gives the same draws.
    batch
        How many cases are drawn side by side.
    """

    def __init__(self, seed: int, batch: int, device: torch.device) -> None:
        self.seed = seed
        self.generator = torch.Generator(device).manual_seed(seed)
        self.batch = batch
        self.device = device

    def aside(self, stream: Stream) -> Dice:
        """Other draws of the same seed, which take none of these away.

        An effect that draws from here can be added, changed or left out, and all else of a case stays what it was:
        before and after differ in that effect alone.
        """
        # Torch's generator on a CPU looks at no more than 32 bits of a seed, so both numbers are mixed into those.
        mixed = np.random.SeedSequence((self.seed % 2**64, int(stream))).generate_state(1)
        return Dice(int(mixed[0]), self.batch, self.device)

    def uniform(self, bounds: Range, *shape: int) -> Tensor:
        """(B, *shape) between the bounds."""
        low, high = bounds
        draw = torch.rand((self.batch, *shape), generator=self.generator, device=self.device)
        return low + (high - low) * draw

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) of standard normal numbers."""
        return torch.randn((self.batch, *shape), generator=self.generator, device=self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """(B, *shape) booleans, true with that probability."""
        return self.uniform((0.0, 1.0), *shape) < probability

    def integer(self, count: int) -> int:
        """One number from 0 to ``count - 1`` for the whole batch."""
        return int(torch.randint(count, (1,), generator=self.generator, device=self.device))

    def field(self, size: Sequence[int], wavelength: float, channels: int = 1) -> Tensor:
        """(B, channels, *size) smooth noise of unit variance; ``wavelength`` in voxels."""
        knots = [max(2, math.ceil(side / max(wavelength, 1.0)) + 1) for side in size]
        noise = self.normal(channels, *knots)
        if wavelength <= 1.0:
            return self.normal(channels, *size)
        # Linear interpolation between independent knots averages two of them on each axis: mean variance is (2/3)^3.
        return functional.interpolate(noise, tuple(size), mode="trilinear", align_corners=True) * math.pow(1.5, 1.5)


def column(values: Tensor, dims: int = 5) -> Tensor:
    """(B, C) or (B,) -> (B, C, 1, 1, 1), ready to multiply a batch of volumes."""
    values = values if values.ndim > 1 else values[:, None]
    return values.reshape(*values.shape, *([1] * (dims - values.ndim)))


def blur(volumes: Tensor, sigma_voxels: Tensor) -> Tensor:
    """Gaussian blur of (B, C, X, Y, Z) with one sigma for each (B, C); separable, edges replicated."""
    batch, channels, *size = volumes.shape
    radius = max(1, math.ceil(2.5 * float(sigma_voxels.max())))
    offsets = torch.arange(-radius, radius + 1, device=volumes.device, dtype=volumes.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma_voxels.reshape(-1, 1).clamp(min=1e-3)) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    flat = volumes.reshape(1, batch * channels, *size)
    for axis in range(3):
        shape = [1, 1, 1]
        shape[axis] = -1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        flat = functional.conv3d(
            functional.pad(flat, padding, mode="replicate"),
            weights.reshape(batch * channels, 1, *shape),
            groups=batch * channels,
        )
    return flat.reshape(volumes.shape)


def dilate(mask: Tensor, voxels: int) -> Tensor:
    """Grow (B, C, X, Y, Z) between 0 and 1 by a cube of that radius, one axis after the other, which is the same."""
    for axis in range(3):
        window, padding = [1, 1, 1], [0, 0, 0]
        window[axis], padding[axis] = 2 * voxels + 1, voxels
        mask = functional.max_pool3d(mask, window, stride=1, padding=padding)
    return mask
