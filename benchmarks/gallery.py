"""Draw a page of random simulated cases, as `napari-shaspec simulate` of the same seed would write them.

python benchmarks/gallery.py --count 8 --seed 1 --settings training --out gallery.png

Each case is one axial slice, the one with most tumour, seen from below: the patient's right is on the left. Every brain
fills its panel, so sizes cannot be compared between cases.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_shaspec.cli.simulate import case_seed
from napari_shaspec.io.overlay import COLOURS, NAMES
from napari_shaspec.modalities import Modality
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import SETTINGS
from napari_shaspec.volume import Case

VOXEL_MM = 1.5
COLUMNS = 2
"""Cases beside each other."""

PANEL = (122, 142)
"""Width and height of an image in pixels."""

GAP, GUTTER, BAR, LETTER = 3, 30, 32, 17
"""Pixels between images, between cases, of the lines of text above and below, and of a letter."""

DIMMED = 0.55
"""Brightness of the FLAIR image beneath the labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One slice as it is seen, front at the top, cut to the brain: four images from 0 to 1, and `Label` values."""

    images: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.uint8]

    def panels(self) -> list[Image.Image]:
        """The four images, and the labels on a dimmed FLAIR, all of the size `PANEL`."""
        height, width = self.labels.shape
        scale = min(PANEL[0] / width, PANEL[1] / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        grey = [
            Image.fromarray((image * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
            for image in self.images
        ]
        labels = np.asarray(Image.fromarray(self.labels).resize(size, Image.Resampling.NEAREST))
        coloured = (np.asarray(grey[0]) * DIMMED).astype(np.uint8)
        for label, colour in COLOURS.items():
            coloured[labels == label] = colour
        framed = []
        for image in (*grey, Image.fromarray(coloured)):
            frame = Image.new("RGB", PANEL)
            frame.paste(image, ((PANEL[0] - size[0]) // 2, (PANEL[1] - size[1]) // 2))
            framed.append(frame)
        return framed


def seen(case: Case) -> Slice:
    """The slice with most tumour, or with most brain where there is none."""
    assert case.truth is not None
    labels = np.asarray(case.truth.data, np.uint8)
    images = [np.asarray(volume.data, np.float32) for volume in case.images.values()]
    brain = np.any([image > 0 for image in images], axis=0)
    level = int((labels > 0 if labels.any() else brain).sum((0, 1)).argmax())
    columns, rows = (np.flatnonzero(brain[:, :, level].any(axis)) for axis in (1, 0))
    # Right to left and front to back, then rows before columns.
    window = (slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1), level)
    brightest = [float(np.percentile(image[image > 0], 99.5)) for image in images]
    return Slice(
        tuple((image[window][::-1, ::-1].T / high).clip(0, 1) for image, high in zip(images, brightest, strict=True)),
        labels[window][::-1, ::-1].T,
    )


def page(slices: list[Slice]) -> Image.Image:
    """All cases in columns on black, titles above and the legend below."""
    width, height = PANEL[0] + GAP, PANEL[1] + GAP
    titles = [*(modality.title for modality in Modality), "labels"]
    columns = min(COLUMNS, len(slices))
    rows = -(-len(slices) // columns)
    font = ImageFont.load_default(LETTER)
    legend = 2 * GUTTER + sum(4 * LETTER + int(font.getlength(name)) for name in NAMES.values())
    across = max(columns * (len(titles) * width + GUTTER), legend)
    picture = Image.new("RGB", (across, 2 * BAR + rows * height))
    pen = ImageDraw.Draw(picture)
    for column in range(columns):
        shown = [case.panels() for case in slices[column::columns]]
        for place, title in enumerate(titles):
            left = GUTTER // 2 + column * (len(titles) * width + GUTTER) + place * width
            pen.text((left + width // 2, BAR // 2), title, "white", font, anchor="mm")
            for row, panels in enumerate(shown):
                picture.paste(panels[place], (left, BAR + row * height))
    x, y, half = GUTTER, picture.height - BAR // 2, LETTER // 2
    for label, colour in COLOURS.items():
        pen.rectangle((x, y - half, x + LETTER, y + half), colour)
        pen.text((x + 3 * half, y), NAMES[label], "white", font, anchor="lm")
        x += 5 * half + LETTER + int(font.getlength(NAMES[label]))
    return picture


def main() -> None:
    """Simulate, draw, and say what was done as one JSON object."""
    parser = argparse.ArgumentParser(description="Draw a page of random simulated cases.")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", default="training", choices=sorted(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("gallery.png"))
    options = parser.parse_args()
    start = time.perf_counter()
    slices = [
        seen(simulate_case(case_seed(options.seed, index), str(index), VOXEL_MM, SETTINGS[options.settings]))
        for index in range(options.count)
    ]
    # 256 colours are enough for grey images and three more, and a third of the bytes.
    page(slices).quantize(256, dither=Image.Dither.NONE).save(options.out, optimize=True)
    seconds = round(time.perf_counter() - start, 1)
    print(json.dumps({"cases": options.count, "seconds": seconds, "bytes": options.out.stat().st_size}))


if __name__ == "__main__":
    main()
