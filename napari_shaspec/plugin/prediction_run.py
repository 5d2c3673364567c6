"""The part of a prediction that runs in a thread: from the session's tiles to labels and a finished result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.inference.smoothing import Postprocessing
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import Progress, Result
from napari_shaspec.regions import Region, masks_to_labels, nested_masks

if TYPE_CHECKING:
    from napari_shaspec.box import Box
    from napari_shaspec.inference.session import Session
    from napari_shaspec.model.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A tile as labels, ready to be painted, and how far the run is."""

    box: Box
    labels: NDArray[np.uint8]
    progress: Progress
    encoded: frozenset[Modality]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """The network is there, and what it is asked for; what has to be said of the run."""

    checkpoint: Checkpoint
    available: frozenset[Modality]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a prediction is to be of, as it stood when it was asked for.

    Parameters
    ----------
    viewport
        What the user sees of the grid comes first.
    post
        From probabilities to labels.
    began
        `time.perf_counter` at the click.
    """

    available: frozenset[Modality]
    viewport: Box | None
    post: Postprocessing
    began: float


def prediction_steps(
    checkpoint: Checkpoint, session: Session, asked: Asked, cancelled: Event
) -> Iterator[Piece | Result]:
    """The session's tiles as labels, and the finished prediction."""
    from napari_shaspec.inference.prediction import Prediction

    post = asked.post
    grid = session.case.grid
    probabilities = np.zeros((len(Region), *grid.shape), np.float32)
    for tile in session.stream(asked.available, asked.viewport):
        probabilities[(slice(None), *tile.box.slices)] = tile.probabilities
        if cancelled.is_set():
            return
        # Smoothing needs the whole, so it waits for the end.
        labels = masks_to_labels(nested_masks(tile.probabilities, post.thresholds))
        yield Piece(tile.box, labels, Progress(f"{tile.stage} pass", tile.done, tile.total), asked.available)
    labels = masks_to_labels(post.masks(probabilities, grid.voxel_volume_mm3))
    if cancelled.is_set():
        return
    prediction = Prediction(probabilities, grid, asked.available)
    yield Result(
        labels=labels,
        available=asked.available,
        checkpoint=checkpoint,
        device=session.device,
        thresholds=post.thresholds,
        smooth=post.smooth,
        notes=run_notes(session),
        prediction=prediction,
        seconds=time.perf_counter() - asked.began,
    )


def postprocessing_steps(result: Result, post: Postprocessing, cancelled: Event) -> Iterator[Result]:
    """Other labels from the probabilities of a finished prediction."""
    prediction = result.prediction
    masks = post.masks(prediction.probabilities, prediction.grid.voxel_volume_mm3)
    if not cancelled.is_set():
        yield replace(result, labels=masks_to_labels(masks), thresholds=post.thresholds, smooth=post.smooth)


def run_notes(session: Session) -> tuple[str, ...]:
    """What stays true of predictions of this session."""
    slow = ("Runs on the CPU: a first prediction takes seconds to a minute, toggles less.",)
    return (*(slow if session.device == "cpu" else ()), *session.notes)
