"""From the names and order of weights in a checkpoint of the released code to those of our network.

The names of modules are that code's (docs/model.md); inside a module weights are told apart by their number of axes and
by their order, which is that in which the module uses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.released.config import ReleasedConfig

Shapes = Mapping[str, tuple[int, ...]]

ENCODERS = {
    "shared_enc": "shared",
    "flair_enc": "specific.flair",
    "t1_enc": "specific.t1",
    "t1ce_enc": "specific.t1c",
    "t2_enc": "specific.t2",
}


class _Part:
    """The weights under a module of the file, in its order, to be given out one after the other."""

    def __init__(self, shapes: Shapes, *prefixes: str) -> None:
        self._here = prefixes[0]
        self._names = {name: len(shape) for name, shape in shapes.items() if _under(name, prefixes)}

    def convolution(self, number: int = 0) -> str:
        """The weight of the part's convolution of that number."""
        return self._take([name for name, axes in self._names.items() if axes == 5], number, "convolution")

    def scale(self, number: int = 0) -> str:
        """The weight of the part's norm of that number."""
        return self._vector("weight", number)

    def shift(self, number: int = 0) -> str:
        """The bias of the part's norm of that number."""
        return self._vector("bias", number)

    def _vector(self, ending: str, number: int) -> str:
        names = [name for name, axes in self._names.items() if axes == 1 and name.rpartition(".")[2] == ending]
        return self._take(names, number, f"{ending} of a norm")

    def _take(self, names: list[str], number: int, what: str) -> str:
        if number >= len(names):
            raise _other(f"no {what} number {number + 1} under {self._here}")
        return names[number]


def translated(shapes: Shapes) -> dict[str, str]:
    """Name in the file -> name in `ReleasedShaSpec`, for every weight.

    Raises
    ------
    ShaSpecError
        If a weight is missing, or if there is one that the network has no place for.
    """
    names = dict(_pairs(shapes))
    counters = ("num_batches_tracked", "running_mean", "running_var")
    surplus = [name for name in shapes if name not in names and not name.endswith(counters)]
    if surplus:
        raise _other(f"{len(surplus)} weights more, {surplus[0]} the first")
    return names


def configured(shapes: Shapes) -> ReleasedConfig:
    """The configuration that these shapes (by the names of `ReleasedShaSpec`) belong to."""
    layers = [
        {name.split(".")[3] for name in shapes if name.startswith(f"shared.layers.{number}.")} for number in range(4)
    ]
    return ReleasedConfig(
        stem=shapes["shared.stem.weight"][0],
        widths=tuple(shapes[f"shared.layers.{number}.0.middle.weight"][0] for number in range(4)),
        blocks=tuple(len(blocks) for blocks in layers),
        features=shapes["shared.reduce.weight"][0],
        rising=tuple(shapes[f"decoder.upsample.{level}.weight"][1] for level in range(4)),
    )


def _pairs(shapes: Shapes) -> Iterator[tuple[str, str]]:
    for theirs, ours in ENCODERS.items():
        own = {name: shape for name, shape in shapes.items() if name.startswith(f"{theirs}.")}
        yield from _encoder(own, theirs, ours)
    yield _Part(shapes, "compos_layer").convolution(), "fusion.weight"
    for level, stage in enumerate((3, 2, 1, 0)):
        upsample = _Part(shapes, f"shared_dec.transposeconv_stage{stage}")
        yield upsample.convolution(), f"decoder.upsample.{level}.weight"
        yield from _unit(_Part(shapes, f"shared_dec.shortcut_conv{stage}"), f"decoder.skips.{level}")
        block = _Part(shapes, f"shared_dec.stage{stage}_de")
        for number, place in enumerate(("first", "second")):
            yield from _unit(block, f"decoder.blocks.{level}.{place}", number)
    output = _Part(shapes, "shared_dec.cls_conv")
    yield output.convolution(), "decoder.output.weight"
    if any(_under(name, ("shared_dec.cls_conv",)) and len(shape) == 1 for name, shape in shapes.items()):
        yield output.shift(), "decoder.output.bias"
    for name, shape in shapes.items():
        if _under(name, ("dom_classifier",)):
            yield name, f"domain_classifier.{'weight' if len(shape) == 2 else 'bias'}"


def _encoder(shapes: Shapes, theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    backbone = f"{theirs}.backbone"
    yield _Part(shapes, f"{backbone}.conv1").convolution(), f"{ours}.stem.weight"
    norm = _Part(shapes, f"{backbone}.norm1")
    yield norm.scale(), f"{ours}.stem.scale"
    yield norm.shift(), f"{ours}.stem.shift"
    for layer in range(4):
        number = 0
        while any(name.startswith(f"{backbone}.layer{layer + 1}.{number}.") for name in shapes):
            block = f"{backbone}.layer{layer + 1}.{number}"
            place = f"{ours}.layers.{layer}.{number}"
            beside = {name: shape for name, shape in shapes.items() if name.startswith(f"{block}.downsample.")}
            inside = {name: shape for name, shape in shapes.items() if name not in beside}
            for index, part in enumerate(("first", "middle", "last")):
                yield from _unit(_Part(inside, block), f"{place}.{part}", index)
            if beside:
                yield from _unit(_Part(beside, f"{block}.downsample"), f"{place}.shortcut")
            number += 1
        if number == 0:
            raise _other(f"no blocks under {backbone}.layer{layer + 1}")
    yield from _unit(_Part(shapes, f"{theirs}.asppreduce", f"{backbone}.asppreduce"), f"{ours}.reduce")
    aspp = [f"{theirs}.aspp", f"{backbone}.aspp"]
    for index in range(4):
        branch = _Part(shapes, *(f"{each}.branch{index + 1}" for each in aspp))
        yield from _unit(branch, f"{ours}.pyramid.branches.{index}")
    yield from _unit(_Part(shapes, *(f"{each}.branch5" for each in aspp)), f"{ours}.pyramid.pooled")
    yield from _unit(_Part(shapes, *(f"{each}.conv_cat" for each in aspp)), f"{ours}.pyramid.join")


def _unit(part: _Part, ours: str, number: int = 0) -> Iterator[tuple[str, str]]:
    """A convolution and its norm."""
    yield part.convolution(number), f"{ours}.weight"
    yield part.scale(number), f"{ours}.scale"
    yield part.shift(number), f"{ours}.shift"


def _under(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a weight belongs to a module, or to one whose name continues it: branch5_conv to branch5."""
    return name.startswith(tuple(prefix + separator for prefix in prefixes for separator in "._"))


def _other(found: str) -> ShaSpecError:
    return ShaSpecError(
        "the network that the released code trains (docs/model.md)",
        found,
        "Choose a checkpoint of that network; others can be trained here with napari-shaspec train",
    )
