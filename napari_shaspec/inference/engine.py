"""Who runs encode and decode: torch on a device, in a precision."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference.devices import check_precision, choose_device, fast_precision, in_fast_layout
from napari_shaspec.model.networks import Network, NetworkConfig
from napari_shaspec.model.shaspec import Encoding

FULL = ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
"""How CUDA and MPS, and the CPU's allocator on Windows, Linux and macOS, say that there is no room."""


class OutOfMemoryError(Exception):
    """The device has no room for a tile of this size."""


class Engine(Protocol):
    """What a session needs from a runtime."""

    @property
    def config(self) -> NetworkConfig:
        """Of the network that it runs."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    def encode(self, image: Tensor, modality: str) -> Encoding:
        """(X, Y, Z) float32 on the CPU -> the encoding, wherever the engine keeps it. May raise `OutOfMemoryError`."""

    def decode(self, encodings: Mapping[str, Encoding]) -> Tensor:
        """Encodings -> probabilities (R, X, Y, Z), float32 on the CPU. May raise `OutOfMemoryError`."""

    def specific_maps(self, image: Tensor, modality: str) -> tuple[Tensor, ...]:
        """As `encode`, but every level (C, *size / 2**l) of the specific encoder, float32 on the CPU."""

    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, Tensor]:
        """As `decode`, but the fused map (C, *bottom) of every modality, float32 on the CPU."""

    def on_cpu(self) -> Engine:
        """The same network on the CPU, for when the device has no room at all."""


class TorchEngine:
    """The network in torch.

    Parameters
    ----------
    model
        Never changed, so that sessions on several devices can share one; on the CPU they share its memory, too.
    device
        A name that `choose_device` knows.
    precision
        ``auto`` for the format that is fastest on the device, or ``float32``.

    Raises
    ------
    OutOfMemoryError
        If the device has no memory for the network.
    """

    def __init__(self, model: Network, device: str = "auto", precision: str = "auto") -> None:
        check_precision(precision)
        self._device = choose_device(device)
        self._precision = precision
        self._dtype = fast_precision(self._device) if precision == "auto" else torch.float32
        self._source = model
        with _memory_errors():
            self._model = in_fast_layout(_with_own_parameters(model).to(self._device)).eval()

    @property
    def config(self) -> NetworkConfig:
        """Of the network."""
        return self._model.config

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """What convolutions are computed in."""
        return self._dtype

    @torch.inference_mode()
    def encode(self, image: Tensor, modality: str) -> Encoding:
        """See `Engine`."""
        with _memory_errors(), self._autocast():
            return self._model.encode(image[None, None].to(self._device), modality)

    @torch.inference_mode()
    def decode(self, encodings: Mapping[str, Encoding]) -> Tensor:
        """See `Engine`."""
        with _memory_errors(), self._autocast():
            return self._model.decode(encodings)[0].float().sigmoid().cpu()

    @torch.inference_mode()
    def specific_maps(self, image: Tensor, modality: str) -> tuple[Tensor, ...]:
        """See `Engine`."""
        with _memory_errors(), self._autocast():
            maps = self._model.specific_maps(image[None, None].to(self._device), modality)
            return tuple(each[0].float().cpu() for each in maps)

    @torch.inference_mode()
    def fused(self, encodings: Mapping[str, Encoding]) -> dict[str, Tensor]:
        """See `Engine`."""
        with _memory_errors(), self._autocast():
            return {name: each[0].float().cpu() for name, each in self._model.fused(encodings).items()}

    def on_cpu(self) -> TorchEngine:
        """See `Engine`."""
        return TorchEngine(self._source, "cpu", self._precision)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)


def engine_that_fits(model: Network, device: str, precision: str) -> tuple[TorchEngine, tuple[str, ...]]:
    """The engine on this device, or on the CPU where that has no memory for the network; and what to say of it.

    Raises
    ------
    ShaSpecError
        If the CPU has none either.
    """
    try:
        return TorchEngine(model, device, precision), ()
    except OutOfMemoryError as error:
        chosen = choose_device(device)
        if chosen.type == "cpu":
            raise ShaSpecError(
                "memory for the network", f"none ({error})", "Close other programs and try again"
            ) from error
        note = f"{chosen} has no memory for the network: the CPU runs it instead."
        return TorchEngine(model, "cpu", precision), (note,)


def _with_own_parameters(model: Network) -> Network:
    """A copy whose parameters are objects of their own, so that it can move, over memory that is shared until then."""
    with torch.no_grad():
        shared = {id(each): torch.nn.Parameter(each.detach(), each.requires_grad) for each in model.parameters()}
    return copy.deepcopy(model, shared)


class _memory_errors:  # noqa: N801 (used like a function)
    """Tell a full device, for which smaller tiles help, from a bug."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # CUDA has its own class; MPS and the CPU's allocator raise a RuntimeError that says so.
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in FULL)
        ):
            raise OutOfMemoryError(str(error)) from error
