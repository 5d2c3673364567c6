"""The images: MNIST's files as they are downloaded, chosen in the order of an export to PNG."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.errors import ShaSpecError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049


def read_mnist(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read images (N, 28, 28) and labels (N,) of one part.

    Parameters
    ----------
    folder
        Anything that holds MNIST's four files at any depth, compressed or not.
    part
        ``train`` or ``t10k``, as the files are named.

    Raises
    ------
    ShaSpecError
        If a file is missing or is none of MNIST's.
    """
    images = _read_idx(folder, f"{part}-images", IMAGES_MAGIC, 3)
    labels = _read_idx(folder, f"{part}-labels", LABELS_MAGIC, 1)
    if len(images) != len(labels) or images.shape[1:] != (28, 28):
        raise ShaSpecError(
            f"as many 28 x 28 images as labels in MNIST's {part} files",
            f"{len(labels)} labels and images {images.shape}",
            "Download MNIST again",
        )
    return images, labels


def exported_order(labels: NDArray[np.uint8], digit: int) -> NDArray[np.intp]:
    """Places of a digit's images, in the order of files ``<digit>/<place>.png`` sorted as text (0, 1, 10, 100, ...)."""
    return np.array(sorted(np.flatnonzero(labels == digit).tolist(), key=str), dtype=np.intp)


def _read_idx(folder: Path, name: str, magic: int, axes: int) -> NDArray[np.uint8]:
    """The idx format: magic number and sizes as big-endian 32-bit integers, then bytes."""
    named = (path for path in folder.rglob(f"{name}*ubyte*") if path.name.endswith(("ubyte", ".gz")))
    found = sorted(path for path in named if path.is_file())  # some archives have a folder of each one's name
    if not found:
        raise ShaSpecError(
            f"MNIST's file {name}-idx{axes}-ubyte.gz in {folder}",
            "none",
            "Download MNIST's four files (docs/classification.md says where they are) and put them there",
        )
    try:
        content = gzip.decompress(found[0].read_bytes()) if found[0].suffix == ".gz" else found[0].read_bytes()
        found_magic, *shape = struct.unpack_from(f">{axes + 1}I", content)
        if found_magic != magic:
            raise ValueError(f"magic number {found_magic}")
        return np.frombuffer(content, np.uint8, offset=4 * (axes + 1)).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise ShaSpecError(f"MNIST's {name} in {found[0]}", str(error), "Download the file again") from error
