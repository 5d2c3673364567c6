"""What *File > Save* writes where it would replace what is somebody else's."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.exporting import save_function
from napari_shaspec.regions import Convention
from napari_shaspec.volume import Case, Volume

SHAPE = (4, 5, 6)


def test_unfinished_labels_replace_no_label_map_that_is_not_open(tmp_path: Path) -> None:
    """An expert's, beside the images, which nobody has loaded as reference."""
    flair, expert = tmp_path / "p_flair.nii.gz", tmp_path / "p_seg.nii.gz"
    for path in (flair, expert):
        nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4)), path)
    before = expert.read_bytes()
    case = Case("p", {Modality.FLAIR: Volume(np.ones(SHAPE, np.float32), np.eye(4))}, files={Modality.FLAIR: flair})
    save, labels = save_function(case, None), np.full(SHAPE, 4, np.uint8)
    with pytest.raises(ShaSpecError, match="apart from the case"):
        save(expert, Convention("1-2-4"), labels)
    assert expert.read_bytes() == before
    own = tmp_path / "p_new.nii.gz"
    for value in (4, 2):  # its own may be written over
        assert save(own, Convention("1-2-4"), np.full_like(labels, value)) == [own]
    assert set(np.unique(nib.load(own).dataobj)) == {2}
