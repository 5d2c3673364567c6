"""What the manifest puts into napari's menus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.plugin.settings import PLUGIN
from napari_shaspec.widgets.layout import bring_forward

if TYPE_CHECKING:
    from napari_shaspec.plugin.layers import LayerData
    from napari_shaspec.widgets.shaspec import ShaSpecWidget


def open_panel() -> ShaSpecWidget:
    """The panel of the present viewer, opened if it is not there yet.

    Raises
    ------
    ShaSpecError
        If there is no viewer.
    """
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        raise ShaSpecError("a napari viewer", "none", "Start napari first")
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "ShaSpec")
    widget: ShaSpecWidget = panel
    bring_forward(widget)
    return widget


def segment() -> None:
    """Open the panel, and predict."""
    open_panel().predict()


def show_features() -> None:
    """Open the panel at its feature maps."""
    panel = open_panel()
    panel.tabs.setCurrentWidget(panel.features_panel)


def show_feature_plot() -> None:
    """Open the panel, and below the canvas the plot of features as points."""
    from napari_shaspec.widgets.feature_plot import open_feature_plot

    open_feature_plot(open_panel())


def show_planes() -> None:
    """Open the panel, and below the canvas the two planes that the canvas does not show."""
    from napari_shaspec.widgets.planes import open_planes

    open_planes(open_panel())


def show_subsets() -> None:
    """Open the panel at the comparison of all subsets."""
    panel = open_panel()
    panel.tabs.setCurrentWidget(panel.subsets_panel)


def export() -> None:
    """Open the panel at its export form."""
    panel = open_panel()
    panel.tabs.setCurrentWidget(panel.export_form.native)


def open_av_mnist() -> list[LayerData]:
    """Open the dock for Audiovision-MNIST, ask for the data, and show a pair; the network is trained meanwhile.

    Raises
    ------
    ShaSpecError
        If there is no viewer, or no data.
    """
    import napari

    from napari_shaspec.widgets.digits import open_digits

    viewer = napari.current_viewer()
    if viewer is None:
        raise ShaSpecError("a napari viewer", "none", "Start napari first")
    # napari hands plugins a proxy, whose layers are new proxies at every access.
    return open_digits(getattr(viewer, "__wrapped__", viewer)).layers()
