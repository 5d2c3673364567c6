"""The bytes of a NIfTI file: a header that is believed only as far as the file bears it out, and a stream of voxels.

A header can claim any size. What it claims is compared with fixed limits and with the size of the file before memory is
taken, and voxels are then read in pieces. Whether a file is compressed is told by its content, not by its name.
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import native_code
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError, nothing_at, unreadable
from napari_shaspec.io.outputs import NIFTI

MAX_VOXELS_PER_AXIS = 1024
MAX_VOXELS = 2**29
"""Twelve times a whole head at 0.5 mm; as float32 it takes 2 GiB."""
MAX_DEFLATE_RATIO = 1032
"""No deflate stream grows further than this (zlib's documentation), so a larger claim is false."""
MAX_HEADER_BYTES = 2**26
"""Header and extensions together: the largest, embedded DICOM headers, take a few MB."""

_PIECE_BYTES = 2**22
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_OTHER_TYPES = {1: "binary", 32: "complex", 128: "RGB", 1536: "128-bit float", 1792: "complex", 2304: "RGBA"}


@dataclass(frozen=True, slots=True, eq=False)
class VoxelFile:
    """A NIfTI file whose header has passed all checks.

    Parameters
    ----------
    path
        The file.
    header
        In native byte order.
    shape
        (X, Y, Z); further axes of length one are dropped.
    stored
        The type on disk, in the file's byte order.
    """

    path: Path
    header: nib.Nifti1Header
    shape: tuple[int, int, int]
    stored: np.dtype[np.integer | np.floating]

    def pieces(self) -> Iterator[NDArray[np.integer | np.floating]]:
        """Read the voxels in file order, a few MB at a time, with slope and intercept applied (as float64)."""
        slope, intercept = self.scaling()
        left = int(np.prod(self.shape)) * self.stored.itemsize
        with _opened(self.path) as stream:
            _skip(stream, int(self.header["vox_offset"]))
            while left:
                piece = stream.read(min(left, _PIECE_BYTES))
                if not piece or len(piece) % self.stored.itemsize:
                    raise _damaged(self.path, f"{left} bytes less than the header claims")
                left -= len(piece)
                values = np.frombuffer(piece, self.stored)
                yield values if (slope, intercept) == (1.0, 0.0) else values * slope + intercept
            # The checksum of a gzip stream is compared at its very end; what follows the voxels is not kept.
            stream.read(_PIECE_BYTES)

    def scaling(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where the header has none.

        Raises
        ------
        ShaSpecError
            If they are no numbers.
        """
        try:
            slope, intercept = self.header.get_slope_inter()
        except HeaderDataError:
            raise _damaged(self.path, f"an intercept (scl_inter) of {float(self.header['scl_inter'])}") from None
        return (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0.0))


def open_voxels(path: Path) -> VoxelFile:
    """Read and check a header.

    Raises
    ------
    ShaSpecError
        If there is no such file, if it is no NIfTI file, or if its header claims what cannot be.
    """
    try:
        there = path.is_file()
    except OSError as error:  # a mount whose machine is gone
        raise unreadable(path, error) from error
    if not there:
        if path.is_dir():
            raise ShaSpecError(f"a NIfTI file at {path}", "a folder", "Check the path")
        raise nothing_at(path, "a NIfTI file")
    if not path.name.lower().endswith(NIFTI):
        raise ShaSpecError(
            "a NIfTI file (.nii or .nii.gz)", path.name, "Convert other formats first, DICOM with dcm2niix for example"
        )
    with _opened(path) as stream:
        block = stream.read(nib.Nifti2Header.sizeof_hdr)
    header, order = _decoded(path, block)
    shape = _shape(path, header)
    code = int(header["datatype"])
    if code not in _TYPES:
        raise ShaSpecError(
            f"one real number for each voxel of {path.name}",
            f"data type {_OTHER_TYPES.get(code, 'code')} ({code})",
            "Convert the image to a greyscale type such as int16 or float32",
        )
    voxels = VoxelFile(path, header, shape, np.dtype(order + _TYPES[code]))
    _check_size(voxels)
    return voxels


def _decoded(path: Path, block: bytes) -> tuple[nib.Nifti1Header, str]:
    """The header in native byte order, and the file's own byte order."""
    kinds: dict[bytes, type[nib.Nifti1Header]] = {b"n+1": nib.Nifti1Header, b"n+2": nib.Nifti2Header}
    for magic, kind in kinds.items():
        for order in "<>":
            if len(block) < kind.sizeof_hdr or int(np.frombuffer(block, f"{order}i4", 1)[0]) != kind.sizeof_hdr:
                continue
            header = kind(block[: kind.sizeof_hdr], order, check=False)
            if header["magic"].tobytes()[:4] == magic + b"\0":
                header = header.as_byteswapped(native_code)
                # As nibabel repairs them: a qfac of 0 counts as 1 (NIfTI standard), a negative edge as its length.
                header["pixdim"][0] = -1 if header["pixdim"][0] == -1 else 1
                header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
                return header, order
    found = "a header that is too short" if len(block) < nib.Nifti1Header.sizeof_hdr else "another magic number"
    raise ShaSpecError(
        f"a single-file NIfTI-1 or NIfTI-2 header in {path.name}",
        found,
        "Check that the file is complete; convert Analyze files and .hdr/.img pairs to .nii.gz",
    )


def _shape(path: Path, header: nib.Nifti1Header) -> tuple[int, int, int]:
    axes = int(header["dim"][0])
    claimed = [int(length) for length in header["dim"][1 : 1 + max(axes, 0)]]
    text = " x ".join(map(str, claimed)) or "none"
    if not 3 <= axes <= 7 or min(claimed) < 1:
        raise ShaSpecError(
            f"three axes of at least one voxel in {path.name}",
            f"dimensions {text} ({axes} axes)",
            "Repair or replace the file",
        )
    x, y, z = claimed[:3]
    volumes = int(np.prod(claimed[3:], dtype=object)) if axes > 3 else 1
    if max(x, y, z) > MAX_VOXELS_PER_AXIS or x * y * z > MAX_VOXELS:
        raise ShaSpecError(
            f"at most {MAX_VOXELS_PER_AXIS} voxels along an axis and {MAX_VOXELS} in all in {path.name}",
            f"dimensions {text}",
            "Check the header; crop or resample the image if it really is that large",
        )
    if volumes > 1:
        raise ShaSpecError(
            f"one volume in {path.name}",
            f"{volumes} volumes (dimensions {text})",
            "Save the volume that you want as a file of its own, with fslroi or nibabel for example",
        )
    return x, y, z


def _check_size(voxels: VoxelFile) -> None:
    """Compare what the header claims with what the file can hold, before memory is taken."""
    path, header = voxels.path, voxels.header
    offset, least = float(header["vox_offset"]), header.sizeof_hdr + 4
    if not least <= offset <= MAX_HEADER_BYTES:
        raise ShaSpecError(
            f"voxels that start {least} to {MAX_HEADER_BYTES} bytes into {path.name}",
            f"vox_offset {offset:g}",
            "Repair the file",
        )
    claimed = int(offset) + int(np.prod(voxels.shape)) * voxels.stored.itemsize
    size = path.stat().st_size
    compressed = _is_gzip(path)
    if claimed > size * (MAX_DEFLATE_RATIO if compressed else 1):
        kind = f"{size} compressed bytes, which cannot hold that" if compressed else f"{size} bytes"
        raise ShaSpecError(
            f"{claimed} bytes in {path.name}, as its header claims",
            kind,
            "Copy or download the file again: it is cut off",
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, through gzip if it is compressed, and turn what goes wrong while reading into an error of ours."""
    try:
        if _is_gzip(path):
            with gzip.open(path, "rb") as stream:
                yield stream  # type: ignore[misc]
        else:
            with path.open("rb") as stream:
                yield stream
    except EOFError:
        raise _damaged(path, "a gzip stream that ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"a corrupt gzip stream ({error})") from None
    except OSError as error:
        raise ShaSpecError(f"to read {path}", error.strerror or str(error), "Check permissions and the disk") from error


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _skip(stream: BinaryIO, count: int) -> None:
    while count:
        skipped = len(stream.read(min(count, _PIECE_BYTES)))
        if not skipped:
            return
        count -= skipped


def _damaged(path: Path, found: str) -> ShaSpecError:
    return ShaSpecError(f"the complete file {path.name}", found, "Copy or download the file again")
