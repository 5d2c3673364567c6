"""Segment gliomas on brain MRI with whichever of FLAIR, T1, T1c and T2 exist (ShaSpec, CVPR 2023).

The public names are loaded on first use: `import napari_shaspec` itself loads neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_shaspec.errors import ShaSpecError
    from napari_shaspec.inference.prediction import Prediction
    from napari_shaspec.inference.session import Session
    from napari_shaspec.io.cases import read_case
    from napari_shaspec.modalities import Modality
    from napari_shaspec.model.checkpoint import load_checkpoint
    from napari_shaspec.model.config import ModelConfig
    from napari_shaspec.model.shaspec import ShaSpec
    from napari_shaspec.regions import Convention, Region
    from napari_shaspec.volume import Case, Volume

__version__ = "0.1.0"

__all__ = [
    "Case",
    "Convention",
    "Modality",
    "ModelConfig",
    "Prediction",
    "Region",
    "Session",
    "ShaSpec",
    "ShaSpecError",
    "Volume",
    "load_checkpoint",
    "read_case",
]

_MODULES = {
    "Case": "volume",
    "Convention": "regions",
    "Modality": "modalities",
    "ModelConfig": "model.config",
    "Prediction": "inference.prediction",
    "Region": "regions",
    "Session": "inference.session",
    "ShaSpec": "model.shaspec",
    "ShaSpecError": "errors",
    "Volume": "volume",
    "load_checkpoint": "model.checkpoint",
    "read_case": "io.cases",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names before they are loaded, too."""
    return sorted({*globals(), *__all__})
