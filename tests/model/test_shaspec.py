"""The network against a slow reference, and what toggles rest on: encodings that do not depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.config import ModelConfig, Substitution
from napari_shaspec.model.shaspec import ShaSpec

NAMES = tuple(modality.value for modality in Modality)
SUBSETS = nonempty_subsets(NAMES)
each_subset = pytest.mark.parametrize("available", SUBSETS, ids=lambda subset: "+".join(sorted(subset)))


def reference(model: ShaSpec, images: Mapping[str, Tensor]) -> Tensor:
    """Logits, written from the equations of docs/model.md: one modality after the other, nothing folded.

    Only the weights are the model's.
    """
    weights, names = model.state_dict(), model.config.modalities
    levels = len(model.config.widths)
    convolve, convolve_transposed = {
        2: (functional.conv2d, functional.conv_transpose2d),
        3: (functional.conv3d, functional.conv_transpose3d),
    }[model.config.spatial_dims]

    def layer(inputs: Tensor, name: str, **options: Any) -> Tensor:
        return convolve(inputs, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    def block(inputs: Tensor, name: str, stride: int = 1, convolutions: int = 2) -> Tensor:
        for place, step in ((0, stride), (3, 1))[:convolutions]:
            inputs = layer(inputs, f"{name}.{place}", stride=step, padding=1)
            axes = tuple(range(2, inputs.ndim))
            mean = inputs.mean(axes, keepdim=True)
            variance = inputs.var(axes, unbiased=False, keepdim=True)
            column = (-1, *[1] * len(axes))
            scale = weights[f"{name}.{place + 1}.weight"].reshape(column)
            inputs = (inputs - mean) / (variance + 1e-5).sqrt() * scale
            inputs = inputs + weights[f"{name}.{place + 1}.bias"].reshape(column)
            inputs = torch.where(inputs > 0, inputs, 0.01 * inputs)
        return inputs

    def encoder(image: Tensor, name: str) -> list[Tensor]:
        maps = [block(image, f"{name}.levels.0", convolutions=model.config.stem_convolutions)]
        for level in range(1, levels):
            maps.append(block(maps[-1], f"{name}.levels.{level}", stride=2))
        return maps

    def mean_of_available(features: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros_like(next(iter(features.values())))
        for feature in features.values():
            total = total + feature
        return total / len(features)

    shared = {name: encoder(image, "shared") for name, image in images.items()}
    specific = {name: encoder(image, f"specific.{name}") for name, image in images.items()}
    r = {name: maps[-1] for name, maps in shared.items()}
    f = []
    for name in names:
        if name in images:
            both = torch.cat([r[name], specific[name][-1]], 1)
            f.append(r[name] + layer(both, "fusion.projection", padding=1))
        else:
            f.append(mean_of_available(r))
    rising = block(torch.cat(f, 1), "decoder.bottom")
    for step, level in enumerate(range(levels - 2, -1, -1)):
        skips = {name: maps[level] for name, maps in shared.items()}
        concatenated = torch.cat([skips[name] if name in skips else mean_of_available(skips) for name in names], 1)
        upsampled = convolve_transposed(
            rising,
            weights[f"decoder.upsample.{step}.convolution.weight"],
            weights[f"decoder.upsample.{step}.convolution.bias"],
            stride=2,
        )
        projected = layer(concatenated, f"decoder.project.{step}.convolution")
        if model.config.specific_skips:
            zero = torch.zeros_like(next(iter(specific.values()))[level])
            maps = torch.cat([specific[name][level] if name in specific else zero for name in names], 1)
            projected = projected + convolve(maps, weights[f"decoder.project_specific.{step}.convolution.weight"])
        rising = block(upsampled + projected, f"decoder.blocks.{step}")
    return layer(rising, "decoder.output")


@each_subset
@pytest.mark.parametrize("options", [{}, {"specific_skips": True, "stem_convolutions": 1}], ids=["paper", "bundled"])
@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_decode_equals_the_slow_reference(
    make_model: Callable[..., ShaSpec],
    make_images: Callable[..., dict[str, Tensor]],
    dims: int,
    options: dict[str, Any],
    available: frozenset[str],
) -> None:
    model = make_model(ModelConfig(spatial_dims=dims, widths=(4, 6, 8), **options)).double()
    images = {name: image.double() for name, image in make_images(NAMES, dims).items() if name in available}
    encodings = {name: model.encode(image, name) for name, image in images.items()}
    expected = reference(model, images)
    assert expected.std() > 0.1  # there is something to compare
    torch.testing.assert_close(model.decode(encodings), expected, rtol=0, atol=1e-10)


@each_subset
@torch.no_grad()
def test_a_toggled_decode_equals_a_fresh_forward(
    model: ShaSpec, images: dict[str, Tensor], available: frozenset[str]
) -> None:
    encodings = model(images).encodings
    toggled = model.decode({name: encodings[name] for name in available})
    fresh = model({name: images[name] for name in available})
    torch.testing.assert_close(toggled, fresh.logits, rtol=0, atol=1e-5)
    assert fresh.encodings.keys() == available


@torch.no_grad()
def test_the_order_of_available_modalities_does_not_matter(model: ShaSpec, images: dict[str, Tensor]) -> None:
    encodings = model(images).encodings
    turned = {name: encodings[name] for name in ("t2", "flair", "t1c")}
    expected = model.decode({name: encodings[name] for name in ("flair", "t1c", "t2")})
    torch.testing.assert_close(model.decode(turned), expected, rtol=0, atol=0)
    backwards = dict(reversed(images.items()))
    torch.testing.assert_close(model(backwards).logits, model(images).logits, rtol=0, atol=0)


@torch.no_grad()
def test_absent_images_do_not_matter_and_available_ones_do(model: ShaSpec, images: dict[str, Tensor]) -> None:
    def predicted(changed: str) -> Tensor:
        other = images | {changed: torch.full_like(images[changed], torch.nan)}
        encodings = model(other).encodings
        return model.decode({name: encodings[name] for name in ("flair", "t2")})

    encodings = model(images).encodings
    expected = model.decode({name: encodings[name] for name in ("flair", "t2")})
    torch.testing.assert_close(predicted("t1"), expected, rtol=0, atol=0)
    assert predicted("t2").isnan().any()


@torch.no_grad()
def test_the_shared_encoder_treats_every_modality_alike(model: ShaSpec, images: dict[str, Tensor]) -> None:
    as_flair, as_t2 = model.encode(images["t1"], "flair"), model.encode(images["t1"], "t2")
    torch.testing.assert_close(as_flair.shared, as_t2.shared, rtol=0, atol=0)
    assert not torch.allclose(as_flair.specific, as_t2.specific)


@torch.no_grad()
def test_samples_of_a_batch_do_not_mix(model: ShaSpec, images: dict[str, Tensor]) -> None:
    alone = [model({name: image[index : index + 1] for name, image in images.items()}).logits for index in range(2)]
    torch.testing.assert_close(model(images).logits, torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("dims", "names", "batch", "channels"),
    [
        (2, ("image", "sound"), 3, 1),
        (2, ("a", "b", "c", "d", "e"), 1, 2),
        (3, ("image",), 3, 1),
        (3, ("image", "sound"), 1, 2),
        (3, ("a", "b", "c", "d", "e"), 2, 1),
    ],
)
@torch.no_grad()
def test_any_dimension_any_modalities_any_batch(
    make_model: Callable[..., ShaSpec],
    make_images: Callable[..., dict[str, Tensor]],
    dims: int,
    names: tuple[str, ...],
    batch: int,
    channels: int,
) -> None:
    config = ModelConfig(
        modalities=names, outputs=("whole", "part"), spatial_dims=dims, widths=(3, 5), in_channels=channels
    )
    model = make_model(config).double()
    images = {name: image.double() for name, image in make_images(names, dims, batch, channels).items()}
    encodings = model(images).encodings
    for available in nonempty_subsets(names):
        logits = model.decode({name: encodings[name] for name in available})
        assert logits.shape == (batch, 2, *images[names[0]].shape[2:])
        expected = reference(model, {name: images[name] for name in available})
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_shapes_and_size_of_an_encoding(model: ShaSpec, images: dict[str, Tensor]) -> None:
    encoding = model.encode(images["flair"], "flair")
    assert [tuple(skip.shape) for skip in encoding.skips] == [(2, 4, 8, 12, 16), (2, 6, 4, 6, 8)]
    assert encoding.shared.shape == encoding.specific.shape == (2, 8, 2, 3, 4)
    assert encoding.nbytes == 4 * (2 * 4 * 8 * 12 * 16 + 2 * 6 * 4 * 6 * 8 + 2 * (2 * 8 * 2 * 3 * 4))


@torch.no_grad()
def test_specific_skips_are_kept_only_for_a_decoder_that_wants_them(
    make_model: Callable[..., ShaSpec], images: dict[str, Tensor]
) -> None:
    model = make_model(ModelConfig(widths=(4, 6, 8), specific_skips=True))
    encoding = model.encode(images["flair"], "flair")
    assert [skip.shape for skip in encoding.specific_skips] == [skip.shape for skip in encoding.skips]
    assert encoding.nbytes == 4 * 2 * (2 * 4 * 8 * 12 * 16 + 2 * 6 * 4 * 6 * 8 + 2 * 8 * 2 * 3 * 4)
    torch.testing.assert_close(encoding.specific_skips[1], model.specific_maps(images["flair"], "flair")[1])


@torch.no_grad()
def test_with_specific_skips_the_decoder_can_tell_which_modality_it_has(
    make_model: Callable[..., ShaSpec], images: dict[str, Tensor]
) -> None:
    """Without them every lone modality meets the same weights at the skips, so that only the bottom tells."""

    def spread(specific_skips: bool) -> float:
        model = make_model(ModelConfig(widths=(4, 6, 8), specific_skips=specific_skips))
        model.decoder.bottom = torch.nn.Sequential(model.decoder.bottom, Silence())
        alone = [model.decode({name: model.encode(images["t1"], name)}) for name in ("t1", "t2")]
        return float((alone[0] - alone[1]).abs().max())

    assert spread(specific_skips=False) == pytest.approx(0, abs=1e-5)
    assert spread(specific_skips=True) > 0.1


class Silence(torch.nn.Module):
    """Nothing of the bottom gets through."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.zeros_like(maps)


