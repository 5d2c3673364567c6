"""The way to torch: imported here and nowhere else in the viewer, when a model is first needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_shaspec.inference.session import Session
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.volume import Case


def load_weights(path: Path | None) -> Checkpoint:
    """A checkpoint, or the bundled one.

    Raises
    ------
    ShaSpecError
        As `load_checkpoint`.
    """
    from napari_shaspec.model.checkpoint import load_checkpoint

    return load_checkpoint(path)


def open_session(checkpoint: Checkpoint, case: Case, device: str) -> Session:
    """A session on a device; one that does not work here any more gives way to the best that does."""
    from napari_shaspec.inference.devices import working_devices
    from napari_shaspec.inference.session import Session

    return Session(checkpoint.model, case, device=device if device in working_devices() else "auto")


def list_devices() -> tuple[str, ...]:
    """Devices that work on this machine."""
    from napari_shaspec.inference.devices import working_devices

    return working_devices()
