"""The part of putting a case together that runs in a thread: from layers to one case on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import LayerSource
from napari_shaspec.volume import Case


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
        As `combine`.
    """
    from napari_shaspec.io.assembly import combine
    from napari_shaspec.io.cases import case_name

    volumes = {modality: source.volume for modality, (_, source) in sources.items()}
    files = {modality: source.path or Path(name) for modality, (name, source) in sources.items()}
    case = combine(
        case_name(files.values(), ""),
        volumes,
        files,
        truth.volume if truth is not None else None,
        truth.path if truth is not None else None,
    )
    if not cancelled.is_set():
        yield case


def reference_steps(case: Case, truth: LayerSource | None, cancelled: Event) -> Iterator[Case]:
    """The same case with another reference, or with none.

    Raises
    ------
    ShaSpecError
        As `combine`.
    """
    from napari_shaspec.io.assembly import combine

    if truth is None:
        yield replace(case, truth=None)
        return
    both = combine(case.name, case.images, dict.fromkeys(case.images, Path(case.name)), truth.volume, truth.path)
    if not cancelled.is_set():
        yield replace(case, truth=both.truth)
