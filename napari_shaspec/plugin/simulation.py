"""A simulated case as layers."""

from __future__ import annotations

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import LayerData, LayerSource, image_layer, reference_layer


def simulated_layers(seed: int, voxel_mm: float) -> list[LayerData]:
    """Draw a case and make layers of it, FLAIR on top; takes seconds.

    Parameters
    ----------
    seed
        The same seed makes the same case.
    voxel_mm
        Edge of a voxel.
    """
    from napari_shaspec.simulate.case import simulate_case

    name = f"simulated_{seed}"
    case = simulate_case(seed, name, voxel_mm)
    layers = []
    for modality in reversed(list(Modality)):
        source = LayerSource(case.images[modality], None, modality)
        layers.append(image_layer(source, modality.title, visible=modality is Modality.FLAIR))
    assert case.truth is not None
    layers.append(reference_layer(LayerSource(case.truth)))
    for _, options, _ in layers:
        options["metadata"]["case"] = name
    return layers
