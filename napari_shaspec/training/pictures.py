"""A slice of a validation case, and what is found there from every subset of modalities, now and then in a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from napari_shaspec.io.atomic import replacing
from napari_shaspec.training.data import Batch

COLOURS = ((230, 60, 60), (250, 200, 60), (70, 190, 110))
"""Of ET, TC and WT; the inner region covers the outer one."""

TILE = 160
"""Pixels of a tile's longer side, at least."""

COLUMNS = 4


def subsets_picture(batch: Batch, found: Mapping[str, Tensor]) -> NDArray[np.uint8]:
    """The axial slice with most tumour of the first sample, once for each subset and once with the truth.

    Parameters
    ----------
    found
        Masks (B, 3, X, Y, Z) by the subset's name.

    Returns
    -------
    ndarray
        (height, width, 3). The front of the head is at the top, the patient's right on the left.
    """
    truth = batch.masks[0] > 0
    place = int(truth[-1].sum((0, 1)).argmax())
    image = next(iter(batch.images.values()))[0, 0, :, :, place].float()
    tiles = [_tile(image, masks[0, :, :, :, place], name) for name, masks in found.items()]
    tiles.append(_tile(image, truth[..., place], "truth"))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[start : start + COLUMNS], 1) for start in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows)


def _tile(image: Tensor, masks: Tensor, title: str) -> NDArray[np.uint8]:
    """(X, Y) and (3, X, Y) -> (height, width, 3)."""
    low, high = float(image.min()), float(image.max())
    grey = (image - low) / max(high - low, 1e-6) * 255
    pixels = grey[..., None].repeat(1, 1, 3).cpu()
    for mask, colour in reversed([*zip(masks.cpu(), COLOURS, strict=True)]):
        pixels[mask] = 0.4 * grey.cpu()[mask][:, None] + 0.6 * torch.tensor(colour)
    upright = pixels.permute(1, 0, 2).flip(0, 1).to(torch.uint8).numpy()
    factor = -(-TILE // max(upright.shape[:2]))
    tile = Image.fromarray(upright.repeat(factor, 0).repeat(factor, 1))
    ImageDraw.Draw(tile).text((4, 2), title, fill=(255, 255, 255))
    return np.asarray(tile)


class SubsetPictures(Callback):
    """Writes ``pictures/step_N.png`` into the run's folder, and into TensorBoard where that is there."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder = folder
        self.steps = steps
        self.last = -steps

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first case, if the last picture is long enough ago or the run ends."""
        step = trainer.global_step
        due = step - self.last >= self.steps or step >= trainer.max_steps
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero or not due:
            return
        self.last = step
        picture = subsets_picture(batch, outputs)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"step_{step:06d}.png") as place:
            Image.fromarray(picture).save(place)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("subsets", picture, step, dataformats="HWC")

    def state_dict(self) -> dict[str, Any]:
        """Kept by Lightning for a resumed run."""
        return {"last": self.last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Taken up by a resumed run."""
        self.last = state_dict["last"]
