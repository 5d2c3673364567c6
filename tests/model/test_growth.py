"""A wider network begins with the answers of the narrow one, and learns with what it has more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.config import ModelConfig, Substitution
from napari_shaspec.model.growth import grows_from, take_over
from napari_shaspec.model.shaspec import Output, ShaSpec

SHAPES = {
    "3-D": ModelConfig(widths=(3, 4, 5)),
    "specific skips": ModelConfig(widths=(3, 4, 5), specific_skips=True, stem_convolutions=1),
    "2-D, other modalities, first stands in": ModelConfig(
        modalities=("a", "b", "c"),
        outputs=("x",),
        spatial_dims=2,
        widths=(2, 6),
        in_channels=2,
        specific_skips=True,
        substitution=Substitution.FIRST,
    ),
}
WIDER = {3: [(3, 4, 5), (8, 4, 5), (3, 4, 9), (5, 11, 6)], 2: [(2, 6), (7, 6), (3, 13)]}
each_growth = pytest.mark.parametrize(
    ("config", "widths"),
    [
        pytest.param(config, widths, id=f"{name}, {widths}")
        for name, config in SHAPES.items()
        for widths in WIDER[len(config.widths)]
    ],
)


def trained(config: ModelConfig, seed: int = 1) -> ShaSpec:
    """Random everywhere, norms and biases too, which a fresh network has at 1 and 0."""
    torch.manual_seed(seed)
    model = ShaSpec(config)
    for weights in model.parameters():
        weights.data.add_(torch.randn_like(weights), alpha=0.3)
    return model


def images(config: ModelConfig) -> dict[str, Tensor]:
    """One for each modality, of two samples and odd multiples of the stride."""
    side = [config.stride * count for count in (3, 5, 2)[: config.spatial_dims]]
    return {name: torch.randn(2, config.in_channels, *side) for name in config.modalities}


def domain(model: ShaSpec, output: Output, name: str) -> Tensor:
    """What DCO is computed from."""
    logits: Tensor = model.domain_classifier(output.encodings[name].shared.flatten(2).mean(2))
    return logits


@each_growth
def test_the_wider_network_answers_as_the_narrow_one(config: ModelConfig, widths: tuple[int, ...]) -> None:
    start, wide = trained(config), trained(replace(config, widths=widths), seed=2)
    before = {name: weights.clone() for name, weights in start.state_dict().items()}
    take_over(wide, start)
    given = images(config)
    for count in range(1, len(given) + 1):
        subset = dict(list(given.items())[-count:])
        narrow, grown = start(subset), wide(subset)
        torch.testing.assert_close(grown.logits, narrow.logits, rtol=1e-4, atol=1e-4)
        for name, encoding in narrow.encodings.items():
            shared = grown.encodings[name].shared[:, : config.widths[-1]]
            torch.testing.assert_close(shared, encoding.shared, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(domain(wide, grown, name), domain(start, narrow, name), rtol=1e-4, atol=1e-4)
    for name, weights in start.state_dict().items():
        assert torch.equal(weights, before[name])
        if widths == config.widths:
            assert torch.equal(wide.state_dict()[name], weights)


@each_growth
def test_every_new_weight_learns(config: ModelConfig, widths: tuple[int, ...]) -> None:
    wide = trained(replace(config, widths=widths), seed=2)
    take_over(wide, trained(config))
    optimizer = torch.optim.SGD(wide.parameters(), 1e-2)
    given = images(config)
    for _ in range(2):  # what comes after 0 has no gradient in the first step
        output = wide(given)
        domains = torch.stack([domain(wide, output, name) for name in given])
        loss = output.logits.square().mean() + domains.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, weights in wide.named_parameters():
        if name.endswith("weight"):
            assert weights.grad is not None
            # Of every channel that is made, and of every one that is taken.
            for axis in range(min(2, weights.ndim)):
                rest = [other for other in range(weights.ndim) if other != axis]
                assert (weights.grad.abs().sum(rest) > 0 if rest else weights.grad != 0).all(), name


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": (3, 4)},
        {"widths": (3, 4, 5, 6)},
        {"widths": (9, 3, 9)},
        {"specific_skips": True},
        {"outputs": ("WT",)},
    ],
)
def test_another_shape_is_refused_and_nothing_written(changes: dict[str, object]) -> None:
    config = SHAPES["3-D"]
    other = replace(config, **changes)  # type: ignore[arg-type]
    assert not grows_from(other, config)
    model = ShaSpec(other)
    before = [weights.clone() for weights in model.parameters()]
    with pytest.raises(ShaSpecError, match=r"wider levels than \(3, 4, 5\)"):
        take_over(model, ShaSpec(config))
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))


def test_where_pieces_must_be_sure_is_no_matter_of_shape() -> None:
    config = SHAPES["3-D"]
    assert grows_from(config, replace(config, sure=0.6))
    assert grows_from(replace(config, sure=0.7), config)
    assert grows_from(config, replace(config, sure_each=(0.0,) * (len(config.outputs) - 1) + (0.7,)))
