"""Augmentation moves images and masks together, keeps the background, and depends on its seed alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_shaspec.training.transforms import augmented

Sample = tuple[dict[str, Tensor], Tensor]


@pytest.fixture
def sample() -> Sample:
    """A ball in two images and, exactly there, in the mask; brighter in one image."""
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, side) for side in (20, 24, 16)], indexing="ij"))
    brain = grid.norm(dim=0) < 0.9
    ball = (grid - torch.tensor([0.3, 0.2, -0.2])[:, None, None, None]).norm(dim=0) < 0.35
    noise = torch.randn((2, *brain.shape), generator=torch.Generator().manual_seed(0))
    image = torch.where(brain, 0.2 * noise + 6.0 * ball, 0.0)
    masks = torch.stack([ball, ball, ball]).float()
    return {"flair": image[None, :1], "t1": image[None, 1:]}, masks[None]


def test_images_and_masks_move_together(sample: Sample) -> None:
    moved = 0
    for item in range(12):
        images, masks = augmented(*sample, [(0, item)])
        assert set(masks.unique().tolist()) == {0.0, 1.0}
        ball = masks[0, 0] > 0
        moved += not torch.equal(masks, sample[1])
        assert 0.5 < ball.sum() / sample[1][0, 0].sum() < 1.6
        for image in images.values():
            assert image.shape == (1, 1, 20, 24, 16)
            assert type(image) is Tensor
            inside, outside = image[0, 0][ball], image[0, 0][~ball]
            assert inside.median() > outside.quantile(0.95)
    assert moved > 8


def test_background_stays_0_and_the_original_stays(sample: Sample) -> None:
    before = {name: image.clone() for name, image in sample[0].items()}
    for item in range(6):
        images, _ = augmented(*sample, [(1, item)])
        for name, image in images.items():
            assert (image == 0).float().mean() > 0.3  # the corners around the brain
            assert not torch.equal(image, before[name])
            assert torch.equal(sample[0][name], before[name])


def test_each_sample_depends_on_its_own_seed(sample: Sample) -> None:
    pair = {name: image.repeat(2, 1, 1, 1, 1) for name, image in sample[0].items()}, sample[1].repeat(2, 1, 1, 1, 1)
    torch.manual_seed(1)
    images, masks = augmented(*pair, [(3, 5), (3, 6)])
    torch.manual_seed(2)
    alone, mask = augmented(*sample, [(3, 6)])
    for name in images:
        assert torch.equal(images[name][1:], alone[name])
        assert not torch.equal(images[name][0], images[name][1])
    assert torch.equal(masks[1:], mask)


def test_modalities_change_each_by_itself(sample: Sample) -> None:
    twice = {"flair": sample[0]["flair"], "t1": sample[0]["flair"].clone()}
    assert any(
        not torch.equal(images["flair"], images["t1"])
        for images, _ in (augmented(twice, sample[1], [(0, item)]) for item in range(3))
    )
