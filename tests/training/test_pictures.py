"""A slice for every subset, upright, with what was found in colour."""

from __future__ import annotations

import numpy as np
import torch

from napari_shaspec.modalities import nonempty_subsets
from napari_shaspec.training.data import Batch
from napari_shaspec.training.pictures import COLOURS, subsets_picture


def test_a_picture_has_a_tile_for_each_subset_and_the_truth() -> None:
    masks = torch.zeros(1, 3, 40, 20, 8)
    masks[0, 2, 22:28, 2:6, 5] = 1  # a tumour at the back, in slice 5, far from the titles
    image = torch.zeros(1, 1, 40, 20, 8)
    image[..., 1:-1, 1:-1, :] = 1
    nothing = masks.bool() & False
    found = {"+".join(sorted(subset)): nothing for subset in nonempty_subsets(("a", "b", "c", "d"))}
    found["a"] = masks.bool()
    picture = subsets_picture(Batch({"a": image}, masks), found)
    assert picture.shape == (4 * 80, 4 * 160, 3)  # each voxel is 4 x 4 pixels
    tiles = [tile for row in np.split(picture, 4) for tile in np.split(row, 4, axis=1)]
    coloured = [np.argwhere(np.ptp(tile.astype(int), axis=2) > 20) for tile in tiles]
    assert [len(places) > 0 for places in coloured] == [True, *[False] * 14, True]
    for places in (coloured[0], coloured[15]):
        assert len(places) == 6 * 4 * 16
        # The front is at the top; what lies at the patient's right, the end of the first axis, on the left.
        assert (places.min(0) == (4 * 14, 4 * (40 - 28))).all()
    mixed = 0.4 * 255 + 0.6 * np.array(COLOURS[2])
    np.testing.assert_allclose(tiles[15][tuple(coloured[15][0])], mixed, atol=1)
