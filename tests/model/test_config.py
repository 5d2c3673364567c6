"""A configuration is valid, or does not exist."""

from __future__ import annotations

import json
from typing import Any

import pytest

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.config import ModelConfig, Normalisation, Substitution
from napari_shaspec.model.shaspec import ShaSpec


def test_mri_is_the_default() -> None:
    config = ModelConfig()
    assert config.modalities == ("flair", "t1", "t1c", "t2")
    assert config.outputs == ("ET", "TC", "WT")


@pytest.mark.parametrize(("widths", "stride"), [((4, 8), 2), ((4, 8, 16), 4), ((8, 16, 32, 64), 8)])
def test_each_level_but_the_first_halves_the_resolution(widths: tuple[int, ...], stride: int) -> None:
    assert ModelConfig(widths=widths).stride == stride


def test_the_round_trip_through_json() -> None:
    config = ModelConfig(
        modalities=("image", "sound"), outputs=("digit",), spatial_dims=2, widths=(3, 5), in_channels=2, voxel_mm=(1, 4)
    )
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    other = ModelConfig(substitution=Substitution.FIRST, normalisation=Normalisation.ZSCORE)
    again = ModelConfig.from_dict(json.loads(json.dumps(other.to_dict())))
    assert again == other
    assert again.substitution is Substitution.FIRST  # and no plain text, which no rule would recognise
    assert again.stand_in == "shared features of the first available modality"


def test_a_file_from_before_there_was_a_choice_means_the_rules_of_that_time() -> None:
    entries = ModelConfig().to_dict()
    del entries["substitution"], entries["normalisation"], entries["sure"], entries["sure_each"]
    config = ModelConfig.from_dict(entries)
    assert (config.substitution, config.normalisation) == (Substitution.MEAN, Normalisation.ROBUST)
    assert (config.sure, config.sure_each) == (None, ())


def test_weights_from_before_the_stem_could_be_chosen_have_two_convolutions() -> None:
    entries = ModelConfig().to_dict()
    del entries["stem_convolutions"]
    assert ModelConfig.from_dict(entries).stem_convolutions == 2


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_the_stem_has_so_many_convolutions(convolutions: int) -> None:
    model = ShaSpec(ModelConfig(widths=(2, 4), stem_convolutions=convolutions))
    for encoder in (model.shared, *model.specific.values()):
        kinds = [[type(layer).__name__ for layer in level] for level in encoder.levels]
        assert [kind.count("Conv3d") for kind in kinds] == [convolutions, 2]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"spatial_dims": 1}, "two or three spatial dimensions"),
        ({"spatial_dims": 4}, "two or three spatial dimensions"),
        ({"modalities": ()}, "one or more modalities"),
        ({"modalities": ("t1", "t1")}, "one or more modalities"),
        ({"modalities": ("t1.gd",)}, "without a dot"),
        ({"modalities": ("",)}, "one or more modalities"),
        ({"outputs": ()}, "one or more outputs"),
        ({"outputs": ("WT", "WT")}, "one or more outputs"),
        ({"widths": (8,)}, "two or more levels"),
        ({"widths": (8, 10**12)}, "two or more levels of 1 to 16384 channels"),
        ({"widths": (8, 0)}, "two or more levels of 1 to 16384 channels"),
        ({"widths": (8, 16.5)}, "two or more levels of 1 to 16384 channels"),
        ({"sure_each": (0.7, 0.0)}, "or 0, for each output, or for none"),
        ({"sure_each": (0.7, 0.0, 0.5)}, "or 0, for each output, or for none"),
        ({"in_channels": 0}, "one or more input channels"),
        ({"stem_convolutions": 0}, "one or more convolutions at full resolution"),
        ({"voxel_mm": (0.0, 2.0)}, "a positive finest voxel size"),
        ({"voxel_mm": (3.0, 2.0)}, "a positive finest voxel size"),
        ({"voxel_mm": (2.0,)}, "a positive finest voxel size"),
        ({"substitution": "median"}, "a substitution out of mean, first, zero, found 'median'"),
        ({"sure": 0.5}, "a probability between one half and 1 to be sure from"),
        ({"sure": float("nan")}, "a probability between one half and 1 to be sure from"),
        ({"normalisation": "none"}, "a normalisation out of robust, zscore, found 'none'"),
        ({"voxel_mm": (float("nan"), 2.0)}, "a positive finest voxel size"),
    ],
)
def test_impossible_configurations(entries: dict[str, Any], expected: str) -> None:
    with pytest.raises(ShaSpecError, match=expected):
        ModelConfig(**entries)


@pytest.mark.parametrize("entries", [{"depth": 5}, {"widths": 8}, {"widths": None}, {"modalities": [["t1"]]}])
def test_malformed_entries(entries: dict[str, Any]) -> None:
    with pytest.raises(ShaSpecError, match="a ShaSpec model configuration"):
        ModelConfig.from_dict(entries)
