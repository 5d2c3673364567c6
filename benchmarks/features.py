"""What the shared and the specific features of a network are worth to it: Dice with one kind of map held flat.

    python benchmarks/features.py --count 8

Simulated cases of the held-out setting, from seeds that neither training nor any published table uses. A map is held
flat by its mean over places, so the decoder still finds its usual level there, but nothing of the image. For each kind:
mean Dice over cases and all 15 subsets, in percent, of ET, TC and WT. Before the table: how large shared and specific
features are at the bottom, and how far the shared ones of two modalities are apart. The last line printed is a JSON
object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch
from monai.metrics import compute_dice
from torch import Tensor

from napari_shaspec.modalities import Modality, nonempty_subsets
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.shaspec import Encoding, ShaSpec
from napari_shaspec.simulate.settings import HELD_OUT
from napari_shaspec.training.data import held_out_batches
from napari_shaspec.training.presets import PRESETS

SEED = 4_100
"""Of no training run; see `training.data.SEEDS`."""


def flat(features: Tensor) -> Tensor:
    """The mean over places, everywhere."""
    return features.mean((2, 3, 4), keepdim=True).expand_as(features)


def flats(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same for every level."""
    return tuple(map(flat, maps))


HELD_FLAT: Mapping[str, Callable[[Encoding], Encoding]] = {
    "nothing": lambda encoding: encoding,
    "shared, bottom": lambda encoding: encoding._replace(shared=flat(encoding.shared)),
    "specific, bottom": lambda encoding: encoding._replace(specific=flat(encoding.specific)),
    "shared, skips": lambda encoding: encoding._replace(skips=flats(encoding.skips)),
    "specific, skips": lambda encoding: encoding._replace(specific_skips=flats(encoding.specific_skips)),
}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=8)
    options = parser.parse_args()
    model = load_checkpoint(options.weights).model
    if not isinstance(model, ShaSpec):
        parser.error("networks of the released code keep other maps")
    preset, finest = PRESETS["bundled"], model.config.voxel_mm[0]
    # As many millimetres of head whatever the voxel size, because instance norms see all of it.
    shrunk = preset.model.voxel_mm[0] / finest / model.config.stride
    x, y, z = (max(2, round(side * shrunk)) * model.config.stride for side in preset.patch)
    config = replace(
        preset,
        model=model.config,
        seed=SEED,
        patch=(x, y, z),
        coarse_patch=(x, y, z),
        validation_cases=options.count,
    )
    batches = held_out_batches(config, HELD_OUT, torch.device("cpu"))
    subsets = nonempty_subsets([modality.value for modality in Modality])
    scores = {name: torch.zeros(len(model.config.outputs)) for name in HELD_FLAT}
    sizes = torch.zeros(3)
    with torch.inference_mode():
        for index in range(options.count):
            batch = batches[index]
            encodings = {name: model.encode(image, name) for name, image in batch.images.items()}
            shared = [encoding.shared for encoding in encodings.values()]
            specific = [encoding.specific for encoding in encodings.values()]
            apart = [(first - second).abs().mean() for first, second in combinations(shared, 2)]
            spread = [
                torch.stack([each.flatten(2).std(2).mean() for each in maps]).mean() for maps in (shared, specific)
            ]
            sizes += torch.stack([*spread, torch.stack(apart).mean()]) / options.count
            for name, hold in HELD_FLAT.items():
                held = {modality: hold(encoding) for modality, encoding in encodings.items()}
                for subset in subsets:
                    found = model.decode({modality: held[modality] for modality in subset}) >= 0
                    dice = compute_dice(found.float(), batch.masks, ignore_empty=False).mean(0)
                    scores[name] += 100 * dice / (options.count * len(subsets))
    named = dict(zip(("shared_sd", "specific_sd", "shared_apart"), sizes.tolist(), strict=True))
    print(", ".join(f"{name} {value:.2g}" for name, value in named.items()))
    for name, dice in scores.items():
        print(f"{name:>16} held flat: " + ", ".join(f"{value:.1f}" for value in dice.tolist()))
    print(json.dumps({**named, "dice": {name: [round(v, 2) for v in dice.tolist()] for name, dice in scores.items()}}))


if __name__ == "__main__":
    main()
