"""Forms: open a case, export, simulate a case."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSpinBox, PushButton, SpinBox

FORMS = {
    "1-2-4 (BraTS until 2021)": "1-2-4",
    "1-2-3 (BraTS from 2023)": "1-2-3",
    "one mask for each region": "regions",
}


class OpenForm(Container):  # type: ignore[type-arg]
    """A case folder, or its files.

    Parameters
    ----------
    open_paths
        Called with what was chosen, an empty list if that is nothing.
    """

    def __init__(self, open_paths: Callable[[list[str]], None]) -> None:
        self.folder = FileEdit(
            label="Case folder", mode=FileDialogMode.EXISTING_DIRECTORY, name="folder", nullable=True
        )
        self.files = FileEdit(
            label="or files",
            mode=FileDialogMode.EXISTING_FILES,
            name="files",
            filter="NIfTI (*.nii *.nii.gz)",
            nullable=True,
        )
        self.button = PushButton(text="Open", name="open", tooltip="Read the images and predict")
        super().__init__(widgets=[self.folder, self.files, self.button])
        _name_entries(self)
        self._open_paths = open_paths
        # One or the other: what was chosen last is what is meant.
        self.folder.changed.connect(lambda: self._leave_out(self.files, self._chosen(self.folder)))
        self.files.changed.connect(lambda: self._leave_out(self.folder, self._chosen(self.files)))
        self.button.changed.connect(self._clicked)

    def _clicked(self) -> None:
        chosen = self._chosen(self.files) or self._chosen(self.folder)
        self.files.value = self.folder.value = None  # the next case begins with neither
        self._open_paths(chosen)

    @staticmethod
    def _chosen(edit: FileEdit) -> list[str]:
        text = str(edit.line_edit.value or "")
        several = edit.mode is FileDialogMode.EXISTING_FILES
        return [_at_home(path) for path in (_paths(text) if several else [text]) if path not in ("", ".")]

    @staticmethod
    def _leave_out(other: FileEdit, chosen: list[str]) -> None:
        if chosen:
            other.value = None


def _at_home(path: str) -> str:
    """With what a tilde stands for, as in a shell."""
    return os.path.expanduser(path)  # noqa: PTH111 (that of Path raises where there is no such user)


def _paths(text: str) -> list[str]:
    """Take apart what magicgui puts together with a comma and a space, which names of folders may hold, too."""
    pieces, paths = text.split(", "), []
    while pieces:
        joined = [", ".join(pieces[:count]) for count in range(len(pieces), 0, -1)]
        path = next(filter(os.path.exists, joined), pieces[0])
        paths.append(path.strip())
        pieces = pieces[path.count(", ") + 1 :]
    return paths


class ExportForm(Container):  # type: ignore[type-arg]
    """Where to write labels, and what else.

    Parameters
    ----------
    convention
        At the beginning: 1-2-4, 1-2-3 or regions.
    export
        Called with path, form of the labels, and whether to write probabilities and feature maps.
    """

    def __init__(self, convention: str, export: Callable[[Path, str, bool, bool], None]) -> None:
        self.path = FileEdit(
            label="Labels",
            mode=FileDialogMode.OPTIONAL_FILE,
            name="path",
            filter="NIfTI (*.nii.gz *.nii)",
            nullable=True,
        )
        self.form = ComboBox(label="Numbers", name="form", choices=list(FORMS))
        self.form.value = next(title for title, value in FORMS.items() if value == convention)
        self.probabilities = CheckBox(text="probabilities of ET, TC, WT too", name="probabilities")
        self.features = CheckBox(text="feature maps that are shown too", name="features")
        self.button = PushButton(
            text="Export...",
            name="export",
            tooltip="Write the labels as they are in the layer, and a report beside them",
        )
        super().__init__(widgets=[self.path, self.form, self.probabilities, self.features, self.button])
        _name_entries(self)
        self._export = export
        self.button.changed.connect(self._clicked)

    def _clicked(self) -> None:
        path = self.path.value
        self._export(
            Path(_at_home(str(path))) if isinstance(path, Path) else Path(),
            FORMS[self.form.value],
            bool(self.probabilities.value),
            bool(self.features.value),
        )


class SimulateForm(Container):  # type: ignore[type-arg]
    """A simulated case, to try things on.

    Parameters
    ----------
    simulate
        Called with seed and voxel size in mm.
    """

    def __init__(self, simulate: Callable[[int, float], None]) -> None:
        self.seed = SpinBox(label="Seed", name="seed", value=1, min=0, max=999_999)
        self.voxel_mm = FloatSpinBox(label="Voxel (mm)", name="voxel_mm", value=1.5, min=1.0, max=3.0, step=0.5)
        self.button = PushButton(text="Simulate a case", name="simulate", tooltip="Takes some seconds; needs nilearn")
        super().__init__(widgets=[self.seed, self.voxel_mm, self.button])
        _name_entries(self)
        self._simulate = simulate
        self.button.changed.connect(self._clicked)

    def _clicked(self) -> None:
        self._simulate(int(self.seed.value), float(self.voxel_mm.value))


def _name_entries(form: Container) -> None:  # type: ignore[type-arg]
    """Screen readers do not know what magicgui writes beside an entry; buttons and check boxes say it themselves."""
    for entry in form:
        if not isinstance(entry, CheckBox | PushButton):
            shown = entry.line_edit if isinstance(entry, FileEdit) else entry
            shown.native.setAccessibleName(entry.label)
