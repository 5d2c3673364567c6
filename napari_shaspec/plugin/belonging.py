"""Whose images layers are, as far as folders and names of files tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_shaspec.io.patients import named_patient
from napari_shaspec.plugin.layers import file_of, role_of

if TYPE_CHECKING:
    from napari.layers import Layer

Folder = Path | str
"""Of a file, or a case that was drawn."""


class Whose(NamedTuple):
    """Folders of some layers, and what their files' names say of patient and visit."""

    folders: frozenset[Folder] = frozenset()
    patients: frozenset[str] = frozenset()

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Whose:
        """All that these layers tell; one that was made in the viewer tells nothing."""
        layers = list(layers)
        folders = frozenset(folder for layer in layers if (folder := folder_of(layer)) is not None)
        files = (file for layer in layers if (file := file_of(layer)) is not None)
        return cls(folders, frozenset(patient for file in files if (patient := named_patient(file))))

    def are_anothers(self, now: Whose) -> bool:
        """Whether folders or names speak for another patient; where they tell nothing it is the same."""
        pairs: tuple[tuple[frozenset[object], frozenset[object]], ...]
        pairs = (self.folders, now.folders), (self.patients, now.patients)
        return any(before and after and before.isdisjoint(after) for before, after in pairs)


def folder_of(layer: Layer) -> Folder | None:
    """Where a layer comes from: its file's folder, or a case that was drawn; None if it tells of neither."""
    path = file_of(layer)
    if path is not None:
        return path.parent.resolve()  # not the file's own: DataLad links each to a place of its own
    case: str | None = layer.metadata.get("case") if role_of(layer) is not None else None
    return case


def identities(layers: Iterable[Layer]) -> set[Layer | Path]:
    """The layers, and their files: the same image may have come twice."""
    layers = list(layers)
    return {*layers, *(path for path in map(file_of, layers) if path is not None)}
