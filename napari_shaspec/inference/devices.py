"""Which devices work here, and which precision is the faster one on each."""

from __future__ import annotations

import torch

from napari_shaspec.errors import ShaSpecError


def working_devices() -> tuple[str, ...]:
    """Names of the devices that can run a network on this machine, best first; the CPU is always the last."""
    devices = []
    if torch.cuda.is_available():
        devices += ["cuda"]
    if torch.backends.mps.is_available():
        devices += ["mps"]
    return (*devices, "cpu")


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
    if name.partition(":")[0] not in working:
        raise ShaSpecError(f"a device out of auto, {', '.join(working)}", name, "Choose one that works on this machine")
    return torch.device(name)


def fast_precision(device: torch.device) -> torch.dtype:
    """The format in which 3-D convolutions run fastest: bfloat16 where the hardware multiplies it, else float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return torch.float32
