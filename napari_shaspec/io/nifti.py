"""Read and write NIfTI: images as float32, label maps as `Label`, results with the grid and codes of their source.

Writing is atomic: a file is either there in full or not at all, and is never replaced unless that was asked for.
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

import gzip
import os
from collections.abc import Collection
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import check_no_input, check_output, replacing
from napari_shaspec.io.orientation import affine_of, header_for
from napari_shaspec.io.outputs import NIFTI
from napari_shaspec.io.report import is_report
from napari_shaspec.io.voxels import VoxelFile, open_voxels
from napari_shaspec.regions import Label, from_convention, guess_convention
from napari_shaspec.volume import Volume

WRITTEN_BY = b"napari-shaspec"
LEAST_ROUNDING, MOST_ROUNDING = 0.001, 0.02
"""What a label may be off where its file has a scale: half a step, as far as a header in float32 tells it, but no more
than the steps of 0 to 4 over 8 bits need (0.008)."""

_COMPRESSION = 4  # a tenth larger than level 9 and many times faster


def read_volume(path: str | Path) -> tuple[Volume, tuple[str, ...]]:
    """Read an image as float32, with notes on what its header left open.

    Raises
    ------
    ShaSpecError
        If the file is missing, damaged, no NIfTI file, too large or more than one volume, if its orientation cannot be
        used, or if its voxels are empty, constant or not finite.
    """
    voxels = open_voxels(Path(path))
    affine, notes = affine_of(voxels.header, voxels.shape)
    data = _image(voxels)
    lowest, highest = float(data.min()), float(data.max())
    if lowest == highest:
        found = "only zeros" if lowest == 0 else f"the value {lowest:g} everywhere"
        raise ShaSpecError(f"an image in {voxels.path.name}", found, "Export the image again, or leave this file out")
    if lowest >= 0 and highest <= max(Label) and np.array_equal(data, np.floor(data)):
        notes = (*notes, f"only whole numbers up to {highest:g}, as a label map has: is it an image?")
    return Volume(data, affine, voxels.header), _of_file(voxels, notes)


def read_labels(path: str | Path) -> tuple[Volume, tuple[str, ...]]:
    """Read a label map as `Label` values (uint8); the convention is told by its values and name.

    Raises
    ------
    ShaSpecError
        As `read_volume` (but a label map may be empty), and if a value is no label of BraTS.
    """
    voxels = open_voxels(Path(path))
    affine, notes = affine_of(voxels.header, voxels.shape)
    numbers = _whole_numbers(voxels)
    convention, doubt = guess_convention(numbers, voxels.path)
    labels = from_convention(numbers, convention)
    return Volume(labels, affine, voxels.header), _of_file(voxels, (*notes, doubt) if doubt else notes)


def write_volume(volume: Volume, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a volume, with qform, sform, codes and units of the header it carries.

    Booleans are written as uint8, 64-bit integers as int32 and half precision as float32, for other tools' sake.

    Raises
    ------
    ShaSpecError
        If the name does not end in ``.nii`` or ``.nii.gz``, if the file exists and ``overwrite`` is not set, or if the
        folder does not exist or cannot be written. Nothing is left behind then.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite)
    data = _storable(volume.data, path)
    header = header_for(volume.header, volume.affine, volume.shape)
    header["descrip"] = WRITTEN_BY
    header.set_data_dtype(data.dtype)
    kind: type[nib.Nifti1Image] = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(data, None, header)  # without an affine nibabel leaves both forms as they are
    with replacing(path, overwrite=overwrite) as place, place.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            # Without a name and time in the stream, equal results are equal files.
            with gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as stream:
                image.to_stream(stream)
        else:
            image.to_stream(file)


def is_written_here(path: Path) -> bool:
    """Whether a file says that this program wrote it."""
    try:
        return bool(open_voxels(path).header["descrip"].tobytes().rstrip(b"\0") == WRITTEN_BY)
    except ShaSpecError:
        return False


def check_no_stranger(outputs: Collection[Path], inputs: Collection[Path]) -> None:
    """As `check_no_input`; nor is a file of another program beside the inputs replaced: nobody means that.

    Raises
    ------
    ShaSpecError
        If an output is such a file, NIfTI or JSON, or one of the inputs.
    """
    folders = {folder for path in inputs for folder in (path.parent.resolve(), path.resolve().parent)}
    beside = [path for path in outputs if path.parent.resolve() in folders and os.path.lexists(path)]
    strangers = [path for path in beside if path.name.lower().endswith(NIFTI) and not is_written_here(path)]
    strangers += [path for path in beside if path.suffix.lower() == ".json" and not is_report(path)]
    check_no_input(outputs, [*inputs, *strangers])


def check_writable(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a path that `write_volume` would refuse, before an expensive computation starts.

    Raises
    ------
    ShaSpecError
        As `write_volume`.
    """
    check_output(Path(path), NIFTI, overwrite=overwrite)


def _image(voxels: VoxelFile) -> NDArray[np.float32]:
    """All voxels as float32 (X, Y, Z) in Fortran order, the order of the file."""
    data = np.empty(voxels.shape, np.float32, order="F")
    flat = data.reshape(-1, order="F")
    done = strange = 0
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows float32 becomes infinite and is counted
        for piece in voxels.pieces():
            flat[done : done + piece.size] = piece
            strange += piece.size - int(np.count_nonzero(np.isfinite(flat[done : done + piece.size])))
            done += piece.size
    if strange:
        raise ShaSpecError(
            f"finite values in {voxels.path.name}",
            f"{strange} of {data.size} voxels that are not a number or infinite",
            "Replace them, with numpy.nan_to_num for example",
        )
    return data


def _whole_numbers(voxels: VoxelFile) -> NDArray[np.uint8]:
    """All voxels as uint8 (X, Y, Z); floats are fine as long as they are whole, as exactly as the file can say it.

    nibabel's ``get_fdata`` saved under the old header spreads 0 to 4 over the stored integers: 2 comes back as 1.992.
    """
    data = np.empty(voxels.shape, np.uint8, order="F")
    flat = data.reshape(-1, order="F")
    done = 0
    slope, _ = voxels.scaling()
    most = min(max(abs(slope) / 2, LEAST_ROUNDING), MOST_ROUNDING) if slope != 1 else 0.0
    for piece in voxels.pieces():
        rounded = np.rint(piece) if most else np.floor(piece)  # of bytes, rint would make halves: 30 times slower
        with np.errstate(invalid="ignore"):  # infinite less infinite
            whole = (rounded >= 0) & (rounded <= 255) & (np.abs(piece - rounded) <= most)
        if not whole.all():
            raise ShaSpecError(
                f"labels 0 to 4 in {voxels.path.name}",
                f"the value {piece[~whole][0]}",
                "Check that the file is a BraTS label map, not an image",
            )
        flat[done : done + piece.size] = rounded
        done += piece.size
    return data


def _storable(data: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.kind == "f":
        return data if data.dtype == np.float64 else data.astype(np.float32, copy=False)
    if data.dtype.itemsize < 8:
        return data
    limits = np.iinfo(np.int32)
    if int(data.min()) < limits.min or int(data.max()) > limits.max:
        raise ShaSpecError(f"numbers of 32 bits for {path.name}", "larger ones", "Convert the data to float64 first")
    return data.astype(np.int32)


def _of_file(voxels: VoxelFile, notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{voxels.path.name}: {note}" for note in notes)
