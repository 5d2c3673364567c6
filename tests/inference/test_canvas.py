"""Pieces that the network is sure of nowhere are held below one half; everything else stays to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_shaspec.box import Box
from napari_shaspec.inference.canvas import DOUBTFUL, Canvas
from napari_shaspec.inference.grid import working_grid
from napari_shaspec.volume import Volume

SURE = 0.7


def canvas_of(probabilities: NDArray[np.float32]) -> Canvas:
    grid = working_grid(Volume(np.zeros(probabilities.shape[1:], np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), 2.0)
    field = Box((0, 0, 0), probabilities.shape[1:])  # type: ignore[arg-type]
    canvas = Canvas(grid, field, len(probabilities))
    canvas.put_tile(field, torch.from_numpy(probabilities), 0)
    return canvas


def specks(seed: int, depth: int) -> NDArray[np.float32]:
    """Noise below one half, and single voxels above it."""
    draw = np.random.default_rng(seed)
    noise = (0.5 * draw.random((3, 9, 8, depth))).astype(np.float32)
    return noise + np.float32(0.35) * (draw.random(noise.shape) < 0.05)


def plain(probabilities: NDArray[np.float32], sure: float) -> NDArray[np.float32]:
    """The same by growing every piece voxel by voxel."""
    highest, expected = probabilities.max(0), probabilities.copy()
    left = {tuple(place) for place in np.argwhere(highest >= 0.5)}
    while left:
        piece = [left.pop()]
        for place in piece:
            for step in np.ndindex(3, 3, 3):
                near = tuple(int(at + by - 1) for at, by in zip(place, step, strict=True))
                if near in left and sum(by != 1 for by in step) <= 2:
                    left.discard(near)
                    piece.append(near)
        if max(highest[place] for place in piece) < sure:
            for x, y, z in piece:
                expected[:, x, y, z] = np.minimum(expected[:, x, y, z], np.float32(DOUBTFUL))
    return expected


@pytest.mark.parametrize("seed", range(4))
def test_doubtful_pieces_are_those_without_a_sure_voxel(seed: int) -> None:
    canvas = canvas_of(specks(seed, 1 if seed == 3 else 7))
    before = canvas.probabilities().numpy()
    box = canvas.doubt(SURE)
    after = canvas.probabilities().numpy()
    np.testing.assert_allclose(after, plain(before, SURE), atol=1e-6)
    changed = np.abs(after - before).max(0) > 1e-6
    assert changed.any()
    assert (before.max(0)[~changed] >= SURE).any()
    assert box is not None
    outside = changed.copy()
    outside[box.slices] = False
    assert not outside.any()


@pytest.mark.parametrize("seed", range(3))
def test_a_region_can_be_doubted_by_itself(seed: int) -> None:
    canvas = canvas_of(specks(seed, 1 if seed == 2 else 7))
    before = canvas.probabilities().numpy()
    box = canvas.doubt(SURE, (0.75, 0.0, 0.8))
    expected = plain(before, SURE)
    for region, peak in ((0, 0.75), (2, 0.8)):
        expected[region] = plain(expected[region : region + 1], peak)[0]
    after = canvas.probabilities().numpy()
    np.testing.assert_allclose(after, expected, atol=1e-6)
    changed = np.abs(after - before) > 1e-6
    assert (changed[0] & ~changed[1:].any(0)).any()
    assert (after[0] >= 0.75).any() or seed == 2  # of a single slice no piece is left
    assert box is not None
    changed[(slice(None), *box.slices)] = False
    assert not changed.any()


def test_nothing_to_doubt() -> None:
    probabilities = np.full((3, 6, 6, 6), 0.2, np.float32)
    assert canvas_of(probabilities).doubt(SURE) is None
    probabilities[1, 2:4, 2:4, 2] = 0.55
    probabilities[0, 3, 3, 3] = 0.75  # in another region, at a corner: two hops away, the same piece
    canvas = canvas_of(probabilities)
    before = canvas.probabilities().clone()
    assert canvas.doubt(SURE) is None
    assert torch.equal(canvas.probabilities(), before)
