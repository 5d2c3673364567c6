"""One step of training and one of validation, as Lightning wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from monai.metrics import compute_dice
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.modalities import nonempty_subsets
from napari_shaspec.model.heads import output_layer
from napari_shaspec.model.losses import feature_losses, task_loss
from napari_shaspec.model.shaspec import Encoding, ShaSpec
from napari_shaspec.training.augment import jitter_intensities
from napari_shaspec.training.config import Augmentation, Optimizer, Schedule, SubsetSampling, TrainConfig
from napari_shaspec.training.data import Batch, Purpose, generator_for


def draw_subset(
    names: Sequence[str], largest: int, sampling: SubsetSampling, generator: torch.Generator
) -> frozenset[str]:
    """A random non-empty subset of at most ``largest`` modalities."""
    if sampling is SubsetSampling.UNIFORM:
        subsets = [subset for subset in nonempty_subsets(names) if len(subset) <= largest]
        return subsets[int(torch.randint(len(subsets), (1,), generator=generator))]
    size = 1 + int(torch.randint(largest, (1,), generator=generator))
    order = torch.randperm(len(names), generator=generator)[:size]
    return frozenset(names[index] for index in order.tolist())


def draw_subsets(
    names: Sequence[str],
    count: int,
    generator: torch.Generator,
    sampling: SubsetSampling = SubsetSampling.SIZE,
) -> list[frozenset[str]]:
    """The full set, then ``count`` random proper subsets; the first of two or more is a single modality."""
    subsets = [frozenset(names)]
    for place in range(count if len(names) > 1 else 0):
        largest = 1 if count > 1 and place == 0 else len(names) - 1
        subsets.append(draw_subset(names, largest, sampling, generator))
    return subsets


def subsets_of_step(config: TrainConfig, names: Sequence[str], step: int) -> list[frozenset[str]]:
    """What is decoded in a step, given the modalities that the batch has; it depends on seed and step only."""
    if config.dedicated or step < config.all_steps:
        return [frozenset(names)]
    generator = generator_for(Purpose.SUBSETS, config.seed, step)
    if config.full_set:
        return draw_subsets(names, config.subsets, generator, config.sampling)
    return [draw_subset(names, len(names), config.sampling, generator)]


def coarsened(masks: Tensor, stride: int) -> Tensor:
    """Masks (B, R, *size) averaged over blocks of so many voxels a side."""
    return functional.avg_pool3d(masks, stride) if masks.ndim == 5 else functional.avg_pool2d(masks, stride)


class ShaSpecTraining(lightning.LightningModule):
    """The overall objective; every modality that a step's subsets name is encoded once, and no other one."""

    def __init__(self, config: TrainConfig, model: ShaSpec | None = None) -> None:
        super().__init__()
        self.config = config
        self.model = ShaSpec(config.model) if model is None else model
        widths = config.model.widths[:0:-1] if config.deep_supervision else ()
        self.coarse_outputs = nn.ModuleList(output_layer(config.model, width) for width in widths)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Objective of one batch; the subsets depend on seed and step only and are the same on every process."""
        step, images = self.global_step, self._allowed(batch.images)
        subsets = subsets_of_step(self.config, sorted(images), step)
        images = {name: image for name, image in images.items() if any(name in subset for subset in subsets)}
        if self.config.augmentation is Augmentation.INTENSITY:
            processes, rank = (self._trainer.world_size, self._trainer.global_rank) if self._trainer else (1, 0)
            item = step * processes + rank
            images = jitter_intensities(images, generator_for(Purpose.INTENSITIES, self.config.seed, item))
        encodings = {name: self.model.encode(image, name) for name, image in images.items()}
        task = torch.stack(
            [self.supervised({name: encodings[name] for name in subset}, batch.masks) for subset in subsets]
        ).mean()
        alignment, domain = feature_losses(
            encodings, self.config.model.modalities, self.model.domain_classifier, self.config.alignment
        )
        features = self.config.alpha * alignment + self.config.beta * domain
        # Times 0 and not left out: training on several devices wants a gradient for every weight.
        loss = task + features * (0.0 if self.config.features_wait and step < self.config.all_steps else 1.0)
        self.log_dict({"loss": loss, "task": task, "dao": alignment, "dco": domain}, prog_bar=True)
        return loss

    def supervised(self, encodings: Mapping[str, Encoding], masks: Tensor) -> Tensor:
        """The task's loss of one subset; with deep supervision also at every coarser level of the decoder.

        There a voxel's target is the share of it that the region takes.
        """
        if not self.coarse_outputs:
            return task_loss(self.model.decode(encodings), masks)
        logits, coarse = self.model.decode_levels(encodings)
        loss = task_loss(logits, masks)
        for output, maps in zip(self.coarse_outputs, coarse, strict=True):
            stride = masks.shape[2] // maps.shape[2]
            shares, voxels = coarsened(masks, stride), stride ** (masks.ndim - 2)
            loss = loss + self.config.deep_supervision * task_loss(output(maps), shares, voxels)
        return loss

    def validation_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Dice of all subsets of what the case has; ``score`` is the mean over subsets and regions.

        Returns
        -------
        dict
            Found masks (B, R, *patch) by subset, named like ``flair+t1c``.
        """
        images = self._allowed(batch.images)
        names = [name for name in self.config.model.modalities if name in images]
        encodings = {name: self.model.encode(image, name) for name, image in images.items()}
        subsets = [frozenset(names)] if self.config.dedicated else nonempty_subsets(names)
        found = [self.model.decode({name: encodings[name] for name in subset}) >= 0 for subset in subsets]
        dice = torch.stack([compute_dice(masks.float(), batch.masks, ignore_empty=False).mean(0) for masks in found])
        entries = {"score": dice.mean()}
        for channel, region in enumerate(self.config.model.outputs):
            entries[f"all_{region}"] = dice[-1, channel]
            entries[f"mean_{region}"] = dice[:, channel].mean()
        for row, subset in enumerate(subsets):
            if len(subset) == 1:
                entries[f"{next(iter(subset))}_{self.config.model.outputs[-1]}"] = dice[row, -1]
        # Every process validates on the same cases, so there is nothing to put together.
        self.log_dict(entries, rank_zero_only=True, batch_size=batch.masks.shape[0])
        in_order = (sorted(subset, key=self.config.model.modalities.index) for subset in subsets)
        return {"+".join(members): masks for members, masks in zip(in_order, found, strict=True)}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW or SGD; linear warm-up, then half a cosine or a power of the remaining steps, down to 0."""
        config = self.config
        optimizer: torch.optim.Optimizer
        if config.optimizer is Optimizer.SGD:
            optimizer = torch.optim.SGD(
                self.parameters(),
                config.learning_rate,
                config.momentum,
                weight_decay=config.weight_decay,
                nesterov=config.momentum > 0,
            )
        else:
            optimizer = torch.optim.AdamW(self.parameters(), config.learning_rate, weight_decay=config.weight_decay)

        def factor(step: int) -> float:
            rising = min(1.0, (step + 1) / config.warmup_steps)
            done = min(1.0, step / config.steps)
            falling = (1 - done) ** 0.9 if config.schedule is Schedule.POLY else 0.5 * (1 + math.cos(math.pi * done))
            return rising * falling

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _allowed(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        """All, or those of a dedicated network."""
        dedicated = self.config.dedicated
        return {name: image for name, image in images.items() if name in dedicated} if dedicated else images
