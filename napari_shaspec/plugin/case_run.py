"""The part of putting a case together that runs in a thread: from layers to one case on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.volume import UNNAMED_LABEL_MAP, Case, Volume


def case_steps(
    sources: Mapping[Modality, tuple[str, LayerSource]], truth: LayerSource | None, cancelled: Event
) -> Iterator[Case]:
    """The case of these layers, named by its files.

    Parameters
    ----------
    sources
        Layer name and source of each modality that has one.
    truth
        Of the reference layer.

    Raises
    ------
    ShaSpecError
        As `combine` of the images; a reference that does not fit them is left out, with a note.
    """
    from napari_shaspec.io.assembly import combine
    from napari_shaspec.io.patients import case_name, doubt_about

    volumes = {modality: source.volume for modality, (_, source) in sources.items()}
    called = {modality: source.path or Path(name) for modality, (name, source) in sources.items()}
    name = case_name(called.values(), "")
    unfit: list[str] = []
    try:
        case = combine(name, volumes, called, *_reference(truth))
    except ShaSpecError as error:
        if truth is None:
            raise
        case = combine(name, volumes, called)  # which says what is wrong, if it is the images
        unfit.append(f"{_begin(truth.path)}not compared with. {error}")
        truth = None
    said = [note for name, source in sources.values() for note in _with_name(source, name)]
    if truth is not None:
        said += _with_name(truth, UNNAMED_LABEL_MAP)
    changed = frozenset(modality for modality, (_, source) in sources.items() if source.changed)
    doubt = doubt_about(source.path for _, source in sources.values() if source.path is not None)
    if not cancelled.is_set():
        yield replace(
            case,
            notes=tuple(dict.fromkeys((*said, *case.notes, *unfit, *([doubt] if doubt else [])))),
            files={modality: source.path for modality, (_, source) in sources.items() if source.path is not None},
            changed=changed,
            stamps={modality: source.stamp for modality, (_, source) in sources.items() if source.stamp},
        )


def reference_steps(case: Case, truth: LayerSource | None, cancelled: Event) -> Iterator[Case]:
    """The same case with another reference, or with none.

    Raises
    ------
    ShaSpecError
        As `combine`.
    """
    from napari_shaspec.io.assembly import combine

    of_before = _begin(case.truth_file)
    notes = [note for note in case.notes if case.truth is None or not note.startswith(of_before)]
    if truth is None:
        yield replace(case, truth=None, truth_file=None, notes=tuple(notes))
        return
    both = combine(case.name, case.images, dict.fromkeys(case.images, Path(case.name)), truth.volume, truth.path)
    # Of the images all has been said: they lie on one grid, and have no names here.
    placed = [note for note in both.notes if note.startswith(_begin(truth.path))]
    said = [*notes, *_with_name(truth, UNNAMED_LABEL_MAP), *placed]
    if not cancelled.is_set():
        yield replace(case, truth=both.truth, truth_file=truth.path, notes=tuple(dict.fromkeys(said)))


def _reference(truth: LayerSource | None) -> tuple[Volume | None, Path | None]:
    return (None, None) if truth is None else (truth.volume, truth.path)


def _begin(file: Path | None, name: str = UNNAMED_LABEL_MAP) -> str:
    """How notes begin: with the name of the file, or of what never was one."""
    return f"{file.name if file is not None else name}: "


def _with_name(source: LayerSource, name: str) -> list[str]:
    """What reading it left open, said of which file or layer."""
    begin = _begin(source.path, name)
    return [note if note.startswith(begin) else begin + note for note in source.notes]
