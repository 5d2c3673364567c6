"""Small NIfTI files, whole and broken, for the tests of reading and writing."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

Save = Callable[..., Path]


@pytest.fixture
def image() -> NDArray[np.float32]:
    """Seeded values on a grid whose axes all differ in length."""
    return np.random.default_rng(7).normal(100, 20, (5, 6, 7)).astype(np.float32)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write an array with nibabel, then set header fields by hand, as a broken writer would."""

    def write(
        name: str, data: NDArray[np.generic], affine: NDArray[np.float64] | None = None, **fields: object
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm")
        header.set_data_dtype(data.dtype)
        image = nib.Nifti1Image(data, np.eye(4) if affine is None else affine, header)
        image.set_qform(image.affine, 1)
        image.set_sform(image.affine, 1)
        image.to_filename(path)
        if fields:
            patch(path, fields)
        return path

    return write


def patch(path: Path, fields: dict[str, object]) -> None:
    compressed = path.name.endswith(".gz")
    content = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for field, value in fields.items():
        header[field] = value
    content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content, mtime=0) if compressed else content)


@pytest.fixture
def unchanged(tmp_path: Path) -> Callable[[], bool]:
    """Whether the folder still holds the same files, with the same bytes, as when this was first asked."""
    seen: list[dict[Path, bytes]] = []

    def same() -> bool:
        now = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        seen.append(now)
        return now == seen[0]

    return same
