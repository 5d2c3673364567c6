"""How fluid the viewer is: frame times during a first prediction, and from a click to the painted overlay.

Opens a real window (a virtual one under ``xvfb-run``) on the bundled sample, and scrolls through the slices all
the time while the network runs. A frame is a turn of the event loop: it moves the slice and draws it. The last line
printed is a JSON object; ``--runs`` first predictions are measured in one process, each with a new panel.

    scripts/on_screen.sh .venv/bin/python benchmarks/responsiveness.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["NAPARI_CONFIG"] = ""

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_shaspec.modalities import Modality
from napari_shaspec.widgets.shaspec import ShaSpecWidget

FRAME_MS = 16


def wait(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Turn the event loop until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("Timed out")
        QApplication.processEvents()
        time.sleep(0.0005)


def wait_for_result(panel: ShaSpecWidget, before: object) -> None:
    """Until there is another one; while the network runs there is none."""
    wait(lambda: panel.state.result is not None and panel.state.result is not before)


class Scroller:
    """Moves through the slices at every frame, and keeps the times between frames."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._last: float | None = None
        self._direction = 1
        self.frames_ms: list[float] = []
        self._timer = QTimer()
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self._frame)

    def start(self) -> None:
        """Begin to move."""
        self._timer.start()

    def stop(self) -> None:
        """Rest."""
        self._timer.stop()

    def _frame(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.frames_ms.append(1000 * (now - self._last))
        self._last = now
        dims = self._viewer.dims
        step, last = dims.current_step[0], dims.nsteps[0] - 1
        if not 0 < step + self._direction < last:
            self._direction = -self._direction
        dims.set_current_step(0, step + self._direction)


def first_prediction(case: Path | None) -> dict[str, float]:
    """Open viewer, panel and case; scroll until the prediction is there; then click on a check box."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    start = time.perf_counter()
    _, panel = viewer.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    QApplication.processEvents()
    panel_seconds = time.perf_counter() - start
    torch_there = "torch" in sys.modules
    if case is None:
        viewer.open_sample("napari-shaspec", "simulated_glioma")
    else:
        panel.open_paths([str(case)])
    wait(lambda: panel.state.case is not None)
    scroller = Scroller(viewer)
    start = time.perf_counter()
    scroller.start()
    wait(lambda: panel.state.result is not None)
    first_seconds = panel.state.result.seconds
    # The last frames paint the whole result and measure it.
    wait(lambda: bool(panel.state.agreement))
    wait(lambda: all(each.hd95_mm is not None for each in panel.state.agreement.values()))
    scroller.stop()
    coarse_seconds, toggle_seconds = toggle(panel)
    sweep_seconds, sweep_frames = sweep(viewer, panel)
    frames = np.array(scroller.frames_ms)
    viewer.close()
    wait(lambda: True)
    return {
        "panel_seconds": panel_seconds,
        "torch_before_first_use": float(torch_there),
        "first_seconds": first_seconds,
        "frames": float(len(frames)),
        "median_ms": float(np.median(frames)),
        "p99_ms": float(np.percentile(frames, 99)),
        "max_ms": float(frames.max()),
        "coarse_seconds": coarse_seconds,
        "toggle_seconds": toggle_seconds,
        "coarse_over_first": coarse_seconds / first_seconds,
        "sweep_seconds": sweep_seconds,
        "sweep_median_ms": float(np.median(sweep_frames)),
        "sweep_max_ms": float(sweep_frames.max()),
    }


def sweep(viewer: napari.Viewer, panel: ShaSpecWidget) -> tuple[float, NDArray[np.float64]]:
    """Seconds that all 15 subsets take, every image being encoded, and the frame times in ms meanwhile."""
    scroller = Scroller(viewer)
    start = time.perf_counter()
    scroller.start()
    panel.subsets_panel.button.click()
    wait(lambda: not panel.state.sweeping)
    seconds = time.perf_counter() - start
    scroller.stop()
    assert panel.state.swept is not None
    assert panel.state.swept.sweep.finished
    return seconds, np.array(scroller.frames_ms)


def toggle(panel: ShaSpecWidget) -> tuple[float, float]:
    """Seconds from a click to the painted coarse overlay, and to the finished one; means over the boxes."""
    coarse, whole = [], []
    for modality in Modality:
        before, start = panel.state.result, time.perf_counter()
        panel.modalities.boxes[modality].click()
        wait(lambda: panel.state.progress.done > 0)
        QApplication.processEvents()  # draws what was painted
        coarse.append(time.perf_counter() - start)
        wait_for_result(panel, before)
        whole.append(time.perf_counter() - start)
        before = panel.state.result
        panel.modalities.boxes[modality].click()
        wait_for_result(panel, before)
    return statistics.mean(coarse), statistics.mean(whole)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--case", type=Path, help="a case folder instead of the bundled sample")
    options = parser.parse_args()
    runs = [first_prediction(options.case) for _ in range(options.runs)]
    for run in runs:
        print({name: round(value, 3) for name, value in run.items()})
    medians = {name: round(statistics.median(run[name] for run in runs), 4) for name in runs[0]}
    print(json.dumps({**medians, "runs": len(runs)}))


if __name__ == "__main__":
    main()
