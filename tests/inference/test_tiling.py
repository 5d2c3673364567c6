"""Boxes, tiles and their order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from napari_shaspec.box import Box
from napari_shaspec.inference.procedure import SHORTEST_TILE, CoarseToFine
from napari_shaspec.inference.tiling import most_wanted_first, taper, tile_boxes
from napari_shaspec.model.config import ModelConfig


@pytest.mark.parametrize("seed", range(20))
def test_4_tiles_cover_every_voxel(seed: int) -> None:
    random = np.random.default_rng(seed)
    stride = int(random.choice([2, 4, 8]))
    start = random.integers(0, 5, 3) * stride
    shape = random.integers(1, 14, 3) * stride
    field = Box(tuple(start.tolist()), tuple((start + shape).tolist()))
    longest = int(random.integers(4, 9)) * stride
    overlap = int(random.integers(0, longest // 2))
    tiles = tile_boxes(field, longest, overlap, stride)
    covered = np.zeros(field.shape, int)
    for tile in tiles:
        assert tile.intersection(field) == tile
        assert max(tile.shape) <= longest
        assert all(side % stride == 0 for side in tile.shape)
        covered[tile.relative_to(field.start).slices] += 1
    assert covered.min() >= 1
    assert len(tiles) == len(set(tiles))


def test_neighbours_share_at_least_half_of_the_overlap_they_were_asked_for() -> None:
    tiles = tile_boxes(Box((0, 0, 0), (200, 8, 8)), 96, 16, 8)
    shared = [first.stop[0] - second.start[0] for first, second in itertools.pairwise(tiles)]
    assert min(shared) >= 8


def test_short_tiles_of_deep_networks_overlap_too() -> None:
    """Of the five levels of the paper's network; a quarter of the shortest tile is less than a stride."""
    deep = CoarseToFine(ModelConfig(widths=(2, 2, 2, 2, 2)))
    tiles = deep.tiles(Box((0, 0, 0), (80, 16, 16)), SHORTEST_TILE)
    assert min(first.stop[0] - second.start[0] for first, second in itertools.pairwise(tiles)) >= 8


@pytest.mark.parametrize("longest", [SHORTEST_TILE, 48, 96])
def test_networks_of_six_levels_have_tiles_too(longest: int) -> None:
    deep = CoarseToFine(ModelConfig(widths=(2, 2, 2, 2, 2, 2)))
    tiles = deep.tiles(Box((0, 0, 0), (160, 64, 64)), longest)
    assert max(max(tile.shape) for tile in tiles) <= max(64, longest)
    covered = np.zeros((160, 64, 64), bool)
    for tile in tiles:
        covered[tile.slices] = True
    assert covered.all()


def test_a_field_that_fits_is_one_tile() -> None:
    field = Box((8, 0, 16), (72, 40, 96))
    assert tile_boxes(field, 96, 16, 8) == [field]


def test_tumour_in_view_comes_first_then_tumour_or_view() -> None:
    tiles = tile_boxes(Box((0, 0, 0), (32, 32, 8)), 16, 0, 8)
    tumour = torch.zeros(32, 32, 8)
    tumour[20:24, 20:24] = 0.9  # in the last tile
    tumour[2, 20] = 0.9  # less of it in the second
    view = Box((16, 0, 0), (32, 32, 1))  # the third and the fourth
    assert most_wanted_first(tiles, tumour, (0, 0, 0), view) == [tiles[3], tiles[1], tiles[2], tiles[0]]
    assert most_wanted_first(tiles, tumour, (0, 0, 0), None)[:2] == [tiles[3], tiles[1]]


def test_taper_falls_towards_every_face() -> None:
    weights = taper((8, 6, 5), 3)
    assert weights.shape == (8, 6, 5)
    assert weights.min() > 0
    assert weights[4, 3, 2] == weights.max()
    np.testing.assert_allclose(weights[:, 2, 2] / weights[4, 2, 2], [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25])


def test_boxes() -> None:
    first, second = Box((0, 0, 0), (4, 4, 4)), Box((2, 3, 1), (9, 5, 3))
    assert first.intersection(second) == Box((2, 3, 1), (4, 4, 3))
    assert first.intersection(Box((4, 0, 0), (5, 4, 4))) is None
    assert first.union(second) == Box((0, 0, 0), (9, 5, 4))
    assert second.snapped(8, 8) == Box((0, 0, 0), (16, 8, 8))
    assert Box((9, 9, 9), (10, 10, 10)).snapped(8, 32) == Box((8, 8, 8), (40, 40, 40))
