"""How the labels look, what makes them of the probabilities, and the way to the other planes."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QGridLayout, QLabel, QPushButton, QSlider, QWidget

from napari_shaspec.plugin.palette import REGION_NAMES
from napari_shaspec.plugin.state import PluginState
from napari_shaspec.regions import Region


class OverlayPanel(QWidget):
    """Opacity, regions as outlines or areas, thresholds and smoothing.

    Parameters
    ----------
    state
        Thresholds and smoothing are taken from it; never written here.
    opacity
        At the beginning, 0 to 1.
    """

    opacity_changed = Signal(float)
    region_changed = Signal(object, bool, bool)
    """A region, whether it is shown, and whether it is filled."""

    postprocessing_changed = Signal(object, bool)
    """Thresholds by region, and whether to smooth."""

    planes_clicked = Signal()

    def __init__(self, state: PluginState, opacity: float) -> None:
        super().__init__()
        self._state = state
        layout = QGridLayout(self)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setObjectName("opacity")
        self.opacity.setAccessibleName("Label opacity")
        self.opacity.setRange(0, 100)
        self.opacity.setValue(round(opacity * 100))
        self.opacity.valueChanged.connect(lambda percent: self.opacity_changed.emit(percent / 100))
        layout.addWidget(QLabel("Label opacity"), 0, 0)
        layout.addWidget(self.opacity, 0, 1, 1, 3)
        for column, title in enumerate(("Region", "show", "filled", "threshold")):
            layout.addWidget(QLabel(title), 1, column)
        self.shown: dict[Region, QCheckBox] = {}
        self.filled: dict[Region, QCheckBox] = {}
        self.thresholds: dict[Region, QDoubleSpinBox] = {}
        for row, region in enumerate(Region, 2):
            shown, filled = QCheckBox(), QCheckBox()
            shown.setObjectName(f"show_{region}")
            filled.setObjectName(f"fill_{region}")
            shown.setAccessibleName(f"Show {region}")
            filled.setAccessibleName(f"Fill {region}")
            shown.setToolTip(f"Show the {REGION_NAMES[region]} as a layer of its own")
            filled.setToolTip("As an area instead of an outline")
            for box in (shown, filled):
                box.clicked.connect(lambda _, region=region: self._region_clicked(region))
            threshold = QDoubleSpinBox()
            threshold.setObjectName(f"threshold_{region}")
            threshold.setAccessibleName(f"Threshold of {region}")
            threshold.setRange(0.05, 0.95)
            threshold.setSingleStep(0.05)
            threshold.setValue(state.thresholds[region])
            threshold.setKeyboardTracking(False)
            threshold.setToolTip(f"A voxel is {REGION_NAMES[region]} from this probability on")
            threshold.valueChanged.connect(self._post_changed)
            self.shown[region], self.filled[region], self.thresholds[region] = shown, filled, threshold
            for column, widget in enumerate((QLabel(region.value), shown, filled, threshold)):
                layout.addWidget(widget, row, column)
        self.smooth = QCheckBox("Smoothing (ShaSpec*): remove small components")
        self.smooth.setObjectName("smooth")
        self.smooth.setToolTip("Also turns enhancing tumour of less than 0.5 ml in all into core")
        self.smooth.clicked.connect(self._post_changed)
        layout.addWidget(self.smooth, 5, 0, 1, 4)
        self.planes = QPushButton("Show the other two planes")
        self.planes.setObjectName("planes")
        self.planes.setToolTip("Coronal and sagittal slices below the canvas; a click in any view moves all of them")
        self.planes.clicked.connect(lambda _: self.planes_clicked.emit())
        layout.addWidget(self.planes, 6, 0, 1, 4)
        layout.setRowStretch(7, 1)

    def _region_clicked(self, region: Region) -> None:
        self.region_changed.emit(region, self.shown[region].isChecked(), self.filled[region].isChecked())

    def _post_changed(self, *_: object) -> None:
        thresholds = {region: round(box.value(), 4) for region, box in self.thresholds.items()}
        self.postprocessing_changed.emit(thresholds, self.smooth.isChecked())
