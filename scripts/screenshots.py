"""Draw the pictures of docs/ from the real program: `make screenshots`.

Opens the viewer on the bundled sample case, does what the tutorial tells, and saves what is seen.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["NAPARI_CONFIG"] = ""

import napari
import numpy as np
from napari.settings import get_settings
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtWidgets import QApplication, QScrollArea, QWidget

from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.regions import Region
from napari_shaspec.widgets.feature_plot import open_feature_plot
from napari_shaspec.widgets.planes import open_planes
from napari_shaspec.widgets.shaspec import ShaSpecWidget

WINDOW = (1280, 800)
SETTLE_SECONDS = 1.0
CAPTION_PIXELS = 22


class Photographer:
    """A viewer with the panel and the sample in it, and pictures of both.

    Parameters
    ----------
    folder
        Where pictures go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.viewer = napari.Viewer(title="ShaSpec")
        self.viewer.window.resize(*WINDOW)
        _, self.panel = self.viewer.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
        assert isinstance(self.panel, ShaSpecWidget)

    def open_sample(self) -> None:
        """As from *File > Open Sample*."""
        self.viewer.open_sample("napari-shaspec", "simulated_glioma")
        self.wait_for_result(None, self.panel.state.agreement)

    def wait_for_result(self, before: object, measured_before: object) -> None:
        """Until there are a result and a measured table other than those."""
        state = self.panel.state
        self.wait(lambda: state.result is not None and state.result is not before)
        self.wait(
            lambda: (
                state.agreement is not measured_before
                and len(state.agreement) > 0
                and all(each.hd95_mm is not None for each in state.agreement.values())
            )
        )
        self.settle()

    def choose(self, *modalities: Modality) -> None:
        """Switch check boxes until these are on."""
        result, measured = self.panel.state.result, self.panel.state.agreement
        if frozenset(modalities) != self.panel.state.available:
            self.panel.controller.choose(frozenset(modalities))
            self.wait_for_result(result, measured)

    def window(self, name: str) -> None:
        """The whole window."""
        self.settle()
        self.viewer.screenshot(str(self.folder / name), canvas_only=False, flash=False)

    def canvas(self) -> Image.Image:
        """The canvas alone."""
        self.settle()
        return Image.fromarray(np.asarray(self.viewer.screenshot(canvas_only=True, flash=False))).convert("RGB")

    def part(self, widget: QWidget, name: str) -> None:
        """One panel."""
        self.settle()
        widget.grab().save(str(self.folder / name))

    def wait(self, condition: Callable[[], bool], seconds: float = 300.0) -> None:
        """Turn the event loop until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                sys.exit("Timed out")
            QApplication.processEvents()
            time.sleep(0.005)

    def settle(self) -> None:
        """Let everything be drawn."""
        end = time.monotonic() + SETTLE_SECONDS
        self.wait(lambda: time.monotonic() > end)


def side_by_side(pictures: dict[str, Image.Image]) -> Image.Image:
    """Pictures in a row, each with its caption, cut to where something is."""
    boxes = [picture.getbbox() for picture in pictures.values()]
    left, top = (min(box[edge] for box in boxes if box) for edge in (0, 1))
    right, bottom = (max(box[edge] for box in boxes if box) for edge in (2, 3))
    font = ImageFont.load_default(CAPTION_PIXELS - 6)
    words = max(int(font.getbbox(caption)[2]) for caption in pictures)
    width, height = max(right - left, words + 12), bottom - top
    beside = (width - (right - left)) // 2
    row = Image.new("RGB", (width * len(pictures), height + CAPTION_PIXELS + 8))
    pen = ImageDraw.Draw(row)
    for column, (caption, picture) in enumerate(pictures.items()):
        row.paste(picture.crop((left, top, right, bottom)), (column * width + beside, CAPTION_PIXELS + 8))
        pen.text((column * width + width // 2, CAPTION_PIXELS // 2 + 4), caption, "white", font, anchor="mm")
    return row


def caption(panel: ShaSpecWidget) -> str:
    """The subset and its volumes."""
    volumes = "  ".join(f"{region} {volume:.0f} ml" for region, volume in panel.state.volumes_ml.items())
    return f"{subset_name(panel.state.available)}:  {volumes}"


def picture_points(photographer: Photographer) -> None:
    """The feature plot: one point is clicked, and a line drawn around those near it."""
    dock = open_feature_plot(photographer.panel)
    dock.compute()
    photographer.wait(lambda: dock.placed is not None)
    assert dock.placed is not None
    points = dock.placed.plot.placed
    chosen = int(np.argmax(points[:, 1]))
    near = np.linalg.norm(points - points[chosen], axis=1) < 0.1 * np.ptp(points, axis=0).max()
    dock.canvas.enclosed.emit(np.flatnonzero(near))
    dock.canvas.picked.emit(chosen)
    photographer.window("feature_plot.png")


def picture_planes(photographer: Photographer) -> None:
    """The other two planes through the tumour."""
    dock = open_planes(photographer.panel)
    photographer.settle()
    photographer.window("planes.png")
    photographer.viewer.window.remove_dock_widget(dock)
    photographer.settle()


def picture_regions(photographer: Photographer) -> None:
    """Regions as outlines, and what changes against a pinned result."""
    panel = photographer.panel
    for region in Region:
        panel.overlay_panel.shown[region].click()
    panel.overlay_panel.opacity.setValue(15)
    photographer.window("outlines.png")
    photographer.part(panel.overlay_panel, "panel_overlay.png")
    for region in Region:
        panel.overlay_panel.shown[region].click()
    panel.overlay_panel.opacity.setValue(50)

    # What changes without T1c and T2.
    panel.regions.pin.click()
    photographer.choose(Modality.FLAIR)
    photographer.window("compare.png")
    photographer.part(panel.regions, "panel_regions.png")
    panel.regions.unpin.click()


def picture_features(photographer: Photographer) -> None:
    """Feature maps, T2 missing."""
    panel = photographer.panel
    photographer.choose(Modality.FLAIR, Modality.T1, Modality.T1C)
    panel.tabs.setCurrentWidget(panel.features_panel)
    panel.features_panel.level.setCurrentIndex(1)
    panel.features_panel.button.click()
    photographer.wait(lambda: panel.features.shown)
    photographer.settle()
    photographer.window("features.png")
    photographer.part(panel.features_panel, "panel_features.png")
    panel.features_panel.button.click()
    photographer.choose(*Modality)


def picture_subsets(photographer: Photographer) -> None:
    """Every subset, and where they agree."""
    panel = photographer.panel
    panel.tabs.setCurrentWidget(panel.subsets_panel)
    panel.subsets_panel.button.click()
    photographer.wait(lambda: panel.state.swept is not None and not panel.state.sweeping)
    photographer.part(panel.subsets_panel, "panel_subsets.png")
    panel.subsets_panel.map.setCurrentText(Region.WT)
    panel.subsets_panel.map.activated.emit(panel.subsets_panel.map.currentIndex())
    panel.overlay.layer.visible = False
    scroll = panel.findChild(QScrollArea).verticalScrollBar()
    scroll.setValue(scroll.maximum())
    photographer.window("subsets.png")
    scroll.setValue(0)
    panel.overlay.layer.visible = True
    panel.subsets_panel.map.setCurrentIndex(0)
    panel.subsets_panel.map.activated.emit(0)


def main() -> None:
    """Take all pictures."""
    folder = Path(sys.argv[1])
    photographer = Photographer(folder)
    viewer, panel = photographer.viewer, photographer.panel
    photographer.window("empty.png")
    photographer.open_sample()
    panel.offer.hide()
    photographer.window("viewer.png")

    # A toggle: the same slice, drawn from other images.
    viewer.canvas.overlays.scale_bar.visible = False
    pictures = {}
    for subset in ((Modality.FLAIR, Modality.T1, Modality.T1C, Modality.T2), (Modality.FLAIR,), (Modality.T1C,)):
        photographer.choose(*subset)
        pictures[caption(panel)] = photographer.canvas()
    side_by_side(pictures).save(folder / "toggle.png", optimize=True)
    viewer.canvas.overlays.scale_bar.visible = True

    photographer.choose(Modality.FLAIR, Modality.T1)
    photographer.part(panel.modalities, "panel_modalities.png")
    photographer.part(panel.run, "panel_prediction.png")
    photographer.choose(*Modality)

    picture_regions(photographer)
    picture_features(photographer)
    picture_subsets(photographer)

    panel.tabs.setCurrentWidget(panel.export_form.native)
    photographer.part(panel.export_form.native, "panel_export.png")
    panel.tabs.setCurrentIndex(panel.tabs.count() - 1)
    photographer.part(panel.tabs.currentWidget(), "panel_open.png")
    panel.tabs.setCurrentIndex(0)

    get_settings().appearance.theme = "light"
    photographer.window("viewer_light.png")
    get_settings().appearance.theme = "dark"

    picture_planes(photographer)
    picture_points(photographer)
    viewer.close()


if __name__ == "__main__":
    main()
