"""Which files an export writes, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from napari_shaspec.io.atomic import check_output
from napari_shaspec.regions import Convention, Region, check_name

NIFTI = (".nii.gz", ".nii")


class LabelForm(StrEnum):
    """How labels are written."""

    BRATS_2018 = Convention.BRATS_2018.value
    BRATS_2023 = Convention.BRATS_2023.value
    REGIONS = "regions"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Which files to write.

    Parameters
    ----------
    path
        The label map, ``.nii.gz`` or ``.nii``; with one mask for each region, ``path_ET_mask`` and so on.
    form
        How labels are written.
    probabilities
        Also ``path_ET`` and so on, float32.
    report
        Also ``path`` with ``.json``.
    """

    path: Path
    form: LabelForm = LabelForm.BRATS_2018
    probabilities: bool = False
    report: bool = True

    @property
    def ending(self) -> str:
        """``.nii.gz`` or ``.nii``, in lower case."""
        return self._parts()[1].lower()

    def files(self) -> list[Path]:
        """Everything that will be written."""
        masks = list(self.mask_paths().values()) if self.form is LabelForm.REGIONS else [self.path]
        maps = list(self.probability_paths().values()) if self.probabilities else []
        return [*masks, *maps, *([self.report_path()] if self.report else [])]

    def mask_paths(self) -> dict[Region, Path]:
        """seg.nii.gz -> seg_ET_mask.nii.gz and so on."""
        return {region: self.beside(f"_{region}_mask") for region in Region}

    def probability_paths(self) -> dict[Region, Path]:
        """seg.nii.gz -> seg_ET.nii.gz and so on."""
        return {region: self.beside(f"_{region}") for region in Region}

    def report_path(self) -> Path:
        """seg.nii.gz -> seg.json."""
        stem, _ = self._parts()
        return self.path.with_name(f"{stem}.json")

    def older(self) -> list[Path]:
        """Labels and maps that an export under this name wrote with other choices, and that this one leaves alone.

        They would look like parts of it. A report is no matter: `export` writes a new one over its own.
        """
        kinds = [self.path, *self.mask_paths().values(), *self.probability_paths().values()]
        written = self.files()
        return [path for path in kinds if path not in written and path.exists()]

    def check(self, *, overwrite: bool) -> None:
        """Refuse paths that cannot be written, before the work starts.

        Raises
        ------
        ShaSpecError
            As `check_output` and `check_name`.
        """
        if self.form is not LabelForm.REGIONS:
            check_name(self.path, Convention(self.form.value))
        for path in self.files():
            check_output(path, (".json",) if path.suffix == ".json" else NIFTI, overwrite=overwrite)

    def beside(self, ending: str) -> Path:
        """seg.nii.gz -> seg{ending}.nii.gz."""
        stem, suffix = self._parts()
        return self.path.with_name(f"{stem}{ending}{suffix}")

    def _parts(self) -> tuple[str, str]:
        name = self.path.name
        suffix = next((each for each in NIFTI if name.lower().endswith(each)), "")
        return name[: len(name) - len(suffix)], name[len(name) - len(suffix) :]
