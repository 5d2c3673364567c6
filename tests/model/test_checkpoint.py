"""Weights survive the trip through a file; every other file is refused, and none of them is run."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import FORMAT, attach_reliability, load_checkpoint, save_checkpoint, shift_outputs
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.regions import Region
from napari_shaspec.reliability import Reliability

TRAINING = {"command": "napari-shaspec train", "seed": 3, "seconds": 1.5}


@pytest.fixture
def path(tmp_path: Path, model: ShaSpec) -> Path:
    """A checkpoint of the small network."""
    path = tmp_path / "weights.safetensors"
    save_checkpoint(model, path, TRAINING)
    return path


@pytest.fixture
def rewrite(path: Path) -> Callable[..., Path]:
    """The checkpoint with entries of its header or tensors replaced, or left out where they are None."""

    def write(header: dict[str, str | None] | None = None, tensors: dict[str, Tensor | None] | None = None) -> Path:
        with safe_open(path, framework="pt") as file:
            entries = file.metadata() | (header or {})
            weights = {name: file.get_tensor(name).clone() for name in file.keys()} | (tensors or {})  # noqa: SIM118
        edited = path.with_name("edited.safetensors")
        save_file(
            {name: tensor for name, tensor in weights.items() if tensor is not None},
            edited,
            {key: value for key, value in entries.items() if value is not None},
        )
        return edited

    return write


@torch.no_grad()
def test_13_a_checkpoint_restores_equal_outputs(path: Path, model: ShaSpec, images: dict[str, Tensor]) -> None:
    restored = load_checkpoint(str(path)).model
    assert restored.config == model.config
    for available in (("flair", "t1", "t1c", "t2"), ("t1c",)):
        chosen = {name: images[name] for name in available}
        torch.testing.assert_close(restored(chosen).logits, model(chosen).logits, rtol=0, atol=0)


def test_a_restored_network_is_ready_for_use(path: Path) -> None:
    restored = load_checkpoint(path).model
    assert not restored.training
    for parameter in restored.parameters():
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert not parameter.requires_grad


def test_a_checkpoint_says_where_it_comes_from(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    assert checkpoint.training == TRAINING
    assert checkpoint.statement == SIMULATED_STATEMENT
    assert "simulated cases only" in checkpoint.statement
    assert "not for clinical use" in checkpoint.statement
    assert checkpoint.path == path
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_header_alone_rebuilds_the_network(path: Path, model: ShaSpec) -> None:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert header["format"] == FORMAT
    assert ModelConfig.from_dict(json.loads(header["config"])) == model.config
    assert json.loads(header["training"]) == TRAINING


def test_other_networks_and_statements(
    tmp_path: Path, make_model: Callable[..., ShaSpec], make_images: Callable[..., dict[str, Tensor]]
) -> None:
    model = make_model(ModelConfig(modalities=("image", "sound"), spatial_dims=2, widths=(3, 5)))
    save_checkpoint(model.double(), tmp_path / "a.safetensors", {}, statement="")
    checkpoint = load_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.statement == ""
    images = make_images(("image", "sound"), dims=2)
    torch.testing.assert_close(checkpoint.model(images).logits, model.float()(images).logits, rtol=0, atol=1e-6)


def test_half_precision_weights_become_float32(rewrite: Callable[..., Path], model: ShaSpec) -> None:
    halves = {name: tensor.half() for name, tensor in model.state_dict().items()}
    weight = load_checkpoint(rewrite(tensors=halves)).model.decoder.output.weight
    torch.testing.assert_close(weight, halves["decoder.output.weight"].float(), rtol=0, atol=0)


def test_loading_draws_no_random_numbers(path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_outlive_their_file(path: Path, model: ShaSpec) -> None:
    restored = load_checkpoint(path).model
    path.write_bytes(bytes(path.stat().st_size))
    torch.testing.assert_close(restored.decoder.output.weight, model.decoder.output.weight, rtol=0, atol=0)


# Writing


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """What the user lets others do with new files."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_files_get_the_permissions_of_any_new_file(tmp_path: Path, model: ShaSpec, umask: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(model, path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_writing_replaces_an_older_file_and_leaves_nothing_else(path: Path, model: ShaSpec) -> None:
    save_checkpoint(model, path, {"seed": 4})
    assert load_checkpoint(path).training == {"seed": 4}
    assert list(path.parent.iterdir()) == [path]


