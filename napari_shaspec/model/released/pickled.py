"""Weights out of a file that `torch.save` wrote: a zip archive of a pickle and one entry for each storage.

The pickle is read by `inert`, which runs nothing of it. Storages are read when a tensor is asked for, and only then.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_shaspec.errors import ShaSpecError, unreadable
from napari_shaspec.model.released.inert import Described, Inert, damaged, structure

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch before 1.6 begin."""

DEEPEST = 100
MOST_MODULES = 100_000


class SavedModule:
    """Weights of a file that `torch.save` wrote: names and shapes at once, values when they are asked for.

    Parameters
    ----------
    path
        A zip archive, as torch writes it from version 1.6 on. It holds a module, a state dict, or one of them under
        ``model`` or ``state_dict``.

    Raises
    ------
    ShaSpecError
        If the file is damaged, is of another kind, holds no weights, or wants something to be run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
                if len(pickles) != 1:
                    damaged(path.name, "no data.pkl, or several")
                self._folder = pickles[0].removesuffix("data.pkl")
                order = f"{self._folder}byteorder"
                if order in names and self._read(archive, order) == b"big":
                    damaged(path.name, "numbers in big-endian order")
                content = structure(self._read(archive, pickles[0]), path.name)
        except ShaSpecError:
            raise
        # Any class of error: what a broken pickle raises has no bounds, and none of it is a bug of this program.
        except Exception as error:  # noqa: BLE001
            damaged(path.name, f"{type(error).__name__}: {error}")
        self.iterations = _iterations(content)
        self.attention = False
        self._tensors = self._found(content)
        if not self._tensors:
            raise ShaSpecError(
                "a network in the file", f"none in {path.name}", "Give the file that the training has written"
            )

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of all parameters and buffers, in the order in which the module has them."""
        return {name: described.shape for name, described in self._tensors.items()}

    def tensors(self, names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        """Read tensors one by one.

        Parameters
        ----------
        names
            Name in the file -> name that it gets.

        Raises
        ------
        ShaSpecError
            If a storage is missing, damaged, or smaller than a tensor in it.
        """
        with zipfile.ZipFile(self.path) as archive:
            for name, new in names.items():
                try:
                    tensor = self._tensor(archive, self._tensors[name])
                except (
                    zipfile.BadZipFile,
                    KeyError,
                    OSError,
                    EOFError,
                    ValueError,
                    RuntimeError,
                    struct.error,
                ) as error:
                    damaged(self.path.name, f"{name} cannot be read: {error}")
                yield new, tensor

    def _tensor(self, archive: zipfile.ZipFile, described: Described) -> Tensor:
        storage = described.storage
        entry = f"{self._folder}data/{storage.key}"
        reach = described.offset + 1 + sum((side - 1) * step for side, step in _steps(described))
        if 0 in described.shape:
            return torch.empty(described.shape)
        held = archive.getinfo(entry).file_size // storage.dtype.itemsize
        # Strides of 0 would let a small storage claim any size.
        if reach > min(held, storage.count) or math.prod(described.shape) > held:
            raise ValueError("it reaches beyond its storage")
        values = torch.frombuffer(bytearray(self._read(archive, entry)), dtype=storage.dtype, count=held)
        return values.as_strided(described.shape, described.strides, described.offset).to(torch.float32, copy=True)

    def _read(self, archive: zipfile.ZipFile, name: str) -> bytes:
        # torch never compresses; a few bytes that unpack to terabytes are no checkpoint.
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            damaged(self.path.name, "compressed entries")
        return archive.read(name)

    def _found(self, content: object) -> dict[str, Described]:
        for candidate in _candidates(content):
            found = dict(self._walked(candidate))
            if found:
                return found
        return {}

    def _walked(self, node: object) -> Iterator[tuple[str, Described]]:
        if isinstance(node, dict):  # a state dict
            for name, tensor in node.items():
                if isinstance(name, str) and isinstance(tensor, Described):
                    yield _without_wrapper(name), tensor
            return
        pending: list[tuple[str, object, int]] = [("", node, 0)]
        for _ in range(MOST_MODULES):
            if not pending:
                return
            prefix, module, depth = pending.pop()
            state = _state(module)
            self.attention |= state.get("self_att") in (True, 1)
            for kind in ("_parameters", "_buffers"):
                for name, tensor in _entries(state.get(kind)):
                    if isinstance(tensor, Described):
                        yield _without_wrapper(prefix + name), tensor
            if depth < DEEPEST:
                children = [(f"{prefix}{name}.", child, depth + 1) for name, child in _entries(state.get("_modules"))]
                pending += reversed(children)
        damaged(self.path.name, "modules without end")


def is_pickled(path: Path) -> bool:
    """Whether the file is a zip archive, and so perhaps one of `torch.save`, which is to be read by `SavedModule`."""
    return _begins_with(path, b"PK\x03\x04")


def is_legacy(path: Path) -> bool:
    """Whether the file is a bare pickle, as torch wrote it before 1.6."""
    return _begins_with(path, LEGACY)


def _begins_with(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError as error:
        raise unreadable(path, error) from error


def _candidates(content: object) -> Iterator[object]:
    """Where a network may be: under a key that trainers use, or the whole."""
    for key in ("model", "state_dict", "model_state_dict", "net"):
        if isinstance(content, dict) and key in content:
            yield content[key]
    yield content


def _iterations(content: object) -> int | None:
    value = content.get("iter") if isinstance(content, dict) else None
    return value if type(value) is int else None


def _state(module: object) -> dict[Any, Any]:
    state = module.state if isinstance(module, Inert) else None
    if isinstance(state, tuple) and state:  # with slots
        state = state[0]
    return state if isinstance(state, dict) else {}


def _entries(values: object) -> list[tuple[str, object]]:
    return (
        [(name, value) for name, value in values.items() if isinstance(name, str)] if isinstance(values, dict) else []
    )


def _without_wrapper(name: str) -> str:
    """Wrappers that train on several devices put every name under ``module``."""
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _steps(described: Described) -> Iterator[tuple[int, int]]:
    return zip(described.shape, described.strides, strict=True)
