"""What happens to an image before the network sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_shaspec.box import Box
from napari_shaspec.inference.grid import working_grid
from napari_shaspec.inference.preprocess import cut, prepare
from napari_shaspec.volume import Volume, foreground_mask


def ball(background: float = 0.0, scale: float = 1.0) -> Volume:
    """Noise around 500 inside a ball of 12 voxels radius."""
    random = np.random.default_rng(4)
    distance = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(32) - 15.5] * 3, indexing="ij")), axis=0)
    return Volume(np.where(distance < 12, random.normal(500, 50, (32,) * 3) * scale, background), np.eye(4))


def test_intensity_scale_and_background_value_do_not_matter() -> None:
    grid = working_grid(ball(), 2.0)
    plain, scaled, shifted = (
        prepare(volume, [grid])[0] for volume in (ball(), ball(scale=37.0), ball(background=-1000.0))
    )
    np.testing.assert_allclose(scaled.image, plain.image, atol=1e-4)
    np.testing.assert_allclose(shifted.image, plain.image, atol=1e-4)
    assert plain.foreground == scaled.foreground == shifted.foreground


@pytest.mark.parametrize("value", [7.0, -3e4, 1e30])
def test_an_image_of_one_value_holds_no_rounding_for_tissue(value: float) -> None:
    volume = Volume(np.full((11, 9, 8), value, np.float32), np.diag([1.3, 1.1, 1.7, 1.0]))
    (prepared,) = prepare(volume, [working_grid(volume, 2.0)])
    assert prepared.image.abs().max() < 0.1


def test_the_rim_of_the_brain_keeps_its_intensity() -> None:
    left = np.arange(32)[:, None, None] < 16
    data = np.where(ball().data > 0, np.where(left, 500.0, 700.0), 0.0)
    prepared = prepare(Volume(data, np.eye(4)), [working_grid(ball(), 3.0)])[0]
    deep_left, deep_right = prepared.image[3, 5, 5], prepared.image[-4, 5, 5]
    assert deep_left < deep_right
    # Without the division by the share of brain, half-empty cubes at the rim would be far below either.
    brain = prepared.image[prepared.image != 0]
    assert brain.min() >= deep_left - 1e-3
    assert brain.max() <= deep_right + 1e-3


def test_background_becomes_zero_and_the_box_holds_the_rest() -> None:
    prepared = prepare(ball(), [working_grid(ball(), 2.0)])[0]
    outside = torch.ones_like(prepared.image, dtype=torch.bool)
    outside[prepared.foreground.slices] = False
    assert (prepared.image[outside] == 0).all()
    assert all(11 <= side <= 13 for side in prepared.foreground.shape)


def test_an_image_without_background_is_all_foreground() -> None:
    noise = np.random.default_rng(0).normal(100, 5, (8, 8, 8))
    assert foreground_mask(noise).sum() >= 511  # one corner may give its value to the background
    assert foreground_mask(np.full((4, 4, 4), 3)).all()


def test_cut_fills_with_background_beyond_the_image() -> None:
    image = torch.arange(27.0).reshape(3, 3, 3)
    tile = cut(image, Box((1, 0, 2), (5, 4, 6)))
    assert tile.shape == (4, 4, 4)
    np.testing.assert_array_equal(tile[:2, :3, :1], image[1:, :, 2:])
    assert tile[2:].sum() == tile[:, 3:].sum() == tile[:, :, 1:].sum() == 0
