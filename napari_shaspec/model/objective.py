"""Weights and variants of the objective; what is computed from them is in `losses`, which needs torch."""

from __future__ import annotations

from enum import StrEnum

ALPHA, BETA = 0.1, 0.02
"""Weights of DAO and DCO in the objective, as the paper found them best."""


class AlignmentLoss(StrEnum):
    """The four variants of the distribution alignment objective (paper, Table 5)."""

    L1 = "l1"
    MSE = "mse"
    KL = "kl"
    CE = "ce"
