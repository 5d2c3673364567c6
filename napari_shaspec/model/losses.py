"""The objective L = L_task + alpha * L_DAO + beta * L_DCO, each term a pure function of tensors.

All are means over the samples of a batch, so that two processes with half a batch each give the same gradient as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional

from napari_shaspec.model.objective import AlignmentLoss
from napari_shaspec.model.shaspec import Encoding


def task_loss(logits: Tensor, masks: Tensor, voxels: int = 1) -> Tensor:
    """Dice + binary cross entropy of the region maps, both (B, R, *size); a scalar.

    Parameters
    ----------
    masks
        0 or 1, or the share that the region takes of so many voxels: then the intersection is that of soft labels (half
        of p + g - |p - g|, which is p g where g is 0 or 1), as the product is largest elsewhere than at p = g.
    voxels
        How many voxels one value stands for: Dice's smoothing of one voxel is that of one voxel at every level.
    """
    logits, smoothing = logits.float(), 1.0 / voxels
    dice = DiceLoss(sigmoid=True, smooth_nr=smoothing, smooth_dr=smoothing, soft_label=voxels > 1)
    loss: Tensor = dice(logits, masks) + functional.binary_cross_entropy_with_logits(logits, masks)
    return loss


def pooled(features: Tensor) -> Tensor:
    """(B, C, *size) -> (B, C), the spatial mean."""
    return features.flatten(2).mean(2)


def alignment_loss(
    shared: Sequence[Tensor], variant: AlignmentLoss, domain_classifier: Callable[[Tensor], Tensor]
) -> Tensor:
    """DAO: the shared features of the available modalities must not tell the modality.

    L1, MSE and the symmetric KL divergence are means over all pairs; KL compares the channel distributions (softmax)
    at each place. CE is the cross entropy of the domain classifier against the uniform distribution, less its minimum
    log N, so that, like the others, it is at least 0 and is 0 when the modality cannot be told.

    Parameters
    ----------
    shared
        r(i) of each available modality, (B, C, *size).

    Returns
    -------
    Tensor
        A scalar; 0 with a single modality.
    """
    if len(shared) < 2:
        return shared[0].new_zeros((), dtype=torch.float32)
    features = [feature.float() for feature in shared]
    if variant is AlignmentLoss.CE:
        logs = [functional.log_softmax(domain_classifier(pooled(feature)), 1) for feature in features]
        return torch.stack([-log.mean() - math.log(log.shape[1]) for log in logs]).mean()
    return torch.stack([_DISTANCES[variant](first, second) for first, second in combinations(features, 2)]).mean()


def _kl(first: Tensor, second: Tensor) -> Tensor:
    logs = [functional.log_softmax(features, 1) for features in (first, second)]
    difference = logs[0] - logs[1]
    return 0.5 * (difference * (logs[0].exp() - logs[1].exp())).sum(1).mean()


_DISTANCES: Mapping[AlignmentLoss, Callable[[Tensor, Tensor], Tensor]] = {
    AlignmentLoss.L1: functional.l1_loss,
    AlignmentLoss.MSE: functional.mse_loss,
    AlignmentLoss.KL: _kl,
}


def domain_loss(specific: Mapping[int, Tensor], domain_classifier: Callable[[Tensor], Tensor]) -> Tensor:
    """DCO: the specific features must tell the modality; log N for uniform logits.

    Parameters
    ----------
    specific
        s(i), (B, C, *size), by the modality's index.
    """
    losses = []
    for index, features in specific.items():
        logits = domain_classifier(pooled(features.float()))
        losses.append(functional.cross_entropy(logits, logits.new_full((len(logits),), index, dtype=torch.long)))
    return torch.stack(losses).mean()


def feature_losses(
    encodings: Mapping[str, Encoding],
    modalities: Sequence[str],
    domain_classifier: nn.Module,
    variant: AlignmentLoss = AlignmentLoss.L1,
) -> tuple[Tensor, Tensor]:
    """DAO and DCO of the available modalities."""
    indices = {name: index for index, name in enumerate(modalities) if name in encodings}
    shared = [encodings[name].shared for name in indices]
    # Under autocast the classifier would answer in bfloat16, in which a loss near its minimum is all rounding.
    with torch.autocast(shared[0].device.type, enabled=False):
        alignment = alignment_loss(shared, variant, domain_classifier)
        domain = domain_loss({index: encodings[name].specific for name, index in indices.items()}, domain_classifier)
    return alignment, domain
