"""Devices, precisions and what counts as a full device."""

from __future__ import annotations

import pytest
import torch

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.inference import engine as engine_module
from napari_shaspec.inference.devices import choose_device, fast_precision, working_devices
from napari_shaspec.inference.engine import OutOfMemoryError, TorchEngine
from napari_shaspec.inference.session import Session
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.volume import Case


def test_the_cpu_always_works_and_comes_last() -> None:
    assert working_devices()[-1] == "cpu"
    assert choose_device("auto").type == working_devices()[0]


@pytest.mark.parametrize("name", ["cuda", "mps", "tpu", "", "cpu:1", "cuda:99"])
def test_a_device_that_does_not_work_is_refused(name: str) -> None:
    if name in working_devices():
        pytest.skip(f"{name} works here")
    with pytest.raises(ShaSpecError, match="a device out of auto"):
        choose_device(name)


def test_an_unknown_precision_is_refused(model: ShaSpec) -> None:
    with pytest.raises(ShaSpecError, match="a precision out of"):
        TorchEngine(model, "cpu", "int8")


def test_fast_precision_stays_close_to_float32(model: ShaSpec) -> None:
    image = torch.randn(24, 16, 16, generator=torch.Generator().manual_seed(0))
    answers = []
    for precision in ("auto", "float32"):
        engine = TorchEngine(model, "cpu", precision)
        answers.append(engine.decode({"flair": engine.encode(image, "flair")}))
    assert answers[0].dtype == torch.float32
    assert (answers[0] - answers[1]).abs().mean() < 0.02
    assert fast_precision(torch.device("cpu")) in {torch.bfloat16, torch.float32}


def test_versions_of_torch_without_its_private_names_get_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name)
    assert fast_precision(torch.device("cpu")) is torch.float32


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_full_device_is_told_from_a_bug(model: ShaSpec, error: Exception) -> None:
    class Broken(ShaSpec):
        def encode(self, image: torch.Tensor, modality: str) -> None:  # type: ignore[override]
            raise error

    with pytest.raises(OutOfMemoryError):
        TorchEngine(Broken(model.config), "cpu").encode(torch.zeros(16, 16, 16), "flair")
    error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        TorchEngine(Broken(model.config), "cpu").encode(torch.zeros(16, 16, 16), "flair")


def test_a_device_without_memory_for_the_network(model: ShaSpec, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[str] = []

    def placed(network: ShaSpec) -> ShaSpec:
        places.append("")
        if len(places) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network

    monkeypatch.setattr(engine_module, "in_fast_layout", placed)
    with pytest.raises(ShaSpecError, match="memory for the network"):
        Session(model, case, device="cpu")
    places.clear()
    chosen = iter([torch.device("cpu"), torch.device("cuda"), torch.device("cpu")])  # as if the first were a card
    monkeypatch.setattr(engine_module, "choose_device", lambda name: next(chosen))
    session = Session(model, case, device="cpu")
    assert session.device == "cpu"
    assert session.notes[0] == "cuda has no memory for the network: the CPU runs it instead."


@pytest.mark.skipif("cuda" not in working_devices(), reason="no CUDA device here")
def test_cuda_and_cpu_agree_in_float32(model: ShaSpec) -> None:
    image = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(0))
    answers = []
    for device in ("cuda", "cpu"):
        engine = TorchEngine(model, device, "float32")
        answers.append(engine.decode({"flair": engine.encode(image, "flair"), "t2": engine.encode(-image, "t2")}))
    assert (answers[0] - answers[1]).abs().max() < 1e-3
