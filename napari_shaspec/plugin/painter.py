"""What the controller asks of the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_shaspec.box import Box
    from napari_shaspec.volume import Volume


class Painter(Protocol):
    """Where results go: layers in the viewer, or a record in a test."""

    def begin(self, grid: Volume) -> str | None:
        """Labels on this grid are about to come: keep aside what somebody painted by hand, and say under which name."""

    def clear(self) -> str | None:
        """The labels belong to another case: take them away, but for those painted by hand, as `begin` does."""

    def paint(self, box: Box | None, labels: NDArray[np.uint8]) -> None:
        """Put labels into a box of the grid, in file order; None is all of it."""

    def labels(self) -> NDArray[np.uint8] | None:
        """All labels in file order as they are now, edits included; None where there are none."""

    def viewport(self, grid: Volume) -> Box | None:
        """What the user sees of the grid."""
