"""Weights in a file: safetensors, with everything that rebuilds the network in its header. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.model.statement import SIMULATED_STATEMENT

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
    """

    model: ShaSpec
    statement: str
    training: dict[str, Any]
    path: Path
    sha256: str

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
    with replacing(path) as place:
        # Written here, because safetensors' own writer leaves a file that only its owner may read.
        place.write_bytes(save(tensors, metadata=header))


def load_checkpoint(path: Path | str | None = None) -> Checkpoint:
    """Rebuild a network from its file alone; without a path, the bundled weights.

    Raises
    ------
    ShaSpecError
        If the file is missing, is not safetensors, was not written by this program, or does not fit its configuration.
    """
    path = BUNDLED if path is None else Path(path)
    if not path.is_file():
        raise ShaSpecError("a checkpoint file", f"nothing at {path}", "Check the path, or leave it out for the bundled")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {
                name: file.get_tensor(name).to(torch.float32, copy=True)  # a copy, not the file mapped into memory
                for name in file.keys()  # noqa: SIM118 (not a mapping)
            }
    except (SafetensorError, OSError) as error:
        raise ShaSpecError(
            "a .safetensors checkpoint",
            f"{path.name}, which is not one ({error})",
            "Choose a file written by napari-shaspec; pickled files (.pt, .pth, .ckpt) are not opened",
        ) from error
    if header.get("format") != FORMAT:
        raise ShaSpecError(
            f"a checkpoint of format {FORMAT!r}",
            f"{header.get('format')!r} in {path.name}",
            "Choose a file written by this version of napari-shaspec",
        )
    with torch.device("meta"):  # takes neither memory nor random numbers before the shapes are known to fit
        model = ShaSpec(ModelConfig.from_dict(_parsed(header, "config", path)))
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
    model.eval().requires_grad_(requires_grad=False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Checkpoint(model, header.get("statement", ""), _parsed(header, "training", path), path, digest)


def _parsed(header: dict[str, str], key: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(header.get(key, ""))
    except (ValueError, RecursionError) as error:
        raise ShaSpecError(f"a readable {key!r} entry in {path.name}", str(error), "Get the file again") from error
    if not isinstance(values, dict):
        raise ShaSpecError(f"named values in {key!r} of {path.name}", type(values).__name__, "Get the file again")
    return values
