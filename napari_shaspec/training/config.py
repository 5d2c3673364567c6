"""What a training run is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from napari_shaspec.model.config import ModelConfig, check_conditions
from napari_shaspec.model.objective import ALPHA, BETA, AlignmentLoss


class Optimizer(StrEnum):
    """AdamW, or stochastic gradient descent with Nesterov momentum."""

    ADAMW = "adamw"
    SGD = "sgd"


class Schedule(StrEnum):
    """How the learning rate falls after its warm-up: half a cosine, or (1 - step / steps) to the power 0.9."""

    COSINE = "cosine"
    POLY = "poly"


class SubsetSampling(StrEnum):
    """A uniform size and then a uniform subset of that size, or uniform over all subsets."""

    SIZE = "size"
    UNIFORM = "uniform"


class Augmentation(StrEnum):
    """Nothing; intensities scaled and shifted; or flips, small rotations and scales, intensities, gamma and noise."""

    NONE = "none"
    INTENSITY = "intensity"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides the weights, apart from the data.

    Parameters
    ----------
    model
        Shape of the network; training takes the two ends of its ``voxel_mm``, for fine and for coarse steps.
    steps, batch
        Optimizer steps, and cases in each.
    patch
        Voxels along R, A, S of what the network sees at the finest voxel size.
    coarse_patch
        The same at the coarsest voxel size, where it holds a whole brain.
    coarse_start, coarse_share
        Share of the steps that are coarse, at the beginning and at the end of the run. Coarse steps cost a third, and
        what they teach (where a tumour is, what is none) holds at every voxel size.
    draws
        How often each simulated case is trained on, with other intensities and subsets and mirrored in between:
        simulating one costs as much as half a step.
    tumour_free_share
        Share of the simulated cases that have no tumour, beside those that the simulator's setting leaves without one:
        cases without one alone teach that there may be nothing to mark at all.
    tumour_share
        Share of the crops of real cases that are centred on tumour; the others are centred anywhere in the brain.
    augmentation
        What happens to images at random, seeded by item.
    optimizer, momentum, learning_rate, weight_decay, warmup_steps, schedule
        The rate rises linearly over ``warmup_steps``, then falls to 0 along the schedule; only SGD has the momentum.
    gradient_clip
        Largest norm of the gradient; 0 leaves it as it is.
    alpha, beta, alignment
        Weights of DAO and DCO and the variant of DAO.
    deep_supervision
        Weight of the task's loss at each coarser level of the decoder, of maps that only training has. It asks the
        bottom, where features are fused, to know the tumour: skips alone would do for the finest level. 0, as
        published, for none.
    all_steps
        For so many steps at the beginning only the full set is decoded, and DAO and DCO wait: single modalities are
        of no use before the task is understood at all, and shared features that hold nothing yet are aligned best by
        holding nothing.
    features_wait
        Whether DAO and DCO wait as said; otherwise they count from the first step on.
    full_set
        Whether each step after that decodes the full set and ``subsets`` beside it. Otherwise, as published, it sees
        one random subset, which may be the full set, and nothing of the other modalities: their encoders get no
        gradient.
    sampling
        How random subsets are drawn.
    dedicated
        Modalities of a network for one subset alone: it is trained and validated on nothing else. Empty for one network
        for all.
    subsets
        Random proper subsets decoded in each step after that, beside the full set; the first of two or more is a
        single modality, because those are learned last. Encoding is most of a step's cost and does not depend on the
        subset, so they come cheap.
    ema_decay
        Of the averaged weights, which are those that are validated and saved; it rises from 0.1 at the beginning.
    validation_steps, validation_cases
        How often the averaged weights are scored, and on how many batches of held-out cases (crops of them where they
        are real); the last step is always scored.
    calibration_cases
        Whole simulated cases of the held-out setting, on which it is measured at which probability each region should
        begin when the run is over, and whether the last network is better than the one that validation liked best.
        With 0, and after training on real cases, that stays one half, and nothing is compared.
    checkpoint_steps
        How often the run's state is written in between, so that a kill loses no more steps than that; 0 for only at
        validations.
    picture_steps
        At most how often a slice of a validation case is drawn for all subsets; 0 for never.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    seed: int = 2023
    steps: int = 3600
    batch: int = 1
    patch: tuple[int, int, int] = (72, 88, 72)
    coarse_patch: tuple[int, int, int] = (56, 64, 56)
    coarse_start: float = 1.0
    coarse_share: float = 0.5
    draws: int = 1
    tumour_free_share: float = 0.0
    tumour_share: float = 0.5
    augmentation: Augmentation = Augmentation.INTENSITY
    optimizer: Optimizer = Optimizer.ADAMW
    momentum: float = 0.99
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    schedule: Schedule = Schedule.COSINE
    gradient_clip: float = 1.0
    alpha: float = ALPHA
    beta: float = BETA
    alignment: AlignmentLoss = AlignmentLoss.L1
    deep_supervision: float = 0.0
    all_steps: int = 600
    features_wait: bool = True
    full_set: bool = True
    sampling: SubsetSampling = SubsetSampling.SIZE
    dedicated: tuple[str, ...] = ()
    subsets: int = 1
    ema_decay: float = 0.998
    validation_steps: int = 400
    validation_cases: int = 8
    calibration_cases: int = 0
    checkpoint_steps: int = 0
    picture_steps: int = 2000

    def __post_init__(self) -> None:
        stride = self.model.stride
        counts = (self.steps, self.batch, self.draws, self.warmup_steps, self.validation_steps, self.validation_cases)
        amounts = (self.subsets, self.all_steps, self.calibration_cases, self.checkpoint_steps, self.picture_steps)
        weights = (self.alpha, self.beta, self.deep_supervision, self.weight_decay, self.gradient_clip)
        of_cases = (self.coarse_start, self.coarse_share, self.tumour_free_share, self.tumour_share)
        shares = (*of_cases, self.momentum, self.ema_decay)
        sides = (*self.patch, *self.coarse_patch)
        three = len(self.patch) == len(self.coarse_patch) == 3
        known = set(self.dedicated) <= set(self.model.modalities) and len(set(self.dedicated)) == len(self.dedicated)
        divided = all(side % stride == 0 and side >= 2 * stride for side in sides)
        weighed = "weights of DAO, DCO, deep supervision, decay and clipping of at least 0"
        named = f"dedicated modalities out of {', '.join(self.model.modalities)}, each named once"
        conditions = (
            ("at least one step, case and validation", counts, min(counts) >= 1),
            ("numbers of steps and subsets of at least 0", amounts, min(amounts) >= 0),
            (weighed, weights, min(weights) >= 0),
            ("a learning rate above 0", self.learning_rate, self.learning_rate > 0),
            ("shares and decays from 0 to 1", shares, all(0 <= share <= 1 for share in shares)),
            (named, self.dedicated, known),
            ("three sides of each patch", (self.patch, self.coarse_patch), three),
            (f"patch sides that are multiples of {stride} and at least {2 * stride}", sides, divided),
        )
        check_conditions(conditions, "Correct the training configuration")

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def continued(config: TrainConfig, model: ModelConfig) -> TrainConfig:
    """The configuration of a run that begins with a trained network of this shape: what only a new one needs is out.

    Single modalities are decoded from the first step on, and coarse steps are as many as at the end of a run. Whether
    pieces must be sure was found out for the old weights, so the new ones begin without.
    """
    return replace(config, model=replace(model, sure=None, sure_each=()), all_steps=0, coarse_start=config.coarse_share)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Entries of `TrainConfig.to_dict` that an earlier run had otherwise: name -> (before, now).

    What an older version did not know, it did by default.
    """
    defaults, first, second = (json.loads(json.dumps(each)) for each in (TrainConfig().to_dict(), before, now))
    first = defaults | first
    first["model"] = defaults["model"] | first["model"]
    return {name: (first.get(name), value) for name, value in second.items() if first.get(name) != value}
