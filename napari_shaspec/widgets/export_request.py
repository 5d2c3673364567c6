"""From the export form to files: says what is missing, and asks before anything is replaced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox, QWidget

from napari_shaspec.modalities import subset_title
from napari_shaspec.plugin import settings
from napari_shaspec.plugin.exporting import feature_files, planned_files

if TYPE_CHECKING:
    from napari_shaspec.plugin.jobs import Jobs
    from napari_shaspec.plugin.overlay import Overlay
    from napari_shaspec.plugin.state import PluginState, Result
    from napari_shaspec.widgets.feature_display import FeatureDisplay


class ExportRequest:
    """Exports what is shown now.

    Parameters
    ----------
    dock
        Questions appear over it.
    state
        Has the case and its result.
    overlay
        Has the labels, edits included.
    features
        Has the feature maps, and knows what they are of.
    jobs
        Writes in a thread, and tells.
    """

    def __init__(
        self, dock: QWidget, state: PluginState, overlay: Overlay, features: FeatureDisplay, jobs: Jobs
    ) -> None:
        self._dock = dock
        self._state = state
        self._overlay = overlay
        self._features = features
        self._jobs = jobs

    def export(self, path: Path, form: str, probabilities: bool, features: bool) -> None:
        """Write labels and what else was asked for; files that exist are replaced only after a question."""
        result, case = self._state.result, self._state.case
        shown = self._overlay.labels()
        if result is None or shown is None or case is None:
            self._jobs.tell("There is nothing to export yet: predict first.")
            return
        labels = shown.copy()  # while a question is open, the network may paint others, which are not of this result
        if not path.name:
            self._jobs.tell("Choose a file name for the labels first, such as seg.nii.gz.")
            return
        if not self._jobs.may_export():
            return
        if path.parent == Path():  # a bare name: beside the images, and not wherever napari was started
            # Not the image's own folder, where it is a link: git-annex keeps each in a place of its own.
            path = next(iter(case.files.values()), Path.cwd() / path).parent.resolve() / path.name
        maps = self._features.by_title() if features else {}
        if maps and (difference := self._difference(result)):
            self._jobs.tell(difference)
            return
        pictures = feature_files(path, form, maps)
        if not may_replace(self._dock, planned_files(path, form, probabilities, pictures)):
            return
        settings.remember(label_convention=form)
        self._jobs.export(
            path,
            form,
            case,
            result,
            labels,
            probabilities=probabilities,
            pictures=pictures,
            aside=self._overlay.set_aside(),
        )

    def _difference(self, result: Result) -> str:
        """Why the maps that are shown do not belong beside these labels; empty where they do."""
        available, network = self._features.shown_of
        if (available, network) == (result.available, result.checkpoint.sha256):
            return ""
        another = "" if network == result.checkpoint.sha256 else " by another model"
        others = "wait for those that are on their way" if self._features.waiting else "predict first"
        return (
            f"The feature maps are of {subset_title(available)}{another}, the labels of "
            f"{subset_title(result.available)}: {others}, or export without maps."
        )


def may_replace(panel: QWidget, files: Iterable[Path]) -> bool:
    """Ask over a panel whether those of the files, all in one folder, that exist may be written over.

    Nothing is asked where none does.
    """
    existing = [each for each in files if each.exists()]
    if not existing:
        return True
    names = ", ".join(each.name for each in existing)
    # Where the name is, and not where a link of that name leads.
    answer = QMessageBox.question(panel, "ShaSpec", f"Replace {names} in {existing[0].parent.resolve()}?")
    return bool(answer == QMessageBox.StandardButton.Yes)
