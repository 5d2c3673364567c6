"""The two networks that a checkpoint can hold, under one name: our own, and that of the authors' released code."""

from __future__ import annotations

from typing import TypeAlias

from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.network import ReleasedShaSpec
from napari_shaspec.model.shaspec import ShaSpec

Network: TypeAlias = ShaSpec | ReleasedShaSpec
NetworkConfig: TypeAlias = ModelConfig | ReleasedConfig
