"""ShaSpec for a class: the same encode, decode and stand-in as for segmentation, in SMIL's sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_shaspec.classification.av_mnist import IMAGE, SOUND
from napari_shaspec.classification.networks import (
    ImageClassifier,
    SharedEncoder,
    ShaSpecClassifier,
    TwoStreamClassifier,
    image_layers,
    sound_layers,
)

IMAGES, SOUNDS = torch.Size((3, 1, 28, 28)), torch.Size((3, 1, 20, 20))


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        IMAGE: torch.rand(IMAGES, generator=generator) * 2 - 1,
        SOUND: torch.randn(SOUNDS, generator=generator) * 200,
    }


@pytest.fixture
def network() -> ShaSpecClassifier:
    torch.manual_seed(1)
    return ShaSpecClassifier().eval()


def parameters(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.parameters())


def test_encoders_are_those_of_smil(inputs: dict[str, torch.Tensor]) -> None:
    assert image_layers()(inputs[IMAGE]).shape == (3, 10, 4, 4)
    assert sound_layers()(inputs[SOUND]).shape == (3, 20, 4, 4)
    assert parameters(image_layers()) == (25 + 1) * 5 + (5 * 25 + 1) * 10
    convolutions = (4 + 1) * 32 + (32 * 4 + 1) * 48 + (48 * 4 + 1) * 20
    assert parameters(sound_layers()) == convolutions + 2 * (32 + 48 + 20)
    assert ImageClassifier()(inputs[IMAGE]).shape == (3, 10)
    assert TwoStreamClassifier()(inputs[IMAGE], inputs[SOUND]).shape == (3, 10)


def test_shaspec_is_no_larger_than_published(network: ShaSpecClassifier) -> None:
    assert parameters(network) <= 220_000


@torch.no_grad()
def test_a_missing_sound_is_the_shared_feature_of_the_image(
    network: ShaSpecClassifier, inputs: dict[str, torch.Tensor]
) -> None:
    _, shared = network.shared(inputs[IMAGE])
    _, specific = network.specific[IMAGE](inputs[IMAGE])
    fused = shared + network.fusion.projection(torch.cat([shared, specific], 1))
    expected = network.decoder.head(torch.cat([fused.flatten(1), shared.flatten(1)], 1))
    torch.testing.assert_close(network({IMAGE: inputs[IMAGE]}).logits, expected)
    encodings = network(inputs).encodings
    torch.testing.assert_close(network.decode({IMAGE: encodings[IMAGE]}), expected)
    assert not torch.allclose(network(inputs).logits, expected)


@torch.no_grad()
def test_the_shared_encoder_takes_both_shapes_at_any_scale(inputs: dict[str, torch.Tensor]) -> None:
    encoder = SharedEncoder(20, 5).eval()
    for values in inputs.values():
        _, features = encoder(values)
        assert features.shape == (3, 20, 4, 4)
        torch.testing.assert_close(encoder(values * 3 - 7)[1], features, rtol=1e-3, atol=1e-4)