def test_the_older_file_survives_a_failed_write(path: Path, model: ShaSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ShaSpecError, match="found No space left on device"):
        save_checkpoint(model, path, {"seed": 4})
    assert load_checkpoint(path).training == TRAINING
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_cannot_be_overwritten(tmp_path: Path, model: ShaSpec) -> None:
    (tmp_path / "taken" / "by").mkdir(parents=True)
    with pytest.raises(ShaSpecError, match="a file name, found the folder"):
        save_checkpoint(model, tmp_path / "taken", {})
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_the_folder_must_exist(tmp_path: Path, model: ShaSpec) -> None:
    with pytest.raises(ShaSpecError, match="No such file"):
        save_checkpoint(model, tmp_path / "none" / "weights.safetensors", {})


# Files that are refused


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ShaSpecError, match="found nothing at"):
        load_checkpoint(tmp_path / "none.safetensors")


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("pack", [torch.save, lambda model, path: path.write_bytes(pickle.dumps(model))])
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_pickled_files_are_never_unpickled(tmp_path: Path, pack: Callable[[Any, Path], None], name: str) -> None:
    trace = tmp_path / "trace"
    pack({"model": Payload(trace)}, tmp_path / name)
    with pytest.raises(ShaSpecError, match=r"which wants \w+\.mkdir to be run|bare pickles are not opened"):
        load_checkpoint(tmp_path / name)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))  # noqa: S301 (shows that the payload would have been seen)
    assert trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_truncated_files(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ShaSpecError, match=r"a \.safetensors checkpoint, found weights\.safetensors, which is not one"):
        load_checkpoint(path)


def test_weights_of_another_program(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ShaSpecError, match=r"format 'napari-shaspec 1', found None in other\.safetensors"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_weights_of_another_format(rewrite: Callable[..., Path]) -> None:
    with pytest.raises(ShaSpecError, match="found 'napari-shaspec 99'"):
        load_checkpoint(rewrite({"format": "napari-shaspec 99"}))


@pytest.mark.parametrize("shape", [None, (3, 4), (3, 4, 1, 1, 2)])
def test_weights_that_do_not_fit(rewrite: Callable[..., Path], shape: tuple[int, ...] | None) -> None:
    tensors = {"decoder.output.weight": None if shape is None else torch.zeros(shape)}
    with pytest.raises(ShaSpecError, match=r"found 1 that differ, decoder\.output\.weight the first"):
        load_checkpoint(rewrite(tensors=tensors))


def test_weights_too_many(rewrite: Callable[..., Path]) -> None:
    with pytest.raises(ShaSpecError, match="found 1 that differ, extra the first"):
        load_checkpoint(rewrite(tensors={"extra": torch.zeros(1)}))


def test_a_configuration_of_another_network(rewrite: Callable[..., Path]) -> None:
    config = ModelConfig(widths=(4, 6, 9)).to_dict()
    with pytest.raises(ShaSpecError, match="the weights that the configuration asks for"):
        load_checkpoint(rewrite({"config": json.dumps(config)}))


def test_an_absurd_configuration_takes_no_memory(rewrite: Callable[..., Path]) -> None:
    config = ModelConfig(widths=(2**14, 2**14, 2**14)).to_dict()  # 10**11 weights
    with pytest.raises(ShaSpecError, match="the weights that the configuration asks for"):
        load_checkpoint(rewrite({"config": json.dumps(config)}))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "a readable 'config' entry"),
        ("{", "a readable 'config' entry"),
        ("[" * 100_000, "a readable 'config' entry"),
        ("[4, 8]", "named values in 'config'"),
        ('{"depth": 3}', "a ShaSpec model configuration"),
        ('{"widths": "many"}', "two or more levels of 1 to 16384 channels"),
        ('{"widths": 8}', "a ShaSpec model configuration"),
        ('{"spatial_dims": 7}', "two or three spatial dimensions"),
        ('{"voxel_mm": [2]}', "a positive finest voxel size"),
        ('{"modalities": ["t1.gd"]}', "without a dot"),
    ],
)
def test_broken_configurations(rewrite: Callable[..., Path], config: str | None, expected: str) -> None:
    with pytest.raises(ShaSpecError, match=expected):
        load_checkpoint(rewrite({"config": config}))


