"""Draw the figures of docs/model.md: both networks with the shapes that they really have, and where their work goes.

    python scripts/draw_model.py docs/images

Shapes and multiplications come from the networks themselves, run on torch's meta device, which computes nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from textwrap import wrap

import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_shaspec.modalities import Modality
from napari_shaspec.model.checkpoint import load_checkpoint
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.networks import Network
from napari_shaspec.model.released.config import ReleasedConfig
from napari_shaspec.model.released.network import ReleasedShaSpec
from napari_shaspec.model.shaspec import Encoding, ShaSpec

COLOURS = {"image": "#e8e8e8", "shared": "#9ecae1", "specific": "#fdd0a2", "fusion": "#c7e9c0", "decoder": "#dadaeb"}
MISSING = Modality.T1


@dataclass
class Drawing:
    """Boxes, arrows and words as SVG; the origin is at the top left."""

    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, lines: list[str], kind: str, size: tuple[int, int] = (150, 44)) -> None:
        """A box around its lines of text, centred at (x, y); grey and dashed where ``kind`` is empty."""
        width, height = size
        look = f'fill="{COLOURS[kind]}" stroke="#333"' if kind else 'fill="none" stroke="#888" stroke-dasharray="5 4"'
        place = f'x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}"'
        self.parts.append(f'<rect {place} rx="4" {look}/>')
        for number, line in enumerate(lines):
            self.words(x, y + 4.5 + 15 * (number - (len(lines) - 1) / 2), line, bold=number == 0)

    def words(self, x: float, y: float, text: str, *, bold: bool = False, anchor: str = "middle") -> None:
        """A line of text."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{escape(text)}</text>')

    def arrow(self, start: tuple[float, float], stop: tuple[float, float], *, dashed: bool = False) -> None:
        """From one place to another."""
        look = ' stroke="#888" stroke-dasharray="5 4"' if dashed else ' stroke="#333"'
        ends = f'x1="{start[0]:g}" y1="{start[1]:g}" x2="{stop[0]:g}" y2="{stop[1]:g}"'
        self.parts.append(f'<line {ends}{look} marker-end="url(#tip)"/>')

    def bar(self, x: float, y: float, width: float, kind: str) -> None:
        """A piece of a bar chart."""
        look = f'fill="{COLOURS[kind]}" stroke="#333"'
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="22" {look}/>')

    def write(self, path: Path) -> None:
        """As a file."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        tip = '<path d="M0 0 L8 4 L0 8 z" fill="#555"/>'
        marker = f'<marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">{tip}</marker>'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
        paper = f'<rect width="{self.width}" height="{self.height}" fill="white"/>'
        body = "\n".join([head, f"<defs>{marker}</defs>", paper, *self.parts, "</svg>"])
        path.write_text(body + "\n", encoding="utf-8")


def shape(tensor: torch.Tensor) -> str:
    """Channels and sides, without the batch."""
    return " x ".join(map(str, tensor.shape[1:]))


def work(network: Network, sides: tuple[int, int, int]) -> tuple[Encoding, torch.Tensor, float, float]:
    """An encoding, its logits, and thousands of millions of multiplications for all encoders and for the decoder."""
    counts = []
    encodings = {}
    with FlopCounterMode(display=False) as counter:
        for name in network.config.modalities:
            encodings[name] = network.encode(torch.empty(1, 1, *sides), name)
    counts.append(counter.get_total_flops() / 2e9)
    # Once before, so that the image of zeros is not counted as a toggle's work.
    network.decode(encodings)
    with FlopCounterMode(display=False) as counter:
        logits = network.decode(encodings)
    counts.append(counter.get_total_flops() / 2e9)
    return encodings[network.config.modalities[0]], logits, counts[0], counts[1]


def draw_network(network: Network, sides: tuple[int, int, int], path: Path) -> tuple[float, float]:
    """Four modalities, one of them missing, from image to probabilities; returns the work of encoders and decoder."""
    encoding, logits, encoders, decoder = work(network, sides)
    drawing = Drawing(1000, 430)
    for x, title in ((90, "image x(i)"), (300, "encode: once"), (530, "fusion"), (780, "decode: at every toggle")):
        drawing.words(x, 24, title, bold=True)
    drawing.parts.append('<line x1="420" y1="10" x2="420" y2="420" stroke="#bbb" stroke-dasharray="2 4"/>')
    rows = [80 + 95 * number for number in range(len(network.config.modalities))]
    for name, y in zip(network.config.modalities, rows, strict=True):
        title, there = Modality(name).title, name != MISSING.value
        drawing.box(
            90,
            y,
            [title if there else f"{title} is missing", " x ".join(map(str, sides))]
            if there
            else [f"{title} is missing"],
            "image" if there else "",
            (140, 44),
        )
        if there:
            drawing.box(300, y - 20, ["shared r(i)", shape(encoding.shared)], "shared", (160, 36))
            drawing.box(300, y + 20, [f"specific s({title})", shape(encoding.specific)], "specific", (160, 36))
            drawing.arrow((160, y), (219, y - 18))
            drawing.arrow((160, y), (219, y + 18))
            drawing.arrow((380, y - 18), (449, y))
            drawing.arrow((380, y + 18), (449, y))
            drawing.box(530, y, ["r + f_proj([r; s])", shape(encoding.shared)], "fusion", (160, 44))
        else:
            drawing.box(530, y, ["stand-in", *wrap(network.config.stand_in, 30)], "", (200, 58))
        drawing.arrow((612 if there else 632, y), (689, 222))
    drawing.box(780, 222, ["decoder", f"from {len(rows)} x {shape(encoding.shared)}"], "decoder", (180, 50))
    for number, skip in enumerate(encoding.skips):
        drawing.words(780, 300 + 17 * number, f"+ skips {shape(skip)}")
    kept = ", shared and specific" if encoding.specific_skips else ""
    drawing.words(780, 300 + 17 * len(encoding.skips), f"of every modality, from the encodings{kept}")
    drawing.arrow((780, 196), (780, 150))
    drawing.box(780, 118, ["ET, TC, WT", shape(logits)], "image", (170, 56))
    drawing.write(path)
    return encoders, decoder


def draw_work(rows: list[tuple[str, float, float]], path: Path) -> None:
    """How much of a tile's work a toggle repeats."""
    drawing = Drawing(1000, 40 + 60 * len(rows))
    for number, (name, encoders, decoder) in enumerate(rows):
        y, scale = 45 + 60 * number, 720 / (encoders + decoder)
        drawing.words(250, y + 16, name, anchor="end", bold=True)
        drawing.bar(260, y, encoders * scale, "shared")
        drawing.bar(260 + encoders * scale, y, decoder * scale, "decoder")
        share = decoder / (encoders + decoder)
        drawing.words(
            260,
            y - 7,
            f"encoders {encoders:.4g} GMAC, fusion and decoder {decoder:.3g} GMAC: a toggle repeats {share:.1%}",
            anchor="start",
        )
    drawing.write(path)


def main() -> None:
    """Draw all figures into a folder."""
    folder = Path(sys.argv[1])
    config = load_checkpoint().model.config
    assert isinstance(config, ModelConfig)
    with torch.device("meta"), torch.no_grad():
        own, released = ShaSpec(config).eval(), ReleasedShaSpec(ReleasedConfig()).eval()
        rows = []
        for title, network, sides, name in (
            ("our network, tile 96 x 96 x 96", own, (96, 96, 96), "model_own.svg"),
            ("the released code's", released, ReleasedConfig().tile, "model_released.svg"),
        ):
            rows.append((title, *draw_network(network, sides, folder / name)))
    draw_work(rows, folder / "model_work.svg")


if __name__ == "__main__":
    main()
