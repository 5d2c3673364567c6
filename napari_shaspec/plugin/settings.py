"""What is remembered between runs: napari's own preferences, under the plugin's name.

The manifest declares the entries, so napari shows them in *Preferences*, checks them and saves them in its folder.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from napari_shaspec.regions import Convention

PLUGIN = "napari-shaspec"


@dataclass(frozen=True, slots=True)
class Settings:
    """A snapshot of the remembered entries.

    Parameters
    ----------
    device
        ``auto``, ``cuda``, ``mps`` or ``cpu``.
    weights
        Path of a checkpoint; empty for the bundled one.
    live
        Predict again at every toggle.
    label_convention
        Of exported label maps: 1-2-4, 1-2-3, or ``regions`` for one mask each.
    opacity
        Of the labels, 0 to 1.
    offer_reader
        Whether to offer to become napari's reader for NIfTI.
    """

    device: str = "auto"
    weights: str = ""
    live: bool = True
    label_convention: str = Convention.BRATS_2018.value
    opacity: float = 0.5
    offer_reader: bool = True

    @classmethod
    def load(cls) -> Settings:
        """The entries as they are now."""
        general = _entries()
        return cls(**{each.name: getattr(general, each.name) for each in fields(cls)})

    @property
    def convention(self) -> Convention:
        """Of a single label map; where masks of regions are exported otherwise, that of BraTS until 2021."""
        known = self.label_convention in set(Convention)
        return Convention(self.label_convention) if known else Convention.BRATS_2018

    @property
    def weights_path(self) -> Path | None:
        """None for the bundled weights, and where the remembered file is gone, or out of reach."""
        path = Path(self.weights)
        try:
            return path if self.weights and path.is_file() else None
        except OSError:
            return None


def remember(**changes: str | float | bool) -> None:
    """Change entries; napari saves them, and where it cannot, they hold until it is closed."""
    general = _entries()
    for name, value in changes.items():
        if getattr(general, name) != value:
            try:
                setattr(general, name, value)
            except OSError as error:
                from napari.utils.notifications import show_warning

                show_warning(f"napari cannot save its settings ({error}).")


def _entries() -> Any:
    from napari.settings import get_plugin_settings

    return get_plugin_settings(PLUGIN).general


def reads_nifti() -> bool:
    """Whether this plugin is napari's reader for NIfTI already."""
    from napari.settings import get_settings

    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(pattern) == PLUGIN for pattern in ("*.nii", "*.nii.gz"))


def become_reader() -> None:
    """Make this plugin napari's reader for NIfTI, as *Preferences > Plugins* would."""
    from napari.settings import get_settings

    plugins = get_settings().plugins
    plugins.extension2reader = {**plugins.extension2reader, "*.nii": PLUGIN, "*.nii.gz": PLUGIN}
