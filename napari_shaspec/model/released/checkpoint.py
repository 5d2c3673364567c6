"""A checkpoint of the released code, from the pickled file to a network or to safetensors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.released.blocks import Convolution, standardised
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.names import configured, translated
from napari_shaspec.model.released.network import ReleasedShaSpec, SkipProjection
from napari_shaspec.model.released.pickled import SavedModule

ARCHITECTURE = "ShaSpec, released code"
"""Names this network in the header of a safetensors file; our own has no such entry."""

STATEMENT = "Trained with the authors' released code; not checked here. For research; not for clinical use."

OPTIONAL = {"decoder.output.bias", "domain_classifier.weight", "domain_classifier.bias"}
"""Zeros where a file lacks them: predictions need no domain classifier, and that code's output has no bias."""


def read_released(path: Path) -> tuple[ReleasedConfig, Iterable[tuple[str, Tensor]], dict[str, Any]]:
    """Read a file of `torch.save` without running any of it.

    Returns
    -------
    tuple
        The configuration; the weights by our names, as they were trained, read as they are drawn; where they come from.

    Raises
    ------
    ShaSpecError
        If the file is damaged or malicious, or if it holds another network.
    """
    saved = SavedModule(path)
    if saved.attention:
        raise ShaSpecError(
            "a network without self-attention before the decoder",
            f"{path.name}, trained with self_att switched on",
            "Choose a checkpoint that was trained without it; that layer is not supported",
        )
    found = saved.shapes
    names = translated(found)
    shapes = {ours: found[theirs] for theirs, ours in names.items()}
    config = configured(shapes)
    check_shapes(config, shapes)
    training: dict[str, Any] = {"source": path.name}
    if saved.iterations is not None:
        training["iterations"] = saved.iterations
    return config, saved.tensors(names), training


def check_shapes(config: ReleasedConfig, found: dict[str, tuple[int, ...]]) -> None:
    """Refuse weights that are not those of the configuration.

    Raises
    ------
    ShaSpecError
        If a name or a shape differs.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in ReleasedShaSpec(config).state_dict().items()}
    different = sorted(
        name
        for name in {*wanted, *found}
        if wanted.get(name) != found.get(name) and not (name in OPTIONAL and name not in found)
    )
    if different:
        raise ShaSpecError(
            "the network that the released code trains (docs/model.md)",
            f"{len(different)} weights that differ, {different[0]} the first "
            f"({found.get(different[0], 'missing')} instead of {wanted.get(different[0], 'none')})",
            "Choose a checkpoint of that network",
        )


def build_released(config: ReleasedConfig, weights: Iterable[tuple[str, Tensor]]) -> ReleasedShaSpec:
    """The network, with its convolutions standardised once and for all.

    Parameters
    ----------
    weights
        As they were trained; each is drawn, standardised and forgotten, so that memory holds the network once.
    """
    with torch.device("meta"):
        model = ReleasedShaSpec(config)
    convolutions = {
        f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Convolution | SkipProjection)
    }
    state: dict[str, Tensor] = {}
    for name, tensor in weights:
        value = standardised(tensor) if name in convolutions else tensor.float()
        # The layout in which a CPU convolves fastest, so that an engine need not make a second copy.
        state[name] = value.to(memory_format=torch.channels_last_3d) if value.ndim == 5 else value
    for name, tensor in model.state_dict().items():
        if name in OPTIONAL:
            state.setdefault(name, torch.zeros(tensor.shape))
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(requires_grad=False)
