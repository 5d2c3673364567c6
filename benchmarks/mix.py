"""Write the weights that lie between two networks of one shape, where the second was trained on from the first.

    python benchmarks/mix.py runs/go/calibrated.safetensors --share 0.5 --out between.safetensors

Each weight is the mean of both, the second counting ``--share``. Where such networks are about as good as the two, both
lie in one valley of the loss, and a mix is a compromise between what they can do; evaluate it like any other
(`napari-shaspec evaluate CASES --weights between.safetensors`). Where the second is wider, the first has to be one that
it was trained on from, at once or by way of others: it is grown as it was then, with the same random channels. The
configuration is the second's, the file in half precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_shaspec.model.checkpoint import load_checkpoint, save_checkpoint, shift_outputs
from napari_shaspec.model.growth import first_network, grows_from
from napari_shaspec.model.shaspec import ShaSpec


def seed_after(sha256: str, training: Mapping[str, Any]) -> int | None:
    """The seed of the run that began with the file of this hash, if that is among those that led to these weights."""
    while begun := training.get("started_from"):
        if begun["sha256"] == sha256:
            return int(training["train_config"]["seed"])
        training = begun["training"]
    return None


def main() -> None:
    """Mix, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("second", type=Path)
    parser.add_argument("--first", type=Path, help="left out, the bundled weights")
    parser.add_argument("--share", type=float, default=0.5, help="of the second, from 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    first, second = load_checkpoint(options.first), load_checkpoint(options.second)
    start, model = first.model, second.model
    if not (isinstance(start, ShaSpec) and isinstance(model, ShaSpec)):
        parser.error("both have to be networks of this program, none of the released code")
    if not grows_from(model.config, start.config):
        parser.error("the two networks differ in shape")
    if start.config.widths != model.config.widths:
        seed = seed_after(first.sha256, second.training)
        if seed is None:
            parser.error("a narrower network has to be one that the second was trained on from")
        start = first_network(model.config, seed, start)
    begin = start.state_dict()
    model.load_state_dict({name: begin[name].lerp(end, options.share) for name, end in model.state_dict().items()})
    # How the second was made stays in the header; the two files are told by their hashes.
    mixed = {"share": options.share, "first": first.sha256, "second": second.sha256}
    save_checkpoint(model, options.out, {**second.training, "mixed": mixed}, second.statement)
    # Once more as it is, in half precision, like calibrated weights.
    shift_outputs(options.out, dict.fromkeys(model.config.outputs, 0.5), options.out)


if __name__ == "__main__":
    main()