def test_a_broken_training_entry(rewrite: Callable[..., Path]) -> None:
    with pytest.raises(ShaSpecError, match="a readable 'training' entry"):
        load_checkpoint(rewrite({"training": "seed 3"}))


def test_a_table_is_attached_without_touching_a_tensor(path: Path, tmp_path: Path) -> None:
    table = Reliability({frozenset({Modality.T1C}): {Region.ET: 0.5}}, "2 cases")
    before = path.read_bytes()
    rated = tmp_path / "rated.safetensors"
    attach_reliability(path, table, rated)
    assert path.read_bytes() == before
    plain, loaded = load_checkpoint(path), load_checkpoint(rated)
    assert (plain.reliability, loaded.reliability) == (None, table)
    assert (loaded.training, loaded.statement) == (plain.training, plain.statement)
    with safe_open(path, framework="pt") as old, safe_open(rated, framework="pt") as new:
        assert old.keys() == new.keys()
        for name in old.keys():  # noqa: SIM118
            assert torch.equal(old.get_tensor(name), new.get_tensor(name))
        kept = {key: value for key, value in new.metadata().items() if key != "reliability"}
        assert kept == old.metadata()
    attach_reliability(rated, Reliability({}, "none"), rated)
    assert load_checkpoint(rated).reliability == Reliability({}, "none")


def test_a_broken_table_is_refused(rewrite: Callable[..., Path]) -> None:
    for entry in ("{", "[]", '{"dice": {"pet": {}}, "source": ""}'):
        with pytest.raises(ShaSpecError):
            load_checkpoint(rewrite({"reliability": entry}))


def test_shifted_outputs_begin_at_one_half(path: Path, model: ShaSpec, tmp_path: Path) -> None:
    thresholds = {"ET": 0.5, "TC": 0.35, "WT": 0.8}
    attach_reliability(path, Reliability({frozenset([Modality.T1]): {Region.WT: 0.5}}, "3 cases"), path)
    shift_outputs(path, thresholds, tmp_path / "shifted.safetensors")
    shifted = load_checkpoint(tmp_path / "shifted.safetensors")
    images = {"t1": torch.randn((1, 1, *[2 * model.config.stride] * 3), generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        before, after = load_checkpoint(path).model(images).logits, shifted.model(images).logits
    for channel, name in enumerate(model.config.outputs):
        threshold = torch.tensor(thresholds[name])
        expected = before[:, channel] - torch.logit(threshold)
        torch.testing.assert_close(after[:, channel], expected, rtol=0, atol=0.02)
    assert (tmp_path / "shifted.safetensors").stat().st_size < 0.6 * path.stat().st_size
    assert shifted.training["outputs_shifted_to"] == thresholds
    twice = tmp_path / "twice.safetensors"
    shift_outputs(tmp_path / "shifted.safetensors", {"ET": 0.5, "TC": 0.5, "WT": 0.5}, twice, 0.8, {"TC": 0.7})
    assert (shifted.model.config, load_checkpoint(twice).model.config) == (
        model.config,
        replace(model.config, sure=0.8, sure_each=(0.0, 0.7, 0.0)),
    )
    assert load_checkpoint(twice).training["outputs_shifted_to"] == thresholds
    assert shifted.reliability is None


def test_weights_too_large_for_half_precision_are_refused(path: Path, model: ShaSpec, tmp_path: Path) -> None:
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] = 1e5
    save_checkpoint(model, path, {})
    with pytest.raises(ShaSpecError, match="half precision"):
        shift_outputs(path, {"ET": 0.5, "TC": 0.5, "WT": 0.5}, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
