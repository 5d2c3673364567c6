"""Draw a page of random simulated cases, one a row: FLAIR, T1, T1c, T2, labels.

python benchmarks/gallery.py [--count 8] [--seed 1] [--settings training|held-out] [--out gallery.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_shaspec.io.overlay import COLOURS
from napari_shaspec.modalities import Modality
from napari_shaspec.simulate.case import simulate_case
from napari_shaspec.simulate.settings import SETTINGS

GAP = 4
TITLE = 22


def main() -> None:
    """Simulate and draw, two cases beside each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", default="training", choices=sorted(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("gallery.png"))
    options = parser.parse_args()
    rows = [panels(10**13 + options.seed * 1000 + index, options.settings) for index in range(options.count)]
    width, height = rows[0][0].size
    columns = len(rows[0])
    half = (len(rows) + 1) // 2
    page = Image.new("RGB", (2 * columns * (width + GAP) + 4 * GAP, TITLE + half * (height + GAP)), "white")
    draw = ImageDraw.Draw(page)
    for side in range(2):
        for column, title in enumerate([*(modality.title for modality in Modality), "labels"]):
            left = side * (columns * (width + GAP) + 4 * GAP) + column * (width + GAP)
            draw.text((left + 4, 2), title, "black", font=ImageFont.load_default(16))
            for row, case in enumerate(rows[side * half : (side + 1) * half]):
                page.paste(case[column], (left, TITLE + row * (height + GAP)))
    page.save(options.out, optimize=True)


def panels(seed: int, settings: str) -> list[Image.Image]:
    """The axial slice with most tumour, seen from below: patient's right on the left."""
    case = simulate_case(seed, str(seed), 2.0, SETTINGS[settings])
    labels = case.truth.data
    level = int((labels > 0).sum((0, 1)).argmax()) or labels.shape[2] // 2

    def turned(plane: np.ndarray) -> np.ndarray:
        return plane[::-1, ::-1].swapaxes(0, 1)

    drawn = []
    for volume in case.images.values():
        high = np.percentile(volume.data[volume.data > 0], 99.5)
        grey = np.clip(turned(volume.data[:, :, level]) / high * 255, 0, 255).astype(np.uint8)
        drawn.append(Image.fromarray(grey).convert("RGB"))
    colours = np.zeros((*turned(labels[:, :, level]).shape, 3), np.uint8)
    for label, colour in COLOURS.items():
        colours[turned(labels[:, :, level]) == label] = colour
    return [*drawn, Image.fromarray(colours)]


if __name__ == "__main__":
    main()
