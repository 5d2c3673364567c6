"""What is chosen for this session and the next: live, model, device, opacity; applied, and remembered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_shaspec.plugin import settings
from napari_shaspec.widgets.settling import settle_timer

if TYPE_CHECKING:
    from napari_shaspec.model.checkpoint import Checkpoint
    from napari_shaspec.plugin.controller import Controller
    from napari_shaspec.plugin.jobs import Jobs
    from napari_shaspec.plugin.overlay import Overlay
    from napari_shaspec.widgets.overlay import OverlayPanel
    from napari_shaspec.widgets.run import RunPanel


class Choices:
    """Ties what the user chooses to what it governs and to napari's preferences.

    Parameters
    ----------
    run
        Where live, model and device are chosen.
    overlay_panel
        Where the opacity is.
    controller, overlay
        What they govern.
    jobs
        Loads a model in a thread before it is used.
    """

    def __init__(
        self, run: RunPanel, overlay_panel: OverlayPanel, controller: Controller, overlay: Overlay, jobs: Jobs
    ) -> None:
        self._run = run
        self._overlay_panel = overlay_panel
        self._controller = controller
        self._overlay = overlay
        self._jobs = jobs
        self._settle_opacity = settle_timer(run, self._remember_opacity)  # a slider passes many values
        run.live_changed.connect(self._set_live)
        run.model_chosen.connect(self._set_model)
        run.device_chosen.connect(self._set_device)
        overlay_panel.opacity_changed.connect(self._set_opacity)

    def close(self) -> None:
        """What the opacity's slider has come to is not waited for any more."""
        self._settle_opacity.stop()

    def _set_live(self, live: bool) -> None:
        settings.remember(live=live)
        self._controller.predictions.set_live(live)

    def _set_model(self, weights: Path | None) -> None:
        self._jobs.load_weights(weights, self._use_model)

    def _use_model(self, weights: Path | None, checkpoint: Checkpoint) -> None:
        self._run.set_model(weights)
        self._controller.set_model(weights, checkpoint)
        settings.remember(weights="" if weights is None else str(weights))

    def _set_device(self, device: str) -> None:
        settings.remember(device=device)
        self._controller.set_device(device)

    def _set_opacity(self, opacity: float) -> None:
        self._overlay.set_opacity(opacity)
        self._settle_opacity.start()

    def _remember_opacity(self) -> None:
        settings.remember(opacity=self._overlay_panel.opacity.value() / 100)
