"""Which devices work here, and which precision is the faster one on each."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import torch
from torch import nn

from napari_shaspec.errors import ShaSpecError

Network = TypeVar("Network", bound=nn.Module)

PRECISIONS = ("auto", "float32")
"""What a network may be asked to compute in: the fastest format of the device, or one that is the same everywhere."""


@cache
def working_devices() -> tuple[str, ...]:
    """Names of the devices that can run a network on this machine, best first; the CPU is always the last.

    Being there is not enough: a driver may be too old, and Apple's backend lacks some 3-D layers in some versions. So
    every layer that the network is made of is tried once.
    """
    candidates = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return (*(name for name, present in candidates.items() if present and _runs_networks(name)), "cpu")


def _runs_networks(name: str) -> bool:
    layers = nn.Sequential(
        nn.Conv3d(1, 2, 3, stride=2, padding=1), nn.InstanceNorm3d(2), nn.ConvTranspose3d(2, 1, 2, 2)
    )
    try:
        layers.to(name)(torch.zeros(1, 1, 4, 4, 4, device=name)).cpu()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` is the best working device.

    Raises
    ------
    ShaSpecError
        For a device that does not work here.
    """
    working = working_devices()
    if name == "auto":
        return torch.device(working[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in working or (device.index or 0) >= _count(device.type):
        raise ShaSpecError(f"a device out of auto, {', '.join(working)}", name, "Choose one that works on this machine")
    return device


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else 1


def fast_precision(device: torch.device) -> torch.dtype:
    """The format in which 3-D convolutions run fastest: bfloat16 where the hardware multiplies it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    # Without these instructions oneDNN emulates the format, which is slower than float32. Torch has no public name for
    # them, and versions that lack these ones get float32, which is right everywhere.
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    if device.type == "cpu" and any(supported() for supported in known if supported is not None):
        return torch.bfloat16
    return torch.float32


def check_precision(name: str) -> None:
    """Refuse what is none of `PRECISIONS`, before anything runs.

    Raises
    ------
    ShaSpecError
        For another name.
    """
    if name not in PRECISIONS:
        raise ShaSpecError(f"a precision out of {', '.join(PRECISIONS)}", name, "Choose one of them")


def in_fast_layout(model: Network) -> Network:
    """The same network with its weights laid out channels last, which halves the time of 3-D convolutions on a CPU."""
    dims = {parameter.ndim for parameter in model.parameters()}
    layout = torch.channels_last_3d if 5 in dims else torch.channels_last
    return model.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]
