"""What napari finds in the manifest, and that all of it works."""

from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

from napari_shaspec.io.cases import read_case
from napari_shaspec.modalities import Modality
from napari_shaspec.volume import Case


@pytest.fixture
def manifest() -> PluginManifest:
    """The manifest as napari discovers it: by the entry point of the installed distribution."""
    return PluginManifest.from_distribution("napari-shaspec")


@pytest.fixture
def sample() -> Case:
    return read_case(str(files("napari_shaspec") / "resources" / "sample"))


def test_manifest_is_valid(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert (manifest.name, manifest.display_name) == ("napari-shaspec", "ShaSpec")


def test_every_command_imports(manifest: PluginManifest) -> None:
    commands = manifest.contributions.commands or []
    assert commands
    for command in commands:
        assert command.python_name is not None
        assert callable(import_python_name(command.python_name)), command.id


def test_sample_opens_in_the_viewer(make_napari_viewer: Callable[..., Viewer], sample: Case) -> None:
    viewer = make_napari_viewer()
    viewer.open_sample("napari-shaspec", "simulated_glioma")

    # The last lies on top.
    assert [layer.name for layer in viewer.layers] == ["T2", "T1c", "T1", "FLAIR", "Reference"]
    *images, reference = viewer.layers
    assert all(isinstance(layer, Image) for layer in images)
    assert isinstance(reference, Labels)
    assert set(np.unique(reference.data)) == {0, 1, 2, 4}
    assert [layer.visible for layer in viewer.layers] == [False, False, False, True, False]
    # Radiological, without the panel too: the patient's right on the left of the screen.
    assert viewer.scene.camera.orientation2d == ("up", "left")
    for layer in viewer.layers:
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


def test_sample_lies_where_its_file_says(make_napari_viewer: Callable[..., Viewer], sample: Case) -> None:
    viewer = make_napari_viewer()
    layer = next(layer for layer in viewer.open_sample("napari-shaspec", "simulated_glioma") if layer.name == "FLAIR")

    image = sample.images[Modality.FLAIR]
    x, y, z = (3, 5, 7)
    assert layer.data[z, y, x] == image.data[x, y, z]
    np.testing.assert_allclose(layer.data_to_world((z, y, x))[::-1], (image.affine @ (x, y, z, 1))[:3])
