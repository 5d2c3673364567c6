"""Residual fusion, the stand-in rule, and the projection that never builds the stand-in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_shaspec.modalities import nonempty_subsets
from napari_shaspec.model.config import Substitution
from napari_shaspec.model.fusion import ModalityProjection, ResidualFusion, stand_in

SIDES = {2: (5, 7), 3: (3, 5, 7)}
CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}


def random_maps(dims: int, count: int, channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn((2, channels, *SIDES[dims]), generator=generator) for _ in range(count)]


def test_the_stand_in_is_the_mean_of_what_is_there() -> None:
    first, second, third = random_maps(3, 3)
    torch.testing.assert_close(stand_in([first, second, third]), (first + second + third) / 3)
    torch.testing.assert_close(stand_in([second]), second)


def test_the_other_rules_for_what_stands_in() -> None:
    first, second, third = random_maps(3, 3)
    torch.testing.assert_close(stand_in([second, first, third], Substitution.FIRST), second)
    assert not stand_in([second, first], Substitution.ZERO).any()


@pytest.mark.parametrize("dims", [2, 3])
def test_residual_fusion_adds_a_projection_of_both_features(dims: int) -> None:
    torch.manual_seed(0)
    fusion = ResidualFusion(dims, 3)
    shared, specific = random_maps(dims, 2)
    layer = CONVOLUTION[dims](6, 3, 3, padding=1)
    layer.load_state_dict(fusion.projection.state_dict())
    torch.testing.assert_close(fusion(shared, specific), shared + layer(torch.cat([shared, specific], 1)))


@pytest.mark.parametrize("available", nonempty_subsets("0123"), ids=lambda subset: "".join(sorted(subset)))
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("rule", Substitution)
def test_the_projection_equals_plain_concatenation_with_stand_ins(
    dims: int, rule: Substitution, available: frozenset[str]
) -> None:
    torch.manual_seed(0)
    projection = ModalityProjection(dims, 4, 3, 5, rule).double()
    maps = {index: tensor.double() for index, tensor in enumerate(random_maps(dims, 4)) if str(index) in available}
    there = torch.stack(list(maps.values()))
    substitute = {
        Substitution.MEAN: there.mean(0),
        Substitution.FIRST: there[0],  # the lowest channel
        Substitution.ZERO: torch.zeros_like(there[0]),
    }[rule]
    everything = torch.cat([maps.get(index, substitute) for index in range(4)], 1)
    plain = CONVOLUTION[dims](12, 5, 1).double()
    plain.load_state_dict(projection.convolution.state_dict())
    torch.testing.assert_close(projection(maps), plain(everything), rtol=0, atol=1e-12)


def test_the_projection_does_not_mind_the_order_of_its_inputs() -> None:
    projection = ModalityProjection(3, 4, 3, 5)
    maps = dict(enumerate(random_maps(3, 4)))
    turned = {index: maps[index] for index in (3, 0, 1)}
    torch.testing.assert_close(projection(turned), projection({index: maps[index] for index in (0, 1, 3)}))


def test_the_stand_in_trains_the_weights_of_missing_modalities() -> None:
    projection = ModalityProjection(2, 2, 3, 5)
    projection({0: random_maps(2, 1)[0]}).square().sum().backward()
    assert projection.convolution.weight.grad is not None
    present, missing = projection.convolution.weight.grad.chunk(2, 1)
    torch.testing.assert_close(present, missing)  # a lone modality stands in for the other, so both see the same map
    assert present.abs().max() > 0
