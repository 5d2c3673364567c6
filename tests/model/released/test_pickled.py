"""Files of `torch.save`: what is taken from them, and that nothing in them is ever run."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.checkpoint import convert_checkpoint, load_checkpoint
from napari_shaspec.model.released.checkpoint import ARCHITECTURE, STATEMENT
from napari_shaspec.model.released.pickled import SavedModule, is_legacy, is_pickled
from tests.released_reference import DualNet


class Runs:
    """Unpickling it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def rewritten(saved: Path, path: Path, change: Callable[[str, bytes], bytes | None], **options: Any) -> Path:
    """The archive with some entries changed or left out."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w", **options) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return path


def test_a_module_and_its_state_dict_give_the_same_network(saved: Path, reference: DualNet, tmp_path: Path) -> None:
    module = load_checkpoint(saved)
    assert module.statement == STATEMENT
    assert module.training == {"source": "final.pth", "iterations": 180_000}
    for content in (
        reference.state_dict(),
        {"model": {f"module.{name}": tensor for name, tensor in reference.state_dict().items()}},
        {"state_dict": reference.state_dict(), "epoch": np.int64(3)},
        reference,
    ):
        torch.save(content, tmp_path / "other.pt")
        other = load_checkpoint(tmp_path / "other.pt").model.state_dict()
        for name, tensor in module.model.state_dict().items():
            assert torch.equal(tensor, other[name]), name


def test_half_precision_double_and_views(reference: DualNet, tmp_path: Path) -> None:
    """Every tensor may have its own type, and be a piece of a larger storage."""
    whole = torch.arange(40.0).double()
    state = {"a.weight": whole[5:17].view(3, 4).t(), "b.weight": torch.ones(3).half(), "c.bias": torch.zeros(0)}
    torch.save(state, tmp_path / "views.pt")
    found = dict(SavedModule(tmp_path / "views.pt").tensors({name: name for name in state}))
    for name, tensor in state.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor.float())


def test_only_weights_are_read(saved: Path, tmp_path: Path) -> None:
    """Activations and optimizer outweigh them; here their storages are taken away, and nobody misses them."""
    module = SavedModule(saved)
    needed = {f"/data/{described.storage.key}" for described in module._tensors.values()}
    stripped = rewritten(
        saved,
        tmp_path / "stripped.pth",
        lambda name, data: None if "/data/" in name and not name.endswith(tuple(needed)) else data,
    )
    assert stripped.stat().st_size < saved.stat().st_size - 3000
    expected, found = load_checkpoint(saved).model.state_dict(), load_checkpoint(stripped).model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("function", [os.system, eval, exec, os.mkdir, pickle.loads, print])
@pytest.mark.parametrize("place", ["model", "beside", "inside"])
def test_a_malicious_pickle_runs_nothing(
    reference: DualNet, tmp_path: Path, function: Callable[..., Any], place: str
) -> None:
    trace = tmp_path / "trace"
    command = {
        os.system: f"echo x > {trace}",
        eval: f"__import__('os').mkdir({str(trace)!r})",
        exec: f"__import__('os').mkdir({str(trace)!r})",
        os.mkdir: str(trace),
        pickle.loads: pickle.dumps(Runs(os.mkdir, str(trace))),
        print: "seen",
    }[function]
    payload = Runs(function, command)
    content: Any = {"model": payload}
    if place == "beside":
        content = {"model": reference.state_dict(), "optimizer": payload}
    elif place == "inside":
        content = {"model": reference.state_dict() | {"shared_enc.extra": payload}}
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(ShaSpecError, match=r"which wants .* to be run\. Nothing was run"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not trace.exists()
    if function is not print:  # the payload would have been seen
        pickle.loads(pickle.dumps(payload))  # noqa: S301 (our own)
        assert trace.exists()


def test_functions_of_other_packages_are_not_run_either(reference: DualNet, tmp_path: Path) -> None:
    trace = tmp_path / "trace.npy"
    payload = Runs(np.save, str(trace), np.zeros(1))
    torch.save({"model": reference.state_dict(), "metric": payload}, tmp_path / "final.pth")
    load_checkpoint(tmp_path / "final.pth")
    assert not trace.exists()


def test_attributes_set_on_stand_ins_outlive_nothing(saved: Path, tmp_path: Path) -> None:
    """BUILD can set attributes of whatever the pickle got hold of: of things made for this file alone."""

    stream = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x0c\x00\x00\x00__defaults__K\x07sb."
    evil = rewritten(saved, tmp_path / "evil.pth", lambda name, data: stream if name.endswith("data.pkl") else data)
    with pytest.raises(ShaSpecError):
        load_checkpoint(evil)
    load_checkpoint(saved)


def test_what_was_checked_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    """BUILD would give a description of a tensor another state, behind the back of whoever has looked at it."""
    storage = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I0\n(I4\nt(I1\nttR"
    build = b"](" + storage[1:] + b"aI0\na(I4\nta(S'boom'\ntab"
    for name, operations in (("plain", b""), ("built", build)):
        path = tmp_path / f"{name}.pth"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("a/data.pkl", b"\x80\x02}S'x'\n" + tensor + operations + b"s.")
            archive.writestr("a/data/0", bytes(16))
    assert SavedModule(tmp_path / "plain.pth").shapes == {"x": (4,)}
    with pytest.raises(ShaSpecError, match="changed after it was described"):
        SavedModule(tmp_path / "built.pth")


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.7, 0.9999])
def test_truncated_files(saved: Path, tmp_path: Path, share: float) -> None:
    content = saved.read_bytes()
    (tmp_path / "short.pth").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ShaSpecError, match=r"torch\.save has written in full, found short\.pth"):
        load_checkpoint(tmp_path / "short.pth")


def test_flipped_bytes(saved: Path, tmp_path: Path) -> None:
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        key = next(iter(SavedModule(saved)._tensors.values())).storage.key
        place = next(info for info in archive.infolist() if info.filename.endswith(f"/data/{key}")).header_offset
    content[place + 200] ^= 255
    (tmp_path / "flipped.pth").write_bytes(content)
    with pytest.raises(ShaSpecError, match=r"torch\.save has written in full"):
        load_checkpoint(tmp_path / "flipped.pth")


def test_missing_and_short_storages(saved: Path, tmp_path: Path) -> None:
    key = next(iter(SavedModule(saved)._tensors.values())).storage.key
    for change in (
        lambda name, data: None if name.endswith(f"/data/{key}") else data,
        lambda name, data: data[:8] if name.endswith(f"/data/{key}") else data,
    ):
        with pytest.raises(ShaSpecError, match="cannot be read"):
            load_checkpoint(rewritten(saved, tmp_path / "less.pth", change))


def test_compressed_archives_are_refused(saved: Path, tmp_path: Path) -> None:
    bomb = rewritten(saved, tmp_path / "b.pth", lambda _, data: data, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ShaSpecError, match="compressed entries"):
        load_checkpoint(bomb)


def test_encrypted_storages_are_damage(saved: Path, tmp_path: Path) -> None:
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data/0"))
    entry = content.rindex(name.encode()) - 46  # its header in the archive's directory
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 8] |= 1
    (tmp_path / "locked.pth").write_bytes(content)
    with pytest.raises(ShaSpecError, match=r"locked\.pth"):
        load_checkpoint(tmp_path / "locked.pth")


def test_a_place_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    for look in (is_pickled, is_legacy):
        with pytest.raises(ShaSpecError, match="to read"):
            look(tmp_path)


def test_other_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ShaSpecError, match=r"no data\.pkl"):
        load_checkpoint(tmp_path / "a.pth")


def test_a_tensor_that_claims_more_than_its_storage(tmp_path: Path) -> None:
    state = {"a.weight": torch.zeros(4).expand(10**6, 4)}
    torch.save(state, tmp_path / "wide.pt")
    saved = SavedModule(tmp_path / "wide.pt")
    with pytest.raises(ShaSpecError, match="reaches beyond its storage"):
        dict(saved.tensors({"a.weight": "a.weight"}))


@pytest.mark.parametrize("content", [{}, {"model": 3}, [1, 2], {"model": {"a": "b"}}, None])
def test_files_without_a_network(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "no.pth")
    with pytest.raises(ShaSpecError, match="a network in the file"):
        load_checkpoint(tmp_path / "no.pth")


def test_other_networks(reference: DualNet, tmp_path: Path) -> None:
    def refused(content: object, message: str) -> None:
        torch.save({"model": content}, tmp_path / "other.pth")
        with pytest.raises(ShaSpecError, match=message):
            load_checkpoint(tmp_path / "other.pth")

    state = reference.state_dict()
    refused(nn.Linear(3, 2), "the network that the released code trains")
    refused(state | {"attention.weight": torch.zeros(2, 2)}, "1 weights more, attention.weight the first")
    refused({name: value for name, value in state.items() if "t1ce" not in name}, "under t1ce_enc")
    refused({name: value for name, value in state.items() if "layer3" not in name}, "no blocks under .*layer3")
    refused(state | {"compos_layer.conv.weight": torch.zeros(6, 6, 3, 3, 3)}, "1 weights that differ, fusion.weight")


def test_self_attention_is_refused_with_that_reason(reference: DualNet, tmp_path: Path) -> None:
    reference.self_att = True
    try:
        torch.save({"model": reference}, tmp_path / "attentive.pth")
    finally:
        reference.self_att = False
    with pytest.raises(ShaSpecError, match="trained with self_att switched on"):
        load_checkpoint(tmp_path / "attentive.pth")


def test_the_format_of_old_torch_is_named(reference: DualNet, tmp_path: Path) -> None:
    torch.save(reference.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ShaSpecError, match=r"the format of torch before 1\.6"):
        load_checkpoint(tmp_path / "old.pth")


def test_a_module_that_holds_itself(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    module._modules["again"] = module
    torch.save({"model": module}, tmp_path / "loop.pth")
    with pytest.raises(ShaSpecError, match="the network that the released code trains"):
        load_checkpoint(tmp_path / "loop.pth")


def test_converting(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    convert_checkpoint(saved, out)
    with safe_open(out, framework="pt") as file:
        header = file.metadata()
    assert header["architecture"] == ARCHITECTURE
    assert json.loads(header["config"])["tile"] == [80, 160, 160]
    expected, found = load_checkpoint(saved), load_checkpoint(out)
    assert found.model.config == expected.model.config
    assert found.statement == STATEMENT
    assert found.training == {"source": "final.pth", "iterations": 180_000, "sha256": expected.sha256}
    for name, tensor in expected.model.state_dict().items():
        assert torch.equal(tensor, found.model.state_dict()[name]), name


def test_converting_what_needs_none(saved: Path, tmp_path: Path) -> None:
    convert_checkpoint(saved, tmp_path / "out.safetensors")
    with pytest.raises(ShaSpecError, match="Other files need no conversion"):
        convert_checkpoint(tmp_path / "out.safetensors", tmp_path / "again.safetensors")
    with pytest.raises(ShaSpecError, match="no file at"):
        convert_checkpoint(saved, tmp_path / "out.safetensors")
