"""Ties the feature maps' panel to the controller that computes them, and to the layers that show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import Status

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_shaspec.inference.feature_choice import FeatureChoice
    from napari_shaspec.inference.feature_pictures import FeatureMap
    from napari_shaspec.plugin.cases import CaseLayers
    from napari_shaspec.plugin.controller import Controller
    from napari_shaspec.plugin.feature_layers import FeatureLayers
    from napari_shaspec.plugin.overlay import Overlay
    from napari_shaspec.widgets.features import FeaturesPanel


class FeatureDisplay:
    """Keeps the maps that are shown true to case, subset and choice.

    Parameters
    ----------
    panel
        What the user wants to see.
    layers
        Where it is shown.
    controller
        Computes maps.
    overlay
        Its labels are drawn as outlines over the maps.
    cases
        Knows the image beside the maps.
    """

    def __init__(
        self, panel: FeaturesPanel, layers: FeatureLayers, controller: Controller, overlay: Overlay, cases: CaseLayers
    ) -> None:
        self._panel = panel
        self._layers = layers
        self._controller = controller
        self._overlay = overlay
        self._cases = cases
        self._closed = False
        self._waiting = False
        self._shown_of: tuple[frozenset[Modality], str] = (frozenset(), "")
        self._beside: Layer | None = None
        panel.shown.connect(self.show)
        panel.grid_changed.connect(self._arrange)
        overlay.cleared.connect(self._on_cleared)
        overlay.replaced.connect(self._on_replaced)
        self._state = controller.state
        self._listening = self._state.listen(
            case=self._on_case, available=self._on_available, status=self._on_status, result=self._on_result
        )

    @property
    def shown_of(self) -> tuple[frozenset[Modality], str]:
        """The subset, and the hash of the network, that the maps in the viewer are of."""
        return self._shown_of

    @property
    def waiting(self) -> bool:
        """Whether others are on their way."""
        return self._waiting

    def by_title(self) -> dict[str, Image]:
        """The maps in the viewer, by kind and modality."""
        return self._layers.by_title()

    def show(self, choice: FeatureChoice | None) -> None:
        """Ask for maps, which come later; None takes away what is there."""
        if choice is None:
            self._layers.remove()
            self._panel.set_line("")
            self._waiting = False
            return
        self._panel.set_line("computing...")
        self._waiting = True
        available = self._state.available

        def deliver(maps: dict[Modality, FeatureMap | None]) -> None:
            self._waiting = False
            if not self._closed and self._panel.button.isChecked():
                self._shown_of = (available, self._state.network)
                self._layers.show(choice, maps, self._overlay.layer)
                absent = [modality.title for modality, picture in maps.items() if picture is None]
                self._panel.set_line(
                    f"No specific maps for {', '.join(absent)}: nothing stands in for them." if absent else ""
                )
                self._arrange()

        # Maps of the network before would stand beside labels of this one.
        self._controller.request_features(choice, deliver, failed=self._withdraw)

    def tidy(self) -> None:
        """After layers were deleted: what is left stands in pairs again, and nothing of it without a map."""
        if self._layers.remove_orphans():
            if self._layers.shown:
                self._arrange()
            else:
                self._withdraw()

    def _on_case(self, *_: object) -> None:
        if self._state.case is None:
            self._layers.remove()  # of another case; what was asked for comes with the labels of the next one
            self._waiting = False

    def _on_cleared(self) -> None:
        if self._layers.outlines:
            self._layers.remove_outlines()
            self._arrange()

    def _on_replaced(self) -> None:
        if self._layers.outlines and self._overlay.layer is not None:
            self._layers.draw_outlines_of(self._overlay.layer)
            self._arrange()

    def _on_available(self, *_: object) -> None:
        if not self._state.live:  # else they come with the prediction
            self._refresh()

    def _on_result(self, *_: object) -> None:
        result = self._state.result
        if result is not None and self._state.case is not None:
            self._panel.set_levels(result.checkpoint.model.config.map_widths)
            self._refresh()

    def _refresh(self) -> None:
        if self._panel.button.isChecked():
            self.show(self._panel.choice())

    def _on_status(self, status: Status, *_: object) -> None:
        """Cancelled or failed, a prediction brings no others: those of another subset or network go.

        So do maps that were asked for, and given up for it.
        """
        state = self._state
        if status is not Status.READY or state.result is not None:
            return
        self._panel.set_line("")
        stale = self._layers.shown and self._shown_of != (state.available, state.network)
        if stale or (self._waiting and not self._controller.computing_features):
            self._withdraw()

    def _withdraw(self) -> None:
        self._waiting = False
        self._layers.remove()
        self._panel.set_shown(shown=False)
        self._panel.set_line("")

    def close(self) -> None:
        """What comes from now on is not shown; the layers stay with the user."""
        self._closed = True
        self._beside = None
        self._overlay.cleared.disconnect(self._on_cleared)
        self._overlay.replaced.disconnect(self._on_replaced)
        self._state.forget(self._listening)
        self._layers.close()

    def _arrange(self, *_: object) -> None:
        if self._panel.grid.isChecked() and self._layers.shown:
            # The same as before: which one is the topmost is changed by the arrangement itself.
            self._beside = self._cases.shown_image(self._beside)
            self._layers.arrange(self._beside, self._overlay.layer)
        else:
            self._beside = None
            self._layers.scatter()