def test_a_new_network_expects_a_tumour_in_five_percent(make_images: Callable[..., dict[str, Tensor]]) -> None:
    torch.manual_seed(0)
    model = ShaSpec(ModelConfig(widths=(4, 8)))
    probabilities = model(make_images(NAMES)).logits.sigmoid()
    assert 0.02 < probabilities.mean() < 0.1


@pytest.mark.parametrize(("names", "found"), [(("adc",), "adc"), (("flair", "adc"), "adc"), ((), "none")])
def test_unknown_or_no_modality(
    model: ShaSpec, make_images: Callable[..., dict[str, Tensor]], names: tuple[str, ...], found: str
) -> None:
    images = make_images(names)
    encoding = model.encode(make_images(["flair"])["flair"], "flair")
    message = f"one or more of the modalities flair, t1, t1c, t2, found {found}"
    with pytest.raises(ShaSpecError, match=message):
        model(images)
    with pytest.raises(ShaSpecError, match=message):
        model.decode(dict.fromkeys(names, encoding))


def test_encode_knows_its_modalities(model: ShaSpec, images: dict[str, Tensor]) -> None:
    with pytest.raises(ShaSpecError, match="found adc"):
        model.encode(images["flair"], "adc")


def test_the_configuration_chooses_what_stands_in() -> None:
    torch.manual_seed(0)
    mean = ShaSpec(ModelConfig(widths=(2, 4))).eval()
    images = {name: torch.randn(1, 1, 4, 4, 4) for name in ("t2", "t1")}  # the order given does not count, T1 is first
    encodings = {name: mean.encode(image, name) for name, image in images.items()}
    logits = {}
    for rule in Substitution:
        network = ShaSpec(replace(mean.config, substitution=rule)).eval()
        network.load_state_dict(mean.state_dict())
        logits[rule] = network.decode(encodings)
        t1, t2 = encodings["t1"].shared, encodings["t2"].shared
        expected = {Substitution.MEAN: (t1 + t2) / 2, Substitution.FIRST: t1, Substitution.ZERO: 0 * t1}[rule]
        torch.testing.assert_close(network.fused(encodings)["flair"], expected)
        everything = {**encodings, **{name: mean.encode(images["t1"], name) for name in ("flair", "t1c")}}
        torch.testing.assert_close(network.decode(everything), mean.decode(everything))  # nothing is missing
    first, second, third = logits.values()
    assert not torch.allclose(first, second)
    assert not torch.allclose(second, third)


@pytest.mark.parametrize("name", ["type", "training", "forward"])
def test_names_that_torch_needs_itself_are_refused(name: str) -> None:
    with pytest.raises(ShaSpecError, match="names of modalities that torch leaves free"):
        ShaSpec(ModelConfig(modalities=(name, "b"), widths=(2, 2)))
