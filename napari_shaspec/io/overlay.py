"""A picture of a label map on its image: three orthogonal views in radiological convention, as a PNG file.

The patient's right is on the left of the axial and coronal view, the front on the left of the sagittal one. The voxel
axes are turned to the nearest of R, A, S but not resampled, so an oblique image is shown along its own axes.
"""

# mypy: untyped-calls-exclude="nibabel"

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.io.atomic import replacing
from napari_shaspec.regions import Label
from napari_shaspec.volume import Volume

COLOURS = {Label.NCR_NET: (86, 180, 233), Label.ED: (240, 228, 66), Label.ET: (213, 94, 0)}
"""Sky blue, yellow and vermilion of Okabe and Ito's palette, which colour-blind readers tell apart."""

NAMES = {
    Label.NCR_NET: "NCR/NET, necrosis and non-enhancing core",
    Label.ED: "ED, oedema",
    Label.ET: "ET, enhancing tumour",
}
OPACITY = 0.45
VIEW_PIXELS = 420
"""Height and width of each view; all three have one scale."""

MARGIN_PIXELS = 30
LEGEND_PIXELS = 40
LETTER_PIXELS = 16


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A slice as it is seen: rows from top to bottom, columns from left to right.

    Parameters
    ----------
    title
        Its name.
    edges
        The directions at left, right, top and bottom.
    grey, labels
        (rows, columns): 0 to 1, and `Label`.
    size_mm
        Height and width.
    """

    title: str
    edges: str
    grey: NDArray[np.float32]
    labels: NDArray[np.uint8]
    size_mm: tuple[float, float]


def write_overlay(image: Volume, labels: NDArray[np.uint8], path: Path) -> None:
    """Write the picture atomically, over an older file of that name.

    Each view shows the slice with the most tumour, or the middle of the brain where there is none.

    Parameters
    ----------
    image
        What lies beneath.
    labels
        (X, Y, Z) of `Label`, in file order of the image.
    path
        Ends in ``.png``.

    Raises
    ------
    ShaSpecError
        If the shapes differ, or if the file cannot be written.
    """
    if labels.shape != image.shape:
        raise ShaSpecError(
            f"labels on the image's grid {image.shape}", f"shape {labels.shape}", "Bring both onto one grid first"
        )
    picture = draw(tuple(views(image, labels)), sorted(set(np.unique(labels).tolist()) & set(COLOURS)))
    with replacing(path) as place:
        picture.save(place, "PNG", optimize=True)


def views(image: Volume, labels: NDArray[np.uint8]) -> Iterator[View]:
    """Axial, coronal and sagittal slices through the tumour, cut to the brain."""
    turn = nib.io_orientation(image.affine)
    data = nib.apply_orientation(image.data.astype(np.float32), turn)
    labels = nib.apply_orientation(labels, turn)
    voxel_mm = image.voxel_mm[np.argsort(turn[:, 0])]
    grey, head = _windowed(data)
    box = _box_around(head | (labels > 0))
    grey, labels = grey[box], labels[box]
    for title, edges, through in (("axial", "RLAP", 2), ("coronal", "RLSI", 1), ("sagittal", "APSI", 0)):
        areas = np.count_nonzero(labels, axis=tuple(axis for axis in range(3) if axis != through))
        index = int(areas.argmax()) if areas.any() else labels.shape[through] // 2
        across, down = (voxel_mm[axis] * labels.shape[axis] for axis in range(3) if axis != through)
        # The turned axes run to R, A and S; reversed and transposed, R or A is on the left and A or S at the top.
        slices = [np.flip(np.take(array, index, through)).T for array in (grey, labels)]
        yield View(title, edges, slices[0], slices[1], (float(down), float(across)))


def draw(shown: tuple[View, ...], present: list[int]) -> Image.Image:
    """Views side by side on black, and the legend of the labels that are present in the case."""
    pixels_per_mm = VIEW_PIXELS / max(max(view.size_mm) for view in shown)
    cell = VIEW_PIXELS + 2 * MARGIN_PIXELS
    picture = Image.new("RGB", (cell * len(shown), cell + LEGEND_PIXELS))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(LETTER_PIXELS)
    for column, view in enumerate(shown):
        panel = _coloured(view, pixels_per_mm)
        left = column * cell
        picture.paste(panel, (left + (cell - panel.width) // 2, (cell - panel.height) // 2))
        middle, far = cell // 2, cell - MARGIN_PIXELS // 2
        spots = ((MARGIN_PIXELS // 2, middle), (far, middle), (middle, MARGIN_PIXELS // 2), (middle, far))
        for letter, (x, y) in zip(view.edges, spots, strict=True):
            pen.text((left + x, y), letter, "white", font, anchor="mm")
        pen.text((left + MARGIN_PIXELS, cell - MARGIN_PIXELS // 2), view.title, "silver", font, anchor="lm")
    x, y = MARGIN_PIXELS, cell + LEGEND_PIXELS // 2
    if not present:
        pen.text((x, y), "no tumour", "white", font, anchor="lm")
    for label in present:
        half = LETTER_PIXELS // 2
        pen.rectangle((x, y - half, x + 2 * half, y + half), COLOURS[Label(label)])
        pen.text((x + 3 * half, y), NAMES[Label(label)], "white", font, anchor="lm")
        x += 6 * half + round(pen.textlength(NAMES[Label(label)], font))
    return picture


def _windowed(data: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Grey values from 0 to 1 between two percentiles of what is not background, and where that is."""
    head = data != data.flat[0]
    if not head.any():
        return np.zeros_like(data), head
    darkest, brightest = np.percentile(data[head], (0.5, 99.5))
    grey = (data - darkest) / max(brightest - darkest, np.finfo(np.float32).tiny)
    return np.where(head, grey.clip(0, 1), 0).astype(np.float32), head


def _box_around(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else (slice(None),) * mask.ndim


def _coloured(view: View, pixels_per_mm: float) -> Image.Image:
    """The slice at its true proportions: grey, a veil over each label, and a line along its border."""
    height, width = (max(1, round(side * pixels_per_mm)) for side in view.size_mm)
    grey = Image.fromarray((255 * view.grey).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    classes = np.asarray(Image.fromarray(view.labels).resize((width, height), Image.Resampling.NEAREST))
    canvas = np.repeat(np.asarray(grey, np.float32)[..., None], 3, axis=2)
    for label, colour in COLOURS.items():
        inside = classes == label
        border = inside & ~ndimage.binary_erosion(inside)
        canvas[inside] += OPACITY * (np.array(colour) - canvas[inside])
        canvas[border] = colour
    return Image.fromarray(canvas.round().astype(np.uint8))
