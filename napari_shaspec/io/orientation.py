"""The affine of a NIfTI header: which of its two forms counts, and how a form travels to a new file.

A header may hold an sform (any affine), a qform (rotation and voxel sizes) and bare voxel sizes. The rule is that of
nibabel, FSL and SPM: the sform if its code is above 0, else the qform if its code is, else the voxel sizes alone.
Affines are voxel to RAS+ millimetres.
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.volume import GRID_TOLERANCE_MM, corner_distance_mm

FORM_TOLERANCE_MM = 0.2
"""Forms that differ by less agree: a qform's float32 quaternion is good to about 0.1 mm at the edge of a head."""
VOXEL_RANGE_MM = (0.01, 50.0)
"""Voxel edges outside this range are a broken header, and would make later resampling explode."""
MAX_EXTENT_MM = 1000.0
"""No image of a head is longer along an axis."""

MOST_CODE, ALIGNED = 5, 2
"""Codes of NIfTI end at 5; a higher one says as much as that there is a form, and is written as *aligned*."""

_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: metre, millimetre, micrometre; unknown counts as mm
_FORM_FIELDS = {
    "qform": ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    "sform": ("sform_code", "srow_x", "srow_y", "srow_z"),
}


def affine_of(header: nib.Nifti1Header, shape: Sequence[int]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Resolve a header to one affine, and say in notes where the header left a choice.

    Raises
    ------
    ShaSpecError
        If the form that its code points to is singular or not finite and the other one does not help, or if the voxels
        have an impossible size.
    """
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    coded = [form for form, code in codes.items() if code > 0]
    usable = {form: affine for form in coded if (affine := _read(header, form)) is not None}
    notes = [f"the {form} is not usable and was ignored" for form in coded if form not in usable]
    if not coded:
        usable["voxel sizes"] = _from_voxel_sizes(header, shape)
        notes.append(
            "the header gives no orientation; axes were taken from the voxel sizes alone (left-right may be wrong)"
        )
    if not usable:
        raise ShaSpecError(
            "an orientation in the header", f"an unusable {' and '.join(coded)}", "Repair the header, or convert again"
        )
    affine = next(iter(usable.values()))
    if len(usable) == 2:
        distance_mm = corner_distance_mm(usable["sform"], usable["qform"], shape)
        if distance_mm > FORM_TOLERANCE_MM:
            notes.append(f"sform and qform disagree by up to {distance_mm:.1f} mm; the sform was used")
    scale = _mm_per_unit(header)
    if scale != 1:
        notes.append(f"the header's unit of length is {scale:g} mm; positions were converted to mm")
    check_sizes(affine, shape)
    return affine, tuple(notes)


def header_for(source: nib.Nifti1Header | None, affine: NDArray[np.float64], shape: Sequence[int]) -> nib.Nifti1Header:
    """A fresh header for a result: the source's forms, codes, voxel sizes and units, nothing else of it.

    Where the source's header does not lead to ``affine`` (another grid), its codes stay and its forms are replaced.
    A form that cannot be used is not passed on. Without a source both forms are written, as aligned, in mm.
    """
    header = type(source)() if source is not None else nib.Nifti1Header()
    header.set_data_shape(shape)
    if source is not None and _leads_to(source, affine, shape):
        header["xyzt_units"] = source["xyzt_units"]
        header["pixdim"][:4] = source["pixdim"][:4]
        for form, fields in _FORM_FIELDS.items():
            if int(source[f"{form}_code"]) <= 0 or _read(source, form) is not None:
                for field in fields:
                    header[field] = source[field]
                header[f"{form}_code"] = _code(source, form)
        if not (header["pixdim"][1:4] > 0).all():  # some writers leave 0, which other readers refuse
            header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0) / _mm_per_unit(header)
        return header
    codes = (_code(source, "sform"), _code(source, "qform")) if source is not None else (ALIGNED, ALIGNED)
    sform_code, qform_code = codes if max(codes) > 0 else (ALIGNED, 0)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(affine, sform_code)
    header.set_qform(affine, qform_code, strip_shears=True)
    sheared = corner_distance_mm(header.get_qform(), affine, shape) > FORM_TOLERANCE_MM
    if sform_code > 0 and sheared:  # a qform has no room for shears; the sform alone tells the truth
        header["qform_code"] = 0
    return header


def _code(header: nib.Nifti1Header, form: str) -> int:
    """Of a form, as it may be written."""
    code = int(header[f"{form}_code"])
    return max(code, 0) if code <= MOST_CODE else ALIGNED


def _leads_to(header: nib.Nifti1Header, affine: NDArray[np.float64], shape: Sequence[int]) -> bool:
    try:
        found, _ = affine_of(header, shape)
    except ShaSpecError:
        return False
    return corner_distance_mm(found, affine, shape) <= GRID_TOLERANCE_MM


def _read(header: nib.Nifti1Header, form: str) -> NDArray[np.float64] | None:
    """A form in millimetres, or None if it is not finite or collapses an axis."""
    if not all(np.isfinite(header[field]).all() for field in _FORM_FIELDS[form]):
        return None
    if form == "qform" and not np.isfinite(header["pixdim"][1:4]).all():
        return None
    try:
        affine = np.array(header.get_sform() if form == "sform" else header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1, a negative voxel size
        return None
    affine[:3] *= _mm_per_unit(header)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # A determinant far below the product of the edges means that two axes point the same way.
    if (lengths == 0).any() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
        return None
    return affine


def _from_voxel_sizes(header: nib.Nifti1Header, shape: Sequence[int]) -> NDArray[np.float64]:
    """Where nibabel puts an image without orientation: x to the left, the origin in the middle."""
    sizes = np.abs(np.asarray(header["pixdim"][1:4], np.float64)) * _mm_per_unit(header)
    affine = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _mm_per_unit(header: nib.Nifti1Header) -> float:
    return _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)


def check_sizes(affine: NDArray[np.float64], shape: Sequence[int]) -> None:
    """Refuse voxels and images that no scanner makes, and whose working grid would fill any memory.

    Raises
    ------
    ShaSpecError
        If a voxel or an axis is too long or too short, or no number.
    """
    sizes_mm = np.linalg.norm(affine[:3, :3], axis=0)
    smallest, largest = VOXEL_RANGE_MM
    good = np.isfinite(affine).all() and (sizes_mm >= smallest).all() and (sizes_mm <= largest).all()
    if not good or (sizes_mm * shape > MAX_EXTENT_MM).any():
        raise ShaSpecError(
            f"voxels of {smallest:g} to {largest:g} mm and an image of at most {MAX_EXTENT_MM:g} mm along each axis",
            f"{shape[0]} x {shape[1]} x {shape[2]} voxels of " + " x ".join(f"{size:.4g}" for size in sizes_mm) + " mm",
            "Repair the voxel sizes or the unit of the image",
        )
