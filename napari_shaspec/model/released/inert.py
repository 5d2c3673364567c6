"""The structure of a pickle of `torch.save`, read without running anything that it says.

Every name that the pickle mentions becomes an inert stand-in, made for this file alone; what rebuilds a tensor becomes
a description of it. No class of the file is imported, no function called.
"""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

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


def _as_made(self: object, state: object) -> None:
    """Refuse what a pickle may ask of any object that it holds: to be given another state, which nobody has checked."""
    raise ValueError("a tensor that is changed after it was described")


@dataclass(frozen=True, slots=True)
class Storage:
    """What the pickle says of a storage: the name of its entry and what it holds."""

    key: str
    dtype: torch.dtype
    count: int

    __setstate__ = _as_made


@dataclass(frozen=True, slots=True)
class Described:
    """What the pickle says of a tensor."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    __setstate__ = _as_made


class Inert:
    """Stands for an object of any class: takes whatever it is given and does nothing."""

    state: object = None

    def __new__(cls, *_: object, **__: object) -> Inert:
        """Made without its class having a say."""
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __call__(self, *_: object, **__: object) -> Inert:
        """What a function would have made."""
        return Inert()

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """A list's."""

    def extend(self, values: object) -> None:
        """A list's."""

    def add(self, value: object) -> None:
        """A set's."""


def structure(pickled: bytes, name: str) -> object:
    """What a pickle holds: dictionaries and lists as they are, tensors `Described`, all other objects `Inert`.

    Parameters
    ----------
    name
        Of the file, for errors.

    Raises
    ------
    ShaSpecError
        If it wants something to be run, or describes an impossible tensor or storage. A broken pickle raises anything.
    """
    return _Unpickler(io.BytesIO(pickled), name).load()


class _Unpickler(pickle.Unpickler):
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
        return type(name.rpartition(".")[2] or "nameless", (Inert,), {})

    def persistent_load(self, pid: Any) -> Storage:
        """A storage: ("storage", class, key, device, count)."""
        kind, storage_class, key, _device, count = pid
        dtype = STORAGES.get(getattr(storage_class, "__name__", ""))
        if kind != "storage" or dtype is None or not isinstance(key, str) or not _is_index(count):
            damaged(self._name, "a storage of an unknown kind")
        return Storage(key, dtype, count)


def _described(storage: Any, offset: Any, shape: Any, strides: Any, name: str) -> Described:
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not all(map(_is_index, sizes)) or len(shape) != len(strides):
        damaged(name, "a tensor of impossible shape")
    return Described(storage, offset, tuple(shape), tuple(strides))


def _is_index(value: object) -> bool:
    return type(value) is int and value >= 0


def damaged(name: str, found: str) -> NoReturn:
    """The one error for whatever a checkpoint should not have."""
    raise ShaSpecError(
        "a checkpoint that torch.save has written in full", f"{name} with {found}", "Get or save the file again"
    )
