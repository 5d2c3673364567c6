"""Tensors out of a file that `torch.save` wrote, without running anything that it says.

Such a file is a zip archive of a pickle and one entry for each storage. Here every name that the pickle mentions
becomes an inert stand-in, made for this file alone; what rebuilds a tensor becomes a description of it. No class of the
file is imported, no function called. Storages are read when a tensor is asked for, and only then.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from napari_shaspec.errors import ShaSpecError

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

HARMLESS = {"argparse", "array", "collections", "copyreg", "datetime", "decimal", "enum", "fractions", "logging"}
HARMLESS |= {"pathlib", "random", "threading", "types", "typing", "uuid", "_codecs", "_thread"}
"""Parts of the standard library that honest checkpoints mention; of them, too, nothing is imported or called."""

HARMLESS_BUILTINS = {"set", "frozenset", "slice", "range", "complex", "bytearray", "object", "int", "float", "bool"}
HARMLESS_BUILTINS |= {"str", "bytes", "list", "dict", "tuple", "type", "Ellipsis", "getattr"}

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files of torch before 1.6 begin."""

DEEPEST = 100
MOST_MODULES = 100_000


@dataclass(frozen=True, slots=True)
class _Storage:
    """What the pickle says of a storage: the name of its entry and what it holds."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class _Described:
    """What the pickle says of a tensor."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Inert:
    """Stands for an object of any class: takes whatever it is given and does nothing."""

    state: object = None

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __call__(self, *_: object, **__: object) -> _Inert:
        return _Inert()

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """A list's."""

    def extend(self, values: object) -> None:
        """A list's."""

    def add(self, value: object) -> None:
        """A set's."""


class _InertUnpickler(pickle.Unpickler):
    """Reads the structure of a pickle; see the module."""

    def __init__(self, file: io.BytesIO, name: str) -> None:
        super().__init__(file)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in that is made afresh each time, so that a pickle can change nothing that outlives it."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _described(storage, offset, shape, strides, self._name)
        if (module, name) in {
            ("torch._utils", "_rebuild_parameter"),
            ("torch._utils", "_rebuild_parameter_with_state"),
        }:
            return lambda data, *_: data
        if (module, name) == ("torch._tensor", "_rebuild_from_type_v2"):
            return lambda rebuild, _kind, arguments, _state: rebuild(*arguments)
        if (module, name) in {("collections", "OrderedDict"), ("collections", "defaultdict")}:
            return type("Entries", (dict,), {"__init__": lambda self, *_: None, "__setstate__": lambda self, _: None})
        package = module.partition(".")[0]
        harmless = name in HARMLESS_BUILTINS if package in {"builtins", "__builtin__"} else package in HARMLESS
        if not harmless and (package in sys.stdlib_module_names or package == "__builtin__"):
            raise ShaSpecError(
                "a checkpoint that holds weights",
                f"{self._name}, which wants {module}.{name} to be run",
                "Nothing was run. Open this file with no other program, and get the weights from a source you trust",
            )
        return type(name.rpartition(".")[2] or "nameless", (_Inert,), {})

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: ("storage", class, key, device, count)."""
        kind, storage_class, key, _device, count = pid
        dtype = STORAGES.get(getattr(storage_class, "__name__", ""))
        if kind != "storage" or dtype is None or not isinstance(key, str) or not _is_index(count):
            _damaged(self._name, "a storage of an unknown kind")
        return _Storage(key, dtype, count)


def _described(storage: Any, offset: Any, shape: Any, strides: Any, name: str) -> _Described:
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(map(_is_index, sizes)) or len(shape) != len(strides):
        _damaged(name, "a tensor of impossible shape")
    return _Described(storage, offset, tuple(shape), tuple(strides))


def _is_index(value: object) -> bool:
    return type(value) is int and value >= 0


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
                    _damaged(path.name, "no data.pkl, or several")
                self._folder = pickles[0].removesuffix("data.pkl")
                order = f"{self._folder}byteorder"
                if order in names and self._read(archive, order) == b"big":
                    _damaged(path.name, "numbers in big-endian order")
                content = _InertUnpickler(io.BytesIO(self._read(archive, pickles[0])), path.name).load()
        except ShaSpecError:
            raise
        # Any class of error: what a broken pickle raises has no bounds, and none of it is a bug of this program.
        except Exception as error:  # noqa: BLE001
            _damaged(path.name, f"{type(error).__name__}: {error}")
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
                except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError, struct.error) as error:
                    _damaged(self.path.name, f"{name} cannot be read: {error}")
                yield new, tensor

    def _tensor(self, archive: zipfile.ZipFile, described: _Described) -> Tensor:
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
            _damaged(self.path.name, "compressed entries")
        return archive.read(name)

    def _found(self, content: object) -> dict[str, _Described]:
        for candidate in _candidates(content):
            found = dict(self._walked(candidate))
            if found:
                return found
        return {}

    def _walked(self, node: object) -> Iterator[tuple[str, _Described]]:
        if isinstance(node, dict):  # a state dict
            for name, tensor in node.items():
                if isinstance(name, str) and isinstance(tensor, _Described):
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
                    if isinstance(tensor, _Described):
                        yield _without_wrapper(prefix + name), tensor
            if depth < DEEPEST:
                children = [(f"{prefix}{name}.", child, depth + 1) for name, child in _entries(state.get("_modules"))]
                pending += reversed(children)
        _damaged(self.path.name, "modules without end")


def is_pickled(path: Path) -> bool:
    """Whether the file is a zip archive, and so perhaps one of `torch.save`, which is to be read by `SavedModule`."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def is_legacy(path: Path) -> bool:
    """Whether the file is a bare pickle, as torch wrote it before 1.6."""
    with path.open("rb") as file:
        return file.read(len(LEGACY)) == LEGACY


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
    state = module.state if isinstance(module, _Inert) else None
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


def _steps(described: _Described) -> Iterator[tuple[int, int]]:
    return zip(described.shape, described.strides, strict=True)


def _damaged(name: str, found: str) -> NoReturn:
    raise ShaSpecError(
        "a checkpoint that torch.save has written in full", f"{name} with {found}", "Get or save the file again"
    )
