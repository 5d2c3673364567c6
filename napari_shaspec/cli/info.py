"""`napari-shaspec info`: what is installed, what works here, and where the weights come from."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import typer

from napari_shaspec import __version__
from napari_shaspec.cli.options import Weights

if TYPE_CHECKING:
    from napari_shaspec.modalities import Modality
    from napari_shaspec.reliability import Limits

PACKAGES = ("torch", "monai", "numpy", "nibabel", "lightning", "nilearn", "napari")


def info(weights: Weights = None) -> None:
    """Show versions, the devices that work here, and the weights."""
    import torch

    from napari_shaspec.inference.devices import fast_precision, working_devices
    from napari_shaspec.model.checkpoint import load_checkpoint
    from napari_shaspec.model.config import ModelConfig

    _show("napari-shaspec", __version__)
    _show("python", f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        _show(package, _version(package))
    for device in working_devices():
        precision = str(fast_precision(torch.device(device))).removeprefix("torch.")
        _show(f"device {device}", f"works, {precision} by default")
    checkpoint = load_checkpoint(weights)
    config = checkpoint.model.config
    _show("weights", str(checkpoint.path))
    _show("sha256", checkpoint.sha256)
    _show("statement", checkpoint.statement or "none")
    _show("modalities", ", ".join(config.modalities))
    if isinstance(config, ModelConfig):
        finest, coarsest = config.voxel_mm
        _show("voxels", f"{finest:g} to {coarsest:g} mm")
    else:
        _show("network", "of the released code; voxels as they are stored")
    if checkpoint.reliability is None:
        _show("reliability", "not measured")
    else:
        _show("reliability", checkpoint.reliability.source)
        _show_limits(checkpoint.reliability.limits)
    if checkpoint.training:
        typer.echo("\nhow they were trained")
        _show_training(checkpoint.training)


def _show_limits(limits: Mapping[Modality, Limits]) -> None:
    """Once for all modalities that share them."""
    sharing: dict[Limits, list[str]] = {}
    for modality, each in limits.items():
        sharing.setdefault(each, []).append(modality.title)
    for each, titles in sharing.items():
        _show("it holds for", each.described if len(sharing) == 1 else f"{', '.join(titles)}: {each.described}")


def _show_training(training: Mapping[str, object]) -> None:
    """Facts line by line, and those of the weights that training started from below them.

    The whole training configuration is in the file for those who want it.
    """
    for name, fact in training.items():
        if name in ("train_config", "started_from"):
            continue
        if isinstance(fact, Mapping):
            _show(name, ", ".join(f"{key} {value}" for key, value in fact.items()))
        elif name == "earlier" and isinstance(fact, list):
            _show(name, f"{len(fact)} {'start' if len(fact) == 1 else 'starts'} before, in the header of the file")
        else:
            _show(name, str(fact))
    before = training.get("started_from")
    if isinstance(before, Mapping):
        typer.echo()
        _show("started from", str(before.get("sha256", "")))
        earlier = before.get("training")
        if isinstance(earlier, Mapping):
            _show_training(earlier)


def _show(name: str, fact: str) -> None:
    typer.echo(f"{name.replace('_', ' '):<19} {fact}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
