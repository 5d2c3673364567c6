"""One step of training and one of validation, as Lightning wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from monai.metrics import compute_dice
from torch import Tensor

from napari_shaspec.modalities import nonempty_subsets
from napari_shaspec.model.losses import feature_losses, task_loss
from napari_shaspec.model.shaspec import ShaSpec
from napari_shaspec.training.augment import jitter_intensities
from napari_shaspec.training.config import TrainConfig
from napari_shaspec.training.data import SEEDS, Batch


def draw_subsets(names: Sequence[str], count: int, generator: torch.Generator) -> list[frozenset[str]]:
    """The full set, then ``count`` random proper subsets.

    The first of two or more is a single modality; the others are of a uniform size, then uniform among those of it.
    """
    subsets = [frozenset(names)]
    for place in range(count if len(names) > 1 else 0):
        single = count > 1 and place == 0
        size = 1 if single else 1 + int(torch.randint(len(names) - 1, (1,), generator=generator))
        order = torch.randperm(len(names), generator=generator)[:size]
        subsets.append(frozenset(names[index] for index in order.tolist()))
    return subsets


class ShaSpecTraining(lightning.LightningModule):
    """The overall objective, with every modality encoded once and decoded for several subsets in each step."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.model = ShaSpec(config.model)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Objective of one batch; what is random in it depends on seed and step only, on every process alike."""
        generator = torch.Generator().manual_seed(self.config.seed * SEEDS + self.global_step)
        images = jitter_intensities(batch.images, generator)
        warming_up = self.global_step < self.config.all_steps
        subsets = draw_subsets(sorted(images), 0 if warming_up else self.config.subsets, generator)
        encodings = {name: self.model.encode(image, name) for name, image in images.items()}
        task = torch.stack(
            [
                task_loss(self.model.decode({name: encodings[name] for name in subset}), batch.masks)
                for subset in subsets
            ]
        ).mean()
        alignment, domain = feature_losses(
            encodings, self.config.model.modalities, self.model.domain_classifier, self.config.alignment
        )
        features = self.config.alpha * alignment + self.config.beta * domain
        # Times 0 and not left out: training on several devices wants a gradient for every weight.
        loss = task + features * (0.0 if warming_up else 1.0)
        self.log_dict({"loss": loss, "task": task, "dao": alignment, "dco": domain}, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Dice of all subsets of what the case has; ``score`` is the mean over subsets and regions."""
        names = [name for name in self.config.model.modalities if name in batch.images]
        encodings = {name: self.model.encode(image, name) for name, image in batch.images.items()}
        dice = torch.stack(
            [
                compute_dice(
                    (self.model.decode({name: encodings[name] for name in subset}) >= 0).float(),
                    batch.masks,
                    ignore_empty=False,
                ).mean(0)
                for subset in nonempty_subsets(names)
            ]
        )
        entries = {"score": dice.mean()}
        for channel, region in enumerate(self.config.model.outputs):
            entries[f"all_{region}"] = dice[-1, channel]
            entries[f"mean_{region}"] = dice[:, channel].mean()
        for row, name in enumerate(names):
            entries[f"{name}_{self.config.model.outputs[-1]}"] = dice[row, -1]
        self.log_dict(entries, prog_bar=False, sync_dist=True, batch_size=batch.masks.shape[0])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; linear warm-up, then half a cosine down to 0."""
        optimizer = torch.optim.AdamW(
            self.model.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
        )

        def factor(step: int) -> float:
            rising = min(1.0, (step + 1) / self.config.warmup_steps)
            return rising * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.config.steps)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
