"""Begin with the weights of a trained network, or with the answers of a narrower one and room to learn."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.blocks import TRANSPOSED
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.fusion import ModalityProjection, ResidualFusion, SpecificProjection
from napari_shaspec.model.shaspec import ShaSpec


def grows_from(config: ModelConfig, start: ModelConfig) -> bool:
    """Whether networks of the one shape are those of the other, or wider ones at some levels and else the same."""
    wide_enough = len(config.widths) == len(start.widths) and all(
        new >= old for new, old in zip(config.widths, start.widths, strict=True)
    )
    return wide_enough and replace(start, widths=config.widths, sure=config.sure, sure_each=config.sure_each) == config


def first_network(config: ModelConfig, seed: int, start: ShaSpec | None = None) -> ShaSpec:
    """What a training run begins with: it depends on shape, seed and start only, new channels included.

    Parameters
    ----------
    start
        As of `take_over`; left out, all weights are random.
    """
    torch.manual_seed(seed)
    model = ShaSpec(config)
    if start is not None:
        take_over(model, start)
    return model


@torch.no_grad()
def take_over(model: ShaSpec, start: ShaSpec) -> None:
    """Give a fresh network the weights of a trained one, so that both give the same logits up to rounding.

    Channels that only the new one has keep their random weights, and whatever the old channels are computed from takes
    nothing from them: those weights are 0, and training finds out what they are good for. Every channel is normalised
    by itself, so more of them change nothing for the others. (The wider layers of Net2Net, Chen et al., ICLR 2016, are
    copies of old channels instead, which stay alike where nothing tells them apart.)

    Parameters
    ----------
    model
        Of the shape of ``start``, or wider at some levels.

    Raises
    ------
    ShaSpecError
        For any other shape.
    """
    if not grows_from(model.config, start.config):
        raise ShaSpecError(
            f"the shape of the network to start from, or wider levels than {start.config.widths}",
            f"widths {model.config.widths} or another difference",
            "Leave out what changes the network, or give as many levels that are at least as wide",
        )
    old = start.state_dict()
    for name, module in model.named_modules():
        for part, weights in module.named_parameters(prefix=name, recurse=False):
            _place(old[part], weights, *_axes(module, weights), _concatenated(model, name))


def _axes(module: nn.Module, weights: Tensor) -> tuple[int, int | None]:
    """Where a layer's weights have the channels that it makes, and those that it takes."""
    if weights.ndim == 1:
        return 0, None
    return (1, 0) if isinstance(module, tuple(TRANSPOSED.values())) else (0, 1)


def _concatenated(model: ShaSpec, name: str) -> int:
    """How many maps the layer of this name takes side by side: each of them has new channels at its end."""
    owner = model.get_submodule(name.rpartition(".")[0])
    if isinstance(owner, ResidualFusion):
        return 2
    if isinstance(owner, (ModalityProjection, SpecificProjection)) or name == "decoder.bottom.0":
        return len(model.modalities)
    return 1


def _place(old: Tensor, new: Tensor, made: int, taken: int | None, maps: int) -> None:
    """Write old weights into new ones of the same axes: old channels made of old ones as before, of new ones with 0."""
    kept = new.narrow(made, 0, old.shape[made])
    if taken is None:
        kept.copy_(old)
        return
    kept.zero_()
    for place, part in enumerate(old.chunk(maps, taken)):
        kept.narrow(taken, place * (new.shape[taken] // maps), part.shape[taken]).copy_(part)
