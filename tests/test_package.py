"""What the distributions hold, and what `import napari_shaspec` costs and offers."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import napari_shaspec

ROOT = Path(__file__).parents[1]
HEAVY = ["PyQt6", "lightning", "magicgui", "monai", "napari", "nibabel", "numpy", "qtpy", "torch"]


def run_python(code: str) -> str:
    """What a new interpreter prints for this code."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def loaded(statement: str, names: list[str]) -> list[str]:
    """Which of the named packages a new interpreter holds after the statement."""
    code = f"import json, sys; {statement}; print(json.dumps([name for name in {names!r} if name in sys.modules]))"
    found: list[str] = json.loads(run_python(code))
    return found


def test_import_is_fast() -> None:
    code = (
        "import time; start = time.perf_counter(); import napari_shaspec; "
        "print(f'seconds={time.perf_counter() - start}')"
    )
    # The quickest of five: the machine's other work may slow one down, nothing makes one too fast.
    seconds = min(float(run_python(code).partition("seconds=")[2]) for _ in range(5))
    assert seconds < 0.2


def test_import_loads_neither_torch_nor_qt() -> None:
    assert loaded("import napari_shaspec", HEAVY) == []


def test_session_loads_neither_viewer_nor_training_loop() -> None:
    names = ["PyQt6", "lightning", "magicgui", "napari", "qtpy", "typer"]
    assert loaded("import napari_shaspec.inference.session", names) == []


@pytest.mark.parametrize("name", napari_shaspec.__all__)
def test_public_name_loads(name: str) -> None:
    assert name in dir(napari_shaspec)
    assert getattr(napari_shaspec, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = napari_shaspec.nonsense


def test_installed_version_is_the_package_version() -> None:
    assert version("napari-shaspec") == napari_shaspec.__version__


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive; built without isolation, which would need the network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_distributions_bring_every_file_of_the_package(distributions: Path) -> None:
    package = ROOT / "napari_shaspec"
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "napari_shaspec/napari.yaml" in expected

    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        assert expected <= set(wheel.namelist())
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        members = archive.getmembers()
    assert expected <= {member.name.partition("/")[2] for member in members}
    assert not [member.name for member in members if member.issym() or member.islnk()]


def test_installed_wheel_brings_the_manifest(distributions: Path, tmp_path: Path) -> None:
    wheel = next(distributions.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(tmp_path), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "import napari_shaspec; from npe2 import PluginManifest; "
        "print(napari_shaspec.__file__); print(PluginManifest.from_distribution('napari-shaspec').display_name)"
    )
    # Outside the checkout and with the wheel's folder ahead of the editable installation.
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    file, display_name = answer.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert display_name == "ShaSpec"
