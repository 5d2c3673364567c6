"""What the panel does in threads beside predicting: read files, write results, simulate cases, load weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.plugin.exporting import export_result, export_sweep, older_files
from napari_shaspec.plugin.latest import Latest, Start
from napari_shaspec.plugin.layers import LayerData
from napari_shaspec.plugin.opening import Opening
from napari_shaspec.plugin.sessions import load_weights
from napari_shaspec.plugin.state import PluginState, Result
from napari_shaspec.volume import Case, Volume

if TYPE_CHECKING:
    from napari_shaspec.evaluation.answers import Sweep
    from napari_shaspec.model.checkpoint import Checkpoint

NAMES_IN_MESSAGE = 4


class Jobs:
    """One job of each kind at a time, apart from reading; the panel's message says what goes on, and what went wrong.

    Parameters
    ----------
    state
        Its message and problems are written.
    start
        Runs work in another thread.
    add
        Called with each layer that was read or simulated.
    opened
        Called when all files of a drop have been read.
    notify
        Shows an error where it cannot be overlooked.
    """

    def __init__(
        self,
        state: PluginState,
        start: Start,
        add: Callable[[LayerData], None],
        opened: Callable[[], None],
        notify: Callable[[str], None],
    ) -> None:
        self._state = state
        self._add = add
        self._opened = opened
        self._notify = notify
        self._drops_open = 0
        self._after_simulating: Callable[[], None] = lambda: None
        self._use_weights: Callable[[Path | None, Checkpoint], None] = lambda weights, checkpoint: None
        self._opening = Opening(start, add, self._unreadable)
        self._exporting: Latest[str] = Latest(start, self._exported, on_error=self._failed)
        self._simulating: Latest[list[LayerData]] = Latest(
            start, self._simulated, self._simulation_over, self._simulation_failed
        )
        self._loading: Latest[tuple[Path | None, Checkpoint]] = Latest(start, self._loaded, on_error=self._failed)

    def tell(self, text: str) -> None:
        """In the panel, where it stays, and as napari's own message."""
        self._state.message = text
        self._notify(text)

    @property
    def reading(self) -> bool:
        """Whether files are being read."""
        return self._drops_open > 0

    def may_export(self) -> bool:
        """Whether nothing is being written; else it is told."""
        if self.exporting:
            self.tell("The files before are still being written: wait for their message.")
        return not self.exporting

    @property
    def exporting(self) -> bool:
        """Whether files are being written: that cannot be stopped halfway, so another export has to wait."""
        return self._exporting.running

    def open(self, paths: list[str]) -> None:
        """Open files or case folders; what cannot be read becomes one message, and the rest is opened."""
        self._drops_open += 1
        self._state.problems, self._state.left_out = (), ""
        self._state.message = f"Reading {', '.join(Path(path).name for path in paths[:NAMES_IN_MESSAGE])}..."

        def done() -> None:
            self._drops_open -= 1
            if self._state.message.startswith("Reading "):
                self._state.message = ""
            self._opened()

        self._opening.open(paths, done)

    def export(  # noqa: PLR0913 (an export is told what and how)
        self,
        path: Path,
        form: str,
        case: Case,
        result: Result,
        labels: NDArray[np.uint8],
        *,
        probabilities: bool,
        pictures: Mapping[Path, Volume],
        aside: Sequence[str] = (),
    ) -> None:
        """Write as `export_result` does; nobody may paint on these labels meanwhile.

        Parameters
        ----------
        aside
            Layers of which the user is told that they are not in it.
        """
        self._state.message = "Writing..."

        def work(cancelled: Event) -> Iterator[str]:
            shares = result.prediction.probabilities if probabilities else None
            files = export_result(path, form, case, result, labels, probabilities=shares, pictures=pictures)
            told = _written(files)
            if older := older_files(path, form, probabilities):
                told += f"; left from before, not of these labels: {', '.join(each.name for each in older)}"
            yield told + (f"\nNot in it: what you painted on {', '.join(aside)}." if aside else "")

        self._exporting.run(work)

    def save_sweep(self, path: Path, sweep: Sweep) -> None:
        """Write the answers of all subsets as CSV; a file dialog has asked before an older file is replaced."""
        self._state.message = "Writing..."

        def work(cancelled: Event) -> Iterator[str]:
            yield _written(export_sweep(path, sweep))

        self._exporting.run(work)

    def simulate(self, seed: int, voxel_mm: float, over: Callable[[], None]) -> None:
        """Draw a simulated case, and add it as layers; ``over`` is called whatever came of it."""
        self._after_simulating = over
        self._state.message = "Simulating a case..."

        def work(cancelled: Event) -> Iterator[list[LayerData]]:
            from napari_shaspec.plugin.simulation import simulated_layers

            yield simulated_layers(seed, voxel_mm)

        self._simulating.run(work)

    def load_weights(self, weights: Path | None, use: Callable[[Path | None, Checkpoint], None]) -> None:
        """Load a checkpoint, the bundled one for None, and call ``use`` with it."""
        self._use_weights = use
        self._state.message = "Loading the weights..."

        def work(cancelled: Event) -> Iterator[tuple[Path | None, Checkpoint]]:
            yield weights, load_weights(weights)

        self._loading.run(work)

    def close(self, seconds: float) -> None:
        """Stop everything; each kind has so long to end."""
        for kind in (self._opening, self._loading, self._exporting, self._simulating):
            kind.close(seconds)

    def _unreadable(self, error: ShaSpecError | str) -> None:
        if isinstance(error, str):
            self._state.left_out = error
            return
        self._state.problems = (*self._state.problems, str(error))
        self._notify(str(error))

    def _exported(self, told: str) -> None:
        self._state.message = told

    def _simulated(self, layers: list[LayerData]) -> None:
        self._state.message = ""
        for layer in layers:
            self._add(layer)

    def _simulation_over(self) -> None:
        self._after_simulating()

    def _simulation_failed(self, error: Exception) -> None:
        self._simulation_over()
        if isinstance(error, ModuleNotFoundError):
            self.tell('Simulating needs nilearn: pip install "napari-shaspec[train]"')
        else:
            self._failed(error)

    def _loaded(self, loaded: tuple[Path | None, Checkpoint]) -> None:
        self._state.message = ""
        self._use_weights(*loaded)

    def _failed(self, error: Exception) -> None:
        self.tell(str(error))
        if not isinstance(error, ShaSpecError):
            raise error  # a bug: napari shows where


def _written(files: list[Path]) -> str:
    return f"Wrote {', '.join(each.name for each in files)} to {files[0].resolve().parent}"
