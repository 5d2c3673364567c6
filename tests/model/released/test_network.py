"""The released network against a plain implementation of it, and the published sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.released.blocks import normalised, standardised
from napari_shaspec.model.released.checkpoint import check_shapes
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.names import configured, translated
from napari_shaspec.model.released.network import ReleasedShaSpec
from tests.released_reference import DualNet

NAMES = ("flair", "t1", "t1c", "t2")
SUBSETS = nonempty_subsets(NAMES)


@pytest.fixture(scope="module")
def model(saved: Path) -> ReleasedShaSpec:
    model = load_checkpoint(saved).model
    assert isinstance(model, ReleasedShaSpec)
    return model


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Sides all different, so that mixed-up axes show."""
    return torch.randn(1, 4, 16, 64, 96, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("available", SUBSETS, ids=lambda subset: "+".join(sorted(subset)))
def test_every_subset_equals_the_plain_implementation(
    model: ReleasedShaSpec, reference: DualNet, images: torch.Tensor, available: frozenset[str]
) -> None:
    present = [index for index, name in enumerate(NAMES) if name in available]
    blanked = torch.zeros_like(images)
    blanked[:, present] = images[:, present]
    with torch.inference_mode():
        expected = reference(blanked, present).sigmoid()
        # In the opposite order, because the first modality is that of the lowest channel, not the first that is given.
        encodings = {NAMES[index]: model.encode(images[:, [index]], NAMES[index]) for index in reversed(present)}
        found = model.decode(encodings).sigmoid()
    assert float((found - expected).abs().max()) < 1e-4
    assert float(expected.std()) > 0.1  # there is something to compare


def test_the_image_of_zeros_is_encoded_once(model: ReleasedShaSpec, images: torch.Tensor) -> None:
    small = images[..., :32, :32]
    calls: list[tuple[int, ...]] = []
    hook = model.shared.register_forward_pre_hook(
        lambda _, inputs: calls.append(tuple(inputs[0].shape)) if not inputs[0].any() else None
    )
    with torch.inference_mode():
        encodings = {name: model.encode(small[:, [index]], name) for index, name in enumerate(NAMES)}
        for subset in SUBSETS:
            model.decode({name: encodings[name] for name in subset})
    hook.remove()
    assert calls == [(1, 1, 16, 32, 32)]


def test_weights_are_standardised_at_loading_and_not_later(model: ReleasedShaSpec, reference: DualNet) -> None:
    weight = model.shared.layers[0][0].middle.weight
    torch.testing.assert_close(weight.flatten(1).mean(1), torch.zeros(len(weight)), atol=1e-6, rtol=0)
    torch.testing.assert_close(weight.flatten(1).var(1), torch.ones(len(weight)))
    upsample = reference.shared_dec.transposeconv_stage3.weight
    assert torch.equal(model.decoder.upsample[0].weight, upsample)
    assert torch.equal(model.decoder.output.weight, reference.shared_dec.cls_conv[0].weight)


def test_standardising_a_constant_filter_gives_zeros() -> None:
    assert not standardised(torch.full((2, 3, 1, 1, 1), 0.25)).any()


def test_the_norm_of_one_voxel_is_its_shift() -> None:
    shift = torch.tensor([0.5, -2.0])
    found = normalised(torch.full((1, 2, 1, 1, 1), 9.0), torch.ones(2), shift)
    assert torch.equal(found[0, :, 0, 0, 0], shift)


def test_published_sizes() -> None:
    """From a state dict of the full network, without memory for it: 35.13 M weights an encoder, all names found."""
    with torch.device("meta"):
        plain, model = DualNet(), ReleasedShaSpec(ReleasedConfig())
    theirs = {name: tuple(tensor.shape) for name, tensor in plain.state_dict().items()}
    names = translated(theirs)
    shapes = {ours: theirs[name] for name, ours in names.items()}
    assert configured(shapes) == ReleasedConfig()
    check_shapes(ReleasedConfig(), shapes)
    for encoder in (model.shared, *model.specific.values()):
        assert round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 2) == 35.13
    assert shapes["fusion.weight"] == (256, 512, 3, 3, 3)
    assert [shapes[f"decoder.skips.{level}.weight"][1] for level in range(4)] == [4096, 2048, 1024, 256]
    assert shapes["shared.stem.weight"] == (64, 1, 7, 7, 7)


def test_the_cache_of_a_whole_case_fits_its_budget() -> None:
    """Twelve tiles and four modalities of the published network, in float32, on 240 x 240 x 155 voxels."""
    with torch.device("meta"):
        model = ReleasedShaSpec(ReleasedConfig()).eval()
        encoding = model.encode(torch.empty(1, 1, 80, 160, 160), "t1")
    assert [tuple(part.shape[1:]) for part in encoding.skips] == [
        (32, 80, 80, 80),
        (64, 40, 40, 40),
        (128, 20, 20, 20),
        (256, 10, 10, 10),
    ]
    assert encoding.shared.shape == (1, 256, 5, 5, 5)
    assert 3.8 * 2**30 < 12 * 4 * encoding.nbytes < 4 * 2**30


@pytest.mark.parametrize(
    "change",
    [
        {"tile": (80, 160, 150)},
        {"tile": (80, 160)},
        {"widths": (1, 2, 3)},
        {"blocks": (1, 1, 0, 1)},
        {"blocks": (1, 1, 10**9, 1)},
        {"stem": 2.5},
    ],
)
def test_impossible_configurations(change: dict[str, object]) -> None:
    with pytest.raises(ShaSpecError, match="Correct the model's configuration"):
        replace(ReleasedConfig(), **change)


@pytest.mark.parametrize("values", [{"depth": 4}, {"widths": 3}, {"tile": None}])
def test_broken_configurations(values: dict[str, object]) -> None:
    with pytest.raises(ShaSpecError, match="a configuration of the released network"):
        ReleasedConfig.from_dict(values)


@pytest.mark.parametrize("names", [[], ["flair", "pet"]])
def test_unknown_modalities(model: ReleasedShaSpec, images: torch.Tensor, names: list[str]) -> None:
    encoding = model.encode(images[:, [0], :, :32, :32], "flair")
    with pytest.raises(ShaSpecError, match="one or more of the modalities flair, t1, t1c, t2"):
        model.decode(dict.fromkeys(names, encoding))
