"""What the panel knows: one evented value that every view listens to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from psygnal import SignalGroupDescriptor

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import DEFAULT_THRESHOLDS, Region
from napari_shaspec.reliability import Confidence

if TYPE_CHECKING:
    from napari_shaspec.evaluation.answers import Sweep
    from napari_shaspec.inference.prediction import Prediction
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.volume import Case, Volume


class Status(StrEnum):
    """What goes on."""

    EMPTY = "no image"
    ASSEMBLING = "putting the case together"
    READY = "ready"
    RUNNING = "predicting"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Provenance:
    """Labels as the network gave them, and what a report tells of how they were made.

    Parameters
    ----------
    labels
        (X, Y, Z) of `Label`, in file order; the layer's may have been edited since.
    available
        The modalities that the network was given.
    checkpoint
        The network.
    device
        Where it ran.
    thresholds, smooth
        What made labels of probabilities.
    notes
        What happened on the way: a device that was full.
    """

    labels: NDArray[np.uint8]
    available: frozenset[Modality]
    checkpoint: Checkpoint
    device: str
    thresholds: Mapping[Region, float]
    smooth: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Result(Provenance):
    """A finished prediction.

    Parameters
    ----------
    prediction
        With its probabilities, which thresholds and smoothing are applied to.
    seconds
        From request to result.
    """

    prediction: Prediction
    seconds: float

    def provenance(self) -> Provenance:
        """Without the probabilities, 100 MB of a BraTS case: labels that somebody keeps need no more."""
        return Provenance(**{each.name: getattr(self, each.name) for each in fields(Provenance)})


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """A result that was put aside to compare with, as it stood, edits included."""

    labels: NDArray[np.uint8]
    volumes_ml: Mapping[Region, float]
    available: frozenset[Modality]


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """What the subsets of the case's images have answered so far.

    Parameters
    ----------
    sweep
        The answers.
    reference
        What they were compared with, if anything.
    notes
        Of the session: a device that was full.
    """

    sweep: Sweep
    reference: Volume | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """One region against the reference: Dice, 0 to 1, and HD95 in mm; None while it is computed."""

    dice: float
    hd95_mm: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a prediction is."""

    stage: str = ""
    done: int = 0
    total: int = 0


@dataclass(eq=False)
class PluginState:
    """All of it; a change of any entry is announced by the signal of its name in ``events``.

    Parameters
    ----------
    images
        Names of the layers that could be a modality, the topmost first.
    slots
        Name of the layer that each modality uses.
    case
        The slots' images on one grid.
    available
        What the network is given: a non-empty subset of the case's modalities, once there are any.
    encoded
        Modalities that the network has encoded already.
    problems
        What could not be opened lately.
    left_out
        What lay beside the images that were opened, and may be the one that is missing.
    message
        What the user has to know now: an error, or why something did not happen.
    notes
        What stays true of this case or run: resampled images, a device that was full, a slow CPU.
    kept
        Where labels with strokes of the user were put aside last; said once more where it cannot be overlooked.
    statement
        What the checkpoint says of itself.
    network
        Hash of the weights in use; empty before any were loaded.
    stand_in
        What its network takes for a missing modality, in words; empty before it is loaded.
    volumes_ml, agreement
        Of the labels as they are in the layer, edits included.
    confidence
        How far to trust each region of what the network was last asked for.
    swept, sweeping
        What every subset gave, and whether more is to come.
    sweep_stopped
        Why no more came, where the user has not asked for that.
    subset_trust
        How far to trust each region of what each subset gives.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    images: tuple[str, ...] = ()
    slots: Mapping[Modality, str] = field(default_factory=dict)
    case: Case | None = None
    available: frozenset[Modality] = frozenset()
    encoded: frozenset[Modality] = frozenset()
    live: bool = True
    status: Status = Status.EMPTY
    progress: Progress = field(default_factory=Progress)
    problems: tuple[str, ...] = ()
    left_out: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()
    kept: str = ""
    statement: str = ""
    network: str = ""
    stand_in: str = ""
    result: Result | None = None
    pinned: Pinned | None = None
    volumes_ml: Mapping[Region, float] = field(default_factory=dict)
    agreement: Mapping[Region, Agreement] = field(default_factory=dict)
    confidence: Mapping[Region, Confidence] = field(default_factory=dict)
    thresholds: Mapping[Region, float] = field(default_factory=lambda: dict(DEFAULT_THRESHOLDS))
    smooth: bool = False
    swept: Swept | None = None
    sweeping: bool = False
    sweep_stopped: str = ""
    subset_trust: Mapping[frozenset[Modality], Mapping[Region, Confidence]] = field(default_factory=dict)

    def listen(self, **listeners: Any) -> list[tuple[str, Any]]:
        """Connect functions to entries by name; the list is what `forget` takes."""
        connected = []
        for name, listener in listeners.items():
            self.events[name].connect(listener)
            connected.append((name, listener))
        return connected

    def forget(self, connected: list[tuple[str, Any]]) -> None:
        """Disconnect."""
        for name, listener in connected:
            self.events[name].disconnect(listener, missing_ok=True)
        connected.clear()
