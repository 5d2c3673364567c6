"""What a training run is told, and the named presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.model.config import ModelConfig
from napari_shaspec.model.losses import AlignmentLoss


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides the weights, apart from the data.

    Parameters
    ----------
    model
        Shape of the network; its ``voxel_mm`` is the range of voxel sizes that training draws from.
    steps, batch
        Optimizer steps, and cases in each.
    patch
        Voxels along R, A, S of what the network sees at the finest voxel size.
    coarse_patch
        The same at the coarsest voxel size, where it holds a whole brain.
    coarse_share
        Share of the steps that are coarse, at the end; it falls from 1 along the run. Coarse steps cost a third, and
        what they teach (where a tumour is, what is none) holds at every voxel size.
    draws
        How often each simulated case is trained on, with other intensities and subsets and mirrored in between:
        simulating one costs as much as half a step.
    learning_rate, weight_decay, warmup_steps
        AdamW; the rate rises linearly over ``warmup_steps``, then falls to 0 along half a cosine.
    alpha, beta, alignment
        Weights of DAO and DCO and the variant of DAO.
    all_steps
        For so many steps at the beginning only the full set is decoded, and DAO and DCO wait: single modalities are
        of no use before the task is understood at all, and shared features that hold nothing yet are aligned best by
        holding nothing.
    subsets
        Random proper subsets decoded in each step after that, beside the full set; the first of two or more is a
        single modality, because those are learned last. Encoding is most of a step's cost and does not depend on the
        subset, so they come cheap.
    ema_decay
        Of the averaged weights, which are those that are validated and saved; it rises from 0.1 at the beginning.
    validation_steps, validation_cases
        How often, and on how many held-out cases the averaged weights are scored.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    seed: int = 2023
    steps: int = 3600
    batch: int = 1
    patch: tuple[int, int, int] = (72, 88, 72)
    coarse_patch: tuple[int, int, int] = (56, 64, 56)
    coarse_share: float = 0.5
    draws: int = 1
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 50
    alpha: float = 0.1
    beta: float = 0.02
    alignment: AlignmentLoss = AlignmentLoss.L1
    all_steps: int = 600
    subsets: int = 1
    ema_decay: float = 0.998
    validation_steps: int = 400
    validation_cases: int = 8

    def __post_init__(self) -> None:
        stride = self.model.stride
        counts = (self.steps, self.batch, self.draws, self.warmup_steps, self.validation_steps, self.validation_cases)
        if min(counts) < 1 or self.subsets < 0:
            raise ShaSpecError(
                "at least one step, case and validation", repr(self), "Correct the training configuration"
            )
        if self.steps % self.validation_steps:
            raise ShaSpecError(
                f"steps in multiples of {self.validation_steps}, because weights are written at each validation",
                str(self.steps),
                "Choose another number of steps",
            )
        if any(side % stride or side < 2 * stride for side in (*self.patch, *self.coarse_patch)):
            raise ShaSpecError(
                f"patch sides that are multiples of {stride} and at least {2 * stride}",
                f"{self.patch} and {self.coarse_patch}",
                "Choose another patch",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


PRESETS = {
    "bundled": replace(
        TrainConfig(),
        model=ModelConfig(stem_convolutions=1, specific_skips=True),
        steps=6000,
        patch=(80, 96, 80),
        coarse_share=0.3,
        draws=2,
        learning_rate=3e-3,
        all_steps=500,
        subsets=2,
        validation_steps=500,
    ),
    "quick": replace(
        TrainConfig(),
        model=ModelConfig(widths=(4, 8, 16)),
        steps=20,
        patch=(48, 48, 48),
        coarse_patch=(32, 32, 32),
        all_steps=5,
        validation_steps=10,
        validation_cases=2,
    ),
}
"""``bundled`` re-makes the weights in the box; ``quick`` shows within a minute that a set-up works."""
