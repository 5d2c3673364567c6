"""What each effect of the simulator costs the network: Dice on simulated cases that lack it, all else the same.

    python benchmarks/left_out.py --count 10 --effects dura_and_sinuses vessels bias_field texture+rician_noise
    python benchmarks/left_out.py --count 10 --effects --as-training means octaves+anisotropy+boundary_noise

Cases of the held-out setting with a tumour, from seeds that neither training nor any published table uses. An effect
that is left out still draws its random numbers, so anatomy, tumour and every other effect of a case stay what they
were; a plus sign leaves out several at once. Without the first effect there is no image and without the last no skull
stripping, which the network needs, so these two stay. With ``--as-training`` cases have ranges of the training setting
instead, one group of names after the other: what of the held-out setting is hard because it was not learned. The last
line printed is a JSON object: for nothing left out and each group, mean Dice in percent of the whole tumour from each
modality alone and all four.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from torch import Tensor

from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.evaluation.metrics import dice
from napari_shaspec.inference.session import Session
from napari_shaspec.modalities import Modality, subset_name
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.simulate import case as recipe
from napari_shaspec.simulate.scene import Effect, Scene
from napari_shaspec.simulate.settings import HELD_OUT, TRAINING, SimulatorSettings

SUBSETS = (*(frozenset([modality]) for modality in Modality), frozenset(Modality))
NOTHING = "nothing"
NAMES = [effect.__name__ for effect in recipe.EFFECTS[1:-1]]
RANGES = {entry.name for entry in fields(HELD_OUT)} - {"elastic_mm", "radius_mm", "satellite_mm"}
"""Wavelengths and radii decide how many numbers are drawn, so others would make other cases."""


def undone(effect: Effect) -> Effect:
    """The effect's draws without the effect."""

    def draw_only(scene: Scene) -> Tensor:
        images, ranks = scene.images, scene.ranks
        effect(scene)
        scene.ranks = ranks  # a cavity is cut out of the truth as well
        return images

    return draw_only


def changes(
    effects: Sequence[str], as_training: Sequence[str]
) -> dict[str, tuple[tuple[Effect, ...], SimulatorSettings]]:
    """Effects and ranges of every row of the table: those of the held-out setting, then with each group changed."""
    table = {NOTHING: (recipe.EFFECTS, HELD_OUT)}
    for group in effects:
        named = group.split("+")
        table[group] = (
            tuple(undone(one) if one.__name__ in named else one for one in recipe.EFFECTS),
            HELD_OUT,
        )
    for group in as_training:
        ranges = {name: getattr(TRAINING, name) for name in group.split("+")}
        table[f"{group} as in training"] = (recipe.EFFECTS, replace(HELD_OUT, **ranges))
    return table


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, nargs="+", default=[None], help="several share the simulated cases")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=9, help="as of `napari-shaspec simulate`")
    parser.add_argument("--voxel-mm", type=float, default=2.0)
    parser.add_argument("--effects", nargs="*", default=NAMES)
    parser.add_argument("--as-training", nargs="*", default=[], help="names of ranges, as in SimulatorSettings")
    options = parser.parse_args()
    for given, known in ((options.effects, set(NAMES)), (options.as_training, RANGES)):
        if unknown := {name for group in given for name in group.split("+")} - known:
            parser.error(f"no such name: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    models = {str(path or "bundled"): load_checkpoint(path).model for path in options.weights}
    groups = changes(options.effects, options.as_training)
    scores = np.zeros((len(models), len(groups), len(SUBSETS)))
    done = index = 0
    while done < options.count:
        of_case = np.zeros_like(scores)
        for place, (effects, settings) in enumerate(groups.values()):
            with patch.object(recipe, "EFFECTS", effects):
                case = recipe.simulate_case(case_seed(options.seed, index), f"{index}", options.voxel_mm, settings)
            assert case.truth is not None
            truth = case.truth.data > 0
            if not truth.any():
                break
            for row, model in enumerate(models.values()):
                session = Session(model, case)
                for column, available in enumerate(SUBSETS):
                    found = session.predict(available).labels() > 0
                    of_case[row, place, column] = 100 * dice(found, truth)
        else:
            scores += of_case
            done += 1
            print(f"{done} of {options.count}", flush=True)
        index += 1
    names = [subset_name(available) for available in SUBSETS]
    table = {
        model: {
            group: dict(zip(names, (scores[row, place] / done).round(1).tolist(), strict=True))
            for place, group in enumerate(groups)
        }
        for row, model in enumerate(models)
    }
    print(json.dumps(table))


if __name__ == "__main__":
    main()
