"""Weights in a file: safetensors, with everything that rebuilds the network in its header.

Checkpoints of the authors' released code are read too (`model.released`); nothing of them, or of any file, is run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.io.reach import is_file
from napari_shaspec.io.report import file_sha256
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.networks import Network
from napari_shaspec.model.released.checkpoint import (
    ARCHITECTURE,
    STATEMENT,
    build_released,
    check_shapes,
    read_released,
)
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.pickled import is_legacy, is_pickled
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.reliability import Reliability

FORMAT = "napari-shaspec 1"
BUNDLED = Path(__file__).parents[1] / "resources" / "shaspec_simulated.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network and where it comes from.

    Parameters
    ----------
    model
        In evaluation mode, float32, on the CPU.
    statement
        What users must be told about these weights; may be empty.
    training
        How it was made: command, commit, seed, steps, seconds, device.
    path, sha256
        The file and its hash, for reports.
    reliability
        What these weights reach, by subset and region; None where nobody has measured it.
    """

    model: Network
    statement: str
    training: dict[str, Any]
    path: Path
    sha256: str
    reliability: Reliability | None = None

    @property
    def bundled(self) -> bool:
        """Whether these are the weights that come with the program."""
        return self.path == BUNDLED


def save_checkpoint(model: ShaSpec, path: Path, training: dict[str, Any], statement: str = SIMULATED_STATEMENT) -> None:
    """Write the weights in float32 and their configuration; atomically, over an older file of that name.

    Raises
    ------
    ShaSpecError
        If the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "training": json.dumps(training),
        "statement": statement,
    }
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _write(tensors, header, path)


def attach_reliability(source: Path, reliability: Reliability, out: Path) -> None:
    """Write the weights of a file once more, with this table in the header; the tensors stay as they are.

    Parameters
    ----------
    source
        A checkpoint that `load_checkpoint` opens.
    out
        The new file, over an older one of that name; may be the source.

    Raises
    ------
    ShaSpecError
        If the source is no checkpoint of this program, or the file cannot be written.
    """
    header, tensors = _read(source)
    _write(tensors, header | {"reliability": json.dumps(reliability.to_dict())}, out)


def shift_outputs(
    source: Path,
    thresholds: Mapping[str, float],
    out: Path,
    sure: float | None = None,
    sure_each: Mapping[str, float] | None = None,
) -> None:
    """Write our own weights once more, their output biases moved so that these probabilities become one half.

    The header says what was done, and adds it to an earlier shift. The file is in half precision, which rounds by one
    part in 2,000 at most: half the size.

    Parameters
    ----------
    thresholds
        By output: the probability where a region begins best, from cases that were not trained on.
    sure, sure_each
        For the configuration, as of `ModelConfig`, the latter by output, 0 for those that it lacks; None leaves them.

    Raises
    ------
    ShaSpecError
        If the source is no checkpoint of our own networks, if a weight is too large for half precision, or if the file
        cannot be written.
    """
    header, tensors = _read(source)
    config = ModelConfig.from_dict(_parsed(header, "config", source))
    if sure is not None:
        config = replace(config, sure=sure)
    if sure_each is not None:
        config = replace(config, sure_each=tuple(sure_each.get(name, 0.0) for name in config.outputs))
    outputs = config.outputs
    bias = "decoder.output.bias"
    shifts = torch.logit(torch.tensor([thresholds[name] for name in outputs]))
    tensors[bias] = tensors[bias].float() - shifts
    training = _parsed(header, "training", source)
    earlier = training.get("outputs_shifted_to", {})
    before = torch.logit(torch.tensor([earlier.get(name, 0.5) for name in outputs]))
    total = torch.sigmoid(shifts + before).tolist()
    training["outputs_shifted_to"] = {name: round(value, 4) for name, value in zip(outputs, total, strict=True)}
    header.pop("reliability", None)  # it was measured on other outputs
    halved = {name: tensor.half() for name, tensor in tensors.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in halved.values()):
        raise ShaSpecError("weights below 65,504, the largest number of half precision", "larger ones", "Train again")
    _write(halved, header | {"config": json.dumps(config.to_dict()), "training": json.dumps(training)}, out)


def _write(tensors: dict[str, Tensor], header: dict[str, str], path: Path) -> None:
    with replacing(path) as place:
        # Written here, because safetensors' own writer leaves a file that only its owner may read.
        place.write_bytes(save(tensors, metadata=header))


def convert_checkpoint(source: Path, out: Path, *, overwrite: bool = False) -> None:
    """Write a checkpoint of the released code as safetensors, its weights as they were trained.

    Raises
    ------
    ShaSpecError
        If the source is not such a checkpoint, or if the file cannot be written.
    """
    _check_there(source)
    if not is_pickled(source):
        raise ShaSpecError(
            "a checkpoint that torch.save has written (.pth, .pt)", source.name, "Other files need no conversion"
        )
    config, weights, training = read_released(source)
    header = {
        "format": FORMAT,
        "architecture": ARCHITECTURE,
        "config": json.dumps(config.to_dict()),
        "training": json.dumps({**training, "sha256": file_sha256(source)}),
        "statement": STATEMENT,
    }
    tensors = {name: tensor.contiguous() for name, tensor in weights}
    with replacing(out, overwrite=overwrite) as place:
        place.write_bytes(save(tensors, metadata=header))


def load_checkpoint(path: Path | str | None = None) -> Checkpoint:
    """Rebuild a network from its file alone; without a path, the bundled weights.

    Raises
    ------
    ShaSpecError
        If the file is missing, is of another kind, was not written by this program or by the released code, or does not
        fit its configuration.
    """
    path = BUNDLED if path is None else Path(path)
    _check_there(path)
    if is_pickled(path):
        config, weights, training = read_released(path)
        return Checkpoint(build_released(config, weights), STATEMENT, training, path, file_sha256(path))
    header, stored = _read(path)
    tensors = {name: tensor.to(torch.float32) for name, tensor in stored.items()}
    del stored  # the tensors are drained while the network is built
    entries, training = _parsed(header, "config", path), _parsed(header, "training", path)
    match header.get("architecture"):
        case None:
            model: Network = _own(ModelConfig.from_dict(entries), tensors)
        case str(name) if name == ARCHITECTURE:
            released = ReleasedConfig.from_dict(entries)
            check_shapes(released, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
            model = build_released(released, _drained(tensors))
        case other:
            raise ShaSpecError(
                f"our own network or {ARCHITECTURE!r}",
                f"{other!r} in {path.name}",
                "Choose a file written by this version of napari-shaspec",
            )
    reliability = Reliability.from_dict(_parsed(header, "reliability", path)) if "reliability" in header else None
    return Checkpoint(model, header.get("statement", ""), training, path, file_sha256(path), reliability)


def _check_there(path: Path) -> None:
    if not is_file(path):
        found = "a folder" if path.is_dir() else "nothing"
        raise ShaSpecError("a checkpoint file", f"{found} at {path}", "Check the path, or leave it out for the bundled")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file of this program."""
    _check_there(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {
                name: file.get_tensor(name).clone()  # a copy, not the file mapped into memory
                for name in file.keys()  # noqa: SIM118 (not a mapping)
            }
    except (SafetensorError, OSError) as error:
        hint = "Choose a file written by napari-shaspec, or a .pth of the released code; bare pickles are not opened"
        if is_legacy(path):
            hint = "This is the format of torch before 1.6: save it again with a newer torch, where it was trained"
        raise ShaSpecError("a .safetensors checkpoint", f"{path.name}, which is not one ({error})", hint) from error
    if header.get("format") != FORMAT:
        raise ShaSpecError(
            f"a checkpoint of format {FORMAT!r}",
            f"{header.get('format')!r} in {path.name}",
            "Choose a file written by this version of napari-shaspec",
        )
    return header, tensors


def _own(config: ModelConfig, tensors: dict[str, Tensor]) -> ShaSpec:
    with torch.device("meta"):  # takes neither memory nor random numbers before the shapes are known to fit
        model = ShaSpec(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        different = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise ShaSpecError(
            "the weights that the configuration asks for",
            f"{len(different)} that differ, {different[0]} the first",
            "The file is damaged or was edited: get it again",
        )
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def _drained(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """All of them, each forgotten once it is used."""
    while tensors:
        yield tensors.popitem()


def _parsed(header: dict[str, str], key: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(header.get(key, ""))
    except (ValueError, RecursionError) as error:
        raise ShaSpecError(f"a readable {key!r} entry in {path.name}", str(error), "Get the file again") from error
    if not isinstance(values, dict):
        raise ShaSpecError(f"named values in {key!r} of {path.name}", type(values).__name__, "Get the file again")
    return values
