"""`napari-shaspec view`: the viewer with a case in it."""

from __future__ import annotations

import os
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_shaspec.cli.options import Overwrite
from napari_shaspec.cli.screen import say
from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_output, replacing

if TYPE_CHECKING:
    from napari_shaspec.widgets.shaspec import ShaSpecWidget

WINDOW = (1280, 800)
LONGEST_SECONDS = 600.0
SETTLING_SECONDS = 2.0
"""Until the last layers are drawn and the table is measured."""


def view(
    case: Annotated[
        list[Path] | None, typer.Argument(metavar="CASE...", help="A case folder, or the files of one case.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Take the simulated case that comes with it.")] = False,
    screenshot: Annotated[
        Path | None, typer.Option(help="Write a picture of the window with the finished overlay, .png, and quit.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Open napari with the ShaSpec panel, and a case if one is named."""
    if case and sample:
        raise ShaSpecError("a case or --sample", "both", "Leave one out")
    if screenshot is not None:
        check_output(screenshot, (".png",), overwrite=overwrite)
        if not case and not sample:
            raise ShaSpecError("a case to take a picture of", "none", "Name a case, or --sample")
    for path in case or []:
        if not path.exists():
            raise ShaSpecError(f"a file or folder at {path}", "nothing", "Check the path")
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ShaSpecError(
            "a screen to open a window on",
            "none",
            "Log in with a desktop, or run it on a virtual one: xvfb-run -a napari-shaspec view ... --screenshot FILE",
        )
    # The folder stays lent while the window is open: files are read in a thread.
    with as_file(files("napari_shaspec") / "resources" / "sample") as folder:
        _open_window([str(folder)] if sample else [str(path) for path in case or []], screenshot, overwrite=overwrite)


def _open_window(paths: list[str], screenshot: Path | None, *, overwrite: bool) -> None:
    """Show the window until it is closed, or until its picture is taken."""
    import napari

    from napari_shaspec.plugin.settings import PLUGIN

    viewer = napari.Viewer(title="ShaSpec")
    viewer.window.resize(*WINDOW)
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "ShaSpec")
    if paths:
        panel.open_paths(paths)
    if screenshot is None:
        napari.run()
        return
    panel.predict()  # once it is read, whether or not the panel is set to do so by itself
    try:
        _wait(panel)
        with replacing(screenshot, overwrite=overwrite) as place:
            viewer.screenshot(str(place), canvas_only=False, flash=False)
    finally:
        viewer.close()
    say(f"Wrote {screenshot}")


def _wait(panel: ShaSpecWidget) -> None:
    """Let the event loop turn until the labels are there."""
    from qtpy.QtWidgets import QApplication

    from napari_shaspec.plugin.state import Status

    end = time.monotonic() + LONGEST_SECONDS
    finished: float | None = None
    while finished is None or time.monotonic() < finished + SETTLING_SECONDS:
        QApplication.processEvents()
        time.sleep(0.01)
        state = panel.state
        measured = all(each.hd95_mm is not None for each in state.agreement.values())
        if finished is None and state.result is not None and measured:
            finished = time.monotonic()
        problem = "; ".join([*state.problems, *([state.message] if state.message else [])])
        if problem and state.result is None and state.status in (Status.EMPTY, Status.READY) and not panel.reading:
            raise ShaSpecError("a prediction", problem, "Correct it, or leave that file out")
        if time.monotonic() > end:
            raise ShaSpecError(f"a prediction within {LONGEST_SECONDS:.0f} s", "none", "Try `napari-shaspec predict`")
