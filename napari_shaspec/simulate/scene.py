"""What an effect of the simulator works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from napari_shaspec.modalities import Modality
from napari_shaspec.simulate.fields import Dice
from napari_shaspec.simulate.settings import SimulatorSettings

CHANNELS = tuple(Modality)
"""The order of the four modalities in ``images``."""


@dataclass(slots=True, eq=False)
class Scene:
    """A batch on its way from tissue to images.

    Parameters
    ----------
    tissues
        (B, 5, X, Y, Z) shares of normal tissue.
    ranks
        (B, 1, X, Y, Z) of tumour classes, 0 where there is none (`tumour.OEDEMA` and up).
    brain
        (B, 1, X, Y, Z) of 0 and 1.
    from_midline_mm
        (B, 1, X, Y, Z) in mm of the template, 0 between its hemispheres.
    images
        (B, 4, X, Y, Z) in the order of `CHANNELS`; effects replace it.
    """

    dice: Dice
    settings: SimulatorSettings
    voxel_mm: float
    tissues: Tensor
    ranks: Tensor
    brain: Tensor
    from_midline_mm: Tensor
    images: Tensor

    @property
    def size(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        x, y, z = self.images.shape[2:]
        return x, y, z

    def field(self, wavelength_mm: float, channels: int = 1) -> Tensor:
        """(B, channels, X, Y, Z) smooth noise of unit variance."""
        return self.dice.field(self.size, wavelength_mm / self.voxel_mm, channels)


Effect = Callable[[Scene], Tensor]
"""Takes the scene, returns its images after the effect; draws from ``scene.dice`` only."""
