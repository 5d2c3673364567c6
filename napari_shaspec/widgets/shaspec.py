"""The dock: puts the views together, and ties them to the controller and to the viewer's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.model.statement import SIMULATED_STATEMENT
from napari_shaspec.plugin import settings
from napari_shaspec.plugin.cases import CaseLayers
from napari_shaspec.plugin.controller import CLOSING_SECONDS, Controller
from napari_shaspec.plugin.derived_layers import ChangeLayer, ConsensusLayer
from napari_shaspec.plugin.exporting import save_function
from napari_shaspec.plugin.feature_layers import FeatureLayers
from napari_shaspec.plugin.hover import describe_place
from napari_shaspec.plugin.jobs import Jobs
from napari_shaspec.plugin.kept_network import KeptNetwork
from napari_shaspec.plugin.layers import LayerData, show_radiologically
from napari_shaspec.plugin.overlay import Overlay
from napari_shaspec.plugin.sessions import list_devices, load_weights, open_session
from napari_shaspec.plugin.state import PluginState, Status
from napari_shaspec.plugin.threads import start_thread
from napari_shaspec.plugin.viewport import look_along, place_under_cursor
from napari_shaspec.widgets.change_display import ChangeDisplay
from napari_shaspec.widgets.choices import Choices
from napari_shaspec.widgets.drop import DropFilter
from napari_shaspec.widgets.export_request import ExportRequest
from napari_shaspec.widgets.feature_display import FeatureDisplay
from napari_shaspec.widgets.features import FeaturesPanel
from napari_shaspec.widgets.forms import ExportForm, OpenForm, SimulateForm
from napari_shaspec.widgets.keys import Keys
from napari_shaspec.widgets.layout import Tabs, fill_with_column, stacked
from napari_shaspec.widgets.leaving import Dock
from napari_shaspec.widgets.modalities import ModalitiesPanel
from napari_shaspec.widgets.offer import ReaderOffer
from napari_shaspec.widgets.overlay import OverlayPanel
from napari_shaspec.widgets.planes import open_planes
from napari_shaspec.widgets.regions import RegionsPanel
from napari_shaspec.widgets.run import RunPanel
from napari_shaspec.widgets.settling import settle_timer
from napari_shaspec.widgets.slips import SlipFilter
from napari_shaspec.widgets.subsets import SubsetsPanel
from napari_shaspec.widgets.subsets_display import SubsetsDisplay

if TYPE_CHECKING:
    from napari import Viewer

WIDTH = 370


class ShaSpecWidget(Dock):
    """ShaSpec in napari: modalities on and off, labels, feature maps.

    Parameters
    ----------
    napari_viewer
        Two viewers have two panels that share nothing but the settings.
    """

    closing = Signal()
    """What was opened from the panel closes with it."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        # napari hands plugins a proxy, whose layers are new proxies at every access and never identical.
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        remembered = settings.Settings.load()
        self.viewer = viewer
        self.state = PluginState(live=remembered.live)
        if remembered.weights_path is None:
            self.state.statement = SIMULATED_STATEMENT
            if remembered.weights:
                self.state.message = f"{remembered.weights} is gone: the bundled weights are used instead."
                _notify(self.state.message)  # images that are there already bring another message at once
        self.overlay = Overlay(viewer, remembered.opacity)
        self.change = ChangeLayer(viewer)
        self.features = FeatureLayers(viewer)
        self.controller = Controller(self.state, self.overlay, start_thread, KeptNetwork(load_weights, open_session))
        self.controller.weights, self.controller.device = remembered.weights_path, remembered.device
        self._closed = False
        self._pointed_at = self._in_view = -1
        self._mouse_came = False
        self._export_of = 0
        self._settle_layers = settle_timer(self, self._update_layers)
        self.layers = CaseLayers(viewer, self.controller, self._settle_layers.start)
        self._settle_edits = settle_timer(self, self._measure)
        self.jobs = Jobs(self.state, start_thread, self._add_layer, self._settle_layers.start, _notify)
        self._build(remembered)
        self._connect()
        if not viewer.layers:  # else somebody is looking at something
            show_radiologically(viewer)
        viewer.canvas.overlays.scale_bar.visible = True
        self._look()
        self._settle_layers.start()

    # Building

    def _build(self, remembered: settings.Settings) -> None:
        state = self.state
        self.modalities = ModalitiesPanel(state)
        self.run = RunPanel(state)
        self.run.set_model(remembered.weights_path)
        self.run.set_devices(tuple(dict.fromkeys(("auto", "cpu", remembered.device))), remembered.device)
        self.regions = RegionsPanel(state)
        self.change_display = ChangeDisplay(state, self.overlay, self.change, self.regions)
        self.overlay_panel = OverlayPanel(state, remembered.opacity)
        self.features_panel = FeaturesPanel(state)
        self.feature_display = FeatureDisplay(
            self.features_panel, self.features, self.controller, self.overlay, self.layers
        )
        self.subsets_panel = SubsetsPanel(state)
        self.subsets_display = SubsetsDisplay(
            self.subsets_panel, ConsensusLayer(self.viewer), self.controller, self.jobs
        )
        self.choices = Choices(self.run, self.overlay_panel, self.controller, self.overlay, self.jobs)
        self.export_request = ExportRequest(self, state, self.overlay, self.feature_display, self.jobs)
        self.open_form = OpenForm(self.open_paths)
        self.export_form = ExportForm(remembered.label_convention, self.export_request.export)
        self.simulate_form = SimulateForm(self.simulate)
        self.offer = ReaderOffer(open_question=remembered.offer_reader)
        self.tabs = Tabs(
            {
                "Overlay": self.overlay_panel,
                "Subsets": self.subsets_panel,
                "Feature maps": self.features_panel,
                "Export": self.export_form.native,
                "Open": stacked(self.open_form.native, self.simulate_form.native),
            }
        )
        sections = {"Modalities": self.modalities, "Prediction": self.run, "Regions": self.regions}
        fill_with_column(self, [("", self.offer), *sections.items(), ("", self.tabs)])
        lists = (*self.modalities.layers.values(), self.run.model, self.run.device)
        self._slips = SlipFilter(self, lists)
        self.setMinimumWidth(WIDTH)

    def _connect(self) -> None:
        controller = self.controller
        self.modalities.toggled.connect(controller.set_available)
        self.modalities.soloed.connect(controller.solo)
        self.modalities.layer_chosen.connect(self._choose_layer)
        self.run.run_clicked.connect(controller.predictions.predict)
        self.run.cancel_clicked.connect(controller.predictions.cancel)
        self.regions.pin_clicked.connect(controller.measures.pin)
        self.regions.unpin_clicked.connect(controller.measures.unpin)
        self.overlay_panel.region_changed.connect(
            lambda region, shown, filled: self.overlay.regions.show(region, visible=shown, filled=filled)
        )
        self.overlay_panel.postprocessing_changed.connect(controller.predictions.set_postprocessing)
        self.overlay_panel.planes_clicked.connect(self._show_planes)
        self.overlay.changed.connect(self._on_redraw)
        self.overlay.cleared.connect(self._show_at_cursor)
        controller.measures.refreshed.connect(self.change_display.refresh)
        self._listening = self.state.listen(
            result=self._on_result,
            pinned=self.change_display.refresh,
            case=self._on_case,
            status=self._on_status,
            kept=_notify,
        )
        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.connect(self._on_layers)
        dims = self.viewer.dims.events
        for event in (dims.ndim, dims.ndisplay):
            event.connect(self._look)
        for event in (dims.point, dims.ndisplay):
            event.connect(self._show_at_cursor)
        self.viewer.mouse_move_callbacks.append(self._on_mouse_move)
        self._drops = DropFilter(self, self.jobs.open)
        self._keys = Keys(self, controller)

    # What the user does

    def open_paths(self, paths: list[str]) -> None:
        """Open files or a case folder in a thread."""
        if paths:
            self.jobs.open(paths)
        else:
            self.jobs.tell("Choose a case folder first, or the files of a case.")

    @property
    def reading(self) -> bool:
        """Whether files are being read."""
        return self.jobs.reading

    def _add_layer(self, layer: LayerData) -> None:
        from napari.layers import Layer

        data, options, kind = layer
        self.viewer.add_layer(Layer.create(data, options, kind))

    def predict(self) -> None:
        """Predict now, or as soon as the case is put together."""
        self.controller.predict_when_ready()

    def simulate(self, seed: int, voxel_mm: float) -> None:
        """Draw a simulated case in a thread, and open it as layers."""
        button = self.simulate_form.button
        button.enabled = False

        def over() -> None:
            button.enabled = True

        self.jobs.simulate(seed, voxel_mm, over)

    def _show_planes(self) -> None:
        open_planes(self)

    def _choose_layer(self, modality: Modality, name: str | None) -> None:
        self.layers.choose(modality, name)
        self._update_layers()

    # What happens

    def _on_layers(self, event: object = None) -> None:
        self._settle_layers.start()

    def _update_layers(self) -> None:
        if self._closed:
            return
        self._window.look()
        if self.overlay.labels() is None:  # or never there, which changes nothing
            self.controller.predictions.labels_removed()
        if self.jobs.reading:
            return  # a case is put together once all of its files are there
        try:
            self.layers.update()
        except ShaSpecError as error:
            self.jobs.tell(str(error))
        if not self.layers.names():
            self.controller.drop_wish()
        self.feature_display.tidy()
        self.modalities.set_layers(self.layers.origins())
        self.modalities.set_warnings(self.layers.warnings())

    def _on_case(self, *_: object) -> None:
        self.layers.straighten()
        self.modalities.set_warnings(self.layers.warnings())
        if self._export_of != self.controller.patient:
            self._export_of = self.controller.patient
            self.export_form.path.value = None  # another patient's labels are there, or may come to be
        self._renew_export()  # another reference is another file that nothing may replace
        if self.state.case is not None and self._in_view != self.controller.patient:
            image = self.layers.shown_image()
            if self._in_view > 0 and image is not None:  # napari has shown the first one; another may lie elsewhere
                self.viewer.reset_view(layers=[image])
            self._in_view = self.controller.patient
        if self.state.case is not None and self.state.result is None and self._pointed_at != self.controller.patient:
            self.layers.point_at(None)

    def _on_status(self, status: Status, *_: object) -> None:
        self.overlay.set_editable(editable=status is not Status.RUNNING)

    def _on_result(self, *_: object) -> None:
        result, case = self.state.result, self.state.case
        self._renew_export()
        self._show_at_cursor()
        if result is None or case is None:
            return
        if self._pointed_at != self.controller.patient:  # once for each patient: later the user has chosen the place
            self._pointed_at = self.controller.patient
            self.layers.point_at(result.labels)
        self._show_layers_of_result()
        self.run.set_devices(("auto", *list_devices()), self.controller.device)

    def _renew_export(self) -> None:
        """What *File > Save* writes: of the present case, and without a report where no result is finished."""
        case, result = self.state.case, self.state.result
        if case is not None:
            self.overlay.set_export(save_function(case, None if result is None else result.provenance()))

    def _show_layers_of_result(self) -> None:
        for region, box in self.overlay_panel.shown.items():
            if region not in self.overlay.regions:  # what is there follows by itself, and looks as the user likes it
                self.overlay.regions.show(
                    region, visible=box.isChecked(), filled=self.overlay_panel.filled[region].isChecked()
                )
        self.features.refresh_outlines()

    def _on_redraw(self) -> None:
        self._settle_edits.start()

    def _measure(self) -> None:
        """After a brush stroke or undo; redraws without a change cost a comparison."""
        if self._closed:
            return
        self._show_at_cursor()
        if self.state.status is Status.RUNNING:
            return
        if self.overlay.take_changes():
            self.overlay.regions.update()
            self.features.refresh_outlines()
            self.controller.measures.refresh()

    def _look(self, *_: object) -> None:
        look_along(self.viewer)

    def _on_mouse_move(self, viewer: object, event: object) -> None:
        self._mouse_came = True
        self._show_at_cursor()

    def _show_at_cursor(self, *_: object) -> None:
        """A mouse at rest is at another label once the slice or the labels are others."""
        if not self._mouse_came:
            return  # napari's cursor is at a place all the same
        place = place_under_cursor(self.viewer)
        described = "only in 2-D" if place is None else describe_place(place, self.overlay, self.state.result)
        self.regions.set_cursor(described)

    # The end

    def shut_down(self) -> None:
        """Stop threads, timers and connections; what is shown stays."""
        if self._closed:
            return
        self._closed = True
        self.closing.emit()
        self._settle_layers.stop()
        self._settle_edits.stop()
        self.choices.close()
        self._drops.remove()
        self._keys.close()
        self._window.end()
        self.overlay.changed.disconnect(self._on_redraw)
        self.overlay.cleared.disconnect(self._show_at_cursor)
        self.controller.measures.refreshed.disconnect(self.change_display.refresh)
        self.state.forget(self._listening)
        layers = self.viewer.layers.events
        for event in (layers.inserted, layers.removed, layers.renamed):
            event.disconnect(self._on_layers)
        dims = self.viewer.dims.events
        for event in (dims.ndim, dims.ndisplay):
            event.disconnect(self._look)
        for event in (dims.point, dims.ndisplay):
            event.disconnect(self._show_at_cursor)
        if self._on_mouse_move in self.viewer.mouse_move_callbacks:
            self.viewer.mouse_move_callbacks.remove(self._on_mouse_move)
        for panel in (self.modalities, self.run, self.regions, self.features_panel, self.subsets_panel):
            panel.close_panel()
        self.jobs.close(CLOSING_SECONDS)
        self.layers.close()
        self.controller.close()
        self.overlay.close()
        self.change.close()
        self.feature_display.close()
        self.subsets_display.close()
        # Qt keeps what is connected to it alive, and that must not be a viewer.
        self.viewer = None


def _notify(text: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(text)
